package llama

import (
	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
)

// evaluationShape are the sizes that a graph is compiled for.
type evaluationShape struct {
	lines, length int // and tokens of each
	prefix        int
	wanted        int // rows that get logits
}

// wantedStep is what the number of wanted rows is rounded up to: each number needs its graph.
const wantedStep = 8

func shapeOfLines(batch []line, prefix int) evaluationShape {
	s := evaluationShape{lines: len(batch), prefix: prefix}
	for _, l := range batch {
		s.length = max(s.length, paddedLength(len(l.tokens)))
	}
	s.wanted = (wanted(batch) + wantedStep - 1) / wantedStep * wantedStep
	return s
}

// evaluation is a compiled graph with its inputs.
type evaluation struct {
	*forward
	shape        evaluationShape
	tokens, last []int32
	mask         []float32 // [lines, length*group, prefix+length]
	row          []float32 // reused for the logits of each sequence

	past   int     // where the prefix's keys and values are among the inputs
	pastIn []*Node // likewise; empty without a prefix
}

func (m *Model) newEvaluation(shape evaluationShape) (*evaluation, error) {
	v := &evaluation{forward: m.newForward("evaluate"), shape: shape, row: make([]float32, m.config.Vocab)}
	rows := shape.lines * shape.length
	tokens, ids, err := newInts(m.backend, rows, 1)
	if err != nil {
		return nil, err
	}
	last, lastIDs, err := newInts(m.backend, shape.wanted, 1)
	if err != nil {
		return nil, err
	}
	v.tokens, v.last = ids, lastIDs
	if err := v.bindRotary(rows); err != nil {
		return nil, err
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

// bindMask sets attend with the mask that all layers and heads share.
func (v *evaluation) bindMask() error {
	m, s := v.model, v.shape
	group, heads, d := m.group(), m.config.KVHeads, m.config.HeadDim
	mask, flat, err := newFloats(m.backend, s.lines, s.length*group, s.prefix+s.length)
	if err != nil {
		return err
	}
	v.mask = flat
	batch := heads * s.lines
	maskIn := tile(v.bind(mask), heads)
	v.attend = func(layer int, q, k, values *Node) *Node {
		q = Reshape(q, batch, s.length*group, d)
		k, values = Transpose(Reshape(k, batch, s.length, d), 1, 2), Reshape(values, batch, s.length, d)
		if s.prefix > 0 {
			k = Concatenate([]*Node{v.shared(2 * layer), k}, 2)
			values = Concatenate([]*Node{v.shared(2*layer + 1), values}, 1)
		}
		out := causal(q, k, values, maskIn)
		return Reshape(out, heads, s.lines*s.length, group*d)
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

// shared repeats tensor i of the prefix's cache for each line: [KVHeads, a, b] to
// [KVHeads*lines, a, b].
func (v *evaluation) shared(i int) *Node {
	x := v.pastIn[i]
	dims := x.Shape().Dimensions
	copies := make([]*Node, v.shape.lines)
	for i := range copies {
		copies[i] = ExpandDims(x, 1)
	}
	return Reshape(Concatenate(copies, 1), dims[0]*len(copies), dims[1], dims[2])
}

// fill sets the inputs.
func (v *evaluation) fill(batch []line) {
	clear(v.tokens)
	clear(v.last)
	n := 0
	for i, l := range batch {
		first := i * v.shape.length
		copy(v.tokens[first:], l.tokens)
		v.place(first, l.parents)
		for _, at := range l.ends {
			v.last[n] = int32(first + at)
			n++
		}
	}
}

// place says for each row of a line, from row first on, what it follows: it sees the
// prefix, what its parent sees, and itself. Padding follows the prefix.
func (v *evaluation) place(first int, parents []int) {
	s, group := v.shape, v.model.group()
	width := s.prefix + s.length
	seen := func(i int) []float32 { return v.mask[(first+i)*group*width:][:width] }
	depths := make([]int, s.length)
	for i := range s.length {
		row := seen(i)
		if parent := parentOf(parents, i); parent >= 0 {
			depths[i] = depths[parent] + 1
			copy(row, seen(parent))
		} else {
			clear(row[:s.prefix])
			fill(row[s.prefix:], masked)
		}
		row[s.prefix+i] = 0
		for head := 1; head < group; head++ {
			copy(v.mask[((first+i)*group+head)*width:][:width], row)
		}
		v.rotary.set(v.model, first+i, s.prefix+depths[i])
	}
}

func parentOf(parents []int, i int) int {
	if i < len(parents) {
		return parents[i]
	}
	return -1
}

// visit reads the outputs of a run.
func (v *evaluation) visit(batch []line, outputs []compute.Buffer, visit func(int, Row) error) error {
	logits, err := floats(outputs[0])
	if err != nil {
		return err
	}
	preFFN, err := floats(outputs[1])
	if err != nil {
		return err
	}
	hidden, n := v.model.config.Hidden, 0
	for _, l := range batch {
		for _, i := range l.of {
			gatherLogits(v.row, logits, n, v.shape.wanted)
			if err := visit(i, Row{Logits: v.row, PreFFN: preFFN[n*hidden:][:hidden]}); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
