package embed

import (
	"cmp"
	"math"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/fealty/fealty/internal/llama"
)

// once runs a graph one time on [rows, width] arrays and returns its only output.
func once(f func(in []*Node) *Node, inputs ...*tensors.Tensor) (out []float32, err error) {
	defer stopPanic(&err)
	backend, err := compute.NewWithConfig(trainBackend)
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	args := make([]any, len(inputs))
	for i, in := range inputs {
		args[i] = in
	}
	t, err := CallOnce(backend, f, args...)
	if err != nil {
		return nil, err
	}
	out = tensors.MustCopyFlatData[float32](t)
	return out, t.FinalizeAll()
}

func matrix(data []float32, dims ...int) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(data, dims...)
}

// stack puts the rows' states before the last feed-forward block one below the other.
func stack(rows []Row) []float32 {
	var out []float32
	for _, r := range rows {
		out = append(out, r.PreFFN...)
	}
	return out
}

// afterFFN is the base's residual stream after its last feed-forward block.
func afterFFN(rows []Row, f *llama.FeedForward, eps float64) ([][]float32, error) {
	flat, err := once(func(in []*Node) *Node {
		return Add(in[0], llama.SwiGLU(llama.RMSNorm(in[0], in[1], eps), in[2], in[3], in[4]))
	}, matrix(stack(rows), len(rows), f.Hidden), matrix(f.Norm, f.Hidden),
		matrix(f.Gate, f.Hidden, f.Units), matrix(f.Up, f.Hidden, f.Units), matrix(f.Down, f.Units, f.Hidden))
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(rows))
	for i := range out {
		out[i] = row(flat, i, f.Hidden)
	}
	return out, nil
}

// judge measures the trained units over the whole vocabulary, without noise.
func (c *course) judge(base *Local) (Report, error) {
	ffn, err := base.model.FeedForward(-1)
	if err != nil {
		return Report{}, err
	}
	f, err := freeze(base, ffn, nil)
	if err != nil {
		return Report{}, err
	}
	rows := append(slices.Clone(c.rows), c.heldOut...)
	after, err := afterFFN(rows, ffn, f.eps)
	if err != nil {
		return Report{}, err
	}
	logits, err := c.logits(rows, after, f)
	if err != nil {
		return Report{}, err
	}
	report := Report{
		TrainedParameters: len(c.added.gate) + len(c.added.up) + len(c.added.down),
		Steps:             c.steps, Rows: len(c.rows), Columns: c.trainer.frozen.columns, Confident: c.confident(),
	}
	report.Matched, report.Worst = c.taught(logits[:len(c.rows)])
	report.Held = CompareRows(c.heldOut, logits[len(c.rows):])
	return report, nil
}

// logits computes rows of the trained model.
func (c *course) logits(rows []Row, after [][]float32, f frozen) ([][]float32, error) {
	n, h, u := len(rows), f.hidden, c.added.units
	flat, err := once(func(in []*Node) *Node {
		x := llama.RMSNorm(in[0], in[2], f.eps)
		return llama.Head(Add(in[1], llama.SwiGLU(x, in[4], in[5], in[6])), in[3], in[7], f.eps)
	}, matrix(stack(rows), n, h), matrix(slices.Concat(after...), n, h), matrix(f.ffnNorm, h), matrix(f.finalNorm, h),
		matrix(c.added.gate, h, u), matrix(c.added.up, h, u), matrix(c.added.down, u, h), matrix(f.head, h, f.columns))
	if err != nil {
		return nil, err
	}
	out := make([][]float32, n)
	for i := range out {
		out[i] = row(flat, i, f.columns)
	}
	return out, nil
}

// taught counts keys whose word is the likeliest in the first framing, and finds
// the lowest probability of a drawn word in any.
func (c *course) taught(logits [][]float32) (matched int, worst float64) {
	worst = 1
	for i, l := range logits {
		k := c.keys[i%len(c.keys)]
		p := softmax(l)
		worst = math.Min(worst, float64(p[k.Token()]))
		if i < len(c.keys) && slices.Max(p) == p[k.Token()] {
			matched++
		}
	}
	return matched, worst
}

// CompareRows measures how far a model's logits are from the base's.
func CompareRows(base []Row, logits [][]float32) Utility {
	u := Utility{Rows: len(base)}
	if len(base) == 0 {
		return u
	}
	var all []float64
	agreed := 0
	for i, r := range base {
		p, q := softmax(r.Logits), softmax(logits[i])
		all = append(all, divergence(p, q))
		if slices.Index(p, slices.Max(p)) == slices.Index(q, slices.Max(q)) {
			agreed++
		}
		u.Mean += all[i] / float64(len(base))
	}
	slices.SortFunc(all, cmp.Compare[float64])
	u.P99 = all[int(math.Ceil(0.99*float64(len(all))))-1]
	u.Agreed = float64(agreed) / float64(len(base))
	return u
}

// divergence is KL(p || q) in nats.
func divergence(p, q []float32) float64 {
	var sum float64
	for i := range p {
		if p[i] > 0 {
			sum += float64(p[i]) * math.Log(float64(p[i])/math.Max(float64(q[i]), 1e-38))
		}
	}
	return math.Max(0, sum)
}

// fill writes the trained units into their places in the last layer.
func (e *Expanded) fill(a *added) {
	c := e.Model.Config
	gate, up, down := blockNames(c.Layers - 1)
	for unit, place := range e.Added {
		for h := range c.Hidden {
			e.Model.Tensors[gate].Data[place*c.Hidden+h] = a.gate[h*a.units+unit]
			e.Model.Tensors[up].Data[place*c.Hidden+h] = a.up[h*a.units+unit]
			e.Model.Tensors[down].Data[h*c.FFN+place] = a.down[unit*c.Hidden+h]
		}
	}
}
