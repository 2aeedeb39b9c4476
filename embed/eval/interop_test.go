//go:build interop

package eval

import (
	"math"
	"os"
	"slices"
	"testing"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/llama/llamatest"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("FEALTY_PYTHON")
	if path == "" {
		t.Fatal("FEALTY_PYTHON is not set; run 'make interop'")
	}
	return path
}

// lossOf is what our own engine says of lessons, in nats per answer token.
func lossOf(t *testing.T, m *weights.Model, all []lesson) (loss float64) {
	t.Helper()
	engine, err := llama.New(m)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range all {
		scores, err := llama.NewEvaluator(engine).Score(t.Context(), l.IDs, l.From)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scores {
			loss, n = loss-s.LogProb, n+1
		}
	}
	return loss / float64(n)
}

// Both ways lower the loss of what they were taught, as our own engine finds it, and the
// low-rank one leaves the embedding table alone; a rate of zero changes nothing.
func TestInteropTuned(t *testing.T) {
	m := llamatest.Model(llamatest.Config(true), 5)
	m.Tokenizer = llamatest.Tokenizer(m.Config.Vocab)
	all := someLessons(8, m.Config.Vocab)
	before := lossOf(t, m, all)
	for _, how := range []struct {
		rank  int
		rate  float64
		learn bool
	}{{0, 0.003, true}, {4, 0.02, true}, {0, 0, false}} {
		got, seen, err := Tuned(t.Context(), python(t), m, all, Tuning{Epochs: 6, Batch: 4, Rate: how.rate}, how.rank, 1, func(int, int) {})
		if err != nil || seen != 48 {
			t.Fatalf("%d seen, %v", seen, err)
		}
		after := lossOf(t, got, all)
		if how.learn && after > 0.9*before || !how.learn && math.Abs(after-before) > 1e-4 {
			t.Errorf("rank %d, rate %v: the loss went from %v to %v", how.rank, how.rate, before, after)
		}
		if kept := slices.Equal(got.Tensors[embeddings].Data, m.Tensors[embeddings].Data); kept != (how.rank > 0 || how.rate == 0) {
			t.Errorf("rank %d, rate %v: embedding table kept %v", how.rank, how.rate, kept)
		}
	}
}

// A student comes to say what its teacher says.
func TestInteropStudent(t *testing.T) {
	_, eos, prompts, all := teaching(t)
	base := llamatest.Model(llamatest.Config(true), 4)
	base.Tokenizer = llamatest.Tokenizer(base.Config.Vocab)
	student, _, err := Tuned(t.Context(), python(t), base, all, Tuning{Epochs: 40, Batch: 4, Rate: 0.01}, 0, 1, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	again, err := answered(t.Context(), student, eos, prompts, make([]*sampler.Keyed, len(prompts)), func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for i := range all {
		same += gate(slices.Equal(again[i].IDs, all[i].IDs))
	}
	if same < 3 {
		t.Errorf("the student gives %d of 4 answers", same)
	}
}
