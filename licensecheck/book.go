package licensecheck

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/licensecheck/internal/node"
)

// window is how many blocks the book remembers: deep enough for finality on
// Ethereum (64 to 96 blocks) and for reorganisations.
const window = 256

// book is the memory of the checker: records, and the unbroken run of newest blocks
// with the changes in them. The run confirms every record that it reaches back to,
// however many there are: that is what makes a healthy chain cheap to follow.
type book struct {
	mu      sync.Mutex
	records shelf

	run     uint64 // counts runs of coverage; 0: none yet
	blocks  []node.Block
	index   map[common.Hash]uint64 // of blocks
	changes []change               // in blocks, oldest first
	final   mark                   // the newest block that is final
	at      time.Time              // when the chain last confirmed the newest of blocks
}

func newBook(records int) *book {
	return &book{records: newShelf(records), index: map[common.Hash]uint64{}}
}

// find is a copy of the record and when it was last confirmed.
func (b *book) find(k key) (r record, confirmed time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.records.get(k)
	if !ok || !b.join(k, p) {
		return record{}, time.Time{}, false
	}
	return *p, b.confirmed(p), true
}

// place stores a reading, unless a newer one is there, and answers with what holds.
// ok is false when the reading is of a block that the chain has left.
func (b *book) place(k key, r record) (held record, confirmed time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &r
	if old, found := b.records.peek(k); found && b.join(k, old) && p.older(old) {
		p = old
	}
	if !b.join(k, p) {
		return record{}, time.Time{}, false
	}
	b.records.add(k, p)
	return *p, b.confirmed(p), true
}

// adopt stores a reading of unknown age, if the run of coverage reaches back to it: the
// chain itself vouches for it then. ok is false if not.
func (b *book) adopt(k key, r record) (held record, confirmed time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.join(k, &r) || r.coverage == 0 {
		return record{}, time.Time{}, false
	}
	p := &r
	if old, found := b.records.peek(k); found && b.join(k, old) && p.older(old) {
		p = old
	}
	b.records.add(k, p)
	return *p, b.confirmed(p), true
}

func (b *book) confirmed(r *record) time.Time {
	if r.coverage == b.run && b.run != 0 && b.at.After(r.read) {
		return b.at
	}
	return r.read
}

// join puts a record under the running coverage if its blocks are in it, catching up
// with the changes since. It is false for a record of a block that the chain has left.
func (b *book) join(k key, r *record) bool {
	if r.coverage == b.run || len(b.blocks) == 0 {
		return true
	}
	if b.left(r.latest) || b.left(r.final) {
		return false
	}
	// Between two views that agree nothing was written, so it does not matter how far back
	// the final one is: with finality minutes behind, that is further than the run.
	agree := r.grant.Final == r.grant.Latest
	if !b.holds(r.latest) || !agree && !b.holds(r.final) {
		return true // older than the run, or ahead of it: only its own age counts
	}
	for _, c := range b.changes {
		if c.key != k {
			continue
		}
		r.applyLatest(c)
		if c.at.number <= b.final.number {
			r.applyFinal(c)
		}
	}
	r.coverage = b.run
	return true
}

func (b *book) holds(m mark) bool {
	number, ok := b.index[m.hash]
	return ok && number == m.number
}

// left reports whether the mark's block was replaced by another of the same number.
func (b *book) left(m mark) bool {
	return m.number >= b.blocks[0].Number && m.number <= b.top().Number && !b.holds(m)
}

// contradicts reports whether the run holds another block of this number.
func (b *book) contradicts(m mark) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.blocks) > 0 && b.left(m)
}

func (b *book) top() node.Block { return b.blocks[len(b.blocks)-1] }

// newest is the newest block covered.
func (b *book) newest() (top node.Block, first uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.blocks) == 0 {
		return node.Block{}, 0, false
	}
	return b.top(), b.blocks[0].Number, true
}

// knows reports whether the run holds this block.
func (b *book) knows(m mark) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.blocks) > 0 && b.holds(m)
}

// begin starts a new run of coverage. Records of earlier runs stay, each as fresh as it was.
func (b *book) begin(blocks []node.Block, changes []change, final mark, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.records.keys() {
		r, _ := b.records.peek(k)
		r.read = b.confirmed(r)
	}
	b.run++
	b.blocks, b.changes = blocks, changes
	clear(b.index)
	for _, block := range blocks {
		b.index[block.Hash] = block.Number
	}
	for _, c := range changes {
		if r, ok := b.records.peek(c.key); ok {
			r.applyLatest(c)
		}
	}
	b.final = mark{}
	b.finalise(final)
	b.upTo(now)
}

// upTo moves the time of confirmation; a block that waited to be followed does not put it back.
func (b *book) upTo(now time.Time) {
	if now.After(b.at) {
		b.at = now
	}
}

// extend continues the run after the ancestor, dropping what came after it before. It
// answers whether that replaced blocks, and which grants had changed in those. Without a
// final block and a time, the last of the blocks is not the chain's newest.
func (b *book) extend(ancestor uint64, blocks []node.Block, changes []change, final mark, now time.Time) (undone []key, reorganised bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ancestor < b.top().Number {
		undone = b.rewind(ancestor)
		reorganised = true
	}
	b.blocks = append(b.blocks, blocks...)
	for _, block := range blocks {
		b.index[block.Hash] = block.Number
	}
	for _, c := range changes {
		if r, ok := b.records.peek(c.key); ok {
			r.applyLatest(c)
		}
	}
	b.changes = append(b.changes, changes...)
	if !now.IsZero() {
		b.finalise(final)
		b.upTo(now)
	}
	b.trim()
	return undone, reorganised
}

// confirm says that the newest block is still the chain's newest.
func (b *book) confirm(final mark, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finalise(final)
	b.at = now
}

// finalise takes over the changes that became final. What was final stays so while its
// block stands, even if the chain became shorter.
func (b *book) finalise(final mark) {
	if final.number < b.final.number {
		return
	}
	for _, c := range b.changes {
		if c.at.number > b.final.number && c.at.number <= final.number {
			if r, ok := b.records.peek(c.key); ok {
				r.applyFinal(c)
			}
		}
	}
	b.final = final
}

// rewind drops what is above the ancestor, and every record that was read or changed there.
func (b *book) rewind(ancestor uint64) (undone []key) {
	for len(b.blocks) > 0 && b.top().Number > ancestor {
		delete(b.index, b.top().Hash)
		b.blocks = b.blocks[:len(b.blocks)-1]
	}
	for len(b.changes) > 0 && b.changes[len(b.changes)-1].at.number > ancestor {
		undone = append(undone, b.changes[len(b.changes)-1].key)
		b.changes = b.changes[:len(b.changes)-1]
	}
	for _, k := range b.records.keys() {
		if r, _ := b.records.peek(k); r.latest.number > ancestor || r.final.number > ancestor {
			b.records.remove(k)
		}
	}
	if b.final.number > ancestor {
		b.final = markOf(b.top())
	}
	return undone
}

func (b *book) trim() {
	if extra := len(b.blocks) - window; extra > 0 {
		for _, block := range b.blocks[:extra] {
			delete(b.index, block.Hash)
		}
		b.blocks = append([]node.Block(nil), b.blocks[extra:]...)
	}
	// A change is kept until it is final, even when finality stalls for longer than the window.
	keep, n := min(b.blocks[0].Number, b.final.number+1), 0
	for n < len(b.changes) && b.changes[n].at.number < keep {
		n++
	}
	b.changes = append([]change(nil), b.changes[n:]...)
}

// settle marks a record as true at the newest blocks, if the run covers it: so it
// can be passed on to others.
func (b *book) settle(k key) (r record, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, found := b.records.peek(k)
	if !found {
		return record{}, false
	}
	r = *p
	if len(b.blocks) > 0 && r.coverage == b.run {
		r.latest, r.final = markOf(b.top()), b.final
	}
	return r, true
}

// forget drops every record: they were of another chain. It answers which there were.
func (b *book) forget() []key {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := b.records.keys()
	b.records.purge()
	b.blocks, b.changes, b.run = nil, nil, b.run+1
	clear(b.index)
	return keys
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records.len()
}
