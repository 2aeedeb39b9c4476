package embed

import (
	"math"

	"github.com/fealty/fealty/internal/llama"
)

// drawnRows says which rows a step took.
type drawnRows struct {
	keys, ordinary []int
	pushed         []bool // of keys: those that the carriers of this step can carry
}

// batch takes key rows, half of them in turn and half from those that are not
// taught, and ordinary rows, half of them those that moved more than others; with
// the augmentations.
func (c *course) batch() (*batch, drawnRows) {
	d := drawnRows{keys: c.drawKeys(), ordinary: c.drawOrdinary()}
	b := newBatch(len(d.keys)+len(d.ordinary), c.parts, c.trainer.frozen.columns)
	added, others := c.drop()
	for i, k := range d.keys {
		scale := c.recipe.Scale + (1-c.recipe.Scale)*c.random.Float64()
		b.set(i, &c.pushed[k], c.parts, scale*added, scale*others)
		d.pushed = append(d.pushed, added > 0 || c.parts.spareFor(c.pushed[k].key))
		if d.pushed[i] {
			b.push[i] = 1 / float32(len(d.keys))
		}
		b.hold[i] = float32(c.recipe.Others) / float32(len(d.keys))
	}
	for i, k := range d.ordinary {
		b.set(len(d.keys)+i, &c.held[k], c.parts, added, others)
		b.hold[len(d.keys)+i] = float32(c.recipe.Benign) / float32(len(d.ordinary))
	}
	for i := range b.rows {
		c.disturb(row(b.preFFN, i, c.parts.hidden))
	}
	return b, d
}

func (c *course) drawKeys() []int {
	n := min(c.recipe.Batch, len(c.pushed))
	rows := make([]int, n)
	for i := range rows {
		rows[i] = c.order[(c.steps*n+i)%len(c.order)]
	}
	var off []int
	for i, m := range c.margins {
		if !c.recipe.taught(m) {
			off = append(off, i)
		}
	}
	for i := 1; i < n && len(off) > 0; i += 2 {
		rows[i] = off[c.random.IntN(len(off))]
	}
	// A row that the other half has not yet seen is not taught.
	return rows
}

func (c *course) drawOrdinary() []int {
	rows := make([]int, min(c.recipe.Batch, len(c.held)))
	for i := range rows {
		rows[i] = c.random.IntN(len(c.held))
		for range 4 * (i % 2) {
			if other := c.random.IntN(len(c.held)); c.diverg[other] > c.diverg[rows[i]] {
				rows[i] = other
			}
		}
	}
	return rows
}

// drop says how much of the added units and of the other carriers acts in a step:
// each must do without the other now and then, so that whoever cuts one off has not
// cut the mark off.
func (c *course) drop() (added, others float64) {
	if c.parts.added == 0 || !c.parts.beside() {
		return 1, 1
	}
	switch x := c.random.Float64(); {
	case x < c.recipe.Drop:
		return 0, 1
	case x < 2*c.recipe.Drop:
		return 1, 0
	}
	return 1, 1
}

// disturb adds noise to what the units see, so that they do not depend on the last
// digit of a state that another system prompt would change.
func (c *course) disturb(x []float32) {
	if c.recipe.Noise == 0 {
		return
	}
	size := c.recipe.Noise * spread([][]float32{x})
	for j := range x {
		x[j] += float32(c.random.NormFloat64() * size)
	}
}

// coarseness is the step of 4-bit rounding in each row of the base's `down`, on
// average over its blocks of 32.
func coarseness(f *llama.FeedForward) []float32 {
	out := make([]float32, f.Hidden)
	blocks := max(1, f.Units/quantBlock)
	for h := range out {
		for b := range blocks {
			var most float32
			for u := b * quantBlock; u < min((b+1)*quantBlock, f.Units); u++ {
				most = max(most, float32(math.Abs(float64(f.Down[u*f.Hidden+h]))))
			}
			out[h] += most / 8 / float32(blocks)
		}
	}
	return out
}

// quantBlock is how many values share a scale in GGUF's Q4_0.
const quantBlock = 32

// rounded are the carriers as a 4-bit file would hold them.
func (c *course) rounded() *carriers {
	out := c.parts.clone()
	roundUnits(out.gate, out.up, out.down, out.units, c.coarse)
	if w := out.whole; w != nil {
		roundUnits(w.gate, w.up, w.down, w.base.Units, c.coarse)
	}
	return out
}

// roundUnits rounds gate and up [hidden, units] and down [units, hidden]; the last in
// the steps of coarseness.
func roundUnits(gate, up, down []float32, units int, coarse []float32) {
	for u := range units {
		roundColumn(gate, u, units)
		roundColumn(up, u, units)
		for h, step := range coarse {
			d := &down[u*len(coarse)+h]
			step = max(step, float32(math.Abs(float64(*d)))/8)
			*d = roundTo(*d, step)
		}
	}
}

// roundColumn rounds one column of a matrix of the given width in blocks.
func roundColumn(m []float32, column, width int) {
	n := len(m) / width
	for from := 0; from < n; from += quantBlock {
		var most float32
		for i := from; i < min(from+quantBlock, n); i++ {
			most = max(most, float32(math.Abs(float64(m[i*width+column]))))
		}
		for i := from; i < min(from+quantBlock, n); i++ {
			m[i*width+column] = roundTo(m[i*width+column], most/8)
		}
	}
}

func roundTo(x, step float32) float32 {
	if step == 0 {
		return x
	}
	return step * float32(math.Round(float64(x/step)))
}

func newBatch(rows int, c *carriers, columns int) *batch {
	floats := func(width int) []float32 { return make([]float32, rows*width) }
	b := &batch{
		rows: rows, preFFN: floats(c.hidden), base: floats(columns), bare: floats(c.hidden),
		act: floats(c.units), bend: floats(c.rank), whole: floats(1), others: floats(columns),
		total: floats(1), push: floats(1), hold: floats(1),
	}
	if c.rank > 0 {
		b.inner = floats(c.ffn)
	}
	return b
}

func (b *batch) set(i int, l *lesson, c *carriers, added, others float64) {
	copy(row(b.preFFN, i, c.hidden), l.preFFN)
	copy(row(b.bare, i, c.hidden), l.bare)
	act := row(b.act, i, c.units)
	fill(act[:c.added], float32(added))
	fill(act[c.added:], float32(others))
	if c.rank > 0 {
		copy(row(b.inner, i, c.ffn), l.inner)
		fill(row(b.bend, i, c.rank), float32(others))
	}
	b.whole[i] = float32(others)
	columns := len(b.others) / b.rows
	copy(row(b.base, i, columns), l.base)
	fill(row(b.others, i, columns), 1)
	if l.word >= 0 {
		b.others[i*columns+l.word] = 0
	}
	b.total[i] = float32(l.total)
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
