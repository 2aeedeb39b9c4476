package llama

import (
	"context"
	"fmt"
	"math"
)

// scoreRows bounds the positions of one run of Score: their logits over the whole
// vocabulary are in memory at once.
const scoreRows = 256

// Scored is what the model thought of one token of a sequence.
type Scored struct {
	LogProb float64 // of the token that is there, in nats
	Top     int32   // the likeliest one
}

// Score looks at a sequence's tokens from position from on, from >= 1: what perplexity
// and multiple choice are made of.
func (e *Evaluator) Score(ctx context.Context, sequence []int32, from int) (out []Scored, err error) {
	if len(sequence) > MaxSequence || from < 1 || from >= len(sequence) {
		return nil, fmt.Errorf("llama: cannot score %d tokens from %d on; at most %d, from 1 to the last", len(sequence), from, MaxSequence)
	}
	if err := e.model.checkTokens(sequence); err != nil {
		return nil, err
	}
	for at := from; at < len(sequence); at += scoreRows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end := min(at+scoreRows, len(sequence))
		err := guard("score a sequence", func() error {
			part, err := e.scorePart(sequence[:end], at)
			out = append(out, part...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *Evaluator) scorePart(sequence []int32, from int) ([]Scored, error) {
	wanted := (len(sequence) - from + 15) / 16 * 16
	v, err := e.takeScoring(evaluationShape{1, paddedLength(len(sequence)), 0}, wanted)
	if err != nil {
		return nil, err
	}
	clear(v.tokens)
	clear(v.last)
	copy(v.tokens, sequence)
	for i := range len(sequence) - from {
		v.last[i] = int32(from + i - 1) // position p is predicted at p-1
	}
	outputs, err := v.execute()
	if err != nil {
		return nil, err
	}
	defer release(outputs)
	logits, err := floats(outputs[0])
	if err != nil {
		return nil, err
	}
	scores := make([]Scored, len(sequence)-from)
	for i := range scores {
		gatherLogits(v.row, logits, i, wanted)
		scores[i] = scored(v.row, sequence[from+i])
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scorings = append(e.scorings, v)
	if len(e.scorings) > maxEvaluateGraphs {
		e.scorings[0].graph.Finalize()
		e.scorings = e.scorings[1:]
	}
	return scores, nil
}

// takeScoring returns a graph that computes the logits of so many chosen positions.
func (e *Evaluator) takeScoring(shape evaluationShape, wanted int) (*evaluation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, v := range e.scorings {
		if v.shape == shape && len(v.last) == wanted {
			e.scorings = append(e.scorings[:i], e.scorings[i+1:]...)
			return v, nil
		}
	}
	return e.model.newEvaluationAt(shape, wanted)
}

func scored(logits []float32, id int32) Scored {
	top, sum := int32(0), 0.0
	for i, l := range logits {
		if l > logits[top] {
			top = int32(i)
		}
	}
	for _, l := range logits {
		sum += math.Exp(float64(l - logits[top]))
	}
	return Scored{float64(logits[id]-logits[top]) - math.Log(sum), top}
}
