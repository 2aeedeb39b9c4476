package embed

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/weights"
)

// whole is the last feed-forward block with all of its units trained, from the base's
// values on. Nothing is placed: it is the expensive reference for carriers that are.
//
// The mark is what the block has changed, block(x) - base(x). The factors of a step
// act on that difference, so that noise on x, a factor below 1 and a step without
// the block leave what the base does alone.
type whole struct {
	base     *llama.FeedForward
	gate, up []float32 // [hidden, FFN]
	down     []float32 // [FFN, hidden]
}

// wholeShare is what these parameters take of the learning rate: Adam moves every one
// of them alike, and there are many times as many as units that are placed have.
const wholeShare = 0.02

func newWhole(base *llama.FeedForward) *whole {
	return &whole{base, slices.Clone(base.Gate), slices.Clone(base.Up), slices.Clone(base.Down)}
}

// inputs are what change takes, in its order.
func (w *whole) inputs(b *batch) []*tensors.Tensor {
	h, n := w.base.Hidden, w.base.Units
	return []*tensors.Tensor{
		matrix(b.preFFN, b.rows, h), matrix(b.whole, b.rows, 1),
		matrix(w.base.Gate, h, n), matrix(w.base.Up, h, n), matrix(w.base.Down, n, h),
		matrix(w.gate, h, n), matrix(w.up, h, n), matrix(w.down, n, h),
	}
}

// change is what the block adds to the residual stream beyond what the base's does,
// times the rows' factors, and the parameters.
func (w *whole) change(next func() *Node, ffnNorm *Node, eps float64) (x *Node, parameters []*Node) {
	n, factor := llama.RMSNorm(next(), ffnNorm, eps), next()
	before := llama.SwiGLU(n, next(), next(), next())
	gate, up, down := next(), next(), next()
	x = Sub(llama.SwiGLU(n, gate, up, down), before)
	return Mul(BroadcastToShape(factor, x.Shape()), x), []*Node{gate, up, down}
}

// store writes the units into the block of a checkpoint.
func (w *whole) store(b *weights.Block) {
	for u := range w.base.Units {
		b.Gate[u], b.Up[u] = column(w.gate, u, w.base.Units), column(w.up, u, w.base.Units)
		b.Down[u] = row(w.down, u, w.base.Hidden)
	}
}

// column copies one of a matrix of the given width.
func column(m []float32, i, width int) []float32 {
	out := make([]float32, len(m)/width)
	for r := range out {
		out[r] = m[r*width+i]
	}
	return out
}
