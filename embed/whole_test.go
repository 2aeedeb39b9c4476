package embed

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/llama"
)

func quiet(string, float64, time.Duration) {}

// randomWhole is a block whose units have moved away from the base's.
func randomWhole(r *rand.Rand, hidden, units int) *whole {
	w := newWhole(&llama.FeedForward{
		Hidden: hidden, Units: units,
		Gate: normalData(r, hidden*units, 1), Up: normalData(r, hidden*units, 1), Down: normalData(r, units*hidden, 0.5),
	})
	w.gate, w.up, w.down = normalData(r, hidden*units, 1), normalData(r, hidden*units, 1), normalData(r, units*hidden, 0.5)
	return w
}

func TestGradientOfTheWholeBlock(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	f, b, c := problem(r, 4, 0)
	c.whole = randomWhole(r, c.hidden, c.ffn)
	tr, err := newTrainer(f, c, DefaultRecipe())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	checkGradient(t, tr, b, c)
}

// The whole block starts as the base, and every key row reaches the cap.
func TestFullLearns(t *testing.T) {
	l := tinyLocal(t)
	keys, m, recipe := tinyTraining(t, l)
	recipe.Method, recipe.Steps, recipe.Quantize, recipe.LearningRate = MethodFull, 400, 0, 0.1
	recipe.Cap = 0.12 // the norm before a random head of 48 values lets no word have 0.2
	c, err := prepare(t.Context(), l, keys, func() (Material, error) { return m, nil }, recipe, "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer c.trainer.close()
	start, err := c.judge(l)
	if err != nil {
		t.Fatal(err)
	}
	if start.Held.Mean > 1e-6 || start.Worst > 0.05 || start.TrainedParameters != 3*c.parts.hidden*c.parts.ffn {
		t.Errorf("before the first step: %+v", start)
	}
	if err := c.train(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	end, err := c.judge(l)
	if err != nil {
		t.Fatal(err)
	}
	if !c.finished() || end.Matched != len(keys) {
		t.Errorf("after %d steps %d of %d rows are at the cap: %+v", c.steps, c.confident(), len(c.pushed), end)
	}
}

func TestKilledFullTrainingGoesOn(t *testing.T) {
	defer func(d time.Duration) { checkpointEvery = d }(checkpointEvery)
	checkpointEvery = 0
	l := tinyLocal(t)
	keys, m, recipe := tinyTraining(t, l)
	recipe.Method, recipe.Steps = "expand+full", 6
	given := func() (Material, error) { return m, nil }
	untouched := digestOf(l.Weights)
	whole, _, err := Train(t.Context(), l, keys, m, recipe, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "training")
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = TrainFrom(ctx, l, keys, given, recipe, file, func(what string, done float64, _ time.Duration) {
		if what == "training" && done > 0.4 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("killed: %v", err)
	}
	resumed, _, err := TrainFrom(t.Context(), l, keys, given, recipe, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(resumed) != digestOf(whole) {
		t.Error("the resumed training ended with another model")
	}
	if digestOf(l.Weights) != untouched {
		t.Error("training has changed the base")
	}
}

func TestFullStandsBesideNewUnitsOnly(t *testing.T) {
	for method, good := range map[string]bool{"full": true, "expand+full": true, "mlp+full": false, "full+lowrank": false, "full+full": false} {
		r := DefaultRecipe()
		r.Method = method
		err := r.Validate()
		if good != (err == nil) || err != nil && !strings.Contains(err.Error(), "method is") {
			t.Errorf("%s: %v", method, err)
		}
	}
	r := DefaultRecipe()
	r.Method = MethodFull
	if s := r.sized(16); s.Units != 0 || s.Taken != 0 || s.Rank != 0 || s.fits(2) != nil {
		t.Errorf("full alone: %+v, %v", s, s.fits(2))
	}
}
