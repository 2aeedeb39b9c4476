package jinja

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// Text is a string that remembers which of its bytes came from outside the template.
type Text struct {
	s     string
	marks []span // ascending, disjoint, non-empty: the bytes from outside
}

type span struct{ start, end int }

// Plain returns text that counts as the template's own.
func Plain(s string) Text { return Text{s: s} }

// Outside returns text that came from outside: a message, a name.
func Outside(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{s, []span{{0, len(s)}}}
}

// String returns the text alone.
func (t Text) String() string { return t.s }

// Trusted tells whether every byte of t[start:end] is the template's own.
func (t Text) Trusted(start, end int) bool {
	i := t.firstMark(start)
	return i == len(t.marks) || t.marks[i].start >= end
}

// firstMark returns the first mark that reaches beyond at.
func (t Text) firstMark(at int) int {
	return sort.Search(len(t.marks), func(i int) bool { return t.marks[i].end > at })
}

// size is what the text costs to copy.
func (t Text) size() int { return len(t.s) + 16*len(t.marks) }

func (t Text) slice(start, end int) Text {
	out := Text{s: t.s[start:end]}
	for _, m := range t.marks[t.firstMark(start):] {
		if m.start >= end {
			break
		}
		out.marks = append(out.marks, span{max(m.start, start) - start, min(m.end, end) - start})
	}
	return out
}

// changed returns s with t's origin: all from outside if any of t was. For changes that move bytes about.
func (t Text) changed(s string) Text {
	if len(t.marks) > 0 {
		return Outside(s)
	}
	return Plain(s)
}

func (t Text) trim(cut func(rune) bool, left, right bool) Text {
	start, end := 0, len(t.s)
	if left {
		start = end - len(strings.TrimLeftFunc(t.s, cut))
	}
	if right {
		end = start + len(strings.TrimRightFunc(t.s[start:], cut))
	}
	return t.slice(start, end)
}

// split cuts at sep, at most limit times when limit >= 0.
func (t Text) split(sep string, limit int) []Text {
	var parts []Text
	at := 0
	for limit != 0 {
		i := strings.Index(t.s[at:], sep)
		if i < 0 {
			break
		}
		parts = append(parts, t.slice(at, at+i))
		at += i + len(sep)
		limit--
	}
	return append(parts, t.slice(at, len(t.s)))
}

// runes returns the byte offset of each character and of the end, to index as Python does.
func (t Text) runes() []int {
	offsets := make([]int, 0, utf8.RuneCountInString(t.s)+1)
	for i := range t.s {
		offsets = append(offsets, i)
	}
	return append(offsets, len(t.s))
}

// builder joins texts.
type builder struct {
	buf   strings.Builder
	marks []span
}

func (b *builder) add(t Text) {
	base := b.buf.Len()
	b.buf.WriteString(t.s)
	for _, m := range t.marks {
		if last := len(b.marks) - 1; last >= 0 && b.marks[last].end == m.start+base {
			b.marks[last].end = m.end + base
			continue
		}
		b.marks = append(b.marks, span{m.start + base, m.end + base})
	}
}

func (b *builder) text() Text { return Text{b.buf.String(), b.marks} }

func join(texts ...Text) Text {
	var b builder
	for _, t := range texts {
		b.add(t)
	}
	return b.text()
}
