package eval

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/weights"
)

// tuner fine-tunes every matrix between the embedding table and the head, which stay as
// they are, as do the norms: the whole Llama, one compiled step.
type tuner struct {
	config  weights.Config
	backend compute.Backend
	exec    *Exec
	shape   tuneShape

	matrices []*tensors.Tensor // W^T [in, out], seven for each layer, in the order of parts
	trained  [][]float32       // what the gradients are of: the matrices, or A and B of each
	fixed    []*tensors.Tensor // norms, final norm, head
	rotaries map[int][3]*Node  // by number of heads
}

// tuneShape are the sizes that the step is compiled for.
type tuneShape struct {
	rows, length, answers int // sequences, tokens in each, scored positions of all together
	rank                  int // 0: all parameters
}

// parts of a layer, in the order of its inputs.
var parts = []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}

func partName(layer int, part string) string {
	return fmt.Sprintf("model.layers.%d.%s.weight", layer, part)
}

// loraScale is alpha/r of LoRA (arXiv 2106.09685), with its usual alpha = 2r.
const loraScale = 2

func newTuner(m *weights.Model, s tuneShape, seed uint64) (t *tuner, err error) {
	defer stopPanic(&err)
	backend, err := compute.NewWithConfig("go:ops_sequential")
	if err != nil {
		return nil, err
	}
	t = &tuner{config: m.Config, backend: backend, shape: s}
	random := newRandom(seed, 0x6c6f7261)
	for layer := range m.Config.Layers {
		for _, part := range parts {
			w := m.Tensors[partName(layer, part)]
			out, in := w.Shape[0], w.Shape[1]
			flat := transposed(w.Data, out, in)
			t.matrices = append(t.matrices, tensors.FromFlatDataAndDimensions(flat, in, out))
			if s.rank == 0 {
				t.trained = append(t.trained, flat)
				continue
			}
			a := make([]float32, in*s.rank)
			for i := range a {
				a[i] = float32(random.NormFloat64() / math.Sqrt(float64(in)))
			}
			t.trained = append(t.trained, a, make([]float32, s.rank*out))
		}
	}
	table := m.Tensors[embeddings]
	if h := m.Tensors[head]; h != nil {
		table = h
	}
	for layer := range m.Config.Layers {
		for _, norm := range []string{"input_layernorm", "post_attention_layernorm"} {
			t.fix(m.Tensors[partName(layer, norm)])
		}
	}
	t.fix(m.Tensors["model.norm.weight"])
	t.fixed = append(t.fixed, tensors.FromFlatDataAndDimensions(transposed(table.Data, table.Shape[0], table.Shape[1]), table.Shape[1], table.Shape[0]))
	t.exec, err = NewExec(backend, t.graph)
	return t, err
}

func (t *tuner) fix(w *weights.Tensor) {
	t.fixed = append(t.fixed, tensors.FromFlatDataAndDimensions(w.Data, w.Shape...))
}

func (t *tuner) close() {
	t.exec.Finalize()
	t.backend.Finalize()
}

func transposed(data []float32, rows, cols int) []float32 {
	out := make([]float32, len(data))
	for r := range rows {
		for c, v := range data[r*cols : (r+1)*cols] {
			out[c*rows+r] = v
		}
	}
	return out
}

// inputs of the graph: x [rows*length, hidden], which selects the scored positions
// [answers, rows*length], wanted [answers] token ids, share [answers, 1] of each in the
// loss, then fixed, the matrices, and, for low rank, A and B of each.
func (t *tuner) graph(in []*Node) []*Node {
	c := t.config
	t.rotaries = make(map[int][3]*Node)
	x, chosen, wanted, share := in[0], in[1], in[2], in[3]
	norms := in[4 : 4+2*c.Layers]
	finalNorm, table := in[4+2*c.Layers], in[5+2*c.Layers]
	rest := in[6+2*c.Layers:]
	matrices, trained := rest[:len(t.matrices)], rest[:len(t.matrices)]
	if t.shape.rank > 0 {
		trained = rest[len(t.matrices):]
		matrices = make([]*Node, len(t.matrices))
		for i := range matrices {
			matrices[i] = Add(rest[i], MulScalar(matmul(trained[2*i], trained[2*i+1]), loraScale))
		}
	}
	for layer := range c.Layers {
		w := matrices[len(parts)*layer:]
		n := llama.RMSNorm(x, norms[2*layer], c.NormEps)
		x = Add(x, matmul(t.attention(matmul(n, w[0]), matmul(n, w[1]), matmul(n, w[2])), w[3]))
		x = Add(x, llama.SwiGLU(llama.RMSNorm(x, norms[2*layer+1], c.NormEps), w[4], w[5], w[6]))
	}
	logits := llama.Head(matmul(chosen, x), finalNorm, table, c.NormEps)
	peak := StopGradient(ReduceAndKeep(logits, ReduceMax, -1))
	total := Add(Log(ReduceAndKeep(Exp(Sub(logits, BroadcastToShape(peak, logits.Shape()))), ReduceSum, -1)), peak)
	right := ReduceAndKeep(Mul(logits, OneHot(wanted, c.Vocab, dtypes.Float32)), ReduceSum, -1)
	loss := ReduceAllSum(Mul(share, Sub(total, right)))
	return append([]*Node{loss}, Gradient(loss, trained...)...)
}

func matmul(x, w *Node) *Node { return Dot(x, w).General([]int{1}, nil, []int{0}, nil) }

// attention is causal, of q [rows*length, heads*dim], k and v [rows*length, kvheads*dim].
// Sequences are padded on the right, which no position before sees.
func (t *tuner) attention(q, k, v *Node) *Node {
	c, b, l := t.config, t.shape.rows, t.shape.length
	q = MulScalar(t.rotated(q, c.Heads), 1/math.Sqrt(float64(c.HeadDim)))
	q, k, v = t.heads(q, c.Heads), t.heads(t.rotated(k, c.KVHeads), c.KVHeads), t.heads(v, c.KVHeads)
	scores := Dot(q, k).General([]int{2}, []int{0}, []int{2}, []int{0})
	scores = Add(scores, BroadcastToShape(ExpandDims(t.mask(q.Graph()), 0), scores.Shape()))
	out := Dot(Softmax(scores, -1), v).General([]int{2}, []int{0}, []int{1}, []int{0}) // [b*heads, l, dim]
	out = TransposeAllAxes(Reshape(out, b, c.Heads, l, c.HeadDim), 0, 2, 1, 3)
	return Reshape(out, b*l, c.Heads*c.HeadDim)
}

// heads gives [rows*heads, length, dim]; key-value heads are repeated for their group.
func (t *tuner) heads(x *Node, n int) *Node {
	c, b, l := t.config, t.shape.rows, t.shape.length
	x = TransposeAllAxes(Reshape(x, b, l, n, c.HeadDim), 0, 2, 1, 3)
	if group := c.Heads / n; group > 1 {
		x = ExpandDims(x, 2)
		copies := make([]*Node, group)
		for i := range copies {
			copies[i] = x
		}
		x = Concatenate(copies, 2)
	}
	return Reshape(x, b*c.Heads, l, c.HeadDim)
}

// rotated applies RoPE: x cos + turned(x) sin.
func (t *tuner) rotated(x *Node, n int) *Node {
	rows, d := t.shape.rows*t.shape.length*n, t.config.HeadDim
	r := t.rotary(x.Graph(), n)
	flat := Reshape(x, rows, d)
	flat = Add(Mul(flat, r[0]), Mul(matmul(flat, r[2]), r[1]))
	return Reshape(flat, t.shape.rows*t.shape.length, n*d)
}

// rotary are the cosines and sines of n heads' rows, and the matrix that turns a pair of
// coordinates by a right angle; all layers share them.
func (t *tuner) rotary(g *Graph, n int) [3]*Node {
	if r, ok := t.rotaries[n]; ok {
		return r
	}
	rows, d := t.shape.rows*t.shape.length*n, t.config.HeadDim
	cos, sin, turn := make([]float32, rows*d), make([]float32, rows*d), make([]float32, d*d)
	for i := range d / 2 {
		turn[(i+d/2)*d+i], turn[i*d+i+d/2] = -1, 1
		frequency := float32(1 / math.Pow(t.config.RopeTheta, float64(2*i)/float64(d)))
		for row := range rows {
			s, k := math.Sincos(float64(float32(row/n%t.shape.length) * frequency))
			cos[row*d+i], cos[row*d+i+d/2] = float32(k), float32(k)
			sin[row*d+i], sin[row*d+i+d/2] = float32(s), float32(s)
		}
	}
	var r [3]*Node
	for i, data := range [][]float32{cos, sin, turn} {
		r[i] = Const(g, tensors.FromFlatDataAndDimensions(data, len(data)/d, d))
	}
	t.rotaries[n] = r
	return r
}

// mask is [length, length]: no position sees a later one.
func (t *tuner) mask(g *Graph) *Node {
	l := t.shape.length
	flat := make([]float32, l*l)
	for i := range l {
		for j := i + 1; j < l; j++ {
			flat[i*l+j] = -1e30
		}
	}
	return Const(g, tensors.FromFlatDataAndDimensions(flat, l, l))
}

// stopPanic turns GoMLX's panics into errors.
func stopPanic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("fine-tuning graph: %v", p)
	}
}
