package engine

import "github.com/fealty/fealty/internal/llama"

const (
	leastSpan   = 64 // positions; a power of two
	shrinkAfter = 32 // ticks in a row that a smaller pool would have done
)

// pool is the cache of the decoding sequences. Its size goes by powers of two,
// so that few graphs are compiled: it grows when it must, and shrinks when it
// was too large for some time, since every row of it costs time in each tick.
type pool struct {
	model   *llama.Model
	options Options
	cache   *llama.Cache
	slack   int // ticks in a row that a smaller cache would have done
}

// span is the bucket of positions that holds n of them.
func (p *pool) span(n int) int {
	return max(min(llama.Bucket(n, leastSpan), p.options.Context), n)
}

// fit makes room for one more position of each sequence, and for one more
// sequence if joining is not nil.
func (p *pool) fit(sequences []*sequence, joining *sequence) error {
	rows, longest := len(sequences), 0
	for _, s := range sequences {
		longest = max(longest, s.length)
	}
	if joining != nil {
		rows, longest = rows+1, max(longest, joining.length)
	}
	rows = min(llama.Bucket(rows, 1), p.options.Slots)
	span := p.span(longest + 1)
	switch {
	case p.cache == nil:
	case rows > p.cache.Rows || span > p.cache.Span:
		rows, span = max(rows, p.cache.Rows), max(span, p.cache.Span)
	case rows < p.cache.Rows || span < p.cache.Span:
		if p.slack++; p.slack < shrinkAfter {
			return nil
		}
	default:
		p.slack = 0
		return nil
	}
	p.slack = 0
	return p.resize(sequences, rows, span)
}

// resize moves the sequences to a cache of another size.
func (p *pool) resize(sequences []*sequence, rows, span int) error {
	old := p.cache
	fresh, err := p.model.NewCache(rows, span)
	if err != nil {
		return err
	}
	p.cache = fresh
	for row, s := range sequences {
		fresh.Copy(row, old, row, s.length)
	}
	if old != nil {
		old.Close()
	}
	return nil
}

// release gives the memory back.
func (p *pool) release() {
	if p.cache != nil {
		p.cache.Close()
		p.cache, p.slack = nil, 0
	}
}
