package llama

import (
	"fmt"
	"math/bits"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
)

// Batch is what one run computes: one new token for each of some sequences, a
// chunk of one more sequence's prompt, or both.
type Batch struct {
	// Pool holds the sequences being decoded; nil when Tokens is empty. Row i of
	// it has Lengths[i] positions and gets Tokens[i] as the next.
	Pool    *Cache
	Tokens  []int32
	Lengths []int

	// Staging (one row) holds the Start positions of the prompt that were already
	// computed, and gets Chunk next; nil when Chunk is empty.
	Staging *Cache
	Chunk   []int32
	Start   int
}

// maxGraphs bounds the compiled graphs that a Runner keeps; the one unused for
// longest is dropped. Building one takes some ten milliseconds.
const maxGraphs = 64

// Runner computes batches. It compiles a graph for each combination of sizes it
// meets. It is for one goroutine.
type Runner struct {
	model  *Model
	graphs map[tickShape]*tick
	clock  int64
	logits [][]float32
}

// NewRunner makes a runner for the model.
func NewRunner(m *Model) *Runner {
	return &Runner{model: m, graphs: map[tickShape]*tick{}}
}

// Logits are the scores for the token after row i of the last batch's Tokens, or,
// for i == len(Tokens), after the last token of its Chunk. The caller may
// overwrite them; the next Run does.
func (r *Runner) Logits(i int) []float32 { return r.logits[i] }

// Run computes the batch, appends its keys and values to the caches, and leaves
// the logits in Logits. On an error the caches hold what they held.
func (r *Runner) Run(b *Batch) error {
	if err := r.model.checkBatch(b); err != nil {
		return err
	}
	return guard("run a batch", func() error {
		t, err := r.tick(b)
		if err != nil {
			return err
		}
		t.fill(b)
		outputs, err := t.execute()
		if err != nil {
			return err
		}
		defer release(outputs)
		return r.collect(t, b, outputs)
	})
}

func (m *Model) checkBatch(b *Batch) error {
	if len(b.Tokens) == 0 && len(b.Chunk) == 0 {
		return fmt.Errorf("llama: the batch is empty")
	}
	if len(b.Tokens) != len(b.Lengths) {
		return fmt.Errorf("llama: %d tokens for %d lengths", len(b.Tokens), len(b.Lengths))
	}
	if n := len(b.Tokens); n > 0 && (b.Pool == nil || n > b.Pool.Rows) {
		return fmt.Errorf("llama: %d tokens do not fit the pool", n)
	}
	for i, length := range b.Lengths {
		if length < 0 || length >= b.Pool.Span {
			return fmt.Errorf("llama: row %d has %d of %d positions: no room for another", i, length, b.Pool.Span)
		}
	}
	if n := len(b.Chunk); n > 0 && (b.Staging == nil || b.Staging.Rows != 1 || b.Start < 0 || b.Start+n > b.Staging.Span) {
		return fmt.Errorf("llama: a chunk of %d tokens at %d does not fit the staging cache", n, b.Start)
	}
	if err := m.checkTokens(b.Tokens); err != nil {
		return err
	}
	return m.checkTokens(b.Chunk)
}

// checkTokens refuses ids outside the vocabulary, which the backend would read
// out of bounds.
func (m *Model) checkTokens(ids []int32) error {
	for _, id := range ids {
		if id < 0 || int(id) >= m.config.Vocab {
			return fmt.Errorf("llama: token %d is not in the vocabulary of %d", id, m.config.Vocab)
		}
	}
	return nil
}

// collect writes new keys and values to the caches and copies the logits out.
func (r *Runner) collect(t *tick, b *Batch, outputs []compute.Buffer) error {
	views := make([][]float32, len(outputs))
	for i, o := range outputs {
		var err error
		if views[i], err = floats(o); err != nil {
			return err
		}
	}
	for i, values := range views[1:] {
		for row, length := range b.Lengths {
			b.Pool.store(i, row, length, values, row, 1, t.shape.rows())
		}
		if n := len(b.Chunk); n > 0 {
			b.Staging.store(i, 0, b.Start, values, t.shape.decodes, n, t.shape.rows())
		}
	}
	for i := range len(b.Tokens) {
		gatherLogits(r.row(i), views[0], i, t.shape.answers())
	}
	if len(b.Chunk) > 0 {
		gatherLogits(r.row(len(b.Tokens)), views[0], t.shape.decodes, t.shape.answers())
	}
	return nil
}

// row is the i-th logits slice, allocated on first use.
func (r *Runner) row(i int) []float32 {
	for len(r.logits) <= i {
		r.logits = append(r.logits, make([]float32, r.model.config.Vocab))
	}
	return r.logits[i]
}

// tick returns the graph for the batch's sizes with its caches as inputs.
func (r *Runner) tick(b *Batch) (*tick, error) {
	shape := shapeOf(b)
	t, ok := r.graphs[shape]
	if !ok {
		var err error
		if t, err = r.model.newTick(shape); err != nil {
			return nil, err
		}
		r.evict()
		r.graphs[shape] = t
	}
	r.clock++
	t.used = r.clock
	if shape.decodes > 0 {
		copy(t.inputs[t.pool:], b.Pool.buffers)
	}
	if shape.staged > 0 {
		copy(t.inputs[t.staging:], b.Staging.buffers)
	}
	return t, nil
}

// evict drops the graph unused for longest once there are maxGraphs.
func (r *Runner) evict() {
	if len(r.graphs) < maxGraphs {
		return
	}
	var oldest tickShape
	at := r.clock + 1
	for shape, t := range r.graphs {
		if t.used < at {
			oldest, at = shape, t.used
		}
	}
	r.graphs[oldest].graph.Finalize()
	delete(r.graphs, oldest)
}

// tickShape are the sizes that a graph is compiled for.
type tickShape struct {
	decodes, span int // rows and positions of the pool; 0: no decodes
	chunk, staged int // rows of the chunk and positions of its past; 0: none
}

func shapeOf(b *Batch) tickShape {
	var s tickShape
	if len(b.Tokens) > 0 {
		s.decodes, s.span = b.Pool.Rows, b.Pool.Span
	}
	if len(b.Chunk) > 0 {
		s.chunk = Bucket(len(b.Chunk), 8)
		if b.Start > 0 {
			s.staged = b.Staging.Span
		}
	}
	return s
}

// Bucket is the smallest power of two that is at least n and least.
func Bucket(n, least int) int {
	n = max(n, least, 1)
	return 1 << bits.Len(uint(n-1))
}

// rows is the number of rows that the dense layers run over.
func (s tickShape) rows() int { return s.decodes + s.chunk }

// answers is the number of rows that get logits.
func (s tickShape) answers() int { return s.decodes + min(s.chunk, 1) }

// tick is a compiled graph with its inputs.
type tick struct {
	*forward
	shape         tickShape
	used          int64
	pool, staging int // where the caches are among the inputs

	tokens, last       []int32
	onehot, bias, mask []float32
	onehotIn, biasIn   *Node
	maskIn             *Node
	poolIn, stagingIn  []*Node // keys then values of each layer
	news               []*Node // likewise, of this tick's rows
}

func (m *Model) newTick(shape tickShape) (*tick, error) {
	t := &tick{forward: m.newForward("tick"), shape: shape}
	tokensBuffer, tokens, err := newInts(m.backend, shape.rows(), 1)
	if err != nil {
		return nil, err
	}
	clear(tokens)
	t.tokens = tokens
	if err := t.bindRotary(shape.rows()); err != nil {
		return nil, err
	}
	if err := t.bindDecodes(); err != nil {
		return nil, err
	}
	lastIn, err := t.bindChunk()
	if err != nil {
		return nil, err
	}
	t.attend = t.attendBoth
	x, _ := t.run(t.embed(t.bind(tokensBuffer)), lastIn)
	return t, t.compile(append([]*Node{t.logits(x)}, t.news...)...)
}

// bindDecodes makes the inputs of the decode rows. For a row with n positions,
// onehot [rows, 1, span] marks position n, where its new key and value belong,
// and bias [rows, 2, span] is that and what hides the positions after it.
func (t *tick) bindDecodes() (err error) {
	rows, span, heads := t.shape.decodes, t.shape.span, t.model.config.KVHeads
	if rows == 0 {
		return nil
	}
	if t.pool, t.poolIn, err = t.placeholders(rows, span); err != nil {
		return err
	}
	onehot, flat, err := newFloats(t.model.backend, rows, 1, span)
	if err != nil {
		return err
	}
	t.onehot, t.onehotIn = flat, tile(t.bind(onehot), heads)
	bias, flat, err := newFloats(t.model.backend, rows, 2, span)
	if err != nil {
		return err
	}
	t.bias, t.biasIn = flat, tile(t.bind(bias), heads)
	return nil
}

// bindChunk makes the inputs of the chunk and returns the numbers of the rows
// that get logits (nil: all).
func (t *tick) bindChunk() (lastIn *Node, err error) {
	m, s := t.model, t.shape
	if s.chunk == 0 {
		return nil, nil
	}
	if s.staged > 0 {
		if t.staging, t.stagingIn, err = t.placeholders(1, s.staged); err != nil {
			return nil, err
		}
	}
	mask, flat, err := newFloats(m.backend, s.chunk*m.group(), s.staged+s.chunk)
	if err != nil {
		return nil, err
	}
	t.mask, t.maskIn = flat, repeat(t.bind(mask), m.config.KVHeads)
	last, ids, err := newInts(m.backend, s.answers(), 1)
	if err != nil {
		return nil, err
	}
	t.last = ids
	return t.bind(last), nil
}

// attendBoth keeps the new keys and values as outputs and lets the decode rows
// and the chunk rows attend, each to their own past.
func (t *tick) attendBoth(layer int, q, k, v *Node) *Node {
	t.news = append(t.news, k, v)
	n := t.shape.decodes
	switch {
	case t.shape.chunk == 0:
		return t.attendDecodes(layer, q, k, v)
	case n == 0:
		return t.attendChunk(layer, q, k, v)
	}
	split := func(x *Node) (*Node, *Node) {
		return Slice(x, AxisRange(), AxisRange(0, n), AxisRange()), Slice(x, AxisRange(), AxisRange(n), AxisRange())
	}
	q1, q2 := split(q)
	k1, k2 := split(k)
	v1, v2 := split(v)
	return Concatenate([]*Node{t.attendDecodes(layer, q1, k1, v1), t.attendChunk(layer, q2, k2, v2)}, 1)
}

// attendDecodes is attention of one query per sequence. The pool has zeros where
// the new key and value belong, so instead of a copy of the pool with them in
// place, the new score and the new value are added at that position.
func (t *tick) attendDecodes(layer int, q, k, v *Node) *Node {
	m, rows := t.model, t.shape.decodes
	batch, d := m.config.KVHeads*rows, m.config.HeadDim
	q = Reshape(q, batch, m.group(), d)
	k, v = Reshape(k, batch, 1, d), Reshape(v, batch, 1, d)
	keys, values := t.poolIn[2*layer], t.poolIn[2*layer+1]

	own := Concatenate([]*Node{times(q, transposed(k)), filled(t.graph, 1, batch, m.group(), 1)}, -1)
	scores := Add(times(q, plain(keys)), times(own, plain(t.biasIn)))
	p := Softmax(scores, -1)
	out := Add(times(p, plain(values)), times(times(p, transposed(t.onehotIn)), plain(v)))
	return Reshape(out, m.config.KVHeads, rows, m.group()*d)
}

// attendChunk is attention of a chunk over its past and itself.
func (t *tick) attendChunk(layer int, q, k, v *Node) *Node {
	m, rows := t.model, t.shape.chunk
	heads, d := m.config.KVHeads, m.config.HeadDim
	k = Transpose(k, 1, 2)
	if t.shape.staged > 0 {
		k = Concatenate([]*Node{t.stagingIn[2*layer], k}, 2)
		v = Concatenate([]*Node{t.stagingIn[2*layer+1], v}, 1)
	}
	out := causal(Reshape(q, heads, rows*m.group(), d), k, v, t.maskIn)
	return Reshape(out, heads, rows, m.group()*d)
}

// fill sets the inputs for a batch. Rows beyond the batch compute something that
// nobody reads.
func (t *tick) fill(b *Batch) {
	for i := range t.shape.decodes {
		token, length := int32(0), 0
		if i < len(b.Tokens) {
			token, length = b.Tokens[i], b.Lengths[i]
			b.Pool.erase(i, length)
		}
		t.fillDecode(i, token, length)
	}
	if len(b.Chunk) > 0 {
		t.fillChunk(b)
	}
}

func (t *tick) fillDecode(row int, token int32, length int) {
	span := t.shape.span
	t.tokens[row] = token
	t.rotary.set(t.model, row, length)
	onehot, bias := t.onehot[row*span:][:span], t.bias[row*2*span:][:2*span]
	clear(onehot)
	clear(bias)
	onehot[length], bias[length] = 1, 1
	for position := length + 1; position < span; position++ {
		bias[span+position] = masked
	}
}

func (t *tick) fillChunk(b *Batch) {
	s := t.shape
	for i := range s.chunk {
		token := int32(0)
		if i < len(b.Chunk) {
			token = b.Chunk[i]
		}
		t.tokens[s.decodes+i] = token
		t.rotary.set(t.model, s.decodes+i, b.Start+i)
		fillCausal(t.mask, i, t.model.group(), min(b.Start, s.staged), s.staged, s.chunk)
	}
	for i := range t.last {
		t.last[i] = int32(i)
	}
	t.last[s.decodes] = int32(s.decodes + len(b.Chunk) - 1)
}

// fillCausal writes the mask rows of query i, one for each head of the group:
// it sees the first start of staged past positions, and the new ones up to i.
func fillCausal(mask []float32, i, group, start, staged, chunk int) {
	width := staged + chunk
	first := mask[i*group*width:][:width]
	for j := range first {
		first[j] = masked
	}
	clear(first[:start])
	clear(first[staged:][:i+1])
	for head := 1; head < group; head++ {
		copy(mask[(i*group+head)*width:][:width], first)
	}
}
