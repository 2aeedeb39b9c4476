package embed

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The head is taken in parts, which together are the whole.
func TestLogitsOfAWideHead(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(r.NormFloat64())
		}
		return out
	}
	f := frozen{ffnNorm: random(8), finalNorm: random(8), hidden: 8, columns: 2*headChunk + 5, eps: 1e-5}
	f.head = random(f.hidden * f.columns)
	rows := [][]float32{random(8), random(8)}
	got, err := f.logits(rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range rows {
		square := f.eps
		for _, v := range x {
			square += float64(v) * float64(v) / 8
		}
		for _, col := range []int{0, headChunk - 1, headChunk, 2*headChunk - 1, 2 * headChunk, f.columns - 1} {
			want := 0.0
			for j, v := range x {
				want += float64(v) / math.Sqrt(square) * float64(f.finalNorm[j]) * float64(f.head[j*f.columns+col])
			}
			if e := math.Abs(want - float64(got[i][col])); e > 1e-4 {
				t.Errorf("row %d, column %d: %v, want %v", i, col, got[i][col], want)
			}
		}
	}
}
