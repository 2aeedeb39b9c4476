package engine

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
)

// Why a generation ended.
const (
	FinishStop   = "stop"   // the model chose a stop token
	FinishLength = "length" // MaxTokens, or the engine's Context, was reached
)

// Generation is one answer in the making.
type Generation struct {
	request Request
	limit   int // tokens it may generate
	ctx     context.Context
	cancel  context.CancelFunc

	tokens    chan int32 // has room for all of them: a slow reader holds nobody up
	generated []int32    // the loop's own
	ended     bool
	finish    string // written before tokens is closed, as is err
	err       error
}

func newGeneration(ctx context.Context, r Request, positions int) *Generation {
	g := &Generation{request: r, limit: positions - len(r.Prompt)}
	if r.MaxTokens > 0 {
		g.limit = min(g.limit, r.MaxTokens)
	}
	g.request.Prompt, g.request.Stop = slices.Clone(r.Prompt), slices.Clone(r.Stop)
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.tokens = make(chan int32, g.limit)
	return g
}

// Next waits for the next token. The end is io.EOF; a generation that broke or
// was cancelled ends with its error instead, after the tokens it made. ctx
// bounds this wait only.
func (g *Generation) Next(ctx context.Context) (int32, error) {
	select {
	case id, ok := <-g.tokens:
		if ok {
			return id, nil
		}
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if g.err != nil {
		return 0, g.err
	}
	return 0, io.EOF
}

// Finish is FinishStop or FinishLength once Next has returned io.EOF.
func (g *Generation) Finish() string { return g.finish }

// Close cancels the generation if it still runs; its slot is free after the
// engine's current tick. It may be called again.
func (g *Generation) Close() { g.cancel() }

// end makes the outcome known; only the first one counts. The loop calls it, or
// whoever takes the generation out of the queue.
func (g *Generation) end(finish string, err error) {
	if g.ended {
		return
	}
	g.ended, g.finish, g.err = true, finish, err
	g.cancel()
	close(g.tokens)
}

// ChooserError is what went wrong in a request's own Chooser.
type ChooserError struct {
	Reason string
	Stack  []byte // of a panic, for the log
}

func (e *ChooserError) Error() string { return "engine: Choose " + e.Reason }

// choose asks the request's Chooser and refuses what is no token.
func (g *Generation) choose(logits []float32) (id int32, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &ChooserError{Reason: fmt.Sprintf("panicked: %v", v), Stack: debug.Stack()}
		}
	}()
	vocab := len(logits)
	id = g.request.Choose.Choose(logits, g.generated)
	if id < 0 || int(id) >= vocab {
		return 0, &ChooserError{Reason: fmt.Sprintf("returned %d; the vocabulary has %d tokens", id, vocab)}
	}
	return id, nil
}

// advance takes the logits after the newest token, and reports whether the
// generation goes on. If not, it has ended.
func (g *Generation) advance(logits []float32) bool {
	id, err := g.choose(logits)
	switch {
	case err != nil:
		g.end("", err)
		return false
	case slices.Contains(g.request.Stop, id):
		g.end(FinishStop, nil)
		return false
	}
	g.generated = append(g.generated, id)
	g.tokens <- id
	if len(g.generated) == g.limit {
		g.end(FinishLength, nil)
		return false
	}
	return true
}
