package llama

import (
	"math"
	"slices"
	"testing"
)

// TestScoreAgreesWithNaive: the log-probabilities are those of the obvious twin, and
// splitting a long sequence into runs changes nothing.
func TestScoreAgreesWithNaive(t *testing.T) {
	source := tiny(true)
	e := NewEvaluator(load(t, source))
	tokens := make([]int32, scoreRows+30)
	for i := range tokens {
		tokens[i] = int32((i*7 + i*i) % source.Config.Vocab)
	}
	for _, c := range []struct{ length, from int }{{12, 1}, {12, 9}, {len(tokens), 1}} {
		got, err := e.Score(t.Context(), tokens[:c.length], c.from)
		if err != nil || len(got) != c.length-c.from {
			t.Fatalf("%d tokens from %d on: %d scores, %v", c.length, c.from, len(got), err)
		}
		logits, _ := naive(source, tokens[:c.length])
		for i, g := range got {
			row, sum := logits[c.from+i-1], 0.0
			for _, l := range row {
				sum += math.Exp(l)
			}
			if want := row[tokens[c.from+i]] - math.Log(sum); math.Abs(g.LogProb-want) > 1e-3 {
				t.Fatalf("%+v: position %d scores %v, want %v", c, c.from+i, g.LogProb, want)
			}
			if row[g.Top] < slices.Max(row)-1e-3 {
				t.Fatalf("%+v: position %d has the top %d", c, c.from+i, g.Top)
			}
		}
	}
	for _, from := range []int{0, 12} {
		if _, err := e.Score(t.Context(), tokens[:12], from); err == nil {
			t.Errorf("12 tokens from %d on are accepted", from)
		}
	}
}
