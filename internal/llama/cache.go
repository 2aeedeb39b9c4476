package llama

import (
	"fmt"

	"github.com/gomlx/compute"
)

// Cache holds the keys and values of some sequences, Span positions each, for
// every layer. The host writes it between runs: the backend cannot update a
// tensor in place, so a run returns the new keys and values.
//
// Keys are held transposed, because the backend's product with a transposed
// right side takes several times as long as the plain one.
type Cache struct {
	Rows, Span int

	heads, width int              // key-value heads and their dimension
	buffers      []compute.Buffer // of each layer: keys [heads*Rows, width, Span], then values [heads*Rows, Span, width]
	data         [][]float32
}

// CacheBytes is the memory that a cache of this size takes.
func (m *Model) CacheBytes(rows, span int) int64 {
	c := m.config
	return int64(c.Layers) * 2 * 4 * int64(c.KVHeads) * int64(rows) * int64(span) * int64(c.HeadDim)
}

// NewCache allocates an empty cache.
func (m *Model) NewCache(rows, span int) (*Cache, error) {
	if rows < 1 || span < 1 {
		return nil, fmt.Errorf("llama: a cache of %d rows of %d positions is empty", rows, span)
	}
	c := &Cache{Rows: rows, Span: span, heads: m.config.KVHeads, width: m.config.HeadDim}
	for i := range 2 * m.config.Layers {
		b, flat, err := newFloats(m.backend, m.cacheShape(i, rows, span)...)
		if err != nil {
			return nil, err
		}
		clear(flat) // recycled memory may hold a NaN, which no mask hides
		c.buffers, c.data = append(c.buffers, b), append(c.data, flat)
	}
	return c, nil
}

// Close gives the memory back. The cache must not be used afterwards.
func (c *Cache) Close() {
	release(c.buffers)
	c.buffers, c.data = nil, nil
}

// cacheShape is the shape of tensor i of a cache.
func (m *Model) cacheShape(i, rows, span int) []int {
	if isKeys(i) {
		return []int{m.config.KVHeads * rows, m.config.HeadDim, span}
	}
	return []int{m.config.KVHeads * rows, span, m.config.HeadDim}
}

func isKeys(i int) bool { return i%2 == 0 }

// Copy copies the first positions of a row of another cache (or of this one)
// into row to.
func (c *Cache) Copy(to int, source *Cache, from, positions int) {
	c.CopyAt(to, 0, source, from, 0, positions)
}

// CopyAt copies positions of a row of another cache, beginning at start, into row to,
// beginning at at.
func (c *Cache) CopyAt(to, at int, source *Cache, from, start, positions int) {
	for i := range c.data {
		for head := range c.heads {
			dst, src := c.block(i, head, to), source.block(i, head, from)
			if !isKeys(i) {
				copy(dst[at*c.width:][:positions*c.width], src[start*c.width:])
				continue
			}
			for d := range c.width {
				copy(dst[d*c.Span+at:][:positions], src[d*source.Span+start:])
			}
		}
	}
}

// block is what tensor i holds of one head of one row.
func (c *Cache) block(i, head, row int) []float32 {
	size := c.Span * c.width
	return c.data[i][(head*c.Rows+row)*size:][:size]
}

// zeros is what erase stores; no head is wider.
var zeros [1 << 12]float32

// erase zeroes one position of a row in every layer.
func (c *Cache) erase(row, position int) {
	for i := range c.data {
		for head := range c.heads {
			c.put(i, head, row, position, zeros[:c.width])
		}
	}
}

// put writes one vector.
func (c *Cache) put(i, head, row, position int, vector []float32) {
	block := c.block(i, head, row)
	if !isKeys(i) {
		copy(block[position*c.width:], vector)
		return
	}
	for d, v := range vector {
		block[d*c.Span+position] = v
	}
}

// store writes n new vectors of a row, beginning at position. They are the rows
// from first on of values [heads, total, width].
func (c *Cache) store(i, row, position int, values []float32, first, n, total int) {
	for head := range c.heads {
		for j := range n {
			c.put(i, head, row, position+j, values[(head*total+first+j)*c.width:][:c.width])
		}
	}
}
