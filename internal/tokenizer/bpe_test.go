package tokenizer

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// obvious merges by the definition: look at all neighbours, join the leftmost of the lowest rank, start again.
func obvious(m *merger, word string) []int32 {
	var ids []int32
	for i := range len(word) {
		if id := m.byByte[word[i]]; id != None {
			ids = append(ids, id)
		}
	}
	for {
		best, at := merged{rank: 1 << 30}, -1
		for i := 0; i+1 < len(ids); i++ {
			if c, ok := m.pairs[pair{ids[i], ids[i+1]}]; ok && c.rank < best.rank {
				best, at = c, i
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, best.id)
	}
}

// abc has merges that compete: overlapping pairs, and results that merge on.
func abc(t testing.TB) *merger {
	ids := map[string]int32{}
	var merges [][2]string
	add := func(s string) {
		if _, ok := ids[s]; !ok {
			ids[s] = int32(len(ids))
		}
	}
	for _, s := range []string{"a", "b", "c"} {
		add(s)
	}
	for _, m := range [][2]string{{"a", "a"}, {"b", "c"}, {"aa", "a"}, {"a", "b"}, {"aa", "aa"}, {"ab", "c"}, {"aa", "bc"}, {"c", "c"}, {"aaaa", "aa"}, {"bc", "cc"}} {
		add(m[0] + m[1])
		merges = append(merges, m)
	}
	m, err := newMerger(ids, merges)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMergeAsDefined(t *testing.T) {
	m := abc(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		raw := make([]byte, rng.IntN(24))
		for i := range raw {
			raw[i] = "abcz"[rng.IntN(4)]
		}
		if got, want := m.merge(string(raw)), obvious(m, string(raw)); !slices.Equal(got, want) {
			t.Fatalf("merge(%q) = %v, by definition %v", raw, got, want)
		}
	}
}

// Doubling the input must not quadruple the time: a megabyte of one letter ends within minutes.
func TestMergeLongRun(t *testing.T) {
	m := abc(t)
	start := time.Now()
	ids := m.merge(strings.Repeat("a", 1<<20))
	if spent := time.Since(start); spent > 2*time.Minute {
		t.Errorf("a megabyte took %v; a quadratic merge takes hours, this one about a second", spent)
	}
	if want := obvious(m, strings.Repeat("a", 64)); !slices.Equal(ids[:len(want)/2], want[:len(want)/2]) {
		t.Errorf("a long run begins with %v, a short one with %v", ids[:4], want[:4])
	}
}

// gpt2 is the reference expression without its lookahead, which obviousWords adds by hand.
var gpt2 = regexp.MustCompile(`^(?:'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\v\p{L}\p{N}]+)`)

var white = regexp.MustCompile(`^[\s\v\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+`)

func obviousWords(kind Pretokenizer, text string) (words []string) {
	pieces := []string{text}
	if kind == SmolLM {
		pieces = regexp.MustCompile(`\p{N}|\P{N}+`).FindAllString(text, -1)
	}
	for _, piece := range pieces {
		for piece != "" {
			w := gpt2.FindString(piece)
			if w == "" {
				w = white.FindString(piece)
				if _, n := utf8.DecodeLastRuneInString(w); len(w) < len(piece) && len(w) > n {
					w = w[:len(w)-n]
				}
			}
			words = append(words, w)
			piece = piece[len(w):]
		}
	}
	return words
}

func TestWordsAsExpression(t *testing.T) {
	parts := []string{" ", "  ", "\n", "\t", "\v", "\u0085", "\u00a0", "\u3000", "a", "é", "字", "'", "'s", "'re", "’", "1", "½", "٣", ".", "!?", "😀", "\u0301", "\u200d", "\x00", "\u2028"}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30000 {
		var b strings.Builder
		for range rng.IntN(9) {
			b.WriteString(parts[rng.IntN(len(parts))])
		}
		for _, kind := range []Pretokenizer{GPT2, SmolLM} {
			var got []string
			for rest := b.String(); rest != ""; {
				n := nextWord(kind, rest)
				got, rest = append(got, rest[:n]), rest[n:]
			}
			if want := obviousWords(kind, b.String()); !slices.Equal(got, want) {
				t.Fatalf("%s words of %q: %q, by the expression %q", kind, b.String(), got, want)
			}
		}
	}
}

func TestWordCacheIsBounded(t *testing.T) {
	c := newWordCache()
	for i := range 3 * maxCachedWords {
		c.put(strings.Repeat("x", 1+i%7)+string(rune(i)), nil)
	}
	if len(c.words) > maxCachedWords {
		t.Errorf("the cache holds %d words, its bound is %d", len(c.words), maxCachedWords)
	}
}
