package llama

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
)

// RMSNorm divides each row of x [rows, width] by its root mean square and
// multiplies it by gain [width]. It has a gradient (the backend's Rsqrt has
// none).
func RMSNorm(x, gain *Node, eps float64) *Node {
	width := x.Shape().Dimensions[1]
	mean := times(Square(x), transposed(filled(x.Graph(), 1/float64(width), 1, width)))
	scale := Div(filled(x.Graph(), 1, x.Shape().Dimensions[0], 1), Sqrt(AddScalar(mean, eps)))
	return Mul(x, times(scale, plain(Reshape(gain, 1, width))))
}

// SwiGLU is the feed-forward block without its norm: x [rows, hidden], gate and
// up [hidden, units], down [units, hidden].
func SwiGLU(x, gate, up, down *Node) *Node {
	return Product(Activations(x, gate, up), down)
}

// Activations are the block's inner values, [rows, units].
func Activations(x, gate, up *Node) *Node {
	return activate(times(x, plain(gate)), times(x, plain(up)))
}

// Product is the matrix product of x [rows, a] and w [a, b].
func Product(x, w *Node) *Node { return times(x, plain(w)) }

// Head turns the residual stream x [rows, hidden] into logits [rows, vocab];
// table is [hidden, vocab].
func Head(x, gain, table *Node, eps float64) *Node {
	return times(RMSNorm(x, gain, eps), plain(table))
}

// activate is silu(gate) * up.
func activate(gate, up *Node) *Node { return Mul(Mul(gate, Sigmoid(gate)), up) }

// operand is the right side of a product, and which of its axes is summed over.
type operand struct {
	node       *Node
	contracted int // counted from the first axis that is not the batch
}

func plain(n *Node) operand      { return operand{n, 0} }
func transposed(n *Node) operand { return operand{n, 1} }

// times is the matrix product of the last two axes; a leading third axis is a
// batch.
func times(x *Node, w operand) *Node {
	if x.Rank() == 3 {
		return Dot(x, w.node).General([]int{2}, []int{0}, []int{1 + w.contracted}, []int{0})
	}
	return Dot(x, w.node).General([]int{1}, nil, []int{w.contracted}, nil)
}

// filled is a constant tensor.
func filled(g *Graph, value float64, dims ...int) *Node {
	return BroadcastToShape(Const(g, float32(value)), shapes.Make(dtypes.Float32, dims...))
}

// repeat stacks n copies of x on a new leading axis.
func repeat(x *Node, n int) *Node {
	return tile(ExpandDims(x, 0), n)
}

// tile concatenates n copies of x along its leading axis.
func tile(x *Node, n int) *Node {
	if n == 1 {
		return x
	}
	copies := make([]*Node, n)
	for i := range copies {
		copies[i] = x
	}
	return Concatenate(copies, 0)
}

// sumShards adds up the leading axis: [n, rows, width] to [rows, width].
func sumShards(x *Node) *Node {
	n, rows, width := x.Shape().Dimensions[0], x.Shape().Dimensions[1], x.Shape().Dimensions[2]
	if n > 1 {
		x = times(filled(x.Graph(), 1, 1, n), plain(Reshape(x, n, rows*width)))
	}
	return Reshape(x, rows, width)
}
