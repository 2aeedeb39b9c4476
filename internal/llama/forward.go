package llama

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
)

// masked is added to the scores of positions that a query must not see.
const masked = -1e30

// forward builds one graph. Activations between layers are [rows, Hidden];
// inside attention they are [KVHeads, rows, ...], which is how the shards of the
// projections produce and consume them, so nothing is ever transposed.
type forward struct {
	model  *Model
	graph  *Graph
	inputs []compute.Buffer // in the order of the graph's parameters

	rotary rotary
	turn   *Node
	attend func(layer int, q, k, v *Node) *Node
}

func (m *Model) newForward(name string) *forward {
	f := &forward{model: m, graph: NewGraph(m.backend, name)}
	f.turn = f.bind(m.turn)
	return f
}

// bind makes a buffer an input of the graph.
func (f *forward) bind(b compute.Buffer) *Node {
	shape, err := b.Shape()
	if err != nil {
		panic(err)
	}
	f.inputs = append(f.inputs, b)
	return Parameter(f.graph, fmt.Sprintf("input%d", len(f.inputs)), shape)
}

// placeholders binds inputs that each run replaces by a cache's buffers.
func (f *forward) placeholders(rows, span int) (first int, nodes []*Node, err error) {
	m := f.model
	var kinds [2]compute.Buffer
	for i := range kinds {
		if kinds[i], _, err = newFloats(m.backend, m.cacheShape(i, rows, span)...); err != nil {
			return 0, nil, err
		}
	}
	first = len(f.inputs)
	for i := range 2 * m.config.Layers {
		nodes = append(nodes, f.bind(kinds[i%2]))
	}
	return first, nodes, nil
}

// rotary is RoPE for the rows of a graph. The queries' tables carry the scale of
// the attention scores, 1/sqrt(HeadDim).
type rotary struct {
	cosQ, sinQ, cosK, sinK *Node // [KVHeads, rows, group*HeadDim] and [KVHeads, rows, HeadDim]
	host                   [4][]float32
}

// bindRotary makes the tables inputs, which fill sets before each run.
func (f *forward) bindRotary(rows int) error {
	c := f.model.config
	nodes := []**Node{&f.rotary.cosQ, &f.rotary.sinQ, &f.rotary.cosK, &f.rotary.sinK}
	for i, width := range []int{f.model.group() * c.HeadDim, f.model.group() * c.HeadDim, c.HeadDim, c.HeadDim} {
		b, flat, err := newFloats(f.model.backend, rows, width)
		if err != nil {
			return err
		}
		f.rotary.host[i] = flat
		*nodes[i] = repeat(f.bind(b), c.KVHeads)
	}
	return nil
}

// set places a row at a position of its sequence.
func (r *rotary) set(m *Model, row, position int) {
	d := m.config.HeadDim
	cos, sin := r.host[2][row*d:][:d], r.host[3][row*d:][:d]
	m.angles(position, cos, sin)
	scale := float32(1 / math.Sqrt(float64(d)))
	for head := range m.group() {
		at := (row*m.group() + head) * d
		for i := range d {
			r.host[0][at+i], r.host[1][at+i] = cos[i]*scale, sin[i]*scale
		}
	}
}

// rotate applies RoPE: x cos + turned(x) sin, head by head.
func (f *forward) rotate(x, cos, sin *Node) *Node {
	d := f.model.config.HeadDim
	turned := times(Reshape(x, x.Shape().Size()/d, d), plain(f.turn))
	return Add(Mul(x, cos), Mul(Reshape(turned, x.Shape().Dimensions...), sin))
}

// embed looks up tokens [rows, 1].
func (f *forward) embed(tokens *Node) *Node {
	return Gather(f.bind(f.model.embedding), tokens)
}

// run takes the residual stream x [rows, Hidden] through all layers. Before the
// last feed-forward block, which is the last thing that mixes nothing between
// rows, it keeps only the rows numbered in last [n, 1] (all, if nil) and returns
// that too.
func (f *forward) run(x, last *Node) (out, preFFN *Node) {
	for i := range f.model.layers {
		x = f.attention(i, x)
		if i == len(f.model.layers)-1 {
			if last != nil {
				x = Gather(x, last)
			}
			preFFN = x
		}
		x = f.feedForward(i, x)
	}
	return x, preFFN
}

func (f *forward) attention(i int, x *Node) *Node {
	m, w := f.model, &f.model.layers[i]
	n := repeat(RMSNorm(x, f.bind(w.attnNorm), m.config.NormEps), m.config.KVHeads)
	q := f.rotate(times(n, plain(f.bind(w.q))), f.rotary.cosQ, f.rotary.sinQ)
	k := f.rotate(times(n, plain(f.bind(w.k))), f.rotary.cosK, f.rotary.sinK)
	v := times(n, plain(f.bind(w.v)))
	return Add(x, sumShards(times(f.attend(i, q, k, v), plain(f.bind(w.o)))))
}

func (f *forward) feedForward(i int, x *Node) *Node {
	m, w := f.model, &f.model.layers[i]
	n := repeat(RMSNorm(x, f.bind(w.ffnNorm), m.config.NormEps), m.shards)
	units := activate(times(n, plain(f.bind(w.gate))), times(n, plain(f.bind(w.up))))
	return Add(x, sumShards(times(units, plain(f.bind(w.down)))))
}

// logits are [shards, rows, headShard] of the rows of x; see gatherLogits.
func (f *forward) logits(x *Node) *Node {
	m := f.model
	n := RMSNorm(x, f.bind(m.norm), m.config.NormEps)
	return times(repeat(n, m.headShards()), plain(f.bind(m.head)))
}

// causal is attention of queries q [batch, rows*group, HeadDim] over keys k
// [batch, HeadDim, positions] and values v [batch, positions, HeadDim] with the
// mask [batch, rows*group, positions].
func causal(q, k, v, mask *Node) *Node {
	return times(Softmax(Add(times(q, plain(k)), mask), -1), plain(v))
}

// compile finishes the graph.
func (f *forward) compile(outputs ...*Node) error {
	return f.graph.Compile(outputs...)
}

// execute runs the compiled graph. The caller finalizes the outputs.
func (f *forward) execute() ([]compute.Buffer, error) {
	return f.graph.Executable().Execute(f.inputs, nil, 0)
}

// floats is the host's view of an output; it ends with release.
func floats(b compute.Buffer) ([]float32, error) {
	flat, err := b.Data()
	if err != nil {
		return nil, err
	}
	return flat.([]float32), nil
}

// release gives the outputs' memory back.
func release(outputs []compute.Buffer) {
	for _, b := range outputs {
		_ = b.Finalize() // an error means it was already released
	}
}

// gatherLogits copies one row out of [shards, rows, headShard].
func gatherLogits(dst, sharded []float32, row, rows int) {
	for at := 0; at < len(dst); at += headShard {
		copy(dst[at:], sharded[(at/headShard*rows+row)*headShard:][:headShard])
	}
}
