package llama

import (
	"math"
	"testing"

	"github.com/fealty/fealty/internal/reference"
)

// referenceTolerance is how far a logit may be from the reference's, both
// computed in float32 with sums in different orders. The logits reach 25, so it
// is about the 5th digit.
const referenceTolerance = 1e-3

// TestReference holds the model against transformers' logits and residual stream
// on the same weights: in bulk and chunk by chunk.
func TestReference(t *testing.T) {
	if testing.Short() {
		t.Skip("needs SmolLM2")
	}
	m := smolModel(t)
	cases := reference.Prefills(t)
	var sequences [][]int32
	for _, c := range cases {
		sequences = append(sequences, c.IDs)
	}
	rows, err := NewEvaluator(m).Evaluate(t.Context(), sequences)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for i, c := range cases {
		worst = max(worst, compare(t, "bulk", i, c, rows[i].Logits))
		for j, want := range c.PreFFN {
			// The stream has a few values near a thousand; the norm is its scale.
			if d := math.Abs(float64(rows[i].PreFFN[j] - want)); d > 1e-5*c.PreFFNNorm {
				t.Errorf("case %d: stream[%d] is %v, want %v", i, j, rows[i].PreFFN[j], want)
			}
		}
		worst = max(worst, compare(t, "chunked", i, c, chunked(t, m, c.IDs, 64)))
	}
	t.Logf("largest difference of a logit: %.2g", worst)
}

// compare returns the largest difference of a logit.
func compare(t *testing.T, how string, i int, c reference.Prefill, logits []float32) (worst float64) {
	t.Helper()
	for _, want := range append(c.Top, c.Fixed...) {
		d := math.Abs(float64(logits[want.ID] - want.Value))
		if worst = max(worst, d); !(d <= referenceTolerance) {
			t.Errorf("%s case %d: logit of %d is %v, want %v", how, i, want.ID, logits[want.ID], want.Value)
		}
	}
	sum, squares := 0.0, 0.0
	for _, v := range logits {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	if d := math.Abs(sum-c.Sum) / float64(len(logits)); !(d <= referenceTolerance) {
		t.Errorf("%s case %d: the logits' mean is off by %v", how, i, d)
	}
	if d := math.Abs(math.Sqrt(squares) - c.Norm); !(d <= 1e-4*c.Norm) {
		t.Errorf("%s case %d: the logits' norm is off by %v of %v", how, i, d, c.Norm)
	}
	return worst
}

// chunked runs a prompt in chunks of n and returns its last logits.
func chunked(t *testing.T, m *Model, ids []int32, n int) []float32 {
	t.Helper()
	staging := cache(t, m, 1, Bucket(len(ids), 64))
	defer staging.Close()
	r := NewRunner(m)
	for at := 0; at < len(ids); at += n {
		b := &Batch{Staging: staging, Start: at, Chunk: ids[at:min(at+n, len(ids))]}
		if err := r.Run(b); err != nil {
			t.Fatal(err)
		}
	}
	return r.Logits(0)
}
