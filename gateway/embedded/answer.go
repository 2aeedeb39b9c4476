package embedded

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
)

// answer implements gateway.Answer.
type answer struct {
	ctx        context.Context
	tokens     Tokenizer
	generation Generation
	call       gateway.Call
	text       text
	prompt     int // tokens
	completion int // tokens
	finish     string
	sent       bool // a stream's first event
	closed     bool
	out        []byte
}

func newAnswer(ctx context.Context, t Tokenizer, g Generation, c gateway.Call, prompt int) *answer {
	a := &answer{ctx: ctx, tokens: t, generation: g, call: c, prompt: prompt}
	for _, s := range c.Request.Stop {
		a.text.stops = append(a.text.stops, []byte(s))
	}
	return a
}

// Next implements gateway.Answer.
func (a *answer) Next() ([]byte, error) {
	a.out = a.out[:0]
	switch {
	case a.finish != "":
		return nil, io.EOF
	case !a.call.Request.Stream:
		return a.whole()
	case !a.sent && a.call.Request.Kind == openai.Chat:
		a.sent = true
		a.event(`"delta":{"role":"assistant","content":""}`, "")
		return a.out, nil
	}
	piece, err := a.piece()
	if err != nil {
		return nil, err
	}
	if piece != "" {
		a.delta(piece)
	}
	if a.finish != "" {
		a.last()
	}
	return a.out, nil
}

// piece is the next text that can be sent; with a.finish set it is the last, and
// may be empty.
func (a *answer) piece() (string, error) {
	for {
		id, err := a.generation.Next(a.ctx)
		if errors.Is(err, io.EOF) {
			a.finish = a.generation.Finish()
			return a.text.rest(), nil
		}
		if err != nil {
			return "", refuse(err)
		}
		a.completion++
		out := a.text.add(a.tokens.Bytes(id))
		if a.text.stopped {
			a.finish = "stop"
			a.Close() // frees the slot before the client has read the end
		}
		if out != "" || a.finish != "" {
			return out, nil
		}
	}
}

// Usage implements gateway.Answer.
func (a *answer) Usage() openai.Usage { return openai.Spent(a.prompt, a.completion) }

// Close implements gateway.Answer.
func (a *answer) Close() {
	if !a.closed {
		a.closed = true
		a.generation.Close()
	}
}

func (a *answer) whole() ([]byte, error) {
	var text []byte
	for a.finish == "" {
		piece, err := a.piece()
		if err != nil {
			return nil, err
		}
		text = append(text, piece...)
	}
	a.head(a.object(""))
	if a.call.Request.Kind == openai.Chat {
		a.raw(`"message":{"role":"assistant","content":`)
		a.out = openai.AppendText(a.out, string(text))
		a.raw(`,"refusal":null}`)
	} else {
		a.raw(`"text":`)
		a.out = openai.AppendText(a.out, string(text))
	}
	a.raw(`,"logprobs":null,"finish_reason":"` + a.finish + `"}],"usage":`)
	a.usage()
	a.raw("}")
	return a.out, nil
}

func (a *answer) delta(piece string) {
	body := openai.AppendText(nil, piece)
	if a.call.Request.Kind == openai.Chat {
		a.event(`"delta":{"content":`+string(body)+`}`, "")
	} else {
		a.event(`"text":`+string(body), "")
	}
}

// last is the finish chunk, the usage chunk if asked for, and [DONE].
func (a *answer) last() {
	if a.call.Request.Kind == openai.Chat {
		a.event(`"delta":{}`, a.finish)
	} else {
		a.event(`"text":""`, a.finish)
	}
	if a.call.Request.IncludeUsage {
		a.raw("data: ")
		a.open(a.object(".chunk"))
		a.raw(`,"choices":[],"usage":`)
		a.usage()
		a.raw("}\n\n")
	}
	a.out = openai.AppendEvent(a.out, []byte(openai.Done))
}

// event is one chunk with one choice.
func (a *answer) event(content, finish string) {
	a.raw("data: ")
	a.head(a.object(".chunk"))
	a.raw(content)
	a.raw(`,"logprobs":null,"finish_reason":`)
	if finish == "" {
		a.raw("null}]")
	} else {
		a.raw(`"` + finish + `"}]`)
	}
	if a.call.Request.IncludeUsage {
		a.raw(`,"usage":null`)
	}
	a.raw("}\n\n")
}

// object is the reply's kind; streamed completions are called as whole ones are.
func (a *answer) object(suffix string) string {
	if a.call.Request.Kind == openai.Completion {
		return "text_completion"
	}
	return "chat.completion" + suffix
}

func (a *answer) open(object string) {
	prefix := "chatcmpl-"
	if a.call.Request.Kind == openai.Completion {
		prefix = "cmpl-"
	}
	a.raw(`{"id":"` + prefix + a.call.ID + `","object":"` + object + `","created":`)
	a.out = strconv.AppendInt(a.out, a.call.Created, 10)
	a.raw(`,"model":`)
	a.out = openai.AppendText(a.out, a.call.Model)
}

func (a *answer) head(object string) {
	a.open(object)
	a.raw(`,"choices":[{"index":0,`)
}

func (a *answer) usage() {
	u := a.Usage()
	a.raw(`{"prompt_tokens":`)
	a.out = strconv.AppendInt(a.out, int64(u.PromptTokens), 10)
	a.raw(`,"completion_tokens":`)
	a.out = strconv.AppendInt(a.out, int64(u.CompletionTokens), 10)
	a.raw(`,"total_tokens":`)
	a.out = strconv.AppendInt(a.out, int64(u.TotalTokens), 10)
	a.raw("}")
}

func (a *answer) raw(s string) { a.out = append(a.out, s...) }
