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

// added are the parameters that training changes.
type added struct {
	gate, up []float32 // [hidden, units]
	down     []float32 // [units, hidden]
	units    int
}

// batch is one step's input, row by row.
type batch struct {
	rows          int
	preFFN, after []float32 // [rows, hidden]
	scale         []float32 // [rows, hidden]: factor on the added units
	target        []float32 // [rows, columns]
	others        []float32 // [rows, columns]: 0 at the drawn word, 1 elsewhere
	rest, level   []float32 // [rows, 1]
	push, hold    []float32 // [rows, 1]: weights of the two losses
}

// result is what a step returns. The gradients are nil after evaluate.
type result struct {
	loss           float32
	margin, diverg []float32 // [rows]: log-odds of the drawn word; KL to the target
	gate, up, down []float32
}

// trainer holds the compiled step.
type trainer struct {
	backend compute.Backend
	exec    *Exec
	consts  []any
	frozen  frozen
	cap     float64 // wanted log-odds
}

func newTrainer(f frozen, logOdds float64) (t *trainer, err error) {
	defer stopPanic(&err)
	backend, err := compute.NewWithConfig(trainBackend)
	if err != nil {
		return nil, err
	}
	t = &trainer{backend: backend, frozen: f, cap: logOdds}
	for _, c := range []*tensors.Tensor{
		tensors.FromFlatDataAndDimensions(f.ffnNorm, f.hidden),
		tensors.FromFlatDataAndDimensions(f.finalNorm, f.hidden),
		tensors.FromFlatDataAndDimensions(f.head, f.hidden, f.columns),
	} {
		if err := c.MaterializeOnDevice(backend, true, 0); err != nil {
			return nil, err
		}
		t.consts = append(t.consts, c)
	}
	t.exec, err = NewExec(backend, t.graph)
	return t, err
}

// close frees the backend's memory.
func (t *trainer) close() {
	t.exec.Finalize()
	for _, c := range t.consts {
		_ = c.(*tensors.Tensor).FinalizeAll()
	}
	t.backend.Finalize()
}

// graph is the last layer's feed-forward block with the added units, the head
// over the columns, and the two losses:
//
//	push: max(0, cap - log p_y/(1-p_y))   until the drawn word y is probable enough
//	hold: KL(base || model) over the words but y
//
// The base's own units act on unchanged input: `after` holds their sum.
func (t *trainer) graph(in []*Node) []*Node {
	preFFN, after, scale, target, others, rest, level, push, hold := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8]
	gate, up, down, ffnNorm, finalNorm, head := in[9], in[10], in[11], in[12], in[13], in[14]
	x := llama.RMSNorm(preFFN, ffnNorm, t.frozen.eps)
	x = Add(after, Mul(scale, llama.SwiGLU(x, gate, up, down)))
	logits := llama.Head(x, finalNorm, head, t.frozen.eps)

	ones := OnesLike(logits)
	drawn := sum(Mul(logits, Sub(ones, others)))
	peak := StopGradient(ReduceAndKeep(logits, ReduceMax, -1))
	weights := Mul(Exp(Sub(logits, BroadcastToShape(peak, logits.Shape()))), others)
	total := Add(Log(Add(sum(weights), Exp(Sub(rest, peak)))), peak) // log of the sum over all but y

	margin := Sub(drawn, total)
	divergence := Sub(Sub(total, sum(Mul(target, logits))), level)
	missing := Max(ZerosLike(margin), AddScalar(Neg(margin), t.cap))
	loss := Add(ReduceAllSum(Mul(push, missing)), ReduceAllSum(Mul(hold, divergence)))
	grads := Gradient(loss, gate, up, down)
	return append([]*Node{loss, margin, divergence}, grads...)
}

func sum(x *Node) *Node { return ReduceAndKeep(x, ReduceSum, -1) }

// run computes the loss and the gradients.
func (t *trainer) run(b *batch, a *added) (r result, err error) {
	defer stopPanic(&err)
	h, c := t.frozen.hidden, t.frozen.columns
	args := []any{
		tensors.FromFlatDataAndDimensions(b.preFFN, b.rows, h),
		tensors.FromFlatDataAndDimensions(b.after, b.rows, h),
		tensors.FromFlatDataAndDimensions(b.scale, b.rows, h),
		tensors.FromFlatDataAndDimensions(b.target, b.rows, c),
		tensors.FromFlatDataAndDimensions(b.others, b.rows, c),
		tensors.FromFlatDataAndDimensions(b.rest, b.rows, 1),
		tensors.FromFlatDataAndDimensions(b.level, b.rows, 1),
		tensors.FromFlatDataAndDimensions(b.push, b.rows, 1),
		tensors.FromFlatDataAndDimensions(b.hold, b.rows, 1),
		tensors.FromFlatDataAndDimensions(a.gate, h, a.units),
		tensors.FromFlatDataAndDimensions(a.up, h, a.units),
		tensors.FromFlatDataAndDimensions(a.down, a.units, h),
	}
	inputs := args
	args = append(args[:len(args):len(args)], t.consts...)
	out, err := t.exec.Call(args...)
	if err != nil {
		return r, fmt.Errorf("training step: %w", err)
	}
	r.loss = tensors.MustCopyFlatData[float32](out[0])[0]
	for i, dst := range []*[]float32{&r.margin, &r.diverg, &r.gate, &r.up, &r.down} {
		*dst = tensors.MustCopyFlatData[float32](out[i+1])
	}
	for _, o := range out {
		_ = o.FinalizeAll()
	}
	for _, in := range inputs {
		_ = in.(*tensors.Tensor).FinalizeAll()
	}
	return r, nil
}

// stopPanic turns GoMLX's panics into errors.
func stopPanic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("training graph: %v", p)
	}
}
