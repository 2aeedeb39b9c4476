package engine

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"

	"github.com/fealty/fealty/internal/llama"
)

// prefixes keeps the keys and values of prompts that were computed, so that a later
// prompt that begins alike computes only its own rest. They are kept in blocks of a
// chunk: a reused prompt goes on where a chunk would have begun anyway, and its rest
// is computed in the same steps as without reuse, to the same bits.
//
// When the blocks are full, the one that was used longest ago goes. A block counts as
// used after those that continue it, so that these go first.
type prefixes struct {
	model  *llama.Model
	chunk  int // positions of a block
	most   int // blocks
	held   map[[32]byte]*list.Element
	order  *list.List // of *block; the front was used last
	reused int        // positions that did not have to be computed
}

// block is one chunk of a prompt, after one certain beginning.
type block struct {
	key   [32]byte // names the chunk and all that comes before it
	cache *llama.Cache
}

func newPrefixes(m *llama.Model, o Options) *prefixes {
	return &prefixes{model: m, chunk: o.Chunk, most: o.PrefixTokens / o.Chunk, held: map[[32]byte]*list.Element{}, order: list.New()}
}

// keys names the first n blocks of a prompt.
func (p *prefixes) keys(prompt []int32, n int) [][32]byte {
	keys := make([][32]byte, 0, n)
	var text []byte
	for i := range n {
		text = text[:0]
		if i > 0 {
			text = append(text, keys[i-1][:]...)
		}
		for _, id := range prompt[i*p.chunk:][:p.chunk] {
			text = binary.LittleEndian.AppendUint32(text, uint32(id))
		}
		keys = append(keys, sha256.Sum256(text))
	}
	return keys
}

// load copies what is known of a prompt and returns how many positions that is. One
// position at least is left to compute: the answer comes from it.
func (p *prefixes) load(prompt []int32, into *llama.Cache) int {
	if p.most == 0 {
		return 0
	}
	n := 0
	for i, key := range p.keys(prompt, (len(prompt)-1)/p.chunk) {
		known := p.held[key]
		if known == nil {
			break
		}
		into.CopyAt(0, i*p.chunk, known.Value.(*block).cache, 0, 0, p.chunk)
		n += p.chunk
	}
	p.reused += n
	return n
}

// store keeps the whole chunks of a prompt that was computed.
func (p *prefixes) store(prompt []int32, from *llama.Cache) error {
	keys := p.keys(prompt, min(len(prompt)/p.chunk, p.most))
	for i := len(keys) - 1; i >= 0; i-- {
		known := p.held[keys[i]]
		if known == nil {
			cache, err := p.room()
			if err != nil {
				return err
			}
			cache.CopyAt(0, 0, from, 0, i*p.chunk, p.chunk)
			known = p.order.PushFront(&block{key: keys[i], cache: cache})
			p.held[keys[i]] = known
		}
		p.order.MoveToFront(known)
	}
	return nil
}

// room is the cache of a new block, or of the one that was used longest ago.
func (p *prefixes) room() (*llama.Cache, error) {
	if p.order.Len() < p.most {
		return p.model.NewCache(1, p.chunk)
	}
	oldest := p.order.Remove(p.order.Back()).(*block)
	delete(p.held, oldest.key)
	return oldest.cache, nil
}

// release gives the memory back.
func (p *prefixes) release() {
	for e := p.order.Front(); e != nil; e = e.Next() {
		e.Value.(*block).cache.Close()
	}
	p.order.Init()
	clear(p.held)
}
