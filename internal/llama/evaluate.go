package llama

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gomlx/compute"
)

// MaxSequence is the longest sequence an Evaluator takes: the attention scores
// of all positions are in memory at once. The engine has no such limit.
const MaxSequence = 2048

const (
	maxEvaluateGraphs = 24

	// evaluateWorkers run batches side by side, because between the products,
	// which use all cores, a graph uses one.
	evaluateWorkers = 2
)

// Row is what an Evaluator finds at the last position of a sequence.
type Row struct {
	Logits []float32 // [Vocab]
	PreFFN []float32 // [Hidden]: the residual stream that enters the last layer's feed-forward block, before its norm
}

// Evaluator runs whole sequences without a cache, many at a time. It may be used
// by several goroutines.
type Evaluator struct {
	// Progress, if set before the first call, is told after each run how many of
	// the sequences are done. One call at a time.
	Progress func(done, total int)

	model *Model
	mu    sync.Mutex
	idle  []*evaluation // compiled graphs that nobody runs, the one used last at the end
	last  *prefix       // of the last call that had one
}

// NewEvaluator makes an evaluator for the model.
func NewEvaluator(m *Model) *Evaluator { return &Evaluator{model: m} }

// Evaluate returns one row for each sequence, in their order.
func (e *Evaluator) Evaluate(ctx context.Context, sequences [][]int32) ([]Row, error) {
	rows := make([]Row, len(sequences))
	err := e.Each(ctx, sequences, func(i int, row Row) error {
		rows[i] = Row{Logits: slices.Clone(row.Logits), PreFFN: slices.Clone(row.PreFFN)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Each calls visit with the row of each sequence, in no particular order but one
// at a time, and stops at its first error. The row's memory is valid during the
// call only.
func (e *Evaluator) Each(ctx context.Context, sequences [][]int32, visit func(i int, row Row) error) error {
	for i, s := range sequences {
		if len(s) == 0 || len(s) > MaxSequence {
			return fmt.Errorf("llama: sequence %d has %d tokens; it must have 1 to %d", i, len(s), MaxSequence)
		}
		if err := e.model.checkTokens(s); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	prefix, err := e.prefix(sequences)
	if err != nil {
		return err
	}
	p := &pass{evaluator: e, prefix: prefix, total: len(sequences), visit: visit}
	p.batches = plan(pack(without(prefix, sequences)))
	var workers sync.WaitGroup
	for range evaluateWorkers {
		workers.Go(func() { p.work(ctx) })
	}
	workers.Wait()
	return p.err
}

// pass is one call of Each, shared by its workers.
type pass struct {
	evaluator *Evaluator
	prefix    *prefix
	total     int // sequences
	visit     func(int, Row) error

	mu      sync.Mutex
	batches [][]line // not yet begun
	done    int      // sequences
	err     error    // the first
}

func (p *pass) work(ctx context.Context) {
	for {
		batch, ok := p.next(ctx)
		if !ok {
			return
		}
		if err := guard("evaluate sequences", func() error { return p.run(batch) }); err != nil {
			p.fail(err)
		}
	}
}

// next takes a batch, unless the pass is over or has failed.
func (p *pass) next(ctx context.Context) ([]line, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && len(p.batches) > 0 {
		p.err = ctx.Err()
	}
	if p.err != nil || len(p.batches) == 0 {
		return nil, false
	}
	batch := p.batches[0]
	p.batches = p.batches[1:]
	return batch, true
}

func (p *pass) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// run computes one batch.
func (p *pass) run(batch []line) error {
	v, err := p.evaluator.take(shapeOfLines(batch, p.prefix.length()))
	if err != nil {
		return err
	}
	v.fill(batch)
	if p.prefix != nil {
		copy(v.inputs[v.past:], p.prefix.cache.buffers)
	}
	outputs, err := v.execute()
	if err != nil {
		return err
	}
	defer release(outputs)
	if err := p.deliver(v, batch, outputs); err != nil {
		return err
	}
	p.evaluator.put(v)
	return nil
}

// deliver hands the rows of a batch to the visitor.
func (p *pass) deliver(v *evaluation, batch []line, outputs []compute.Buffer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if err := v.visit(batch, outputs, p.visit); err != nil {
		return err
	}
	p.done += wanted(batch)
	if p.evaluator.Progress != nil {
		p.evaluator.Progress(p.done, p.total)
	}
	return nil
}

// take returns a compiled graph of a shape, for the caller alone until put.
func (e *Evaluator) take(shape evaluationShape) (*evaluation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, v := range e.idle {
		if v.shape == shape {
			e.idle = slices.Delete(e.idle, i, i+1)
			return v, nil
		}
	}
	return e.model.newEvaluation(shape)
}

// put gives a graph back. The one unused for longest is dropped when there are
// too many.
func (e *Evaluator) put(v *evaluation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.idle = append(e.idle, v); len(e.idle) > maxEvaluateGraphs {
		e.idle[0].graph.Finalize()
		e.idle = slices.Delete(e.idle, 0, 1)
	}
}
