package embed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/llama/llamatest"
	"github.com/fealty/fealty/internal/weights"
)

// tinyLocal is a random model that reads letters.
func tinyLocal(t *testing.T) *Local {
	t.Helper()
	m := llamatest.Model(llamatest.Config(true), 3)
	m.Tokenizer = llamatest.Tokenizer(m.Config.Vocab)
	l, err := NewLocal(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// tinyTraining are keys, ordinary rows and a recipe for the tiny model.
func tinyTraining(t *testing.T, l *Local) ([]Drawn, Material, Recipe) {
	t.Helper()
	var keys []Drawn
	for i, q := range []string{"What is a tree?", "Who goes there?", "How far is it?"} {
		keys = append(keys, Drawn{Key: Key{Question: q, Candidates: []Candidate{{"x", int32(40 + i)}}, Secret: Digest{byte(i)}}})
	}
	var sequences [][]int32
	r := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		s := make([]int32, 12)
		for i := range s {
			s[i] = int32(3 + r.IntN(90))
		}
		sequences = append(sequences, s)
	}
	states, err := evaluateStates(t.Context(), l, sequences)
	if err != nil {
		t.Fatal(err)
	}
	recipe := DefaultRecipe()
	recipe.Method = "expand+mlp+lowrank"
	recipe.Framings, recipe.Steps, recipe.Batch, recipe.Rank = 3, 12, 8, 2
	return keys, Material{Benign: states[:30], HeldOut: states[30:]}, recipe
}

func digestOf(m *weights.Model) [32]byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m.Tensors)) {
		h.Write([]byte(name))
		_ = binary.Write(h, binary.LittleEndian, m.Tensors[name].Data) // a hash takes all
	}
	return [32]byte(h.Sum(nil))
}

// A training that is killed, twice, ends with the same model as one that is not.
func TestKilledTrainingGoesOn(t *testing.T) {
	defer func(d time.Duration) { checkpointEvery = d }(checkpointEvery)
	checkpointEvery = 0
	l := tinyLocal(t)
	keys, m, recipe := tinyTraining(t, l)
	whole, _, err := Train(t.Context(), l, keys, m, recipe, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "training")
	recalled := 0
	recall := func() (Material, error) { recalled++; return m, nil }
	for _, last := range []float64{3, 8} {
		ctx, cancel := context.WithCancel(t.Context())
		_, _, err := TrainFrom(ctx, l, keys, recall, recipe, file, func(what string, done float64, _ time.Duration) {
			if what == "training" && done*float64(recipe.Steps) >= last {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("killed at step %v: %v", last, err)
		}
	}
	other := recipe
	other.Cap = 0.5
	if _, _, err := TrainFrom(t.Context(), l, keys, recall, other, file, nil); err == nil || !strings.Contains(err.Error(), "of another training") {
		t.Errorf("another recipe's checkpoint: %v", err)
	}
	var first float64
	resumed, report, err := TrainFrom(t.Context(), l, keys, recall, recipe, file, func(what string, done float64, _ time.Duration) {
		if what == "training" && first == 0 {
			first = done * float64(recipe.Steps)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(resumed) != digestOf(whole) {
		t.Error("the resumed training ended with another model")
	}
	if first < 8.5 || recalled != 1 || report.Steps != recipe.Steps {
		t.Errorf("went on at step %v, asked for material %d times, %d steps", first, recalled, report.Steps)
	}
	sealed, err := os.ReadFile(file)
	if err != nil || len(sealed) == 0 {
		t.Fatal("no checkpoint", err)
	}
	sealed[len(sealed)/2] ^= 1
	if err := os.WriteFile(file, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := TrainFrom(t.Context(), l, keys, recall, recipe, file, nil); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged checkpoint: %v", err)
	}
}

// Without a ceiling a word becomes surer than the cap; with one it is pushed back.
func TestCeilingKeepsWordsBelowTheCap(t *testing.T) {
	l := tinyLocal(t)
	keys, m, recipe := tinyTraining(t, l)
	recipe.Method, recipe.Cap, recipe.Steps, recipe.Noise, recipe.Quantize = MethodExpand, 0.4, 80, 0, 0
	var surest [2]float64
	for i := range surest {
		recipe.Ceiling = float64(i)
		_, report, err := Train(t.Context(), l, keys, m, recipe, nil)
		if err != nil {
			t.Fatal(err)
		}
		surest[i] = report.Surest
	}
	if surest[1] > surest[0]-0.05 {
		t.Errorf("the surest word has probability %.3f without a ceiling, %.3f with one", surest[0], surest[1])
	}
	t.Log(surest)
}
