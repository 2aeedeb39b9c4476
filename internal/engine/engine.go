// Package engine generates text, as token ids, for many requests at once on one
// model.
//
// One goroutine owns the model. Each of its ticks computes the next token of
// every running answer and, beside them, one chunk of one waiting prompt, so
// that a new request neither stops the running ones nor waits for them to end.
// A [Chooser] that the request brings picks each token; the engine knows no
// sampling and no text.
//
// The engine's memory is bounded by its [Options]. A panic below it, in GoMLX or
// in a Chooser, ends as the error of the generations it concerns.
//
// Start with [New] and [Engine.Generate].
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fealty/fealty/internal/llama"
)

// Options bound what an engine holds in memory and does at once.
type Options struct {
	// Slots is how many requests are computed at once; the others wait. 0: 8.
	Slots int
	// Context is the most positions of one request, prompt and answer together.
	// 0: 2048, or the model's own limit if that is lower. The caches of all slots
	// take at most twice Slots x llama.Model.CacheBytes(1, Context).
	Context int
	// Chunk is how many prompt tokens one tick computes: more is faster for the
	// prompt, and keeps the running answers waiting longer. 0: 64.
	Chunk int
	// Queue is how many requests may wait for a slot. 0: 64.
	Queue int
	// PrefixTokens is how many positions of earlier prompts are kept, for prompts that
	// begin alike; they take at most llama.Model.CacheBytes(1, PrefixTokens). Who may
	// send prompts and measure time can find out how others' prompts begin. 0: none.
	PrefixTokens int
}

// withDefaults fills in zeros and refuses what cannot work.
func (o Options) withDefaults(m *llama.Model) (Options, error) {
	limit := m.Config().Context
	for _, f := range []struct {
		name  string
		value *int
		zero  int
		max   int
	}{
		{"Slots", &o.Slots, 8, 256},
		{"Context", &o.Context, min(2048, limit), limit},
		{"Chunk", &o.Chunk, 64, 1024},
		{"Queue", &o.Queue, 64, 1 << 20},
	} {
		if *f.value == 0 {
			*f.value = f.zero
		}
		if *f.value < 1 || *f.value > f.max {
			return o, fmt.Errorf("engine: Options.%s is %d; it must be between 1 and %d", f.name, *f.value, f.max)
		}
	}
	if o.PrefixTokens < 0 || o.PrefixTokens > 1<<24 {
		return o, fmt.Errorf("engine: Options.PrefixTokens is %d; it must be between 0 and %d", o.PrefixTokens, 1<<24)
	}
	return o, nil
}

var (
	// ErrBusy: Options.Queue requests are waiting already. Trying again helps.
	ErrBusy = errors.New("engine: too many requests are waiting")
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("engine: closed")
)

// PromptTooLongError refuses a prompt that leaves no room for an answer.
type PromptTooLongError struct {
	Tokens int // of the prompt
	Limit  int // Options.Context, which also holds the answer
}

func (e *PromptTooLongError) Error() string {
	return fmt.Sprintf("engine: the prompt has %d tokens; with one token of answer it must fit %d", e.Tokens, e.Limit)
}

// Chooser picks the next token of one generation. It is called on the engine's
// goroutine, and all running generations wait for it. It may overwrite logits
// but must keep neither slice.
type Chooser interface {
	Choose(logits []float32, generated []int32) int32
}

// Request asks for one answer.
type Request struct {
	Prompt    []int32
	MaxTokens int     // 0: as many as the engine's Context has room for
	Stop      []int32 // tokens that end the answer; they are not delivered
	Choose    Chooser
}

// Stats are the requests in each state, and what was reused.
type Stats struct {
	Waiting    int // for a slot
	Prefilling int // in a slot, the prompt not yet computed
	Decoding   int // in a slot, answering
	Reused     int // prompt positions since the start that an earlier prompt had computed
}

// Engine runs generations on one model.
type Engine struct {
	model   *llama.Model
	options Options
	wake    chan struct{} // holds one token when there may be work
	done    chan struct{} // closed when the loop has ended

	mu      sync.Mutex
	waiting []*Generation
	running Stats // of the last tick
	closed  bool
}

// New starts an engine. Close stops it.
func New(m *llama.Model, o Options) (*Engine, error) {
	return start(m, o, llama.NewRunner(m))
}

// runner computes batches; *llama.Runner does.
type runner interface {
	Run(*llama.Batch) error
	Logits(i int) []float32
}

func start(m *llama.Model, o Options, r runner) (*Engine, error) {
	o, err := o.withDefaults(m)
	if err != nil {
		return nil, err
	}
	e := &Engine{model: m, options: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go e.run(r)
	return e, nil
}

// Options are the engine's, defaults filled in.
func (e *Engine) Options() Options { return e.options }

// Close ends all generations with ErrClosed, and returns when nothing of the
// engine runs any more. It may be called again.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.signal()
	<-e.done
	return nil
}

// Generate queues a request. The generation ends early when ctx does, or when
// its Close is called; one of the two must happen, or Next be read to its end.
func (e *Engine) Generate(ctx context.Context, r Request) (*Generation, error) {
	if err := e.check(r); err != nil {
		return nil, err
	}
	g := newGeneration(ctx, r, e.options.Context)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.dropCancelled()
	if len(e.waiting) >= e.options.Queue {
		return nil, ErrBusy
	}
	e.waiting = append(e.waiting, g)
	e.signal()
	return g, nil
}

func (e *Engine) check(r Request) error {
	if len(r.Prompt) == 0 {
		return errors.New("engine: Request.Prompt is empty")
	}
	if len(r.Prompt)+1 > e.options.Context {
		return &PromptTooLongError{Tokens: len(r.Prompt), Limit: e.options.Context}
	}
	vocab := int32(e.model.Config().Vocab)
	for i, id := range r.Prompt {
		if id < 0 || id >= vocab {
			return fmt.Errorf("engine: Request.Prompt[%d] is %d; the vocabulary has %d tokens", i, id, vocab)
		}
	}
	if r.MaxTokens < 0 {
		return fmt.Errorf("engine: Request.MaxTokens is %d; it must not be negative", r.MaxTokens)
	}
	if r.Choose == nil {
		return errors.New("engine: Request.Choose is nil")
	}
	return nil
}

// Stats counts the requests by state.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.running
	s.Waiting = len(e.waiting)
	return s
}

// dropCancelled ends waiting generations that nobody wants any more. The caller
// holds mu.
func (e *Engine) dropCancelled() {
	kept := e.waiting[:0]
	for _, g := range e.waiting {
		if err := g.ctx.Err(); err != nil {
			g.end("", err)
			continue
		}
		kept = append(kept, g)
	}
	clear(e.waiting[len(kept):])
	e.waiting = kept
}

// signal tells the loop that there may be work.
func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default: // it has been told already
	}
}
