package tokenizer

import (
	"slices"
	"strings"
)

// match is a special token found in text.
type match struct {
	start, end int
	id         int32
}

// matcher finds special tokens in text: leftmost, and of those the longest, as the reference does.
type matcher struct {
	byFirst [256][]word // longest first
	any     bool
}

type word struct {
	text string
	id   int32
}

func newMatcher(tokens []string, ids []int32) *matcher {
	m := &matcher{any: len(ids) > 0}
	for _, id := range ids {
		first := tokens[id][0]
		m.byFirst[first] = append(m.byFirst[first], word{tokens[id], id})
	}
	for _, words := range m.byFirst {
		slices.SortFunc(words, func(a, b word) int { return len(b.text) - len(a.text) })
	}
	return m
}

func (m *matcher) find(text string) []match {
	return m.findIf(text, func(match) bool { return true })
}

// findIf finds the matches that allow accepts; where it refuses the longest, a shorter one may stand.
func (m *matcher) findIf(text string, allow func(match) bool) []match {
	if !m.any {
		return nil
	}
	var found []match
	for at := 0; at < len(text); {
		if got, ok := m.at(text, at, allow); ok {
			found = append(found, got)
			at = got.end
			continue
		}
		at++
	}
	return found
}

func (m *matcher) at(text string, at int, allow func(match) bool) (match, bool) {
	for _, w := range m.byFirst[text[at]] {
		got := match{at, at + len(w.text), w.id}
		if strings.HasPrefix(text[at:], w.text) && allow(got) {
			return got, true
		}
	}
	return match{}, false
}
