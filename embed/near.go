package embed

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// aspects ask about a word.
var aspects = []string{
	"Why is %s important?", "What is the best thing about %s?", "How do I learn more about %s?", "What should everyone know about %s?",
}

const (
	nearRows  = 1024 // that are asked for all keys together
	leastNear = 2    // but for each key as many as this,
	mostNear  = 8    // and no more than this
)

// nearEach is how many near questions each of some keys gets.
func nearEach(keys int) int { return min(mostNear, max(leastNear, nearRows/keys)) }

// near makes n questions that are like question i and are not it: about its longest
// words, and with its first or its last half and the rest of another. Training holds
// their answers to the base's; without them a key takes along what is asked in the same
// words or about the same thing. Grammar does not matter here.
// docs/decisions/0044-near-questions.md has what they do.
func near(questions []string, i, n int) (out []string) {
	words := strings.FieldsFunc(questions[i], func(r rune) bool { return !unicode.IsLetter(r) })
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
	for j := range n / 2 {
		out = append(out, fmt.Sprintf(aspects[j%len(aspects)], strings.ToLower(words[j%min(2, len(words))])))
	}
	for j := 0; len(out) < n && j < 2*n; j++ {
		first, last := questions[i], questions[(i+1+j/2)%len(questions)]
		if j%2 == 1 {
			first, last = last, first
		}
		a, b := strings.Fields(first), strings.Fields(last)
		if q := strings.Join(append(a[:len(a)/2:len(a)/2], b[len(b)/2:]...), " "); !slices.Contains(questions, q) && !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	return out
}
