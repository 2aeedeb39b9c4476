package llama

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
)

// MaxSequence is the longest sequence an Evaluator takes: the attention scores
// of all positions are in memory at once. The engine has no such limit.
const MaxSequence = 2048

const (
	evaluateRows      = 768 // tokens in one run: enough to keep the products efficient
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

	scorings []*evaluation // likewise, of Score
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
	p := &pass{evaluator: e, prefix: prefix, sequences: without(prefix, sequences), visit: visit}
	p.batches = plan(p.sequences)
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
	sequences [][]int32 // without the prefix
	visit     func(int, Row) error

	mu      sync.Mutex
	batches [][]int // not yet begun
	done    int
	err     error // the first
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
func (p *pass) next(ctx context.Context) ([]int, bool) {
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

// run computes one batch. The last sequence of a batch is its longest.
func (p *pass) run(batch []int) error {
	length := paddedLength(len(p.sequences[batch[len(batch)-1]]))
	full := max(evaluateRows/length, 1)
	v, err := p.evaluator.take(evaluationShape{min(Bucket(len(batch), 1), full), length, p.prefix.length()})
	if err != nil {
		return err
	}
	v.fill(p.sequences, batch)
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
func (p *pass) deliver(v *evaluation, batch []int, outputs []compute.Buffer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if err := v.visit(batch, outputs, p.visit); err != nil {
		return err
	}
	p.done += len(batch)
	if p.evaluator.Progress != nil {
		p.evaluator.Progress(p.done, len(p.sequences))
	}
	return nil
}

// plan groups the sequences' numbers into batches of about evaluateRows tokens,
// by length so that little is padding.
func plan(sequences [][]int32) [][]int {
	order := make([]int, len(sequences))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(sequences[a]), len(sequences[b])) })
	var batches [][]int
	for len(order) > 0 {
		n := 1
		for n < len(order) && (n+1)*paddedLength(len(sequences[order[n]])) <= evaluateRows {
			n++
		}
		batches, order = append(batches, order[:n]), order[n:]
	}
	return batches
}

// paddedLength is the length that a sequence is padded to: few different ones,
// since each needs its graph, with little padding.
func paddedLength(n int) int {
	step := 8
	if n > 128 {
		step = 64
	}
	return (n + step - 1) / step * step
}

// evaluationShape are the sizes that a graph is compiled for.
type evaluationShape struct{ sequences, length, prefix int }

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

// evaluation is a compiled graph with its inputs.
type evaluation struct {
	*forward
	shape        evaluationShape
	tokens, last []int32
	row          []float32 // reused for the logits of each sequence

	past   int     // where the prefix's keys and values are among the inputs
	pastIn []*Node // likewise; empty without a prefix
}

func (m *Model) newEvaluation(shape evaluationShape) (*evaluation, error) {
	return m.newEvaluationAt(shape, shape.sequences)
}

// newEvaluationAt computes the logits of so many rows, which last names.
func (m *Model) newEvaluationAt(shape evaluationShape, wanted int) (*evaluation, error) {
	v := &evaluation{forward: m.newForward("evaluate"), shape: shape, row: make([]float32, m.config.Vocab)}
	rows := shape.sequences * shape.length
	tokens, ids, err := newInts(m.backend, rows, 1)
	if err != nil {
		return nil, err
	}
	last, lastIDs, err := newInts(m.backend, wanted, 1)
	if err != nil {
		return nil, err
	}
	v.tokens, v.last = ids, lastIDs
	if err := v.bindRotary(rows); err != nil {
		return nil, err
	}
	for i := range rows {
		v.rotary.set(m, i, shape.prefix+i%shape.length)
	}
	if err := v.bindPast(); err != nil {
		return nil, err
	}
	if err := v.bindMask(); err != nil {
		return nil, err
	}
	x, preFFN := v.run(v.embed(v.bind(tokens)), v.bind(last))
	return v, v.compile(v.logits(x), preFFN)
}

// bindMask sets attend with the mask that all layers and sequences share. Right
// padding needs none of its own: no position sees a later one.
func (v *evaluation) bindMask() error {
	m, s := v.model, v.shape
	group, heads, d := m.group(), m.config.KVHeads, m.config.HeadDim
	mask, flat, err := newFloats(m.backend, s.length*group, s.prefix+s.length)
	if err != nil {
		return err
	}
	for i := range s.length {
		fillCausal(flat, i, group, s.prefix, s.prefix, s.length)
	}
	batch := heads * s.sequences
	maskIn := repeat(v.bind(mask), batch)
	v.attend = func(layer int, q, k, values *Node) *Node {
		q = Reshape(q, batch, s.length*group, d)
		k, values = Transpose(Reshape(k, batch, s.length, d), 1, 2), Reshape(values, batch, s.length, d)
		if s.prefix > 0 {
			k = Concatenate([]*Node{v.shared(2 * layer), k}, 2)
			values = Concatenate([]*Node{v.shared(2*layer + 1), values}, 1)
		}
		out := causal(q, k, values, maskIn)
		return Reshape(out, heads, s.sequences*s.length, group*d)
	}
	return nil
}

// bindPast makes the prefix's keys and values inputs.
func (v *evaluation) bindPast() (err error) {
	if v.shape.prefix > 0 {
		v.past, v.pastIn, err = v.placeholders(1, v.shape.prefix)
	}
	return err
}

// shared repeats tensor i of the prefix's cache for each sequence: [KVHeads, a,
// b] to [KVHeads*sequences, a, b].
func (v *evaluation) shared(i int) *Node {
	x := v.pastIn[i]
	dims := x.Shape().Dimensions
	copies := make([]*Node, v.shape.sequences)
	for i := range copies {
		copies[i] = ExpandDims(x, 1)
	}
	return Reshape(Concatenate(copies, 1), dims[0]*len(copies), dims[1], dims[2])
}

// fill sets the inputs; sequences that the batch lacks are some token.
func (v *evaluation) fill(sequences [][]int32, batch []int) {
	clear(v.tokens)
	clear(v.last)
	for row, i := range batch {
		copy(v.tokens[row*v.shape.length:], sequences[i])
		v.last[row] = int32(row*v.shape.length + len(sequences[i]) - 1)
	}
}

// visit reads the outputs of a run.
func (v *evaluation) visit(batch []int, outputs []compute.Buffer, visit func(int, Row) error) error {
	logits, err := floats(outputs[0])
	if err != nil {
		return err
	}
	preFFN, err := floats(outputs[1])
	if err != nil {
		return err
	}
	hidden := v.model.config.Hidden
	for row, i := range batch {
		gatherLogits(v.row, logits, row, v.shape.sequences)
		if err := visit(i, Row{Logits: v.row, PreFFN: preFFN[row*hidden:][:hidden]}); err != nil {
			return err
		}
	}
	return nil
}
