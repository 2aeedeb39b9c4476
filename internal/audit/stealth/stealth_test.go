package stealth

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// reference is what testdata/generate.py writes.
type reference struct {
	Pairs []struct {
		Name             string
		X, Y             []float64
		MedianX          float64 `json:"median_x"`
		MedianY          float64 `json:"median_y"`
		KS               float64 `json:"ks"`
		KSP              float64 `json:"ks_p"`
		U                float64 `json:"u"`
		UP               float64 `json:"u_p"`
		AUC, Shift, TOST float64
		Margin           float64
	}
	Classified struct {
		Rows    [][]float64
		Labels  []bool
		Weights []float64
	}
	Proportions []struct {
		K, N      int
		Low, High float64
	}
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	text, err := os.ReadFile("testdata/scipy.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Pairs) < 5 || len(r.Proportions) < 4 {
		t.Fatalf("the fixture holds %d pairs and %d proportions", len(r.Pairs), len(r.Proportions))
	}
	return r
}

// near compares to nine digits; tails of the normal distribution differ beyond.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*math.Max(1, math.Abs(want)) {
		t.Errorf("%s is %.12g, the reference says %.12g", what, got, want)
	}
}

func TestAgainstSciPy(t *testing.T) {
	r := readReference(t)
	for _, p := range r.Pairs {
		c := Compare(p.X, p.Y, 0.05)
		u, _ := MannWhitney(p.X, p.Y)
		for what, pair := range map[string][2]float64{
			"KS": {c.KS, p.KS}, "p of KS": {c.KSP, p.KSP}, "U": {u, p.U}, "p of U": {c.MannWhitney, p.UP}, "AUC": {c.AUC.Value, p.AUC},
			"shift": {c.Shift.Value, p.Shift}, "margin": {c.Margin, p.Margin}, "TOST": {c.TOST, p.TOST},
			"median": {c.MedianX, p.MedianX}, "other median": {c.MedianY, p.MedianY},
		} {
			near(t, p.Name+": "+what, pair[0], pair[1])
		}
	}
	for _, p := range r.Proportions {
		i := Proportion(p.K, p.N, 0.95)
		near(t, "low", i.Low, p.Low)
		near(t, "high", i.High, p.High)
	}
	l, err := Train(r.Classified.Rows, r.Classified.Labels, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range r.Classified.Weights {
		if math.Abs(l.weights[i]-w) > 1e-6 {
			t.Errorf("weight %d is %v, scikit-learn's %v", i, l.weights[i], w)
		}
	}
}

func normal(random *rand.Rand, n int, centre, spread float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = centre + spread*random.NormFloat64()
	}
	return out
}

// Intervals hold what they promise: over simulated experiments with a known truth
// the share that covers it is the confidence, within what chance allows.
func TestIntervalsCover(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const rounds = 400
	shift, area, falseAlarms, proven, wronglyProven := 0, 0, 0, 0, 0
	truth := 0.5 * math.Erfc(-0.5/math.Sqrt2/math.Sqrt2) // P(X > Y) for a shift of half a deviation
	for range rounds {
		x, y := normal(random, 40, 100.5, 1), normal(random, 50, 100, 1)
		if s := Shift(x, y, 0.90); s.Low <= 0.5 && 0.5 <= s.High {
			shift++
		}
		if a := AUC(x, y, 0.95); a.Low <= truth && truth <= a.High {
			area++
		}
		if _, p := MannWhitney(normal(random, 40, 100, 1), y); p < 0.05 {
			falseAlarms++
		}
		if TOST(x, y, 5) < 0.05 { // 5 % of 100: far outside the true shift
			proven++
		}
		if TOST(x, y, 0.5) < 0.05 { // exactly at the border: at most 5 % may be called equal
			wronglyProven++
		}
	}
	for what, c := range map[string]struct{ got, least, most int }{ // five standard deviations of the binomial
		"shift at 90 %": {shift, 330, 390}, "area at 95 %": {area, 358, 400}, "false alarms at 5 %": {falseAlarms, 0, 42},
		"equivalence that is there": {proven, 400, 400}, "equivalence at the border": {wronglyProven, 0, 42},
	} {
		if c.got < c.least || c.got > c.most {
			t.Errorf("%s: %d of %d, want %d to %d", what, c.got, rounds, c.least, c.most)
		}
	}
}

// A test that cannot see a difference must not be taken for a proof that there is
// none.
func TestFewSamplesProveNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	x, y := normal(random, 4, 100, 30), normal(random, 4, 100, 30)
	c := Compare(x, y, 0.05)
	if c.MannWhitney < 0.05 || c.Equivalent() {
		t.Errorf("p of a difference %v, equivalent %v: want neither", c.MannWhitney, c.Equivalent())
	}
	if same := Compare([]float64{3, 3, 3}, []float64{3, 3, 3}, 0.05); same.MannWhitney != 1 || same.AUC.Value != 0.5 {
		t.Errorf("equal values: %+v", same)
	}
}

func TestFilter(t *testing.T) {
	var yes, no []float64
	for i := range 100 {
		yes = append(yes, float64(i)) // 10 to 99 must be stopped
	}
	for i := range 1000 {
		no = append(no, float64(i)/1000*100-90) // 0 of them at 10 or above
	}
	f := NewFilter(yes, no, 0.9, 0.001, 1)
	if f.Stopped != 0.9 || f.Spoilt.Value != 0 || f.Spoilt.High < 0.003 || f.Precision.Value != 1 || f.Precision.Low > 0.3 {
		t.Errorf("a perfect filter: %+v", f)
	}
	for i := range no {
		no[i] += 20 // now 100 of 1000 lie at 10 or above, up to 30
	}
	f = NewFilter(yes, no, 0.9, 0.001, 1)
	want := 0.9 * 0.001 / (0.9*0.001 + f.Spoilt.Value*0.999)
	if math.Abs(f.Spoilt.Value-0.2) > 0.002 || f.Spoilt.Low > 0.2 || f.Spoilt.High < 0.2 || math.Abs(f.Precision.Value-want) > 1e-12 {
		t.Errorf("a filter that spoils: %+v, want 0.2 of the ordinary and precision %v", f, want)
	}
	all := NewFilter([]float64{1, 1}, []float64{1, 1, 1}, 0.9, 0.001, 1)
	if all.Stopped != 1 || all.Spoilt.Value != 1 || math.Abs(all.Precision.Value-0.001) > 1e-12 {
		t.Errorf("scores that say nothing: %+v", all)
	}
}

// Out-of-fold scores of features that say nothing come out near one half, even with
// more features than a fit on all samples could resist; features that tell come
// out as what they tell.
func TestClassify(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	make := func(gap float64) (rows [][]float64, positive []bool, groups []int) {
		for i := range 160 {
			row := normal(random, 12, 0, 1)
			yes := i%4 == 0
			if yes {
				row[5] += gap
			}
			rows, positive, groups = append(rows, row), append(positive, yes), append(groups, i)
		}
		return rows, positive, groups
	}
	rows, positive, groups := make(0)
	none, err := Classify(rows, positive, groups, 5, 1)
	if err != nil || none.Low > 0.5 || none.High < 0.5 || none.Value > 0.68 {
		t.Errorf("noise is told apart with an area of %+v, %v", none, err)
	}
	rows, positive, groups = make(3)
	much, err := Classify(rows, positive, groups, 5, 1)
	if err != nil || much.Low < 0.85 {
		t.Errorf("a gap of three deviations is told with %+v, %v", much, err)
	}
	if _, err := Classify(rows[:6], positive[:6], groups[:6], 5, 1); err == nil {
		t.Error("two fingerprints are enough for five folds")
	}
}

// Repeats of one prompt stay together: with them apart, noise would be learnt by
// heart.
func TestClassifyKeepsGroupsTogether(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	var rows [][]float64
	var positive []bool
	var groups []int
	for g := range 60 {
		row := normal(random, 30, 0, 1)
		for range 4 {
			rows, positive, groups = append(rows, row), append(positive, g%2 == 0), append(groups, g)
		}
	}
	together, err := Classify(rows, positive, groups, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range groups {
		groups[i] = i
	}
	apart, err := Classify(rows, positive, groups, 5, 1)
	if err != nil || together.Value > 0.7 || apart.Value < 0.8 {
		t.Errorf("together %+v, apart %+v, %v", together, apart, err)
	}
}
