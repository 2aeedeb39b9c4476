package eval

import (
	"bytes"
	"image/png"
	"os"
	"strings"
	"testing"
)

// TestCurve prints and draws a made-up curve of which the last point is not measured.
func TestCurve(t *testing.T) {
	var results []*Result
	for i, trial := range Curve([]int{16, 1024}, 101) {
		r := newResult(trial)
		r.Values["matched.greedy"], r.Values["text.perplexity"], r.Values["trained.minutes"] = 1-0.1*float64(i), 0.002, 40
		r.Done = []string{trained, "brief"}
		results = append(results, r)
	}
	late := newResult(Curve([]int{4096}, 101)[0])
	late.Values["trained.minutes"], late.Done = 90, []string{trained}
	var out bytes.Buffer
	if err := Markdown(&out, append(results, late), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| by the number of keys | matched, greedy | held-out perplexity, rise | time to train |\n",
		"| 16 keys | 100 % | 0.2 % | 40 min |\n",
		"| 1024 keys | 90 %, target >= 95 %: **missed** | 0.2 %, target <= 1 % | 40 min, target <= 45 min |\n",
		"| 4096 keys | | | 90 min |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in:\n%s", want, out.String())
		}
	}
	if rows := Rows(results); rows[3].Name != "curve, 1024 keys: matched, greedy" || *rows[3].Held {
		t.Errorf("%+v", rows)
	}
	files, err := Plots(t.TempDir(), append(results, late))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	if first, last := Curve([]int{16}, 1)[0], Curve([]int{64}, 1)[0]; first.name() == last.name() || first.name() != "curve-16-keys-1" {
		t.Errorf("files %s and %s", first.name(), last.name())
	}
}
