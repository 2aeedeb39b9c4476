package engine

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/llama/llamatest"
)

// chooserFunc is a Chooser made of a function.
type chooserFunc func(logits []float32, generated []int32) int32

func (f chooserFunc) Choose(logits []float32, generated []int32) int32 { return f(logits, generated) }

// greedy picks the largest logit.
func greedy(logits []float32, _ []int32) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return int32(best)
}

func tiny(t testing.TB) *llama.Model {
	t.Helper()
	m, err := llama.New(llamatest.Model(llamatest.Config(true), 3))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// open runs an engine that the test's end closes.
func open(t testing.TB, m *llama.Model, o Options) *Engine {
	t.Helper()
	e, err := New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func prompt(seed uint64, n int) []int32 {
	r := rand.New(rand.NewPCG(seed, 1))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(llamatest.Config(true).Vocab))
	}
	return ids
}

func generate(t testing.TB, e *Engine, r Request) *Generation {
	t.Helper()
	g, err := e.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// collect reads a generation to its end.
func collect(ctx context.Context, g *Generation) ([]int32, error) {
	var ids []int32
	for {
		id, err := g.Next(ctx)
		if err == io.EOF {
			return ids, nil
		}
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
}

func mustCollect(t testing.TB, g *Generation) []int32 {
	t.Helper()
	ids, err := collect(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// expected is the obvious twin of the engine: it evaluates the whole sequence
// anew for each token.
func expected(t testing.TB, m *llama.Model, prompt []int32, n int) []int32 {
	t.Helper()
	v, ids := llama.NewEvaluator(m), slices.Clone(prompt)
	for range n {
		rows, err := v.Evaluate(t.Context(), [][]int32{ids})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, greedy(rows[0].Logits, nil))
	}
	return ids[len(prompt):]
}

func TestManyAtOnceEqualOneByOne(t *testing.T) {
	m := tiny(t)
	e := open(t, m, Options{Slots: 3, Context: 200, Chunk: 16})
	var generations []*Generation
	lengths := []int{1, 40, 7, 100, 16, 17, 3, 65}
	for i, n := range lengths {
		generations = append(generations, generate(t, e, Request{Prompt: prompt(uint64(i), n), MaxTokens: 12 + 5*i, Choose: chooserFunc(greedy)}))
	}
	for i, g := range generations {
		want := expected(t, m, prompt(uint64(i), lengths[i]), 12+5*i)
		if got := mustCollect(t, g); !slices.Equal(got, want) {
			t.Errorf("request %d: got %v, want %v", i, got, want)
		}
		if g.Finish() != FinishLength {
			t.Errorf("request %d finished with %q, want %q", i, g.Finish(), FinishLength)
		}
	}
	if s := e.Stats(); s.Waiting != 0 {
		t.Errorf("all are done, but Stats are %+v", s)
	}
}

func TestStop(t *testing.T) {
	m := tiny(t)
	p := prompt(4, 9)
	want := expected(t, m, p, 6)
	e := open(t, m, Options{})
	stop := want[5]
	n := slices.Index(want, stop)
	g := generate(t, e, Request{Prompt: p, Stop: []int32{stop}, Choose: chooserFunc(greedy)})
	if got := mustCollect(t, g); !slices.Equal(got, want[:n]) || g.Finish() != FinishStop {
		t.Errorf("got %v finished with %q, want %v and %q", got, g.Finish(), want[:n], FinishStop)
	}
	g = generate(t, e, Request{Prompt: p, Stop: []int32{want[0]}, Choose: chooserFunc(greedy)})
	if got := mustCollect(t, g); len(got) != 0 || g.Finish() != FinishStop {
		t.Errorf("got %v finished with %q, want nothing and %q", got, g.Finish(), FinishStop)
	}
}

func TestContextIsTheLimit(t *testing.T) {
	e := open(t, tiny(t), Options{Context: 50, Chunk: 8})
	_, err := e.Generate(t.Context(), Request{Prompt: prompt(1, 50), Choose: chooserFunc(greedy)})
	var tooLong *PromptTooLongError
	if !errors.As(err, &tooLong) || tooLong.Tokens != 50 || tooLong.Limit != 50 {
		t.Errorf("a prompt of the whole context: %v, want a PromptTooLongError of 50 and 50", err)
	}
	for _, maxTokens := range []int{0, 100} {
		g := generate(t, e, Request{Prompt: prompt(1, 45), MaxTokens: maxTokens, Choose: chooserFunc(greedy)})
		if got := mustCollect(t, g); len(got) != 5 || g.Finish() != FinishLength {
			t.Errorf("MaxTokens %d: %d tokens and %q, want 5 and %q", maxTokens, len(got), g.Finish(), FinishLength)
		}
	}
}

func TestBadRequests(t *testing.T) {
	e := open(t, tiny(t), Options{})
	for want, r := range map[string]Request{
		"Prompt is empty":                          {Choose: chooserFunc(greedy)},
		"Prompt[1] is 700":                         {Prompt: []int32{1, 700}, Choose: chooserFunc(greedy)},
		"Prompt[0] is -1":                          {Prompt: []int32{-1}, Choose: chooserFunc(greedy)},
		"MaxTokens is -2":                          {Prompt: []int32{1}, MaxTokens: -2, Choose: chooserFunc(greedy)},
		"Request.Choose is nil":                    {Prompt: []int32{1}},
		"with one token of answer it must fit 256": {Prompt: prompt(1, 256), Choose: chooserFunc(greedy)},
	} {
		if _, err := e.Generate(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	for want, o := range map[string]Options{
		"Options.Slots is -1":    {Slots: -1},
		"Options.Context is 257": {Context: 257},
		"Options.Chunk is 5000":  {Chunk: 5000},
		"Options.Queue is -3":    {Queue: -3},
	} {
		if _, err := New(e.model, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// gate is a Chooser that holds the engine at its first call until it is opened,
// so that a test knows what the engine is doing.
type gate struct {
	reached, open chan struct{}
	once          sync.Once
}

func newGate() *gate { return &gate{reached: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) Choose(logits []float32, generated []int32) int32 {
	g.once.Do(func() {
		close(g.reached)
		<-g.open
	})
	return greedy(logits, generated)
}

func TestQueueIsBounded(t *testing.T) {
	e := open(t, tiny(t), Options{Slots: 1, Queue: 2})
	hold := newGate()
	running := generate(t, e, Request{Prompt: prompt(1, 3), MaxTokens: 2, Choose: hold})
	<-hold.reached
	r := Request{Prompt: prompt(2, 3), MaxTokens: 2, Choose: chooserFunc(greedy)}
	first, second := generate(t, e, r), generate(t, e, r)
	if _, err := e.Generate(t.Context(), r); !errors.Is(err, ErrBusy) {
		t.Errorf("a third in a queue of two: %v, want ErrBusy", err)
	}
	first.Close()
	third := generate(t, e, r) // takes the place of the one that gave up
	close(hold.open)
	for _, g := range []*Generation{running, second, third} {
		if got := mustCollect(t, g); len(got) != 2 {
			t.Errorf("got %v, want 2 tokens", got)
		}
	}
	if _, err := collect(t.Context(), first); !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled one ended with %v, want context.Canceled", err)
	}
}

// TestCancelFreesTheSlot: with one slot, the second request can only run once
// the first has lost its place. The first is cancelled while its second token is
// being chosen, and gets no third.
func TestCancelFreesTheSlot(t *testing.T) {
	for _, how := range []string{"Close", "context"} {
		e := open(t, tiny(t), Options{Slots: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var first *Generation
		ready := make(chan struct{})
		first, err := e.Generate(ctx, Request{Prompt: prompt(1, 5), Choose: chooserFunc(func(logits []float32, ids []int32) int32 {
			<-ready
			switch {
			case len(ids) == 1 && how == "Close":
				first.Close()
			case len(ids) == 1:
				cancel()
			}
			return greedy(logits, ids)
		})})
		if err != nil {
			t.Fatal(err)
		}
		close(ready)
		second := generate(t, e, Request{Prompt: prompt(2, 5), MaxTokens: 3, Choose: chooserFunc(greedy)})
		if got := mustCollect(t, second); len(got) != 3 {
			t.Errorf("%s: got %v, want 3 tokens", how, got)
		}
		if got, err := collect(t.Context(), first); !errors.Is(err, context.Canceled) || len(got) != 2 {
			t.Errorf("%s: the cancelled one ended with %v after %d tokens, want context.Canceled after 2", how, err, len(got))
		}
		cancel()
	}
}

// TestShortPassesLong: a long prompt is queued first and a short one behind it.
// Both are computed a chunk at a time, and the short one answers first.
func TestShortPassesLong(t *testing.T) {
	e := open(t, tiny(t), Options{Slots: 3, Chunk: 8})
	hold := newGate()
	running := generate(t, e, Request{Prompt: prompt(1, 3), MaxTokens: 60, Choose: hold})
	<-hold.reached
	var order []string // written on the engine's goroutine only
	note := func(name string) Chooser {
		return chooserFunc(func(logits []float32, generated []int32) int32 {
			order = append(order, name)
			return greedy(logits, generated)
		})
	}
	long := generate(t, e, Request{Prompt: prompt(2, 200), MaxTokens: 1, Choose: note("long")})
	short := generate(t, e, Request{Prompt: prompt(3, 10), MaxTokens: 4, Choose: note("short")})
	close(hold.open)
	for _, g := range []*Generation{long, short, running} {
		mustCollect(t, g)
	}
	e.Close() // so that order is no longer written
	want := []string{"short", "short", "short", "short", "long"}
	if !slices.Equal(order, want) {
		t.Errorf("tokens came in the order %v, want %v", order, want)
	}
}

// TestDecodesGoOnDuringPrefill: one token per tick, however long the prompt
// beside it.
func TestDecodesGoOnDuringPrefill(t *testing.T) {
	e := open(t, tiny(t), Options{Slots: 2, Chunk: 8})
	hold, during := newGate(), 0
	var sawLong bool
	running := generate(t, e, Request{Prompt: prompt(1, 3), MaxTokens: 100, Choose: chooserFunc(func(l []float32, g []int32) int32 {
		if hold.Choose(l, g); !sawLong {
			during++
		}
		return greedy(l, g)
	})})
	<-hold.reached
	long := generate(t, e, Request{Prompt: prompt(2, 160), MaxTokens: 1, Choose: chooserFunc(func(l []float32, g []int32) int32 {
		sawLong = true
		return greedy(l, g)
	})})
	close(hold.open)
	mustCollect(t, long)
	mustCollect(t, running)
	e.Close()
	// 160 tokens in chunks of 8 are 20 ticks; the first token came before them.
	if during != 21 {
		t.Errorf("the running answer got %d tokens until the long prompt was done, want 21", during)
	}
}

func TestChooserErrorsStayTheirs(t *testing.T) {
	m := tiny(t)
	e := open(t, m, Options{Slots: 4})
	bad := map[string]chooserFunc{
		"panicked: boom":    func([]float32, []int32) int32 { panic("boom") },
		"returned 700":      func([]float32, []int32) int32 { return 700 },
		"returned -1":       func([]float32, []int32) int32 { return -1 },
		"panicked: runtime": func(l []float32, _ []int32) int32 { return int32(l[len(l)]) }, //nolint:gocritic // it is to panic
	}
	good := generate(t, e, Request{Prompt: prompt(1, 5), MaxTokens: 8, Choose: chooserFunc(greedy)})
	for want, choose := range bad {
		at := 0
		g := generate(t, e, Request{Prompt: prompt(2, 4), MaxTokens: 8, Choose: chooserFunc(func(l []float32, ids []int32) int32 {
			if at++; at < 3 {
				return greedy(l, ids)
			}
			return choose(l, ids)
		})})
		got, err := collect(t.Context(), g)
		var chooser *ChooserError
		if !errors.As(err, &chooser) || !strings.Contains(err.Error(), want) || len(got) != 2 {
			t.Errorf("got %v after %d tokens, want a ChooserError with %q after 2", err, len(got), want)
		}
	}
	if got, want := mustCollect(t, good), expected(t, m, prompt(1, 5), 8); !slices.Equal(got, want) {
		t.Errorf("beside broken ones: got %v, want %v", got, want)
	}
}

// broken is a runner that fails at its n-th batch.
type broken struct {
	*llama.Runner
	n    int
	fail func() error
}

func (b *broken) Run(batch *llama.Batch) error {
	if b.n--; b.n == 0 {
		return b.fail()
	}
	return b.Runner.Run(batch)
}

// TestBrokenModel: when the model fails or panics, the generations in its batch
// end with that error, and the engine serves the next.
func TestBrokenModel(t *testing.T) {
	m := tiny(t)
	failure := errors.New("out of order")
	for want, fail := range map[string]func() error{
		"out of order":   func() error { return failure },
		"tick: shape mi": func() error { panic("shape mismatch") },
	} {
		e, err := start(m, Options{Slots: 2}, &broken{llama.NewRunner(m), 4, fail})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		got, err := collect(t.Context(), generate(t, e, Request{Prompt: prompt(1, 5), Choose: chooserFunc(greedy)}))
		if err == nil || !strings.Contains(err.Error(), want) || len(got) != 3 {
			t.Errorf("got %v after %d tokens, want %q after 3", err, len(got), want)
		}
		next := generate(t, e, Request{Prompt: prompt(1, 5), MaxTokens: 3, Choose: chooserFunc(greedy)})
		if got, want := mustCollect(t, next), expected(t, m, prompt(1, 5), 3); !slices.Equal(got, want) {
			t.Errorf("after a failure: got %v, want %v", got, want)
		}
	}
}

func TestCloseEndsAll(t *testing.T) {
	before := runtime.NumGoroutine()
	e, err := New(tiny(t), Options{Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	closing := make(chan struct{})
	r := Request{Prompt: prompt(1, 5), Choose: chooserFunc(func(logits []float32, generated []int32) int32 {
		if len(generated) == 1 {
			<-closing // else it could come to its end before
		}
		return greedy(logits, generated)
	})}
	running, waiting := generate(t, e, r), generate(t, e, r)
	if _, err := running.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	for isClosing := false; !isClosing; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		isClosing = e.closed
		e.mu.Unlock()
	}
	close(closing)
	if err := errors.Join(<-closed, e.Close()); err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]*Generation{"running": running, "waiting": waiting} {
		if _, err := collect(t.Context(), g); !errors.Is(err, ErrClosed) {
			t.Errorf("the %s one ended with %v, want ErrClosed", name, err)
		}
	}
	if _, err := e.Generate(t.Context(), r); !errors.Is(err, ErrClosed) {
		t.Errorf("Generate after Close: %v, want ErrClosed", err)
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // a worker of the backend may still be returning
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestNextHonoursItsContext(t *testing.T) {
	e := open(t, tiny(t), Options{})
	hold := newGate()
	g := generate(t, e, Request{Prompt: prompt(1, 5), MaxTokens: 1, Choose: hold})
	<-hold.reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	close(hold.open)
	if got := mustCollect(t, g); len(got) != 1 {
		t.Errorf("got %v, want one token", got)
	}
}
