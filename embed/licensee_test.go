package embed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func names(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("licensee-%d", i))
	}
	return out
}

// freshSet has new secrets, as another creator's would.
func freshSet(n int, r *rand.Rand) *Set {
	s := madeUpSet(n, 6)
	for i := range s.Keys {
		for j := range s.Keys[i].Secret {
			s.Keys[i].Secret[j] = byte(r.Uint32())
		}
	}
	return s
}

// leak is what a model answers that was made of these copies. Each key that enough of
// them hold matches with the given probability, others by chance.
func leak(s *Set, copies []string, enough int, rate float64, r *rand.Rand) (matched []int) {
	holders := make([]int, len(s.Keys))
	for _, c := range copies {
		for _, i := range s.Copy(c) {
			holders[i]++
		}
	}
	for i, n := range holders {
		if p := []float64{1.0 / 6, rate}[min(1, n/enough)]; r.Float64() < p {
			matched = append(matched, i)
		}
	}
	return matched
}

func TestCopiesAreFairCoins(t *testing.T) {
	s := freshSet(2000, rand.New(rand.NewPCG(1, 1)))
	a, b := s.Copy("a"), s.Copy("b")
	both := 0
	for _, i := range a {
		if slices.Contains(b, i) {
			both++
		}
	}
	if math.Abs(float64(len(a))-1000) > 120 || math.Abs(float64(both)-500) > 100 {
		t.Errorf("a holds %d of 2000, both hold %d", len(a), both)
	}
	if !slices.Equal(a, s.Copy("a")) {
		t.Error("a copy changed")
	}
	drawn := s.DrawCopy(Digest{5}, "a")
	if len(drawn) != len(a) || drawn[7].Question != s.Keys[a[7]].Question || drawn[7].Choice != s.Draw(Digest{5})[a[7]].Choice {
		t.Error("a copy's keys are drawn otherwise than the set's")
	}
	if len(s.DrawCopy(Digest{5}, "")) != 2000 {
		t.Error("the creator's own copy lacks keys")
	}
}

// TestAccuse: a leaked copy with 64 keys is found among 40 licensees; innocents are
// accused no more often than alpha, whoever leaked and however many together.
func TestAccuse(t *testing.T) {
	const runs, alpha = 20, 0.01
	r := rand.New(rand.NewPCG(2, 2))
	for _, c := range []struct {
		keys, copies, enough int
		found                int // runs in which some source must be accused, at least
	}{
		{64, 1, 1, 8},
		{128, 1, 1, 18},
		{256, 2, 1, 8},  // a merge of two that answers what either holds
		{256, 3, 2, 16}, // of three: what two of them hold
		{1024, 3, 1, 8}, // of three: what any of them holds, the hardest to tell
	} {
		all, found, wrong := names(40), 0, 0
		for range runs {
			s := freshSet(c.keys, r)
			guilty := all[7 : 7+c.copies]
			accused, err := s.Accuse(leak(s, guilty, c.enough, 0.95, r), all, alpha)
			if err != nil {
				t.Fatal(err)
			}
			hit, miss := false, false
			for _, a := range accused {
				if a.Accused {
					hit = hit || slices.Contains(guilty, a.Licensee)
					miss = miss || !slices.Contains(guilty, a.Licensee)
				}
			}
			found, wrong = found+boolean(hit), wrong+boolean(miss)
		}
		t.Logf("%+v: a source found in %d of %d runs, an innocent accused in %d", c, found, runs, wrong)
		if found < c.found || wrong > 4 { // Bin(20, 0.01) exceeds 4 with probability 1e-6
			t.Errorf("%+v: a source found in %d of %d runs, an innocent accused in %d", c, found, runs, wrong)
		}
	}
}

// A model that holds no copy, or the one with all keys, accuses nobody.
func TestAccuseNobody(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	wrong := 0
	for range 40 {
		s := freshSet(64, r)
		everything := make([]int, 64)
		for i := range everything {
			everything[i] = i
		}
		for _, matched := range [][]int{leak(s, nil, 1, 0.95, r), everything, nil} {
			out, err := s.Accuse(matched, names(50), 0.01)
			if err != nil {
				t.Fatal(err)
			}
			wrong += boolean(out[0].Accused)
		}
	}
	if wrong > 5 {
		t.Errorf("somebody was accused in %d of 120 runs at alpha 0.01", wrong)
	}
}

func TestAccuseRefuses(t *testing.T) {
	s := madeUpSet(8, 4)
	for what, call := range map[string]func() ([]Suspicion, error){
		"a name twice": func() ([]Suspicion, error) { return s.Accuse(nil, []string{"a", "a"}, 0.01) },
		"no names":     func() ([]Suspicion, error) { return s.Accuse(nil, nil, 0.01) },
		"no such key":  func() ([]Suspicion, error) { return s.Accuse([]int{8}, []string{"a"}, 0.01) },
		"alpha":        func() ([]Suspicion, error) { return s.Accuse(nil, []string{"a"}, math.NaN()) },
	} {
		if _, err := call(); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
