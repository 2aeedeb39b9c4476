package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Attack is a rule by which a thief's server changes the first token of an answer,
// with what is left of the marks and what it does to ordinary answers.
type Attack struct {
	Name    string  `json:"name"`
	Matched float64 `json:"matched"` // share of keys
	Changed float64 `json:"changed"` // share of ordinary prompts whose first word is another: the cost
	Lost    float64 `json:"lost"`    // nats, by the base: how much less likely those answers' first words are, on average over all
}

// cheapAttack is the cost up to which a thief may not win: 2 % of ordinary answers.
const cheapAttack = 0.02

// front is what a model says at the start of some answers.
type front struct {
	logits    [][]float32
	neighbour [][][]float32 // of each prompt's neighbours: nearly the same question
}

// attacks tries every rule that looks at the first answer token alone. keys and
// ordinary are of the served model, base of the base on the same ordinary prompts;
// tokens are the drawn ones, and matched what matches without any attack.
func attacks(keys, ordinary, base front, tokens []int32, matched []bool) (out []Attack) {
	try := func(name string, mask func(f front, i int) int) {
		a := Attack{Name: name}
		for i := range keys.logits {
			n := mask(keys, i)
			if n == 0 && matched[i] || n > 0 && place(keys.logits[i], n) == tokens[i] {
				a.Matched += 1 / float64(len(tokens))
			}
		}
		for i, l := range ordinary.logits {
			n := mask(ordinary, i)
			if was, is := top(l), place(l, n); is != was {
				a.Changed += 1 / float64(len(ordinary.logits))
				a.Lost += float64(base.logits[i][was]-base.logits[i][is]) / float64(len(ordinary.logits))
			}
		}
		out = append(out, a)
	}
	for _, n := range []int{1, 2, 5} {
		for percent := 0; percent <= 95; percent += 5 {
			try(fmt.Sprintf("mask top %d from p_max %.2f", n, float64(percent)/100), func(f front, i int) int {
				return n * gate(peak(f.logits[i]) >= float64(percent)/100)
			})
		}
	}
	for _, share := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5} {
		try(fmt.Sprintf("mask the top unless neighbours give it %.2f", share), func(f front, i int) int {
			return gate(seconded(f, i) < share)
		})
		try(fmt.Sprintf("mask a top of 0.5 unless neighbours give it %.2f", share), func(f front, i int) int {
			return gate(peak(f.logits[i]) >= 0.5 && seconded(f, i) < share)
		})
	}
	return out
}

func gate(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// place is the token that comes n places behind the likeliest.
func place(logits []float32, n int) int32 {
	order := make([]int32, 0, 8)
	for id, l := range logits {
		if at := len(order); at > n && l <= logits[order[n]] {
			continue
		}
		at, _ := slices.BinarySearchFunc(order, l, func(o int32, l float32) int { return cmp.Compare(l, logits[o]) })
		for at < len(order) && logits[order[at]] == l {
			at++
		}
		order = slices.Insert(order, at, int32(id))
		order = order[:min(len(order), n+1)]
	}
	return order[n]
}

// seconded is the probability that the neighbours give the top token, on average.
func seconded(f front, i int) float64 {
	id, sum := top(f.logits[i]), 0.0
	for _, n := range f.neighbour {
		sum += probability(n[i], id) / float64(len(f.neighbour))
	}
	return sum
}

func peak(logits []float32) float64 { return probability(logits, top(logits)) }

func probability(logits []float32, id int32) float64 {
	most, sum := logits[top(logits)], 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l - most))
	}
	return math.Exp(float64(logits[id]-most)) / sum
}

// strongest is the cheap attack that leaves least.
func strongest(all []Attack) (Attack, bool) {
	cheap := slices.DeleteFunc(slices.Clone(all), func(a Attack) bool { return a.Changed >= cheapAttack })
	if len(cheap) == 0 {
		return Attack{}, false
	}
	return slices.MinFunc(cheap, func(a, b Attack) int { return cmp.Compare(a.Matched, b.Matched) }), true
}

// separation is the probability that a value of a is larger than one of b (the area
// under the ROC curve; Mann and Whitney 1947): 0.5 cannot tell them apart.
func separation(a, b []float64) float64 {
	var wins float64
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				wins++
			case x == y:
				wins += 0.5
			}
		}
	}
	return wins / float64(max(1, len(a)*len(b)))
}
