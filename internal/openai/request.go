package openai

import (
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
)

// Kind is the endpoint that a request was sent to.
type Kind uint8

const (
	Chat       Kind = iota // /v1/chat/completions
	Completion             // /v1/completions
	Embedding              // /v1/embeddings
	Response               // /v1/responses
)

// Path is the kind's path under a base URL that ends in /v1.
func (k Kind) Path() string {
	return [...]string{"/chat/completions", "/completions", "/embeddings", "/responses"}[k]
}

// bound is the field that bounds the answer's tokens; "" if nothing does.
func (k Kind) bound() string {
	return [...]string{"max_tokens", "max_tokens", "", "max_output_tokens"}[k]
}

// content is the field that holds what is to be answered.
func (k Kind) content() string { return [...]string{"messages", "prompt", "input", "input"}[k] }

// Message is one turn. Content is its text; several text parts are joined.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Prompt is what a completion continues: token ids if there are any, else text.
type Prompt struct {
	Text   string
	Tokens []int32
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
	Prompts  []Prompt  // Completion: each is answered by itself

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

	N, BestOf   int  // answers to each prompt, and to choose them from
	Logprobs    bool // of the tokens of the answer; with Echo of the prompt's too
	TopLogprobs int  // alternatives to each
	Echo        bool // the text of a completion begins with its prompt
	// ScoreOnly: max_tokens is 0, which makes sense with Echo and Logprobs.
	ScoreOnly bool

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
		Kind: kind, Temperature: 1, TopP: 1, RepetitionPenalty: 1, N: 1, BestOf: 1,
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
	what := r.Kind.content()
	switch {
	case r.Kind == Chat && len(r.Messages) == 0:
		return Invalid("messages", "messages is missing or empty. Send at least one message.")
	case r.PromptBytes == 0:
		return Invalid(what, "%s is missing. Send what is to be answered.", what)
	case r.IncludeUsage && !r.Stream:
		return Invalid("stream_options", "stream_options needs stream to be true.")
	case r.Kind == Embedding && r.Stream:
		return Invalid("stream", "stream cannot be true: embeddings are not streamed.")
	case r.BestOf > 1 && r.BestOf < r.N:
		return Invalid("best_of", "best_of is %d; it must be at least n, which is %d.", r.BestOf, r.N)
	case r.TopLogprobs > 0 && !r.Logprobs && r.Kind == Chat:
		return Invalid("top_logprobs", "top_logprobs needs logprobs to be true.")
	case r.ScoreOnly && !r.Echo:
		return Invalid("max_tokens", "max_tokens is 0, which needs echo to be true.")
	}
	return nil
}

// Answers is how many answers are computed.
func (r *Request) Answers() int { return max(r.N, r.BestOf) * max(len(r.Prompts), 1) }

// Names are the fields of the request, as sent.
func (r *Request) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range r.members {
			if !yield(m.Name) {
				return
			}
		}
	}
}

// Prefix is up to n bytes of the beginning of what is to be answered, as sent.
func (r *Request) Prefix(n int) []byte {
	for _, m := range r.members {
		if m.Name == r.Kind.content() {
			return m.Value[:max(0, min(n, len(m.Value)))]
		}
	}
	return nil
}

// Rewrite appends the request as an upstream should see it: the gateway's model,
// token bound and, for streams, a usage chunk to meter by; a response is not kept
// there for others to find. Every other byte stays as the caller sent it.
func (r *Request) Rewrite(dst []byte, model string, maxTokens int) []byte {
	ours := []Change{{"model", string(AppendText(nil, model))}}
	if bound := r.BoundBy(); bound != "" {
		ours = append(ours, Change{bound, itoa(maxTokens)})
	}
	switch {
	case r.Kind == Response:
		ours = append(ours, Change{"store", "false"})
	case r.Stream:
		ours = append(ours, Change{"stream_options", `{"include_usage":true}`})
	}
	open := strings.IndexByte(string(r.text[:min(len(r.text), r.members[0].Start)]), '{') + 1
	dst = append(dst, r.text[:open]...)
	for _, o := range ours {
		if !r.holds(o.Name) {
			dst = append(append(append(append(append(dst, '"'), o.Name...), '"', ':'), o.Value...), ',')
		}
	}
	at := open
	for _, m := range r.members {
		i := slices.IndexFunc(ours, func(o Change) bool { return o.Name == m.Name })
		if i < 0 {
			continue
		}
		dst = append(append(dst, r.text[at:m.Start]...), ours[i].Value...)
		at = m.End()
	}
	return append(dst, r.text[at:]...)
}

// Change is a member that the gateway writes; Value is raw JSON.
type Change struct{ Name, Value string }

// With is the caller's request as another one of the same kind: with some members
// changed or added, and without those whose new value is empty.
func (r *Request) With(changes ...Change) (*Request, error) {
	body := []byte{'{'}
	add := func(name string, value []byte) {
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(append(AppendText(body, name), ':'), value...)
	}
	for _, m := range r.members {
		if !slices.ContainsFunc(changes, func(c Change) bool { return c.Name == m.Name }) {
			add(m.Name, m.Value)
		}
	}
	for _, c := range changes {
		if c.Value != "" {
			add(c.Name, []byte(c.Value))
		}
	}
	return Parse(r.Kind, append(body, '}'))
}

// BoundBy is the name under which the answer's tokens are bounded; "" if there are
// none.
func (r *Request) BoundBy() string {
	for _, m := range r.members {
		if m.Name == "max_completion_tokens" && !m.Null() && r.Kind.bound() == "max_tokens" {
			return m.Name
		}
	}
	return r.Kind.bound()
}

func (r *Request) holds(name string) bool {
	for _, m := range r.members {
		if m.Name == name {
			return true
		}
	}
	return false
}
