package embedded

import (
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
)

// answer implements gateway.Answer.
type answer struct {
	ctx     context.Context
	tokens  Tokenizer
	call    gateway.Call
	choices []*choice
	turn    int  // whose piece is next, in a stream
	prompt  int  // tokens
	sent    bool // a stream's first event
	done    bool
	out     []byte
}

// Next implements gateway.Answer.
func (a *answer) Next() ([]byte, error) {
	a.out = a.out[:0]
	switch {
	case a.done:
		return nil, io.EOF
	case !a.call.Request.Stream:
		return a.whole()
	case !a.sent && a.call.Request.Kind == openai.Chat:
		a.sent = true
		for _, c := range a.choices {
			a.event(c, `"delta":{"role":"assistant","content":""}`, nil, "")
		}
		return a.out, nil
	}
	return a.advance()
}

// advance is the next piece of the choice whose turn it is. Choices take turns: the
// engine computes them together, and keeps what is not read yet.
func (a *answer) advance() ([]byte, error) {
	c := a.choices[a.turn]
	piece, tokens, err := c.piece(a.ctx)
	if err != nil {
		return nil, err
	}
	if piece != "" || len(tokens) > 0 {
		a.delta(c, piece, tokens)
	}
	if c.finish != "" {
		a.end(c)
	}
	if !a.next() {
		a.last()
	}
	return a.out, nil
}

// next passes the turn on; false if every choice has ended.
func (a *answer) next() bool {
	for range a.choices {
		a.turn = (a.turn + 1) % len(a.choices)
		if a.choices[a.turn].finish == "" {
			return true
		}
	}
	return false
}

// Usage implements gateway.Answer. A prompt counts once, however many answers it
// gets.
func (a *answer) Usage() openai.Usage {
	completion := 0
	for _, c := range a.choices {
		completion += c.completion
	}
	return openai.Spent(a.prompt, completion)
}

// Close implements gateway.Answer.
func (a *answer) Close() {
	for _, c := range a.choices {
		c.Close()
	}
}

func (a *answer) whole() ([]byte, error) {
	a.open(a.object(""))
	a.raw(`,"choices":[`)
	for i, c := range a.choices {
		var text []byte
		var tokens []token
		for c.finish == "" {
			piece, more, err := c.piece(a.ctx)
			if err != nil {
				return nil, err
			}
			text, tokens = append(text, piece...), slices.Concat(tokens, c.place(more))
		}
		a.comma(i)
		a.choice(c, string(text), tokens)
	}
	a.raw(`],"usage":`)
	a.usage()
	a.raw("}")
	a.done = true
	return a.out, nil
}

func (a *answer) choice(c *choice, text string, tokens []token) {
	a.index(c)
	if a.call.Request.Kind == openai.Chat {
		a.raw(`"message":{"role":"assistant","content":`)
		a.out = openai.AppendText(a.out, text)
		a.raw(`,"refusal":null}`)
	} else {
		a.raw(`"text":`)
		a.out = openai.AppendText(a.out, text)
	}
	a.raw(",")
	a.appendLogprobs(tokens)
	a.raw(`,"finish_reason":"` + c.finish + `"}`)
}

func (a *answer) delta(c *choice, piece string, tokens []token) {
	body := string(openai.AppendText(nil, piece))
	if a.call.Request.Kind == openai.Chat {
		a.event(c, `"delta":{"content":`+body+`}`, c.place(tokens), "")
	} else {
		a.event(c, `"text":`+body, c.place(tokens), "")
	}
}

// end is a choice's finish chunk.
func (a *answer) end(c *choice) {
	if a.call.Request.Kind == openai.Chat {
		a.event(c, `"delta":{}`, nil, c.finish)
	} else {
		a.event(c, `"text":""`, nil, c.finish)
	}
}

// last is the usage chunk if asked for, and [DONE].
func (a *answer) last() {
	if a.call.Request.IncludeUsage {
		a.raw("data: ")
		a.open(a.object(".chunk"))
		a.raw(`,"choices":[],"usage":`)
		a.usage()
		a.raw("}\n\n")
	}
	a.out = openai.AppendEvent(a.out, []byte(openai.Done))
	a.done = true
}

// event is one chunk with one choice.
func (a *answer) event(c *choice, content string, tokens []token, finish string) {
	a.raw("data: ")
	a.open(a.object(".chunk"))
	a.raw(`,"choices":[`)
	a.index(c)
	a.raw(content + ",")
	if len(tokens) > 0 {
		a.appendLogprobs(tokens)
	} else {
		a.raw(`"logprobs":null`)
	}
	a.raw(`,"finish_reason":`)
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

// index begins a choice.
func (a *answer) index(c *choice) {
	a.raw(`{"index":`)
	a.out = strconv.AppendInt(a.out, int64(c.index), 10)
	a.raw(",")
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
