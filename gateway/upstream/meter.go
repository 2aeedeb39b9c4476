package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fealty/fealty/internal/openai"
)

// meter reads what the gateway must know of an answer: its usage, its errors, its
// end. It changes no byte. With an opening, what it reads is an answer's continuation.
type meter struct {
	request *openai.Request
	usage   openai.Usage
	told    bool // the upstream said its usage
	chunks  int  // with content: the measure while no usage is known
	ended   bool // a choice said why it ended
	opening *opening
}

// verdict is what becomes of an event.
type verdict uint8

const (
	pass verdict = iota
	drop         // a usage chunk that the client did not ask for
	last         // it goes through, and ends the stream well
)

// spoken is what the meter looks for, of every kind of answer.
type spoken struct {
	Type     string            `json:"type"` // of an event of a response
	Object   string            `json:"object"`
	Choices  []json.RawMessage `json:"choices"`
	Usage    *tokens           `json:"usage"`
	Error    json.RawMessage   `json:"error"`
	Response *spoken           `json:"response"`
}

// tokens is a usage by the names of completions, or by those of responses.
type tokens struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Input      int `json:"input_tokens"`
	Output     int `json:"output_tokens"`
}

func (m *meter) tell(u *tokens) {
	if u == nil || min(u.Prompt, u.Completion, u.Input, u.Output) < 0 {
		return
	}
	m.usage, m.told = openai.Spent(max(u.Prompt, u.Input), max(u.Completion, u.Output)), true
}

// whole reads an answer that is not streamed. Without its own word each of its
// choices is as long as it may be.
func (m *meter) whole(body []byte, maxTokens int) error {
	usage, err := usageOf(body)
	if err != nil {
		return fmt.Errorf("the upstream's answer is not JSON: %w", err)
	}
	if m.chunks = maxTokens * m.request.Answers(); m.request.Kind == openai.Embedding {
		m.chunks = 0
	}
	m.tell(usage)
	return nil
}

// usageOf steps over all but the usage, which costs a third of decoding the answer.
// What that reader refuses, such as a member that stands twice, is decoded.
func usageOf(body []byte) (*tokens, error) {
	members, err := openai.Members(body)
	if err != nil {
		var reply spoken
		err = json.Unmarshal(body, &reply)
		return reply.Usage, err
	}
	var usage *tokens
	for _, member := range members {
		if member.Name == "usage" {
			err = json.Unmarshal(member.Value, &usage)
		}
	}
	return usage, err
}

func (m *meter) event(e openai.Event) (verdict, *failure) {
	switch {
	case e.Data == nil:
		return pass, nil
	case string(e.Data) == openai.Done:
		if !m.ended { // llama-cpp-python says so of an answer that it interrupted
			return drop, broken(errors.New("the upstream ended the stream, but not the answer: no chunk had a finish_reason"))
		}
		return last, nil
	case m.request.Kind == openai.Response:
		return m.response(e.Data)
	}
	m.ended = m.ended || ends(e.Data)
	if ordinary(e.Data) {
		m.chunks++
		return pass, nil
	}
	return m.chunk(e.Data)
}

// ends tells whether a chunk has a finish_reason that is a text.
func ends(data []byte) bool {
	const name = `"finish_reason"`
	for {
		at := bytes.Index(data, []byte(name))
		if at < 0 {
			return false
		}
		data = data[at+len(name):]
		if value := bytes.TrimLeft(data, ": \t\r\n"); len(value) > 0 && value[0] == '"' {
			return true
		}
	}
}

// ordinary recognises, without parsing it, a chunk that only carries content.
func ordinary(data []byte) bool {
	return len(data) > 0 && data[0] == '{' && data[len(data)-1] == '}' &&
		!bytes.Contains(data, []byte(`"usage"`)) && !bytes.Contains(data, []byte(`"error"`)) && !bytes.Contains(data, []byte(`"choices":[]`))
}

func (m *meter) chunk(data []byte) (verdict, *failure) {
	var chunk spoken
	if f := read(data, &chunk); f != nil {
		return pass, f
	}
	m.tell(chunk.Usage)
	if len(chunk.Choices) > 0 {
		m.chunks++
		return pass, nil
	}
	if chunk.Usage != nil && !m.request.IncludeUsage {
		return drop, nil
	}
	return pass, nil
}

// response reads an event of /v1/responses, which says itself what it is.
func (m *meter) response(data []byte) (verdict, *failure) {
	var event spoken
	if f := read(data, &event); f != nil {
		return pass, f
	}
	if event.Response != nil {
		m.tell(event.Response.Usage)
	}
	switch event.Type {
	case "response.output_text.delta", "response.reasoning_text.delta", "response.function_call_arguments.delta":
		m.chunks++
	case "response.completed", "response.incomplete", "response.failed":
		return last, nil
	}
	return pass, nil
}

func read(data []byte, into *spoken) *failure {
	if err := json.Unmarshal(data, into); err != nil {
		return broken(fmt.Errorf("the upstream sent an event that is not JSON: %w", err))
	}
	if into.Response == nil && len(into.Error) > 0 && string(into.Error) != "null" {
		return cut(into.Error)
	}
	return nil
}

// cut is the upstream's own mid-stream error, passed on with its message and code.
func cut(raw json.RawMessage) *failure {
	var said struct {
		Message string `json:"message"`
		Code    any    `json:"code"`
	}
	f := broken(errors.New("the upstream sent an error inside the stream"))
	if json.Unmarshal(raw, &said) == nil && said.Message != "" {
		f.Message = said.Message
		if code, ok := said.Code.(string); ok && code != "" {
			f.Code = code
		}
	}
	return f
}

// spent is what was consumed so far. Without the upstream's word, as when a stream
// was cut, every chunk counts as a token and every three bytes of the prompt.
func (m *meter) spent() openai.Usage {
	switch {
	case m.told:
		return m.opening.delivered(m.usage)
	case m.chunks == 0 && m.request.Kind != openai.Embedding:
		return openai.Usage{}
	}
	return m.opening.delivered(openai.Spent((m.request.PromptBytes+2)/3, m.chunks))
}
