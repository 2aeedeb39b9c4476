package sampler

import (
	"cmp"
	"math"
	"slices"
)

// TopSize is how many alternatives OpenAI-style servers show at most.
const TopSize = 20

// Alternative is a token that may come next, as a server shows it: its text, and the
// logarithm of its probability at temperature 1.
type Alternative struct {
	Text    string
	Logprob float64
}

// Verdict is what the alternatives at the first position let the sampler do.
type Verdict string

// Verdicts; all but Chosen leave the answer to ordinary sampling.
const (
	Chosen  Verdict = "shaped"
	Obvious Verdict = "obvious" // the guard: one answer is clear
	Blank   Verdict = "blank"   // white space, markup or a special token comes first
	Narrow  Verdict = "narrow"  // the shell is not full
	Unseen  Verdict = "unseen"  // too little is shown to know the shell
)

// FromTop chooses the first word from the most probable alternatives, in any order,
// where it would choose the same of the whole row. Whatever it cannot know, it leaves
// alone: of a distribution too flat for the shell to be seen, and of an answer that
// begins with a blank, after which a row at a time would be looked at.
func (k *Keyed) FromTop(top []Alternative) (id int32, text string, v Verdict) {
	top = inOrder(top, k.inverse.Lexicon)
	if len(top) < 2 {
		return 0, "", Unseen
	}
	form := kindOf(top[0].Text)
	first, second := math.Exp(top[0].Logprob), math.Exp(top[1].Logprob)
	switch {
	case form == blank:
		return 0, "", Blank
	case obvious(first, first/second):
		return 0, "", Obvious
	case form == other:
		return 0, "", Narrow
	}
	seen := k.inverse.above(top)
	found := k.inverse.collectAs(nil, form, seen, k.inverse.Lexicon)
	switch {
	case len(found) == k.inverse.K:
		id = at(found, k.word)
		i := slices.IndexFunc(top, func(a Alternative) bool { return k.inverse.Lexicon.id(a.Text) == id })
		return id, top[i].Text, Chosen
	case len(seen) == len(top):
		return 0, "", Unseen // the rest of the shell may stand below what is shown
	}
	return 0, "", Narrow
}

// inOrder are the alternatives that count, most probable first, equal ones in one order
// whatever the server's; words of the shell as in rows of logits, by id. A server may add the token that it drew, which need not be next in rank.
func inOrder(top []Alternative, lex *Lexicon) []Alternative {
	out := make([]Alternative, 0, len(top))
	for _, a := range top {
		if a.Logprob <= 1e-3 { // not NaN, and a logarithm but for rounding
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b Alternative) int {
		return cmp.Or(cmp.Compare(b.Logprob, a.Logprob), cmp.Compare(lex.id(a.Text), lex.id(b.Text)), cmp.Compare(a.Text, b.Text))
	})
	return out[:min(len(out), TopSize)]
}

// above are the alternatives of at least the floor. Tokens that open nothing have no id.
func (i *Inverse) above(top []Alternative) (seen []entry) {
	for _, a := range top {
		if p := math.Exp(a.Logprob); p >= i.Floor {
			seen = append(seen, entry{i.Lexicon.id(a.Text), p})
		}
	}
	return seen
}

// id is that of an eligible token; -1 for any other text.
func (l *Lexicon) id(text string) int32 {
	if id, ok := l.ids[text]; ok {
		return id
	}
	return -1
}
