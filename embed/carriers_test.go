package embed

import (
	"math"
	"testing"
	"time"
)

// What training computes on cached states is what the model that it writes computes,
// for each method.
func TestInstalledModelIsTheTrainedOne(t *testing.T) {
	l := tinyLocal(t)
	keys, m, recipe := tinyTraining(t, l)
	for _, method := range []string{"mlp", "lowrank", "expand+mlp+lowrank", "full", "expand+full"} {
		t.Run(method, func(t *testing.T) {
			recipe := recipe
			recipe.Method, recipe.Steps = method, 3
			given := func() (Material, error) { return m, nil }
			c, err := prepare(t.Context(), l, keys, given, recipe, "", func(string, float64, time.Duration) {})
			if err != nil {
				t.Fatal(err)
			}
			defer c.trainer.close()
			if err := c.train(t.Context(), func(string, float64, time.Duration) {}); err != nil {
				t.Fatal(err)
			}
			checkInstalled(t, l, c, keys)
		})
	}
}

func checkInstalled(t *testing.T, l *Local, c *course, keys []Drawn) {
	t.Helper()
	installed, err := c.parts.install(l.Weights, c.recipe.secretSeed(keys))
	if err != nil {
		t.Fatal(err)
	}
	local, err := NewLocal(installed, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	ffn, err := l.model.FeedForward(-1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := freeze(l, ffn, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.parts.logits(c.pushed[:len(keys)], f)
	if err != nil {
		t.Fatal(err)
	}
	moved := 0.0
	for i, k := range keys {
		ids, err := encodeAll(l, []string{k.Question}, framing{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := local.Evaluate(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		base, err := l.Evaluate(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for id, w := range want[i] {
			moved = max(moved, math.Abs(float64(got[0].Logits[id]-base[0].Logits[id])))
			if math.Abs(float64(got[0].Logits[id]-w)) > 2e-4 {
				t.Fatalf("key %d, token %d: logit %v, training said %v", i, id, got[0].Logits[id], w)
			}
		}
	}
	if moved < 1e-3 {
		t.Errorf("three steps moved no logit by more than %v", moved)
	}
}
