package embed

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFramingsAreSharedOut(t *testing.T) {
	const questions, each, ways = 30, 5, 12
	out := framed(questions, each, ways, rand.New(rand.NewPCG(1, 2)))
	count := make([]int, questions)
	for f, which := range out {
		if !slices.IsSorted(which) || len(slices.Compact(slices.Clone(which))) != len(which) {
			t.Errorf("framing %d asks a question twice: %v", f, which)
		}
		if f > 0 && (len(which) < 8 || len(which) > 14) { // 30 * 4 / 11 is 10.9
			t.Errorf("framing %d is used %d times", f, len(which))
		}
		for _, q := range which {
			count[q]++
		}
	}
	if len(out[0]) != questions || slices.Min(count) != each || slices.Max(count) != each {
		t.Errorf("%d plain questions, each asked %v times", len(out[0]), count)
	}
	if all := framed(3, 1000, 4, rand.New(rand.NewPCG(1, 2))); len(all[3]) != 3 {
		t.Errorf("more framings than there are: %v", all)
	}
}

func TestSystemPromptsOfTrainingAreClean(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range systemPrompts() {
		if s == "" || seen[s] {
			t.Errorf("%q is empty or there twice", s)
		}
		seen[s] = true
	}
	if len(pickFramings(len(framings), rand.New(rand.NewPCG(1, 1)))) != len(framings) {
		t.Error("not all framings can be picked")
	}
}

// Rounding is to a sixteenth of the range: the error is at most half a step.
func TestRoundedIsWhatFourBitsHold(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const hidden, units = 64, 3
	c := &course{parts: randomCarriers(r, hidden, 9, units, 0), coarse: make([]float32, hidden)}
	fill(c.coarse, 0.01)
	before := c.parts.clone()
	out := c.rounded()
	for u := range units {
		for from := 0; from < hidden; from += quantBlock {
			levels, most := map[float32]bool{}, 0.0
			for h := from; h < from+quantBlock; h++ {
				most = max(most, math.Abs(float64(before.gate[h*units+u])))
			}
			for h := from; h < from+quantBlock; h++ {
				levels[out.gate[h*units+u]] = true
				if e := math.Abs(float64(out.gate[h*units+u] - before.gate[h*units+u])); e > most/16*1.0001 {
					t.Errorf("unit %d, value %d is %v off, a step is %v", u, h, e, most/8)
				}
			}
			if len(levels) > 17 {
				t.Errorf("unit %d has %d levels in a block", u, len(levels))
			}
		}
	}
	if !slices.Equal(before.gate, c.parts.gate) {
		t.Error("rounding changed the parameters themselves")
	}
}

func TestDropLeavesEitherOutAsOftenAsAsked(t *testing.T) {
	c := &course{parts: &carriers{added: 2, units: 3}, random: rand.New(rand.NewPCG(5, 6)), recipe: Recipe{Drop: 0.3}}
	const n = 3000
	var noAdded, noOthers int
	for range n {
		added, others := c.drop()
		switch {
		case added == 0 && others == 1:
			noAdded++
		case added == 1 && others == 0:
			noOthers++
		case added != 1 || others != 1:
			t.Fatalf("nothing is left: %v, %v", added, others)
		}
	}
	for _, got := range []int{noAdded, noOthers} {
		if math.Abs(float64(got)-0.3*n) > 5*math.Sqrt(n*0.3*0.7) {
			t.Errorf("left out %d times of %d, want 30 %%", got, n)
		}
	}
	c.parts.units = 2 // nothing but added ones
	if added, others := c.drop(); added != 1 || others != 1 {
		t.Error("the only carriers are dropped")
	}
}
