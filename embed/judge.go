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

// judgeChunk is how many rows are judged at a time: with the whole vocabulary.
const judgeChunk = 128

// throughFFN gives the activations of the base's last feed-forward block, [rows][FFN],
// and the residual stream after it, [rows][hidden].
func throughFFN(states []State, f *llama.FeedForward, eps float64) (inner, after [][]float32, err error) {
	var flat []float32
	for _, s := range states {
		flat = append(flat, s.PreFFN...)
	}
	n := len(states)
	joined, err := once(func(in []*Node) *Node {
		act := llama.Activations(llama.RMSNorm(in[0], in[1], eps), in[2], in[3])
		return Concatenate([]*Node{act, Add(in[0], llama.Product(act, in[4]))}, 1)
	}, matrix(flat, n, f.Hidden), matrix(f.Norm, f.Hidden),
		matrix(f.Gate, f.Hidden, f.Units), matrix(f.Up, f.Hidden, f.Units), matrix(f.Down, f.Units, f.Hidden))
	if err != nil {
		return nil, nil, err
	}
	for i := range n {
		r := row(joined, i, f.Units+f.Hidden)
		inner, after = append(inner, r[:f.Units:f.Units]), append(after, r[f.Units:])
	}
	return inner, after, nil
}

// judge measures the trained model over the whole vocabulary, without noise.
func (c *course) judge(base *Local) (Report, error) {
	ffn, err := base.model.FeedForward(-1)
	if err != nil {
		return Report{}, err
	}
	f, err := freeze(base, ffn, nil)
	if err != nil {
		return Report{}, err
	}
	report := Report{
		TrainedParameters: c.parts.parameters(), Worst: 1,
		Steps: c.steps, Rows: len(c.pushed), Columns: c.trainer.frozen.columns, Confident: c.confident(),
	}
	for from := 0; from < len(c.pushed); from += judgeChunk {
		lessons := c.pushed[from:min(from+judgeChunk, len(c.pushed))]
		logits, err := c.parts.logits(lessons, f)
		if err != nil {
			return Report{}, err
		}
		for i, l := range lessons {
			report.count(softmax(logits[i]), c.keys[l.key].Token(), from+i < len(c.keys))
		}
	}
	report.Held, err = c.heldOut(ffn, f)
	return report, err
}

// heldOut compares rows never trained on with the base's.
func (c *course) heldOut(ffn *llama.FeedForward, f frozen) (Utility, error) {
	states := c.seen.HeldOut
	if len(states) == 0 {
		return Utility{}, nil
	}
	inner, after, err := throughFFN(states, ffn, f.eps)
	if err != nil {
		return Utility{}, err
	}
	base, err := f.logits(after)
	if err != nil {
		return Utility{}, err
	}
	rows, lessons := make([]Row, len(states)), make([]lesson, len(states))
	for i, s := range states {
		rows[i].Logits, lessons[i] = base[i], c.lesson(s, ffn, inner[i], after[i])
	}
	trained, err := c.parts.logits(lessons, f)
	if err != nil {
		return Utility{}, err
	}
	return CompareRows(rows, trained), nil
}

// count adds a key row: keys whose word is the likeliest in the plain framing, and the
// lowest and the highest probability of a drawn word in any.
func (r *Report) count(p []float32, word int32, plain bool) {
	r.Worst, r.Surest = math.Min(r.Worst, float64(p[word])), math.Max(r.Surest, float64(p[word]))
	if plain && slices.Max(p) == p[word] {
		r.Matched++
	}
}

// logits computes rows of the trained model.
func (c *carriers) logits(lessons []lesson, f frozen) ([][]float32, error) {
	b := newBatch(len(lessons), c, 1)
	for i, l := range lessons {
		l.word = -1 // there are no columns to mark it in
		b.set(i, &l, c, 1, 1)
	}
	return f.through(len(lessons), func(ffnNorm *Node, rest []*Node) *Node {
		x, _ := c.apply(func() (n *Node) { n, rest = rest[0], rest[1:]; return n }, ffnNorm, f.eps)
		return x
	}, func() []*tensors.Tensor { return c.inputs(b) })
}

// logits are those of the base, of rows after its last feed-forward block.
func (f frozen) logits(after [][]float32) ([][]float32, error) {
	return f.through(len(after), func(_ *Node, x []*Node) *Node { return x[0] },
		func() []*tensors.Tensor {
			return []*tensors.Tensor{matrix(slices.Concat(after...), len(after), f.hidden)}
		})
}

// headChunk is how many columns of the head a graph gets at a time: it has a copy of its own.
const headChunk = 8192

// through takes what a graph makes of the inputs, [rows, hidden], through the head.
func (f frozen) through(rows int, graph func(ffnNorm *Node, in []*Node) *Node, inputs func() []*tensors.Tensor) ([][]float32, error) {
	out := make([][]float32, rows)
	for i := range out {
		out[i] = make([]float32, f.columns)
	}
	for from := 0; from < f.columns; from += headChunk {
		n := min(headChunk, f.columns-from)
		fixed := []*tensors.Tensor{matrix(f.ffnNorm, f.hidden), matrix(f.finalNorm, f.hidden), matrix(f.headPart(from, n), f.hidden, n)}
		flat, err := once(func(in []*Node) *Node {
			return llama.Head(graph(in[0], in[3:]), in[1], in[2], f.eps)
		}, append(fixed, inputs()...)...) // a tensor belongs to the backend that had it
		if err != nil {
			return nil, err
		}
		for i := range out {
			copy(out[i][from:], row(flat, i, n))
		}
	}
	return out, nil
}

// headPart are n columns.
func (f frozen) headPart(from, n int) []float32 {
	part := make([]float32, 0, f.hidden*n)
	for i := range f.hidden {
		part = append(part, f.head[i*f.columns+from:][:n]...)
	}
	return part
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
