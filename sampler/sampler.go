package sampler

import (
	"math"
	"math/rand/v2"
)

// Sampler chooses the tokens of one generation. It is not safe for concurrent
// use: each generation has its own.
type Sampler struct {
	settings Settings
	first    *Keyed
	random   *rand.Rand
	head     []entry       // scratch
	counts   map[int32]int // of the generated tokens; nil without penalties
	counted  int           // how many of them are in counts
}

// New returns a sampler. With first == nil it samples ordinarily throughout.
//
// A request with a logit_bias asks for control over single tokens, which a
// keyed choice would override: first is then ignored.
func New(s Settings, first *Keyed) (*Sampler, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if len(s.LogitBias) > 0 {
		first = nil
	}
	out := &Sampler{settings: s, first: first}
	if s.Temperature > 0 {
		out.random = rand.New(rand.NewPCG(s.Seed, seedStream))
	}
	if out.penalises() {
		out.counts = make(map[int32]int)
	}
	return out, nil
}

// seedStream is the second word of the PCG seed: any constant will do, but a
// change of it changes what every request seed means.
const seedStream = 0x6665616c74790001

// Choose returns the next token. It overwrites logits and keeps neither slice.
func (s *Sampler) Choose(logits []float32, generated []int32) int32 {
	if s.first != nil {
		id, keyed, pending := s.first.choose(logits, generated)
		if !pending {
			s.first = nil
		}
		if keyed {
			return id
		}
	}
	s.adjust(logits, generated)
	if s.settings.Temperature == 0 {
		return argmax(logits)
	}
	return s.draw(logits)
}

// adjust applies the bias and the penalties.
func (s *Sampler) adjust(logits []float32, generated []int32) {
	for id, bias := range s.settings.LogitBias {
		if int(id) < len(logits) {
			logits[id] += bias
		}
	}
	if s.counts == nil {
		return
	}
	for _, id := range generated[s.counted:] {
		s.counts[id]++
	}
	s.counted = len(generated)
	for id, n := range s.counts {
		if int(id) < len(logits) {
			logits[id] = s.penalised(logits[id], n)
		}
	}
}

func (s *Sampler) penalises() bool {
	return s.settings.FrequencyPenalty != 0 || s.settings.PresencePenalty != 0 || s.repetition() != 1
}

func (s *Sampler) repetition() float64 {
	if s.settings.RepetitionPenalty == 0 {
		return 1
	}
	return s.settings.RepetitionPenalty
}

// penalised follows vLLM's order: repetition (arXiv 1909.05858) first, then
// OpenAI's two penalties. Only generated tokens count, never the prompt's.
func (s *Sampler) penalised(logit float32, n int) float32 {
	l := float64(logit)
	if l > 0 {
		l /= s.repetition()
	} else {
		l *= s.repetition()
	}
	return float32(l - s.settings.FrequencyPenalty*float64(n) - s.settings.PresencePenalty)
}

// argmax prefers the lower id among equals, as every other engine does.
func argmax(logits []float32) int32 {
	best := 0
	for i, l := range logits {
		if l > logits[best] || logits[best] != logits[best] {
			best = i
		}
	}
	return int32(best)
}

// top returns the largest logit; minus infinity if there is none.
func top(logits []float32) float32 {
	best := float32(math.Inf(-1))
	for _, l := range logits {
		if l > best {
			best = l
		}
	}
	return best
}
