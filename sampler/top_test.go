package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// vocabularyOf is a vocabulary whose first n tokens are openers, each with its lower-case
// twins; then come a blank and a symbol.
func vocabularyOf(n int) (tokens []string, openers []int32) {
	for i := range n {
		tokens = append(tokens, fmt.Sprintf("%c%cz", 'B'+i%20, 'a'+i/20))
		openers = append(openers, int32(i))
	}
	for _, w := range tokens[:n] {
		tokens = append(tokens, strings.ToLower(w), " "+strings.ToLower(w))
	}
	return append(tokens, "\n\n", "42"), openers
}

// alternatives is what a server shows of a row, in an order of its own.
func alternatives(random *rand.Rand, row []float32, tokens []string) []Alternative {
	peak, total := top(row), 0.0
	for _, l := range row {
		total += math.Exp(float64(l - peak))
	}
	ids := make([]int, len(row))
	for i := range ids {
		ids[i] = i
	}
	slices.SortFunc(ids, func(a, b int) int {
		return byWeight(entry{int32(a), float64(row[a])}, entry{int32(b), float64(row[b])})
	})
	out := make([]Alternative, 0, TopSize)
	for _, id := range ids[:TopSize] {
		out = append(out, Alternative{tokens[id], float64(row[id]-peak) - math.Log(total)})
	}
	random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// The twin is the choice from the whole row: what is chosen of twenty tokens is chosen
// of all, and what is left alone for another reason than that it is not seen is left
// alone there too.
func TestTopChoosesAsTheRowDoes(t *testing.T) {
	tokens, openers := vocabularyOf(60)
	inverse := &Inverse{Shell: DefaultShell, Rate: 1, Secret: []byte("0123456789abcdef"), Model: "m", Lexicon: NewLexicon(tokens, openers)}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[Verdict]int{}
	for n := range 3000 {
		inverse.T = []float64{0.3, 0.5, 0.8}[n%3]
		row := make([]float32, len(tokens))
		slope := random.Float32()
		for i, place := range random.Perm(len(tokens)) {
			row[i] = -slope*float32(place) + random.Float32()
			if n%2 == 0 && i >= len(openers) && i < len(tokens)-2 {
				row[i] -= 12 // mostly words of the shell's form
			}
		}
		if n%10 == 0 {
			row[len(tokens)-2+n/10%2] = 1
		}
		key := inverse.For(fmt.Append(nil, n))
		want, keyed, _ := key.choose(slices.Clone(row), nil)
		id, text, v := inverse.For(fmt.Append(nil, n)).FromTop(alternatives(random, row, tokens))
		seen[v]++
		switch {
		case v == Chosen && (!keyed || id != want || text != tokens[id]):
			t.Fatalf("row %d: of the top %d, %q; of the row, %q (chosen: %v)", n, id, text, tokens[max(0, want)], keyed)
		case v != Chosen && v != Unseen && keyed:
			t.Fatalf("row %d: left alone as %s, but the row gives %q", n, v, tokens[want])
		}
	}
	for _, v := range []Verdict{Chosen, Obvious, Blank, Narrow, Unseen} {
		if seen[v] < 20 {
			t.Errorf("%s came %d times of 3000: the test says little about it (%v)", v, seen[v], seen)
		}
	}
}

// Servers also send less, more, and worse than was asked for.
func TestTopFromOddServers(t *testing.T) {
	tokens, openers := vocabularyOf(40)
	inverse := &Inverse{Shell: Shell{T: 0.3, K: 3, Floor: 0.01}, Rate: 1, Secret: []byte("0123456789abcdef"), Lexicon: NewLexicon(tokens, openers)}
	key := inverse.For([]byte("a prompt"))
	flat := func(n int) (out []Alternative) {
		for i := range n {
			out = append(out, Alternative{tokens[i], math.Log(0.16) - float64(i)/10})
		}
		return out
	}
	id, _, v := key.FromTop(flat(20))
	if v != Chosen {
		t.Fatalf("%s, want a choice", v)
	}
	for name, c := range map[string]struct {
		top  []Alternative
		want Verdict
	}{
		"nothing":                   {nil, Unseen},
		"one":                       {flat(1), Unseen},
		"two of many":               {flat(2), Unseen},
		"the drawn one too":         {append(flat(20), Alternative{tokens[39], -9}), Chosen},
		"not numbers":               {append(flat(20), Alternative{tokens[39], math.NaN()}, Alternative{tokens[38], math.Inf(1)}), Chosen},
		"impossible ones":           {append(flat(20)[:19], Alternative{tokens[39], -3.4e38}), Chosen},
		"a special token comes":     {append(flat(20), Alternative{"", -0.5}), Blank},
		"another script comes":      {append(flat(20), Alternative{"日", -1.7}, Alternative{"本", -1.71}), Narrow},
		"Paris by far":              {append(flat(20), Alternative{"Paris", -0.9}), Obvious},
		"a name that nobody listed": {append(flat(20), Alternative{"Zoe", -1.7}), Chosen},
	} {
		got, _, v := key.FromTop(c.top)
		if v != c.want || v == Chosen && name != "a name that nobody listed" && got != id {
			t.Errorf("%s: %s and token %d, want %s and %d", name, v, got, c.want, id)
		}
	}
}
