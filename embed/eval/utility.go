package eval

import (
	"context"
	"math"
	"slices"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/llama"
)

// scorer looks at every token of a sequence.
type scorer interface {
	Score(ctx context.Context, sequence []int32, from int) ([]llama.Scored, error)
}

// reading is what a model made of the running texts and the choices.
type reading struct {
	loss   []float64 // of each paragraph: sum of -log p, nats
	tokens []int     // of each paragraph
	tops   []int32   // at every position of all paragraphs
	right  []bool    // of each choice
}

// read scores paragraphs and choices. Equal models give equal readings.
func read(ctx context.Context, l *fingerprint.Local, s scorer, t *Texts, paragraphs, choices int, told func(done, total int)) (r reading, err error) {
	paragraphs, choices = min(paragraphs, len(t.Running)), min(choices, len(t.Choices))
	for i, p := range t.Running[:paragraphs] {
		ids := l.Encode(p, false)
		ids = ids[:min(len(ids), paragraphTokens)]
		all, err := s.Score(ctx, ids, 1)
		if err != nil {
			return r, err
		}
		loss := 0.0
		for _, one := range all {
			loss -= one.LogProb
			r.tops = append(r.tops, one.Top)
		}
		r.loss, r.tokens = append(r.loss, loss), append(r.tokens, len(all))
		told(i+1, paragraphs+choices)
	}
	for i, c := range t.Choices[:choices] {
		right, err := choose(ctx, l, s, c)
		if err != nil {
			return r, err
		}
		r.right = append(r.right, right)
		told(paragraphs+i+1, paragraphs+choices)
	}
	return r, nil
}

const paragraphTokens = 160

// choose tells whether the first option is the likeliest answer per token.
func choose(ctx context.Context, l *fingerprint.Local, s scorer, c Choice) (bool, error) {
	ids, err := prompts(l, "", []string{c.Question})
	if err != nil {
		return false, err
	}
	best, most := 0, math.Inf(-1)
	for i, option := range c.Options {
		all, err := s.Score(ctx, slices.Concat(ids[0], l.Encode(option, false)), len(ids[0]))
		if err != nil {
			return false, err
		}
		mean := 0.0
		for _, one := range all {
			mean += one.LogProb / float64(len(all))
		}
		if mean > most {
			best, most = i, mean
		}
	}
	return best == 0, nil
}

// Interval is an estimate with its 95 % confidence interval (paired bootstrap).
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// perplexityRise is perplexity over the base's, less one.
func perplexityRise(base, served reading) Interval {
	return bootstrap(len(base.loss), func(sample []int) float64 {
		var worse, tokens float64
		for _, i := range sample {
			worse += served.loss[i] - base.loss[i]
			tokens += float64(base.tokens[i])
		}
		return math.Exp(worse/tokens) - 1
	})
}

// perplexity of a reading.
func perplexity(r reading) float64 {
	var loss, tokens float64
	for i, l := range r.loss {
		loss, tokens = loss+l, tokens+float64(r.tokens[i])
	}
	return math.Exp(loss / tokens)
}

// choiceGain is the share of choices right, less the base's.
func choiceGain(base, served reading) Interval {
	return bootstrap(len(base.right), func(sample []int) float64 {
		gain := 0.0
		for _, i := range sample {
			gain += float64(gate(served.right[i])-gate(base.right[i])) / float64(len(sample))
		}
		return gain
	})
}

// sameTop is the share of positions at which two readings have the same likeliest token.
func sameTop(base, served reading) float64 {
	same := 0
	for i, id := range base.tops {
		same += gate(id == served.tops[i])
	}
	return float64(same) / float64(max(1, len(base.tops)))
}

// bootstrap resamples the items with replacement (Efron 1979), both models' answers to
// an item together. The seed is fixed: equal readings give equal intervals.
func bootstrap(n int, statistic func(sample []int) float64) Interval {
	if n == 0 {
		return Interval{}
	}
	sample := make([]int, n)
	for i := range sample {
		sample[i] = i
	}
	out := Interval{Value: statistic(sample)}
	random, all := newRandom(1, 0x626f6f74), make([]float64, 2000)
	for r := range all {
		for i := range sample {
			sample[i] = random.IntN(n)
		}
		all[r] = statistic(sample)
	}
	slices.Sort(all)
	out.Low, out.High = all[len(all)/40], all[len(all)-1-len(all)/40]
	return out
}
