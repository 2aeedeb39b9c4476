package eval

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	fingerprint "github.com/fealty/fealty/embed"
)

// A run whose time is over measures nothing more, tells what is missing, and keeps what
// an earlier run found; another build keeps nothing.
func TestRunAfterTheDeadline(t *testing.T) {
	p := Plan{Trials: Targets(Profiles(), 16, []uint64{7, 8}, 1), Dir: t.TempDir(), Revision: "a", Python: "python3", Deadline: time.Now().Add(-time.Minute)}
	if p.Trials[0].Seed != 7 || p.Trials[1].Seed != 7 || p.Trials[1].Profile != "quiet" {
		t.Fatalf("not all recipes come with the first seed: %+v", p.Trials)
	}
	half := newResult(p.Trials[0])
	half.Values["matched.greedy"], half.Done = 0.5, []string{trained, "served"}
	if err := p.keep(p.Trials[0], half); err != nil {
		t.Fatal(err)
	}
	results, left, err := Run(t.Context(), nil, nil, p, nil)
	if err != nil || len(results) != 1 || !reflect.DeepEqual(results[0], half) {
		t.Fatalf("%+v, %v", results, err)
	}
	if len(left) != 4 || !slices.Equal(left[0].Steps, []string{"transformed", "nulls"}) || !slices.Equal(left[3].Steps, []string{trained, "served", "transformed", "nulls", "tuned"}) {
		t.Errorf("missing: %+v", left)
	}
	p.Python = ""
	if _, left, err := Run(t.Context(), nil, nil, p, nil); err != nil || len(left) != 6 || !slices.Equal(left[5].Steps, []string{"tuned"}) || !strings.Contains(left[5].Reason, "Python") {
		t.Errorf("without Python: %+v, %v", left, err)
	}
	p.Revision = "b"
	if results, _, err := Run(t.Context(), nil, nil, p, nil); err != nil || len(results) != 0 {
		t.Errorf("another build's results: %+v, %v", results, err)
	}
}

// Training begins after the keys unless the time is over by then, and gets the files that
// it needs; keys are made once for a seed.
func TestTrainGetsItsFiles(t *testing.T) {
	set := madeUp(4, 6)
	set.Randomness = &fingerprint.Digest{1}
	var dirs []string
	p := Plan{Dir: t.TempDir(), Revision: "a", Train: func(_ context.Context, dir, name string, r fingerprint.Recipe) (Training, error) {
		got, err := loadKeys(dir + "/keys.age")
		if err != nil || !reflect.DeepEqual(got, set) || r.Seed != 9 || r.Method != fingerprint.DefaultRecipe().Method {
			t.Errorf("%s: keys %v, recipe %+v, %v", name, got, r, err)
		}
		dirs = append(dirs, dir)
		return Training{Report: fingerprint.Report{TrainedParameters: 1, TotalParameters: 4, Seconds: 30}, Memory: 100}, os.Mkdir(dir+"/served", 0o700)
	}}
	trial := Targets(Profiles(), 4, []uint64{9}, 1)[0]
	b := &Bench{tell: func(string, float64, time.Duration) {}}
	if err := saveKeys(p.keysPath(trial), set); err != nil { // as a trial of the same seed left them
		t.Fatal(err)
	}
	r := newResult(trial)
	if err := p.one(t.Context(), b, trial, r); err == nil { // there is no model in served
		t.Error("a model was opened that nobody wrote")
	}
	if len(dirs) != 1 || !slices.Equal(r.Done, []string{trained}) || r.Values["trained.share"] != 0.25 || r.Values["trained.minutes"] != 0.5 || r.Values["trained.memory"] != 100 {
		t.Errorf("%v, %+v", dirs, r)
	}
	b.deadline = time.Now().Add(-time.Minute)
	if err := p.one(t.Context(), b, trial, newResult(trial)); !errors.Is(err, errLate) || len(dirs) != 1 {
		t.Errorf("trained after the deadline: %v, %v", dirs, err)
	}
}
