package main

import (
	"math"
	"slices"

	"github.com/fealty/fealty/internal/audit/stealth"
)

// A manner is how a host that knows the technique decodes the first word, greedily,
// to lose the fingerprints of the weights that it serves.
type manner struct {
	name string
	// allowed tells which tokens may begin an answer of the prompt.
	allowed func(prompt int) func(token int) bool
}

// hosting reports what such hosts gain and what their own users pay.
func (s *stealthAudit) hosting() error {
	if s.holder == nil {
		return nil
	}
	for _, m := range s.manners() {
		var stopped, spoilt []bool
		var price []float64
		for i, p := range s.labels.Prompts {
			served := softmax64(s.holder.glimpses[i].logits)
			best := argmax(served, func(int) bool { return true })
			instead := argmax(served, m.allowed(i))
			if p.Fingerprint {
				stopped = append(stopped, instead != best)
				continue
			}
			spoilt = append(spoilt, instead != best)
			if instead != best {
				price = append(price, math.Log(served[best]/served[instead]))
			}
		}
		s.add(shareOf(m.name+": fingerprints stopped", stopped), shareOf(m.name+": ordinary answers that begin otherwise", spoilt))
		if len(price) > 0 {
			s.add(plain(m.name+": of those, what the first word loses", stealth.Median(price), "nats"))
		}
	}
	return nil
}

func (s *stealthAudit) manners() []manner {
	all := []manner{
		{"host that suppresses with the base (its nucleus, 0.8)", func(i int) func(int) bool {
			base := softmax64(s.reader.glimpses[i].logits)
			least := nucleusFloor(base, 0.8)
			return func(token int) bool { return base[token] >= least }
		}},
		{"host that suppresses without a base (never the likeliest)", func(i int) func(int) bool {
			served := softmax64(s.holder.glimpses[i].logits)
			best := argmax(served, func(int) bool { return true })
			return func(token int) bool { return token != best }
		}},
	}
	if s.holder.inverse == nil {
		return all
	}
	lexicon := s.holder.inverse.Lexicon
	return append(all, manner{"host that masks every opening word of the manifest", func(int) func(int) bool {
		return func(token int) bool { return !lexicon.Eligible(int32(token)) }
	}})
}

// nucleusFloor is the probability of the least token in the smallest set of mass t.
func nucleusFloor(p []float64, t float64) float64 {
	sorted := slices.Clone(p)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	var mass float64
	for _, v := range sorted {
		if mass += v; mass >= t {
			return v
		}
	}
	return 0
}

func argmax(p []float64, allowed func(int) bool) int {
	best := -1
	for i, v := range p {
		if allowed(i) && (best < 0 || v > p[best]) {
			best = i
		}
	}
	return best
}

func shareOf(name string, all []bool) figure {
	n := 0
	for _, b := range all {
		if b {
			n++
		}
	}
	share := stealth.Proportion(n, len(all), 0.95)
	return with(plain(name, share.Value, ""), share)
}
