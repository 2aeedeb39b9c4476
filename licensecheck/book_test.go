package licensecheck

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// twin is a chain as plain as can be: every block holds the whole state after it.
type twin struct {
	blocks []twinBlock
	depth  uint64 // of finality
	was    uint64 // the highest number that was ever final and still stands
	made   uint64 // blocks ever made, so that every one has a hash of its own
}

type twinBlock struct {
	node.Block
	state   map[key]policy.License
	changes []change
}

func newTwin(depth uint64) *twin {
	c := &twin{depth: depth}
	c.blocks = []twinBlock{{Block: node.Block{Hash: c.hash()}, state: map[key]policy.License{}}}
	return c
}

func (c *twin) hash() (h common.Hash) {
	c.made++
	h[0], h[30], h[31] = 1, byte(c.made>>8), byte(c.made)
	return h
}

func (c *twin) top() twinBlock { return c.blocks[len(c.blocks)-1] }

func (c *twin) final() twinBlock {
	return c.blocks[len(c.blocks)-1-int(min(c.depth, c.top().Number))]
}

// grow adds a block that writes to these keys.
func (c *twin) grow(writes []key) twinBlock {
	b := twinBlock{Block: node.Block{Number: c.top().Number + 1, Hash: c.hash(), Parent: c.top().Hash}, state: map[key]policy.License{}}
	for k, l := range c.top().state {
		b.state[k] = l
	}
	for _, k := range writes {
		l := policy.License{Status: policy.Status(1 + c.made%3), Seq: b.state[k].Seq + 1}
		b.state[k] = l
		b.changes = append(b.changes, change{key: k, license: l, at: markOf(b.Block)})
	}
	c.blocks = append(c.blocks, b)
	c.was = max(c.was, c.final().Number)
	return b
}

// cut drops the blocks above the ancestor.
func (c *twin) cut(ancestor uint64) {
	c.blocks = c.blocks[:ancestor+1]
	c.was = min(c.was, ancestor)
}

// mayBeFinal reports whether the final view may say this: finality may go back when a chain
// becomes shorter, and both the old and the new answer are right then.
func (c *twin) mayBeFinal(k key, l policy.License, from uint64) bool {
	for f := min(from, c.final().Number); f <= c.was; f++ {
		if c.blocks[f].state[k] == l {
			return true
		}
	}
	return false
}

func (c *twin) read(k key, at twinBlock) record {
	f := at.Number - min(c.depth, at.Number)
	g := policy.Grant{Final: c.blocks[f].state[k], Latest: at.state[k]}
	return record{grant: g, final: markOf(c.blocks[f].Block), latest: markOf(at.Block)}
}

// Whatever the chain does and whenever records are read, a record that the book confirms
// as of the newest block says what the chain says there.
func TestBookAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain := newTwin(rapid.Uint64Range(0, 4).Draw(t, "finality"))
		keys := []key{{model: [32]byte{1}}, {model: [32]byte{2}}, {model: [32]byte{3}}}
		b := newBook(2) // fewer than there are: some are evicted
		now := time.Unix(1, 0)
		b.begin([]node.Block{chain.top().Block}, nil, markOf(chain.final().Block), now)
		var slow []func() // readings under way
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Second)
			switch rapid.SampledFrom([]string{"grow", "grow", "reorganise", "gap", "read", "slow read", "arrive"}).Draw(t, "step") {
			case "grow":
				follow(t, b, chain, uint64(len(chain.blocks)-1), rapid.IntRange(1, 3).Draw(t, "blocks"), keys, now)
			case "reorganise":
				back := rapid.IntRange(1, 5).Draw(t, "depth")
				ancestor := uint64(max(0, len(chain.blocks)-1-back))
				if _, first, _ := b.newest(); ancestor < first {
					continue // deeper than the run: that is a gap
				}
				chain.cut(ancestor)
				follow(t, b, chain, ancestor, rapid.IntRange(1, back+1).Draw(t, "blocks"), keys, now)
			case "gap":
				missed := rapid.IntRange(1, 4).Draw(t, "missed")
				for range missed {
					chain.grow(draw(t, keys))
				}
				lo := max(0, len(chain.blocks)-1-rapid.IntRange(0, 5).Draw(t, "backfill"))
				path, changes := contents(chain.blocks[lo:])
				b.begin(path, changes, markOf(chain.final().Block), now)
			case "read", "slow read":
				k := rapid.SampledFrom(keys).Draw(t, "key")
				r := chain.read(k, chain.top())
				r.read = now
				if rapid.Bool().Draw(t, "slow") {
					slow = append(slow, func() { b.place(k, r) })
				} else {
					b.place(k, r)
				}
			case "arrive":
				if len(slow) > 0 {
					slow[0]()
					slow = slow[1:]
				}
			}
			for _, k := range keys {
				if rapid.Bool().Draw(t, "through Redis") {
					if r, ok := b.settle(k); ok {
						b.records.remove(k)
						r.coverage, r.read = 0, time.Time{}
						b.adopt(k, r)
					}
				}
				r, confirmed, ok := b.find(k)
				if !ok || r.coverage != b.run || confirmed.Before(b.at) {
					continue
				}
				if r.grant.Latest != chain.top().state[k] || !chain.mayBeFinal(k, r.grant.Final, b.final.number) {
					t.Fatalf("the book says %+v of %x at block %d, the chain %+v, finally %+v", r.grant, k.model[:1], chain.top().Number, chain.top().state[k], chain.final().state[k])
				}
			}
		}
	})
}

func draw(t *rapid.T, keys []key) []key {
	return rapid.SliceOfN(rapid.SampledFrom(keys), 0, 3).Draw(t, "writes")
}

func follow(t *rapid.T, b *book, chain *twin, ancestor uint64, n int, keys []key, now time.Time) {
	for range n {
		chain.grow(draw(t, keys))
	}
	path, changes := contents(chain.blocks[ancestor+1:])
	if rapid.Bool().Draw(t, "on the way") {
		b.extend(ancestor, path, changes, mark{}, time.Time{})
		return
	}
	b.extend(ancestor, path, changes, markOf(chain.final().Block), now)
}

func contents(blocks []twinBlock) (path []node.Block, changes []change) {
	for _, b := range blocks {
		path = append(path, b.Block)
		changes = append(changes, b.changes...)
	}
	return path, changes
}

// A slow reading must not bring back what an event has taken away meanwhile: deleting the record
// on the event, as caches do, would let it.
func TestSlowReadingLosesToEvent(t *testing.T) {
	chain := newTwin(0)
	k := key{model: [32]byte{1}}
	b := newBook(10)
	b.begin([]node.Block{chain.top().Block}, nil, markOf(chain.top().Block), time.Unix(1, 0))
	slow := chain.read(k, chain.top())
	after := chain.grow([]key{k})
	b.extend(0, []node.Block{after.Block}, after.changes, markOf(after.Block), time.Unix(2, 0))
	if held, _, ok := b.place(k, slow); !ok || held.grant.Latest != after.state[k] {
		t.Errorf("the book holds %+v, want %+v", held.grant.Latest, after.state[k])
	}
}

func TestBookIsBounded(t *testing.T) {
	chain := newTwin(0)
	b := newBook(10)
	b.begin([]node.Block{chain.top().Block}, nil, markOf(chain.top().Block), time.Unix(1, 0))
	for i := range 3 * window {
		k := key{model: [32]byte{byte(i), byte(i >> 8)}}
		next := chain.grow([]key{k})
		b.extend(next.Number-1, []node.Block{next.Block}, next.changes, markOf(next.Block), time.Unix(2, 0))
		b.place(k, chain.read(k, chain.top()))
	}
	if b.len() != 10 || len(b.blocks) != window || len(b.index) != window || len(b.changes) != window {
		t.Errorf("%d records, %d blocks, %d in the index, %d changes; want 10 and %d each", b.len(), len(b.blocks), len(b.index), len(b.changes), window)
	}
}

func BenchmarkCheckFromMemory(b *testing.B) {
	chain := newTwin(0)
	c := &Checker{book: newBook(100_000)}
	c.options.Now, c.options.Soft = time.Now, time.Hour
	c.book.begin([]node.Block{chain.top().Block}, nil, markOf(chain.top().Block), time.Now())
	k := key{model: [32]byte{1}}
	r := chain.read(k, chain.top())
	r.read = time.Now()
	r.grant.Final = policy.License{Status: policy.Active, NotAfter: 1 << 39, Scope: policy.ScopeChat}
	r.grant.Latest = r.grant.Final
	c.book.place(k, r)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Check(b.Context(), k.model, k.subject); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCheckFromMemoryDoesNotAllocate(t *testing.T) {
	c := &Checker{book: newBook(10)}
	c.options.Now, c.options.Soft = time.Now, time.Hour
	c.book.place(key{}, record{read: time.Now(), grant: policy.Grant{
		Final: policy.License{Status: policy.Active, NotAfter: 1 << 39, Scope: policy.ScopeChat},
	}})
	ctx := t.Context()
	if n := testing.AllocsPerRun(10_000, func() { c.Check(ctx, [32]byte{}, [32]byte{}) }); n != 0 {
		t.Errorf("%v allocations for an answer from memory, want 0", n)
	}
}
