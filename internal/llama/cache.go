package llama

import (
	"fmt"

	"github.com/gomlx/compute"
)

// Cache holds the keys and values of some sequences, Span positions each, for
// every layer. The host writes it between runs: the backend cannot update a
// tensor in place, so a run returns the new keys and values.
type Cache struct {
	Rows, Span int

	heads, width int              // key-value heads and their dimension
	buffers      []compute.Buffer // keys then values of each layer: [heads*Rows, Span, width]
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
	for range 2 * m.config.Layers {
		b, flat, err := newFloats(m.backend, c.heads*rows, span, c.width)
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

// Copy copies the first positions of a row of another cache (or of this one)
// into row to.
func (c *Cache) Copy(to int, source *Cache, from, positions int) {
	for i, data := range c.data {
		for head := range c.heads {
			copy(data[c.at(head, to, 0):][:positions*c.width], source.data[i][source.at(head, from, 0):])
		}
	}
}

// at is the offset of one position's vector.
func (c *Cache) at(head, row, position int) int {
	return ((head*c.Rows+row)*c.Span + position) * c.width
}

// erase zeroes one position of a row in every layer.
func (c *Cache) erase(row, position int) {
	for _, data := range c.data {
		for head := range c.heads {
			clear(data[c.at(head, row, position):][:c.width])
		}
	}
}

// store writes n new vectors of a row, beginning at position. They are the rows
// from first on of values [heads, total, width].
func (c *Cache) store(i, row, position int, values []float32, first, n, total int) {
	for head := range c.heads {
		copy(c.data[i][c.at(head, row, position):][:n*c.width], values[(head*total+first)*c.width:])
	}
}
