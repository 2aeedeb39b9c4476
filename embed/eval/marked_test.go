package eval

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/weights"
)

// texts are the packages' own; fetched once.
func texts(t *testing.T) *Texts {
	t.Helper()
	if out, err := exec.Command("../../scripts/eval-data").CombinedOutput(); err != nil {
		t.Fatalf("scripts/eval-data: %v: %s", err, out)
	}
	cache, err := modelstore.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := LoadTexts(filepath.Join(cache, "evaldata"), DefaultSeed)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Running) < 300 || len(found.Choices) < 200 || len(found.Pairs) < 4000 {
		t.Fatalf("%d paragraphs, %d choices, %d pairs", len(found.Running), len(found.Choices), len(found.Pairs))
	}
	return found
}

// TestMarkedModel measures the model that all suites share, with little of everything: it
// answers as it should, its texts stay the base's, and the nulls hold.
func TestMarkedModel(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the trained model")
	}
	marked, found := testmodel.Get(t), texts(t)
	source, err := weights.Open(marked.Base)
	if err != nil {
		t.Fatal(err)
	}
	base, err := fingerprint.NewLocal(source, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	served, err := weights.Open(marked.Dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &Bench{base: base, texts: found, tell: func(string, float64, time.Duration) {}, size: Size{Paragraphs: 3, Choices: 1, Draws: 10000}}
	if b.read, err = b.readWith(t.Context(), base, ""); err != nil {
		t.Fatal(err)
	}
	c := newCourse(b, Marked{Profile: "robust", Seed: 1, Model: served, Set: marked.Set}, newResult(Trial{}), func(*Result) error { return nil })
	err = load(served, func(l *fingerprint.Local) error {
		_, _, _, err := c.plainly(t.Context(), l)
		return errors.Join(err, c.reads(t.Context(), l))
	})
	if err = errors.Join(err, c.nulls(t.Context())); err != nil {
		t.Fatal(err)
	}
	v := c.result.Values
	t.Logf("%+v", v)
	if v["matched.greedy"] < 15.0/16 {
		t.Errorf("%.3f matched", v["matched.greedy"])
	}
	if v["text.perplexity"] > 0.02 { // a few paragraphs: eval measures against the target
		t.Errorf("perplexity rises by %.4f", v["text.perplexity"])
	}
	for _, n := range c.result.Nulls {
		if !n.Held {
			t.Errorf("null %q: %s", n.Model, n.Reason)
		}
		if n.Model == anotherDraw && n.Listed < 15.0/16 {
			t.Errorf("the marked model answers with only %.3f of the candidates", n.Listed)
		}
	}
	if p := perplexity(b.read); p < 5 || p > 200 {
		t.Errorf("the base's perplexity on speeches and manuals is %.1f", p)
	}
}

// TestReport draws and prints made-up results of two profiles.
func TestReport(t *testing.T) {
	var results []*Result
	for _, profile := range []string{"robust", "quiet"} {
		for seed := range 2 {
			r := &Result{Part: PartTargets, Done: []string{trained, "served", "nulls"}, Profile: profile, Seed: uint64(seed), Values: map[string]float64{"matched.greedy": 1 - 0.03*float64(seed), "nulls": 3},
				Personas: map[string]float64{}, Attacks: []Attack{{Name: "none", Matched: 0.5, Changed: 0.01}},
				Peaks: Peaks{Keys: []float64{0.9, 0.8}, Ordinary: []float64{0.2, 0.4}}, Nulls: []Null{{Model: "base", Held: true}}}
			results = append(results, r)
		}
	}
	// A model that was only trained when the time was over has its row, and is in no other table.
	results = append(results, &Result{Part: PartTargets, Profile: "robust", Seed: 2, Values: map[string]float64{"trained.minutes": 3}, Done: []string{trained}})
	left := []Missing{{PartTargets, "robust", 2, []string{"served", "nulls"}, "no time"}}
	var out bytes.Buffer
	if err := Markdown(&out, results, left); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"- targets, robust, seed 2: served, nulls: no time\n", "| time to train | 3 min | <= 5 min |", "| matched, greedy | 98.5, 97 % | >= 98 %: worst missed | 98.5, 97 % | >= 95 % |", "| nulls that hold | 3, 3 of 3 |", "| robust 0: base |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in:\n%s", want, out.String())
		}
	}
	files, err := Plots(t.TempDir(), results)
	if err != nil || len(files) != 3 {
		t.Errorf("plots %v: %v", files, err)
	}
	rows := Rows(results)
	if len(rows) != 9 || rows[0].Name != "robust: matched, greedy, mean" || !*rows[0].Held || rows[1].Value != 97 || *rows[1].Held {
		t.Errorf("%+v", rows)
	}
}
