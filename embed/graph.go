package embed

import (
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/fealty/fealty/internal/llama"
)

// trainBackend runs operations one after another: training graphs deadlock the
// pure-Go backend's worker pool otherwise.
const trainBackend = "go:ops_sequential"

// frozen are the base's parameters that a step reads.
type frozen struct {
	ffnNorm   []float32 // [hidden]
	finalNorm []float32 // [hidden]
	head      []float32 // [hidden, columns]
	hidden    int
	columns   int
	eps       float64
}

// batch is one step's input, row by row.
type batch struct {
	rows   int
	preFFN []float32 // [rows, hidden]: what the units see, disturbed
	base   []float32 // [rows, columns]: the base's logits
	bare   []float32 // [rows, hidden]: the base's residual stream after the block, without the taken units
	inner  []float32 // [rows, FFN]: the block's activations; empty without low rank
	act    []float32 // [rows, units]: factor on each unit
	bend   []float32 // [rows, rank]: factor on the change of low rank
	whole  []float32 // [rows, 1]: factor on what the whole block has changed
	others []float32 // [rows, columns]: 0 at the drawn word, 1 elsewhere
	total  []float32 // [rows, 1]: State.Total
	push   []float32 // [rows, 1]: weights of the two losses
	hold   []float32
}

// result is what a step returns.
type result struct {
	loss           float32
	margin, diverg []float32   // [rows]: log-odds of the drawn word; KL to the base over the others
	gradients      [][]float32 // of carriers.arrays
}

// trainer holds the compiled step.
type trainer struct {
	backend compute.Backend
	exec    *Exec
	consts  []*tensors.Tensor
	frozen  frozen
	cap     float64 // wanted log-odds
	ceiling float64 // weight of what exceeds them
	shape   carriers
}

// newTrainer compiles a step for carriers of this shape.
func newTrainer(f frozen, shape *carriers, r Recipe) (t *trainer, err error) {
	defer stopPanic(&err)
	backend, err := compute.NewWithConfig(trainBackend)
	if err != nil {
		return nil, err
	}
	t = &trainer{backend: backend, frozen: f, cap: logOdds(r.Cap), ceiling: r.Ceiling, shape: *shape}
	t.consts = []*tensors.Tensor{matrix(f.ffnNorm, f.hidden), matrix(f.finalNorm, f.hidden), matrix(f.head, f.hidden, f.columns)}
	for _, c := range t.consts {
		if err := c.MaterializeOnDevice(backend, true, 0); err != nil {
			return nil, err
		}
	}
	t.exec, err = NewExec(backend, t.graph)
	return t, err
}

// close frees the backend's memory.
func (t *trainer) close() {
	t.exec.Finalize()
	for _, c := range t.consts {
		_ = c.FinalizeAll()
	}
	t.backend.Finalize()
}

// graph is the last layer's feed-forward block with the carriers, the head over
// the columns, and the two losses:
//
//	push: max(0, cap - log p_y/(1-p_y))   until the drawn word y is probable enough;
//	      and, with a ceiling, what it exceeds the cap by
//	hold: KL(base || model) over the words but y
//
// The base's own units act on unchanged input: `bare` holds their sum.
func (t *trainer) graph(in []*Node) []*Node {
	next := func() (n *Node) { n, in = in[0], in[1:]; return n }
	ffnNorm, finalNorm, head := next(), next(), next()
	base, others, total, push, hold := next(), next(), next(), next(), next()
	x, parameters := t.shape.apply(next, ffnNorm, t.frozen.eps)

	logits := llama.Head(x, finalNorm, head, t.frozen.eps)
	peak := StopGradient(ReduceAndKeep(Max(logits, base), ReduceMax, -1))
	wide := BroadcastToShape(peak, logits.Shape())
	// What the base gives to tokens that are no column stays as it is.
	weights := Exp(Sub(base, wide))
	rest := Max(Sub(Exp(Sub(total, peak)), sum(weights)), ScalarZero(logits.Graph(), logits.DType()))
	weights = Mul(weights, others)
	baseOthers := Add(sum(weights), rest)
	modelOthers := Add(sum(Mul(Exp(Sub(logits, wide)), others)), rest)

	drawn := sum(Mul(logits, Sub(OnesLike(logits), others)))
	margin := Sub(drawn, Add(Log(modelOthers), peak))
	moved := Div(sum(Mul(weights, Sub(base, logits))), baseOthers)
	divergence := Add(moved, Log(Div(modelOthers, baseOthers)))
	missing := Max(ZerosLike(margin), AddScalar(Neg(margin), t.cap))
	if t.ceiling > 0 {
		missing = Add(missing, MulScalar(Max(ZerosLike(margin), AddScalar(margin, -t.cap)), t.ceiling))
	}
	loss := Add(ReduceAllSum(Mul(push, missing)), ReduceAllSum(Mul(hold, divergence)))
	return append([]*Node{loss, margin, divergence}, Gradient(loss, parameters...)...)
}

func sum(x *Node) *Node { return ReduceAndKeep(x, ReduceSum, -1) }

// run computes the loss and the gradients.
func (t *trainer) run(b *batch, c *carriers) (r result, err error) {
	defer stopPanic(&err)
	n, columns := b.rows, t.frozen.columns
	inputs := []*tensors.Tensor{
		matrix(b.base, n, columns), matrix(b.others, n, columns),
		matrix(b.total, n, 1), matrix(b.push, n, 1), matrix(b.hold, n, 1),
	}
	inputs = append(inputs, c.inputs(b)...)
	var args []any
	for _, in := range append(t.consts[:len(t.consts):len(t.consts)], inputs...) {
		args = append(args, in)
	}
	out, err := t.exec.Call(args...)
	if err != nil {
		return r, fmt.Errorf("training step: %w", err)
	}
	r.loss = tensors.MustCopyFlatData[float32](out[0])[0]
	r.margin, r.diverg = tensors.MustCopyFlatData[float32](out[1]), tensors.MustCopyFlatData[float32](out[2])
	for _, o := range out[3:] {
		r.gradients = append(r.gradients, tensors.MustCopyFlatData[float32](o))
	}
	for _, o := range append(out, inputs...) {
		_ = o.FinalizeAll()
	}
	return r, nil
}

// stopPanic turns GoMLX's panics into errors.
func stopPanic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("training graph: %v", p)
	}
}
