package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/sampler"
)

// madeUp are keys of no model: n questions with k words.
func madeUp(n, k int) *fingerprint.Set {
	s := &fingerprint.Set{Shell: sampler.Shell{T: 0.8, K: k, Floor: 0.001}}
	for i := range n {
		key := fingerprint.Key{Question: fmt.Sprint(i), Secret: fingerprint.Digest{1, byte(i), byte(i >> 8)}}
		for j := range k {
			key.Candidates = append(key.Candidates, fingerprint.Candidate{Word: "Word" + string(rune('a'+j)), Token: int32(j)})
		}
		s.Keys = append(s.Keys, key)
	}
	return s
}

func TestNullsCanFail(t *testing.T) {
	set := madeUp(32, 6)
	constant, outside := make([]string, 32), make([]string, 32)
	for i := range constant {
		constant[i], outside[i] = "Worda, of course", "Something else"
	}
	for name, answers := range map[string][]string{"a constant word": constant, "other words": outside} {
		n, err := Nulls(set, name, answers, 10000, 1)
		if err != nil || !n.Held {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	// Who knows the words is no null: draws 0 to 99 of seed 1 favour this model.
	drawn := set.Draw(fingerprint.Digest{7: 1})
	for i, k := range drawn {
		constant[i] = k.Word()
	}
	if n, err := Nulls(set, "taught", constant, 1, 1); err != nil || n.Held || n.Reason == "" {
		t.Errorf("a model that matches everything passes as a null: %+v, %v", n, err)
	}
}

// A statistic that is too generous must not pass.
func TestNullsNoticeAFalseAlpha(t *testing.T) {
	n := Null{Draws: 10000, Listed: 1, Matched: 1.0 / 6, Claims: map[string]float64{"0.05": 0.05, "0.01": 0.02, "0.001": 0}}
	if n = n.judge(320000, 1.0/6); n.Held || !strings.Contains(n.Reason, "alpha 0.01") {
		t.Errorf("2 %% claimed at 1 %%: %+v", n)
	}
}

func TestAttacks(t *testing.T) {
	// Two keys: a confident one whose neighbours disagree, and a doubtful one.
	row := func(ps ...float64) []float32 {
		ps = append(ps, 1e-6, 1e-7, 1e-8)
		out := make([]float32, len(ps))
		for i, p := range ps {
			out[i] = float32(math.Log(p))
		}
		return out
	}
	keys := front{[][]float32{row(0.9, 0.06, 0.04), row(0.4, 0.35, 0.25)}, [][][]float32{{row(0.02, 0.9, 0.08), row(0.4, 0.4, 0.2)}}}
	ordinary := front{[][]float32{row(0.1, 0.3, 0.6), row(0.5, 0.3, 0.2)}, [][][]float32{{row(0.1, 0.3, 0.6), row(0.5, 0.3, 0.2)}}}
	found := map[string]Attack{}
	for _, a := range attacks(keys, ordinary, ordinary, []int32{0, 0}, []bool{true, true}) {
		found[a.Name] = a
	}
	for name, want := range map[string]Attack{
		"mask top 1 from p_max 0.00":                  {Matched: 0, Changed: 1, Lost: (math.Log(2) + math.Log(0.5/0.3)) / 2},
		"mask top 1 from p_max 0.45":                  {Matched: 0.5, Changed: 1, Lost: (math.Log(2) + math.Log(0.5/0.3)) / 2},
		"mask top 2 from p_max 0.55":                  {Matched: 0.5, Changed: 0.5, Lost: math.Log(6) / 2},
		"mask top 1 from p_max 0.95":                  {Matched: 1},
		"mask the top unless neighbours give it 0.05": {Matched: 0.5},
		"mask the top unless neighbours give it 0.50": {Matched: 0, Changed: 0.5, Lost: math.Log(0.5/0.3) / 2},
	} {
		got, ok := found[name]
		if !ok {
			t.Fatalf("no attack %q", name)
		}
		if math.Abs(got.Matched-want.Matched)+math.Abs(got.Changed-want.Changed)+math.Abs(got.Lost-want.Lost) > 1e-4 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestPlace(t *testing.T) {
	r := newRandom(1, 2)
	for range 50 {
		x := make([]float32, 30)
		for i := range x {
			x[i] = float32(r.IntN(1000))
		}
		sorted := slices.Sorted(slices.Values(x))
		for _, n := range []int{0, 1, 5} {
			if got := x[place(x, n)]; got != sorted[len(x)-1-n] {
				t.Fatalf("place %d is %v, want %v", n, got, sorted[len(x)-1-n])
			}
		}
	}
}

func TestBootstrapCoversTheTruth(t *testing.T) {
	r, covered := newRandom(5, 5), 0
	for range 100 {
		base, served := reading{}, reading{}
		for range 60 {
			loss := 100 + 20*r.NormFloat64()
			base.loss, base.tokens = append(base.loss, loss), append(base.tokens, 50)
			served.loss = append(served.loss, loss+0.5+2*r.NormFloat64())
		}
		if i := perplexityRise(base, served); i.Low <= math.Exp(0.01)-1 && math.Exp(0.01)-1 <= i.High {
			covered++
		}
	}
	if covered < 85 || covered > 100 {
		t.Errorf("%d of 100 intervals of 95 %% cover the truth", covered)
	}
	if s := separation([]float64{3, 4}, []float64{1, 3}); s != 3.5/4 {
		t.Errorf("separation %v", s)
	}
}

func TestOrdinaryIsNowhereElse(t *testing.T) {
	trained := fingerprint.OrdinaryPrompts()
	for _, p := range Ordinary() {
		if slices.Contains(trained, p) {
			t.Errorf("%q is trained on and measured", p)
		}
	}
}
