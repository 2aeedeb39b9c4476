package eval

import (
	"context"
	"math"
	"testing"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/llama/llamatest"
)

// someLessons are sequences of a tiny vocabulary.
func someLessons(n, vocab int) (out []lesson) {
	r := newRandom(1, 9)
	for range n {
		l := lesson{from: 20}
		for range 30 {
			l.ids = append(l.ids, int32(r.IntN(vocab)))
		}
		out = append(out, l)
	}
	return out
}

// TestTunerIsTheModel: the loss before the first step is what the engine's own graphs
// say of the same tokens, and the gradient is that of the loss.
func TestTunerIsTheModel(t *testing.T) {
	for _, tie := range []bool{true, false} {
		m := llamatest.Model(llamatest.Config(tie), 3)
		batch := someLessons(2, m.Config.Vocab)
		tuner, err := newTuner(m, tuneShape{2, tunedLength, 2 * tunedAnswer, 0}, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer tuner.close()
		loss, gradients, err := tuner.step(m.Tensors[embeddings].Data, batch)
		if err != nil {
			t.Fatal(err)
		}
		engine, err := llama.New(m)
		if err != nil {
			t.Fatal(err)
		}
		want, n := 0.0, 0
		for _, l := range batch {
			all, err := llama.NewEvaluator(engine).Score(t.Context(), l.ids, l.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				want, n = want-s.LogProb, n+1
			}
		}
		if want /= float64(n); math.Abs(loss-want) > 1e-3 {
			t.Errorf("tied %v: loss %v, the engine's %v", tie, loss, want)
		}
		for _, i := range []int{0, 1, 4, 6, 8, len(gradients) - 1} { // q, k, gate, down and others
			checkGradient(t, tuner, m.Tensors[embeddings].Data, batch, i, gradients[i])
		}
	}
}

// checkGradient compares along the gradient's own direction.
func checkGradient(t *testing.T, tuner *tuner, table []float32, batch []lesson, i int, gradient []float32) {
	t.Helper()
	length := norm(gradient)
	move := func(by float64) float64 {
		for j, g := range gradient {
			tuner.trained[i][j] += float32(by / length * float64(g))
		}
		loss, _, err := tuner.step(table, batch)
		if err != nil {
			t.Fatal(err)
		}
		return loss
	}
	const size = 0.02
	up := move(size)
	down := move(-2 * size)
	move(size)
	if got := (up - down) / (2 * size); math.Abs(got-length) > 0.02*length+1e-3 {
		t.Errorf("array %d: the loss rises by %v along the gradient, which says %v", i, got, length)
	}
}

// TestTunedLearns: both ways lower the loss of what they were taught, and change nothing
// that they do not train.
func TestTunedLearns(t *testing.T) {
	m := llamatest.Model(llamatest.Config(true), 5)
	all := someLessons(8, m.Config.Vocab)
	lossOf := func(rank int, rate float64) (before, after float64) {
		how := Tuning{Epochs: 6, Batch: 4, Rate: rate}
		got, seen, err := Tuned(t.Context(), m, all, how, rank, 1, func(int, int) {})
		if err != nil || seen != 48 {
			t.Fatalf("%d seen, %v", seen, err)
		}
		if &got.Tensors[embeddings].Data[0] != &m.Tensors[embeddings].Data[0] {
			t.Error("the embedding table was replaced")
		}
		for i, model := range []*float64{&before, &after} {
			of := m
			if i == 1 {
				of = got
			}
			engine, err := llama.New(of)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range all {
				scores, err := llama.NewEvaluator(engine).Score(context.Background(), l.ids, l.from)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range scores {
					*model -= s.LogProb
				}
			}
		}
		return before, after
	}
	for rank, rate := range map[int]float64{0: 0.003, 4: 0.02} {
		if before, after := lossOf(rank, rate); after > 0.9*before {
			t.Errorf("rank %d: the loss went from %v to %v", rank, before, after)
		}
	}
}
