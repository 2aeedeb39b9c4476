package engine

import (
	"slices"
	"testing"

	"github.com/fealty/fealty/internal/llama/llamatest"
)

// TestPrefixReuse: prompts that begin alike are answered as if nothing were kept, and
// only whole chunks of what they share are not computed again.
func TestPrefixReuse(t *testing.T) {
	m := tiny(t)
	e := open(t, m, Options{Slots: 3, Context: 200, Chunk: 8, PrefixTokens: 128})
	system := prompt(1, 30)
	first := slices.Concat(system, prompt(2, 9))
	turn := slices.Concat(first, expected(t, m, first, 6), prompt(3, 5)) // the conversation goes on
	for _, c := range []struct {
		name   string
		prompt []int32
		reused int
	}{
		{"the first", first, 0},
		{"the same again", first, 32},
		{"another question", slices.Concat(system, prompt(4, 20)), 24},
		{"the next turn", turn, 32},
		{"the next turn again", turn, 48},
		{"a whole number of chunks", first[:32], 24},
		{"shorter than a chunk", first[:5], 0},
		{"alike, but later", slices.Concat(prompt(5, 1), first), 0},
		{"a block of another prompt, at its place", slices.Concat(prompt(6, 8), first[8:32]), 0},
	} {
		before := e.Stats().Reused
		g := generate(t, e, Request{Prompt: c.prompt, MaxTokens: 6, Choose: chooserFunc(greedy)})
		if got, want := mustCollect(t, g), expected(t, m, c.prompt, 6); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
		// The count is told at the next tick: another request makes one.
		mustCollect(t, generate(t, e, Request{Prompt: prompt(9, 2), MaxTokens: 2, Choose: chooserFunc(greedy)}))
		if got := e.Stats().Reused - before; got != c.reused {
			t.Errorf("%s: %d positions reused, want %d", c.name, got, c.reused)
		}
	}
}

// TestPrefixReuseAtOnce: the same while prompts of three families are computed at
// once, with room for less than all of them.
func TestPrefixReuseAtOnce(t *testing.T) {
	m := tiny(t)
	e := open(t, m, Options{Slots: 4, Context: 200, Chunk: 8, PrefixTokens: 64})
	var prompts [][]int32
	var all []*Generation
	for i := range 18 {
		p := slices.Concat(prompt(uint64(i%3), 40), prompt(uint64(100+i), 3+i))
		prompts = append(prompts, p)
		all = append(all, generate(t, e, Request{Prompt: p, MaxTokens: 5, Choose: chooserFunc(greedy)}))
	}
	for i, g := range all {
		if got, want := mustCollect(t, g), expected(t, m, prompts[i], 5); !slices.Equal(got, want) {
			t.Errorf("request %d: got %v, want %v", i, got, want)
		}
	}
}

// TestPrefixesAreBounded: no more blocks are held than fit, the ones used last stay,
// and a chain loses its end before its beginning.
func TestPrefixesAreBounded(t *testing.T) {
	m := tiny(t)
	p := newPrefixes(m, Options{Chunk: 4, PrefixTokens: 19})
	defer p.release()
	if p.most != 4 {
		t.Fatalf("room for %d blocks of 4 positions in 19, want 4", p.most)
	}
	cache, err := m.NewCache(1, 32)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	a, b, c := prompt(1, 12), prompt(2, 8), prompt(3, 32)
	for _, step := range []struct {
		store      []int32
		a, b, long int // positions known afterwards, of each prompt and one more token
	}{
		{a, 12, 0, 0},
		{b, 8, 8, 0},  // the end of a had to go
		{a, 12, 4, 0}, // and of b
		{c, 0, 0, 16}, // longer than all: its beginning
	} {
		if err := p.store(step.store, cache); err != nil {
			t.Fatal(err)
		}
		if n := p.order.Len(); n > p.most || n != len(p.held) {
			t.Errorf("%d blocks in order and %d by key, of %d at most", n, len(p.held), p.most)
		}
		into, err := m.NewCache(1, 40)
		if err != nil {
			t.Fatal(err)
		}
		more := int32(llamatest.Config(true).Vocab - 1)
		if x, y, z := p.load(append(slices.Clone(a), more), into), p.load(append(slices.Clone(b), more), into), p.load(append(slices.Clone(c), more), into); x != step.a || y != step.b || z != step.long {
			t.Errorf("known of a, b and c: %d, %d, %d; want %d, %d, %d", x, y, z, step.a, step.b, step.long)
		}
		into.Close()
	}
}
