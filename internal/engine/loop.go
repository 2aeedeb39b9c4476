package engine

import (
	"fmt"
	"runtime/debug"

	"github.com/fealty/fealty/internal/llama"
)

// loop is the state of the engine's goroutine.
type loop struct {
	engine *Engine
	runner runner
	pool   pool
	known  *prefixes

	prefilling []*sequence // in the order of arrival
	decoding   []*sequence // sequence i is row i of the pool
	ticks      uint64
}

// sequence is a request that has a slot.
type sequence struct {
	*Generation
	staging *llama.Cache // while prefilling
	length  int          // positions in the staging cache, then in the pool
	next    int32        // the newest token, whose position is length
}

// remaining is how much of the prompt is left to compute.
func (s *sequence) remaining() int { return len(s.request.Prompt) - s.length }

// run is the engine's goroutine.
func (e *Engine) run(r runner) {
	defer close(e.done)
	l := &loop{engine: e, runner: r, pool: pool{model: e.model, options: e.options}, known: newPrefixes(e.model, e.options)}
	defer l.pool.release()
	defer l.known.release()
	for l.admit() {
		if len(l.prefilling)+len(l.decoding) == 0 {
			<-e.wake
			continue
		}
		l.safeTick()
	}
	l.failAll(ErrClosed)
}

// admit drops what was cancelled, gives free slots to those who wait longest,
// and reports whether the engine goes on.
func (l *loop) admit() bool {
	l.dropCancelled()
	e := l.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		for _, g := range e.waiting {
			g.end("", ErrClosed)
		}
		e.waiting = nil
		return false
	}
	e.dropCancelled()
	free := e.options.Slots - len(l.prefilling) - len(l.decoding)
	n := min(free, len(e.waiting))
	for _, g := range e.waiting[:n] {
		l.prefilling = append(l.prefilling, &sequence{Generation: g})
	}
	e.waiting = append(e.waiting[:0:0], e.waiting[n:]...)
	e.running = Stats{Prefilling: len(l.prefilling), Decoding: len(l.decoding), Reused: l.known.reused}
	return true
}

// dropCancelled frees the slots of generations that nobody wants any more.
func (l *loop) dropCancelled() {
	for i := 0; i < len(l.prefilling); {
		if err := l.prefilling[i].ctx.Err(); err != nil {
			l.removePrefilling(i).end("", err)
			continue
		}
		i++
	}
	for row := 0; row < len(l.decoding); {
		if err := l.decoding[row].ctx.Err(); err != nil {
			l.removeDecoding(row).end("", err)
			continue
		}
		row++
	}
}

// removePrefilling takes a sequence out and gives its staging cache back.
func (l *loop) removePrefilling(i int) *sequence {
	s := l.prefilling[i]
	l.prefilling = append(l.prefilling[:i], l.prefilling[i+1:]...)
	if s.staging != nil {
		s.staging.Close()
		s.staging = nil
	}
	return s
}

// removeDecoding takes a sequence out; the last row moves into its place.
func (l *loop) removeDecoding(row int) *sequence {
	s, last := l.decoding[row], len(l.decoding)-1
	if row != last {
		l.decoding[row] = l.decoding[last]
		l.pool.cache.Copy(row, l.pool.cache, last, l.decoding[row].length)
	}
	l.decoding[last] = nil
	l.decoding = l.decoding[:last]
	return s
}

// failAll ends every sequence that has a slot.
func (l *loop) failAll(err error) {
	for len(l.prefilling) > 0 {
		l.removePrefilling(0).end("", err)
	}
	for _, s := range l.decoding {
		s.end("", err)
	}
	l.decoding = nil
	l.pool.release()
}

// safeTick is tick behind the panic boundary. When the model breaks, what was in
// the batch cannot be trusted: every sequence ends with the error, and the
// engine goes on for those that come.
func (l *loop) safeTick() {
	defer func() {
		if v := recover(); v != nil {
			l.failAll(&llama.PanicError{During: "tick", Value: v, Stack: debug.Stack()})
		}
	}()
	if err := l.tick(); err != nil {
		l.failAll(fmt.Errorf("engine: %w", err))
	}
}

// tick computes one token for each decoding sequence and one chunk of a prompt.
func (l *loop) tick() error {
	l.ticks++
	chosen := l.choosePrefill()
	b := &llama.Batch{}
	if err := l.addDecodes(b); err != nil {
		return err
	}
	if err := l.addChunk(b, chosen); err != nil {
		return err
	}
	if err := l.runner.Run(b); err != nil {
		return err
	}
	finished := l.finishDecodes(len(b.Tokens))
	if chosen >= 0 {
		if err := l.finishChunk(chosen, len(b.Chunk), l.runner.Logits(len(b.Tokens))); err != nil {
			return err
		}
	}
	// From the back: the row that moves into a freed place is not a finished one.
	for i := len(finished) - 1; i >= 0; i-- {
		l.removeDecoding(finished[i])
	}
	return nil
}

// choosePrefill picks whose prompt goes on, -1 for none. Ticks alternate between
// the prompt with least left, so that a short one passes a long one, and the
// oldest, so that short ones cannot keep it waiting for ever.
func (l *loop) choosePrefill() int {
	if len(l.prefilling) == 0 {
		return -1
	}
	best := 0
	if l.ticks%2 == 0 {
		return best
	}
	for i, s := range l.prefilling {
		if s.remaining() < l.prefilling[best].remaining() {
			best = i
		}
	}
	return best
}

func (l *loop) addDecodes(b *llama.Batch) error {
	if len(l.decoding) == 0 {
		return nil
	}
	if err := l.pool.fit(l.decoding, nil); err != nil {
		return err
	}
	b.Pool = l.pool.cache
	for _, s := range l.decoding {
		b.Tokens = append(b.Tokens, s.next)
		b.Lengths = append(b.Lengths, s.length)
	}
	return nil
}

func (l *loop) addChunk(b *llama.Batch, chosen int) error {
	if chosen < 0 {
		return nil
	}
	s := l.prefilling[chosen]
	if s.staging == nil {
		var err error
		if s.staging, err = l.engine.model.NewCache(1, l.pool.span(len(s.request.Prompt))); err != nil {
			return err
		}
		s.length = l.known.load(s.request.Prompt, s.staging)
	}
	n := min(l.engine.options.Chunk, s.remaining())
	b.Staging, b.Start, b.Chunk = s.staging, s.length, s.request.Prompt[s.length:s.length+n]
	return nil
}

// finishDecodes hands out the logits of the decode rows and returns the rows
// that are done, in order.
func (l *loop) finishDecodes(rows int) (finished []int) {
	for row, s := range l.decoding[:rows] {
		s.length++
		if !s.advance(l.runner.Logits(row)) {
			finished = append(finished, row)
			continue
		}
		s.next = s.generated[len(s.generated)-1]
	}
	return finished
}

// finishChunk counts a computed chunk. After the last one the sequence gets its
// first token and moves into the pool.
func (l *loop) finishChunk(i, n int, logits []float32) error {
	s := l.prefilling[i]
	s.length += n
	if s.remaining() > 0 {
		return nil
	}
	if err := l.known.store(s.request.Prompt, s.staging); err != nil {
		return err
	}
	if !s.advance(logits) {
		l.removePrefilling(i)
		return nil
	}
	s.next = s.generated[0]
	if err := l.pool.fit(l.decoding, s); err != nil {
		return err
	}
	l.pool.cache.Copy(len(l.decoding), s.staging, 0, s.length)
	l.removePrefilling(i)
	l.decoding = append(l.decoding, s)
	return nil
}
