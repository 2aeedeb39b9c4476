package tokenizer

import (
	"container/heap"
	"fmt"
	"sync"
	"unicode/utf8"
)

// merger joins the bytes of a word into tokens by the ranks of the merges.
type merger struct {
	byByte [256]int32 // None: the vocabulary has no token for this byte
	pairs  map[pair]merged
}

type pair struct{ left, right int32 }

type merged struct{ rank, id int32 }

func newMerger(ids map[string]int32, merges [][2]string) (*merger, error) {
	m := &merger{pairs: make(map[pair]merged, len(merges))}
	for b := range 256 {
		id, ok := ids[string(alphabet[b])]
		if !ok {
			id = None
		}
		m.byByte[b] = id
	}
	for rank, parts := range merges {
		left, okLeft := ids[parts[0]]
		right, okRight := ids[parts[1]]
		whole, okWhole := ids[parts[0]+parts[1]]
		if !okLeft || !okRight || !okWhole {
			return nil, fmt.Errorf("tokenizer: merge %d (%q + %q) names a token that is not in the vocabulary", rank, parts[0], parts[1])
		}
		p := pair{left, right}
		if _, twice := m.pairs[p]; !twice {
			m.pairs[p] = merged{int32(rank), whole}
		}
	}
	return m, nil
}

// symbol is a piece of the word in a doubly linked list; gone pieces have id None.
type symbol struct{ id, prev, next int32 }

// candidate is a merge that may apply at a position. It is stale when the pieces there have changed since.
type candidate struct {
	merged
	pair
	at int32
}

// merge applies the lowest-ranked merge, leftmost first, until none applies. A heap over a linked list keeps a word of n
// bytes at O(n log n), so that a megabyte of one letter costs no more than a megabyte of prose.
func (m *merger) merge(word string) []int32 {
	list := m.symbols(word)
	var queue candidates
	for i := range list {
		m.push(&queue, list, int32(i))
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		left := &list[c.at]
		if left.id != c.left || left.next < 0 || list[left.next].id != c.right {
			continue
		}
		m.join(list, c)
		m.add(&queue, list, left.prev)
		m.add(&queue, list, c.at)
	}
	return alive(list)
}

func (m *merger) symbols(word string) []symbol {
	list := make([]symbol, 0, len(word))
	for i := range len(word) {
		if id := m.byByte[word[i]]; id != None {
			n := int32(len(list))
			list = append(list, symbol{id: id, prev: n - 1, next: n + 1})
		}
	}
	if len(list) > 0 {
		list[len(list)-1].next = -1
	}
	return list
}

func (m *merger) join(list []symbol, c candidate) {
	left := &list[c.at]
	gone := &list[left.next]
	left.id, left.next = c.id, gone.next
	gone.id = None
	if left.next >= 0 {
		list[left.next].prev = c.at
	}
}

func (m *merger) lookup(list []symbol, at int32) (candidate, bool) {
	if at < 0 || list[at].next < 0 {
		return candidate{}, false
	}
	p := pair{list[at].id, list[list[at].next].id}
	found, ok := m.pairs[p]
	return candidate{found, p, at}, ok
}

// push appends without ordering, for the first fill.
func (m *merger) push(q *candidates, list []symbol, at int32) {
	if c, ok := m.lookup(list, at); ok {
		*q = append(*q, c)
	}
}

func (m *merger) add(q *candidates, list []symbol, at int32) {
	if c, ok := m.lookup(list, at); ok {
		heap.Push(q, c)
	}
}

func alive(list []symbol) []int32 {
	ids := make([]int32, 0, len(list))
	for _, s := range list {
		if s.id != None {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// candidates is a heap: lowest rank first, then leftmost.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	if c[i].rank != c[j].rank {
		return c[i].rank < c[j].rank
	}
	return c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// alphabet is GPT-2's printable stand-in for each byte: itself where it is visible in Latin-1, else U+0100 and up.
var alphabet, byRune = makeAlphabet()

func makeAlphabet() (a [256]rune, back map[rune]byte) {
	back = make(map[rune]byte, 256)
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if visible := '!' <= r && r <= '~' || '¡' <= r && r <= '¬' || '®' <= r; !visible {
			r = next
			next++
		}
		a[b], back[r] = r, byte(b)
	}
	return a, back
}

// fromAlphabet turns a token's printable form into its bytes.
func fromAlphabet(text string) ([]byte, bool) {
	raw := make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := byRune[r]
		if !ok {
			return nil, false
		}
		raw = append(raw, b)
	}
	return raw, len(raw) > 0
}

// lossyUTF8 replaces each maximal subpart of an ill-formed sequence by U+FFFD (Unicode 15.0, section 3.9).
func lossyUTF8(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	out := make([]byte, 0, len(raw)+8)
	for len(raw) > 0 {
		_, n := utf8.DecodeRune(raw)
		if n == 1 && raw[0] >= utf8.RuneSelf {
			out = utf8.AppendRune(out, utf8.RuneError)
			raw = raw[brokenPrefix(raw):]
			continue
		}
		out = append(out, raw[:n]...)
		raw = raw[n:]
	}
	return string(out)
}

// brokenPrefix returns how many bytes of an ill-formed sequence could still have begun a character. Every such prefix
// of up to three bytes is found by asking whether some continuation makes it valid.
func brokenPrefix(raw []byte) int {
	best := 1
	for n := 2; n <= 3 && n <= len(raw); n++ {
		if !startsCharacter(raw[:n]) {
			break
		}
		best = n
	}
	return best
}

// startsCharacter tells whether prefix can be completed: utf8.FullRune is false exactly for those.
func startsCharacter(prefix []byte) bool { return !utf8.FullRune(prefix) }

const (
	maxCachedWord  = 64      // bytes
	maxCachedWords = 1 << 15 // then the cache starts anew; prose needs some thousands
)

// wordCache remembers the ids of recent words. It is bounded in words and in their length, so that input cannot grow it.
type wordCache struct {
	mu    sync.RWMutex
	words map[string][]int32
}

func newWordCache() *wordCache { return &wordCache{words: make(map[string][]int32)} }

func (c *wordCache) get(word string) ([]int32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ids, ok := c.words[word]
	return ids, ok
}

func (c *wordCache) put(word string, ids []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.words) >= maxCachedWords {
		clear(c.words)
	}
	c.words[word] = ids
}
