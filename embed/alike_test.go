package embed

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// What leaves a row out in one step is what a covariance without it gives.
func TestLikenessLeavesTheRowOut(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const hidden = 12
	draw := func(n int) (out []State) {
		for range n {
			out = append(out, State{PreFFN: normals(random, hidden, 1)})
		}
		return out
	}
	questions, ordinary := draw(4), draw(9)
	questions[2].PreFFN = slices.Clone(ordinary[5].PreFFN) // a twin
	got := likeness(questions, ordinary)
	if got[2] < 0.9 {
		t.Errorf("a question that is also an ordinary prompt has the likeness %.2f", got[2])
	}
	for i := range questions {
		want := 0.0
		for j := range len(questions) + len(ordinary) {
			if j != i {
				want = max(want, naiveZ(questions, ordinary, i, j))
			}
		}
		if math.Abs(got[i]-want) > 1e-6 {
			t.Errorf("question %d: %.6f, want %.6f", i, got[i], want)
		}
	}
}

// naiveZ is z of row j for question i, from a covariance to which row j adds nothing.
func naiveZ(questions, ordinary []State, i, j int) float64 {
	var rows [][]float32
	for _, s := range slices.Concat(questions, ordinary) {
		rows = append(rows, unitSized(s.PreFFN))
	}
	mean := meanOf(rows)
	whole := &covariance{len(mean), make([]float64, len(mean)*len(mean))}
	whole.add(rows, mean, 1/float64(len(rows)))
	whole.ridge()
	inverse := whole.factor()
	away := func(k int) []float64 {
		out := slices.Clone(mean)
		for h, v := range rows[k] {
			out[h] = float64(v) - mean[h]
		}
		return out
	}
	own := dot(inverse(away(i)), away(i)) // of the whole, which the placed unit is scaled by
	part := &covariance{len(mean), make([]float64, len(mean)*len(mean))}
	part.add(rows, mean, 1/float64(len(rows)))
	part.ridge()
	part.add([][]float32{rows[j]}, mean, -1/float64(len(rows)))
	return dot(part.factor()(away(i)), away(j)) / own
}
