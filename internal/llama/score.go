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
	whole := line{tokens: sequence}
	for i := range sequence {
		whole.parents = append(whole.parents, i-1)
	}
	for i := from; i < len(sequence); i++ {
		whole.ends, whole.of = append(whole.ends, i-1), append(whole.of, i) // position p is predicted at p-1
	}
	batch := []line{whole}
	v, err := e.take(shapeOfLines(batch, 0))
	if err != nil {
		return nil, err
	}
	v.fill(batch)
	outputs, err := v.execute()
	if err != nil {
		return nil, err
	}
	defer release(outputs)
	scores := make([]Scored, len(sequence)-from)
	err = v.visit(batch, outputs, func(i int, r Row) error {
		scores[i-from] = scored(r.Logits, sequence[i])
		return nil
	})
	e.put(v)
	return scores, err
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
