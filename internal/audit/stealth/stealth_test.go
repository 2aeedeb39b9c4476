package stealth

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strings"
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
	_, none, err := Classify(rows, positive, groups, 5, 1)
	if err != nil || none.Low > 0.5 || none.High < 0.5 || none.Value > 0.68 {
		t.Errorf("noise is told apart with an area of %+v, %v", none, err)
	}
	rows, positive, groups = make(3)
	_, much, err := Classify(rows, positive, groups, 5, 1)
	if err != nil || much.Low < 0.85 {
		t.Errorf("a gap of three deviations is told with %+v, %v", much, err)
	}
	if _, _, err := Classify(rows[:6], positive[:6], groups[:6], 5, 1); err == nil {
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
	_, together, err := Classify(rows, positive, groups, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range groups {
		groups[i] = i
	}
	_, apart, err := Classify(rows, positive, groups, 5, 1)
	if err != nil || together.Value > 0.7 || apart.Value < 0.8 {
		t.Errorf("together %+v, apart %+v, %v", together, apart, err)
	}
}

const table = `order,id,round,began,streamed,status,error,headers_ms,ttft_ms,gap_ms,total_ms,frames,bytes,header_bytes,header_names,finish,prompt_tokens,completion_tokens,text
0,a,0,1,true,200,,1.5,20,5,60,9,900,200,content-type date,stop,10,8,"Bread, ""good"" bread"
1,b,0,2,true,200,,1.6,21,5,61,9,900,200,content-type date x-odd,stop,10,8,Well yes
2,a,1,3,false,200,,60,62,,62,0,300,180,content-type date,stop,10,8,Bread again
3,b,1,4,true,503,overloaded,1,0,,2,0,90,200,content-type date,,0,0,
4,c,1,5,true,200,,2,22,5,61,9,900,200,content-type date,stop,10,8,Bread is
`

func TestSamples(t *testing.T) {
	samples, failed, err := ReadSamples(strings.NewReader(table))
	if err != nil || len(samples) != 4 || failed != 1 {
		t.Fatalf("%d samples, %d failed, %v", len(samples), failed, err)
	}
	labels := Labels{Prompts: []Prompt{{ID: "a", Fingerprint: true, Word: "bread"}, {ID: "b"}, {ID: "c"}}}
	byPrompt, err := labels.ByPrompt(samples)
	if err != nil || len(byPrompt[0]) != 2 || len(byPrompt[1]) != 1 {
		t.Fatalf("%v, %v", byPrompt, err)
	}
	if _, there := byPrompt[0][1].Measures["gap_ms"]; there || byPrompt[0][0].Measures["ttft_ms"] != 20 {
		t.Errorf("measures %v and %v", byPrompt[0][0].Measures, byPrompt[0][1].Measures)
	}
	if n := OwnHeaders(labels, byPrompt); n != 1 { // x-odd comes with ordinary traffic alone
		t.Errorf("%d sets of headers of one kind alone, want 1", n)
	}
	first := func(text string) string { word, _, _ := strings.Cut(text, " "); return strings.Trim(word, ",") }
	f := Openings(byPrompt, first)
	if r := f.Column("rarity of the opener"); !(r[1] > r[0]) || !(r[0] > 0) {
		t.Errorf("rarity %v: the word that nobody else begins with must be the rarer", r)
	}
	if c := f.Column("inconsistency"); c[0] != 0 {
		t.Errorf("inconsistency %v of equal first words", c)
	}
	matches := func(answer, word string) bool { return strings.EqualFold(first(answer), word) }
	if m, err := labels.Matched(byPrompt, matches); err != nil || m.Value != 1 {
		t.Errorf("matched %v, %v", m, err)
	}
	if _, err := (Labels{Prompts: labels.Prompts[:1]}).ByPrompt(samples); err == nil {
		t.Error("samples of another plan are taken")
	}
	for _, spoilt := range []string{"", "id,text\n1,2\n", strings.Replace(table, ",900,", ",many,", 1), strings.Replace(table, "gap_ms", "gap", 1)} {
		if _, _, err := ReadSamples(strings.NewReader(spoilt)); err == nil {
			t.Errorf("%.40q is read as a table of samples", spoilt)
		}
	}
}

// Two servers that behave alike are found to, if there are samples enough; one that
// answers fingerprints later is found out.
func TestNetwork(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	labels := Labels{}
	byPrompt := [][]Sample{}
	for i := range 400 {
		labels.Prompts = append(labels.Prompts, Prompt{Fingerprint: i%2 == 0})
		late := 0.0
		if i%2 == 0 {
			late = 8
		}
		byPrompt = append(byPrompt, []Sample{{Measures: map[string]float64{
			"ttft_ms": 100 + 5*random.NormFloat64(), "total_ms": 100 + late + 5*random.NormFloat64(),
		}}})
	}
	got := Network(labels, byPrompt, 0.05)
	if len(got) != 2 || got[0].Name != "ttft" || !got[0].Equivalent() || got[1].Equivalent() || got[1].MannWhitney > 1e-6 || got[1].KSP > 1e-6 {
		t.Errorf("%+v", got)
	}
}
