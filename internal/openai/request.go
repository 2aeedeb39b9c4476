package openai

import (
	"errors"
	"net/http"
	"strings"
)

// Kind is the endpoint that a request was sent to.
type Kind uint8

const (
	Chat       Kind = iota // /v1/chat/completions
	Completion             // /v1/completions
)

// Path is the kind's path under a base URL that ends in /v1.
func (k Kind) Path() string {
	if k == Completion {
		return "/completions"
	}
	return "/chat/completions"
}

// Message is one turn. Content is its text; several text parts are joined.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Feature is something a request asks for beyond one plain text answer.
type Feature struct {
	Param string // the field
	Why   string // what a backend without it says
}

// Request is one parsed request. Fields that were absent or null hold the
// defaults of the OpenAI API.
type Request struct {
	Kind  Kind
	Model string

	Messages []Message // Chat
	Prompt   string    // Completion: the text, if it is one text

	MaxTokens    int // 0: not given
	Stream       bool
	IncludeUsage bool // the caller wants the usage chunk
	Stop         []string
	Seed         *int64

	Temperature, TopP, MinP float64
	TopK                    int // 0: off
	FrequencyPenalty        float64
	PresencePenalty         float64
	RepetitionPenalty       float64
	LogitBias               map[int32]float32

	Logprobs, Echo bool

	// Features lists what a plain text engine cannot do, in order of appearance.
	// A backend that can do them ignores the list.
	Features []Feature
	// PromptBytes is the size of the messages or prompt as sent, the measure for
	// estimating tokens before anyone tokenised.
	PromptBytes int

	text    []byte
	members []Member
}

// Parse reads a request body strictly. The Request keeps body for [Request.Rewrite];
// the caller must not change it. Errors are *[Error] with status 400.
func Parse(kind Kind, body []byte) (*Request, error) {
	members, err := Members(body)
	if err != nil {
		return nil, syntax(members, err)
	}
	r := &Request{
		Kind: kind, Temperature: 1, TopP: 1, RepetitionPenalty: 1,
		text: body, members: members,
	}
	for _, m := range members {
		if err := r.field(m); err != nil {
			return nil, err
		}
	}
	return r, r.check()
}

// syntax turns a reader's error into the client's, naming the field it stands in.
func syntax(members []Member, err error) *Error {
	param := ""
	if n := len(members); n > 0 && members[n-1].Value == nil {
		param = members[n-1].Name
	}
	var twice *DuplicateError
	if errors.As(err, &twice) {
		return &Error{
			Status: http.StatusBadRequest, Code: "duplicate_parameter", Param: twice.Name,
			Message: "The request holds " + quote(twice.Name) + " twice. Send each parameter once.",
		}
	}
	message := "The request body is not valid JSON: " + err.Error() + "."
	if param != "" {
		message = "The request body is not valid JSON, in the value of " + quote(param) + ": " + err.Error() + "."
	}
	return &Error{Status: http.StatusBadRequest, Code: "invalid_json", Param: param, Message: message}
}

func (r *Request) field(m Member) error {
	read, known := fields[m.Name]
	if !known {
		return twin(m.Name)
	}
	if m.Null() {
		return nil
	}
	return read(r, m)
}

// twin refuses a name that a lenient reader upstream could take for a known one,
// such as "Model": it would see another request than the one that was checked.
func twin(name string) error {
	for known := range fields {
		if strings.EqualFold(known, name) {
			return &Error{
				Status: http.StatusBadRequest, Code: "unknown_parameter", Param: name,
				Message: "The parameter " + quote(name) + " is spelled " + quote(known) + ".",
			}
		}
	}
	return nil
}

func (r *Request) check() error {
	if r.Model == "" {
		return Invalid("model", "model is missing. Name one of the models that GET /v1/models lists.")
	}
	switch {
	case r.Kind == Chat && len(r.Messages) == 0:
		return Invalid("messages", "messages is missing or empty. Send at least one message.")
	case r.Kind == Completion && r.PromptBytes == 0:
		return Invalid("prompt", "prompt is missing. Send the text to complete.")
	case r.IncludeUsage && !r.Stream:
		return Invalid("stream_options", "stream_options needs stream to be true.")
	}
	return nil
}

// Rewrite appends the request as an upstream should see it: the gateway's model,
// token bound and, for streams, a usage chunk to meter by. Every other byte stays
// as the caller sent it.
func (r *Request) Rewrite(dst []byte, model string, maxTokens int) []byte {
	set := map[string]string{
		"model":     string(AppendText(nil, model)),
		r.boundBy(): itoa(maxTokens),
	}
	if r.Stream {
		set["stream_options"] = `{"include_usage":true}`
	}
	open := strings.IndexByte(string(r.text), '{') + 1
	dst = append(dst, r.text[:open]...)
	for _, name := range [...]string{"max_tokens", "stream_options"} {
		if value, ours := set[name]; ours && !r.holds(name) {
			dst = append(append(append(append(append(dst, '"'), name...), '"', ':'), value...), ',')
		}
	}
	at := open
	for _, m := range r.members {
		value, ours := set[m.Name]
		if !ours {
			continue
		}
		dst = append(append(dst, r.text[at:m.Start]...), value...)
		at = m.End()
	}
	return append(dst, r.text[at:]...)
}

// boundBy is the name under which the caller bounds the answer.
func (r *Request) boundBy() string {
	for _, m := range r.members {
		if m.Name == "max_completion_tokens" && !m.Null() {
			return m.Name
		}
	}
	return "max_tokens"
}

func (r *Request) holds(name string) bool {
	for _, m := range r.members {
		if m.Name == name {
			return true
		}
	}
	return false
}
