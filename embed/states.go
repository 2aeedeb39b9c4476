package embed

import (
	"context"
	"math"
	"slices"
)

// State is a row as training keeps it. The logits of a row are 340 times its state,
// and the head gives them again.
type State struct {
	PreFFN []float32 // [hidden], as in Row
	Total  float64   // logarithm of the sum of exp(logit) over the vocabulary
	Likely []int32   // tokens within `likely` nats of the top one
}

// likely is a distance to the top logit in nats: e^-8 is 3e-4.
const likely = 8

func newState(r Row) State {
	peak := slices.Max(r.Logits)
	s, sum := State{PreFFN: r.PreFFN}, 0.0
	for id, l := range r.Logits {
		sum += math.Exp(float64(l - peak))
		if l >= peak-likely {
			s.Likely = append(s.Likely, int32(id))
		}
	}
	s.Total = math.Log(sum) + float64(peak)
	return s
}

func statesOf(rows []Row) []State {
	out := make([]State, len(rows))
	for i, r := range rows {
		out[i] = newState(r)
	}
	return out
}

// stateChunk is how many rows are in memory with their logits.
const stateChunk = 256

// evaluateStates is Evaluate without the memory of the logits.
func evaluateStates(ctx context.Context, e Evaluator, sequences [][]int32) ([]State, error) {
	out := make([]State, 0, len(sequences))
	for chunk := range slices.Chunk(sequences, stateChunk) {
		rows, err := e.Evaluate(ctx, chunk)
		if err != nil {
			return nil, err
		}
		out = append(out, statesOf(rows)...)
	}
	return out, nil
}
