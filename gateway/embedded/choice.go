package embedded

import (
	"context"
	"errors"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/fealty/fealty/internal/engine"
)

// choice is one of a request's answers.
type choice struct {
	index      int
	generation Generation // nil: the prompt is all that is asked for
	tokens     Tokenizer
	text       text
	finish     string
	closed     bool

	prompt []int32
	echo   bool   // the prompt is yet to be repeated
	begins string // its text
	told   int    // tokens of the prompt that the generation repeats, to score them

	scores  chan score // nil: no log-probabilities are asked for
	waiting []token    // their text is not sent yet
	made    int        // bytes of text that tokens have made
	sent    int        // bytes of text that were sent
	runes   int        // characters of text that tokens have made

	completion int // tokens
}

// piece is the next text that can be sent, with its tokens; with c.finish set it is
// the last, and may be empty.
func (c *choice) piece(ctx context.Context) (string, []token, error) {
	if c.echo {
		c.echo = false
		return c.repeat(ctx)
	}
	for c.finish == "" {
		id, end, err := c.next(ctx)
		switch {
		case err != nil:
			return "", nil, err
		case end != "":
			c.finish = end
			out := c.text.rest()
			return out, c.ready(len(out)), nil
		}
		c.completion++
		raw := c.tokens.Bytes(id)
		c.score(id, raw)
		out := c.text.add(raw)
		if c.text.stopped {
			c.finish = engine.FinishStop
			c.Close() // frees the slot before the client has read the end
		}
		if out != "" || c.finish != "" {
			return out, c.ready(len(out)), nil
		}
	}
	return "", nil, nil
}

// next is the next token, or how the answer ended. While a prompt is scored the
// engine does not know the tokens that end an answer: the prompt may hold them.
func (c *choice) next(ctx context.Context) (id int32, end string, err error) {
	id, err = c.generation.Next(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return 0, c.generation.Finish(), nil
	case err != nil:
		return 0, "", refuse(err)
	case c.told > 0 && slices.Contains(c.tokens.EOS(), id):
		c.Close()
		return 0, engine.FinishStop, nil
	}
	return id, "", nil
}

// repeat is the prompt, with the scores of its tokens if they are asked for.
func (c *choice) repeat(ctx context.Context) (string, []token, error) {
	if c.scores != nil {
		c.add(token{id: c.prompt[0], first: true}, c.tokens.Bytes(c.prompt[0]))
		for range c.told {
			id, err := c.generation.Next(ctx)
			if err != nil {
				return "", nil, refuse(err)
			}
			c.score(id, c.tokens.Bytes(id))
		}
	}
	if c.generation == nil {
		c.finish = engine.FinishLength
	}
	tokens := c.waiting
	c.waiting, c.made = nil, 0
	return c.begins, tokens, nil
}

func (c *choice) score(id int32, raw []byte) {
	if c.scores != nil {
		c.add(token{id: id, score: <-c.scores}, raw)
	}
}

func (c *choice) add(t token, raw []byte) {
	t.start = c.made
	c.made += len(raw)
	c.waiting = append(c.waiting, t)
}

// ready takes the tokens whose text was sent, at least its beginning, now that n
// more bytes are. Those of a stop string are never sent.
func (c *choice) ready(n int) []token {
	c.sent += n
	count := 0
	for count < len(c.waiting) && c.waiting[count].start < c.sent {
		count++
	}
	out := c.waiting[:count:count]
	c.waiting = c.waiting[count:]
	return out
}

// place turns byte offsets into characters of the whole text, which is what
// OpenAI's text_offset counts.
func (c *choice) place(tokens []token) []token {
	for i := range tokens {
		tokens[i].start = c.runes
		c.runes += utf8.RuneCount(c.tokens.Bytes(tokens[i].id))
	}
	return tokens
}

// Close frees the slot.
func (c *choice) Close() {
	if !c.closed && c.generation != nil {
		c.generation.Close()
	}
	c.closed = true
}
