package llama

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
	"github.com/gomlx/gomlx/core/tensors"
)

// TestBlocksFinishTheModel takes the last feed-forward block and the head, as
// training does, from the host weights and from the stream that Evaluate found,
// and wants Evaluate's logits.
func TestBlocksFinishTheModel(t *testing.T) {
	for _, tie := range []bool{true, false} {
		source := tiny(tie)
		m, c := load(t, source), source.Config
		tokens := randomTokens(rand.New(rand.NewPCG(1, 9)), 12, c.Vocab)
		rows, err := NewEvaluator(m).Evaluate(t.Context(), [][]int32{tokens})
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.FeedForward(-1)
		if err != nil {
			t.Fatal(err)
		}
		norm, err := m.FinalNorm()
		if err != nil {
			t.Fatal(err)
		}
		table, err := m.HeadTable()
		if err != nil {
			t.Fatal(err)
		}
		exec := MustNewExec(backend(t), func(in []*Node) *Node {
			x := Add(in[0], SwiGLU(RMSNorm(in[0], in[1], c.NormEps), in[2], in[3], in[4]))
			return Head(x, in[5], in[6], c.NormEps)
		})
		out := exec.MustCall(
			tensors.FromFlatDataAndDimensions(rows[0].PreFFN, 1, c.Hidden), f.Norm,
			tensors.FromFlatDataAndDimensions(f.Gate, c.Hidden, c.FFN), tensors.FromFlatDataAndDimensions(f.Up, c.Hidden, c.FFN),
			tensors.FromFlatDataAndDimensions(f.Down, c.FFN, c.Hidden), norm, tensors.FromFlatDataAndDimensions(table, c.Hidden, c.Vocab),
		)
		want := make([]float64, c.Vocab)
		for i, v := range rows[0].Logits {
			want[i] = float64(v)
		}
		near(t, "logits", tensors.MustCopyFlatData[float32](out[0]), want)
	}
}

func backend(t *testing.T) compute.Backend {
	t.Helper()
	b, err := compute.NewWithConfig(backendConfig)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNormGradient compares RMSNorm's gradient with differences of its twin.
func TestNormGradient(t *testing.T) {
	const width, eps = 7, 1e-5
	r := rand.New(rand.NewPCG(2, 2))
	x, gain, weight := make([]float32, width), make([]float32, width), make([]float32, width)
	for i := range x {
		x[i], gain[i], weight[i] = float32(r.NormFloat64()), 1+float32(r.NormFloat64())/4, float32(r.NormFloat64())
	}
	loss := func(x, gain []float32) (sum float64) {
		squares := 0.0
		for _, v := range x {
			squares += float64(v) * float64(v)
		}
		for i, v := range x {
			sum += float64(v) / math.Sqrt(squares/width+eps) * float64(gain[i]) * float64(weight[i])
		}
		return sum
	}
	exec := MustNewExec(backend(t), func(x, gain, weight *Node) []*Node {
		l := ReduceAllSum(Mul(RMSNorm(x, gain, eps), weight))
		return Gradient(l, x, gain)
	})
	out := exec.MustCall([][]float32{x}, gain, [][]float32{weight})
	for which, at := range [][]float32{x, gain} {
		got := tensors.MustCopyFlatData[float32](out[which])
		for i := range at {
			const h = 1.0 / 1024
			was := at[i]
			at[i] = was + h
			up := loss(x, gain)
			at[i] = was - h
			down := loss(x, gain)
			at[i] = was
			if want := (up - down) / (2 * h); math.Abs(float64(got[i])-want) > 1e-3 {
				t.Errorf("gradient %d of input %d is %v, want %v", i, which, got[i], want)
			}
		}
	}
}
