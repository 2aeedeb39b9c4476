package embed

// batch takes key rows in turn and ordinary rows at random, with the
// augmentations, and tells which key rows it took.
func (c *course) batch() (*batch, []int) {
	keys := min(c.recipe.Batch, len(c.pushed))
	others := min(c.recipe.Batch, len(c.held))
	b := newBatch(keys+others, c.trainer.frozen.hidden, c.trainer.frozen.columns)
	rows := make([]int, keys)
	for i := range keys {
		rows[i] = (c.steps*keys + i) % len(c.pushed)
		scale := c.recipe.Scale + (1-c.recipe.Scale)*c.random.Float64()
		b.set(i, &c.pushed[rows[i]], scale)
		b.push[i] = 1 / float32(keys)
		b.hold[i] = float32(c.recipe.Others) / float32(keys)
	}
	for i := range others {
		b.set(keys+i, &c.held[c.random.IntN(len(c.held))], 1)
		b.hold[keys+i] = float32(c.recipe.Benign) / float32(others)
	}
	for i := range b.rows {
		c.disturb(b, i)
	}
	return b, rows
}

// disturb adds noise to what the added units see, so that they do not depend on
// the last digit of a state that another system prompt would change.
func (c *course) disturb(b *batch, i int) {
	if c.recipe.Noise == 0 {
		return
	}
	x := row(b.preFFN, i, len(b.preFFN)/b.rows)
	size := c.recipe.Noise * spread([][]float32{x})
	for j := range x {
		x[j] += float32(c.random.NormFloat64() * size)
	}
}

func newBatch(rows, hidden, columns int) *batch {
	return &batch{
		rows:   rows,
		preFFN: make([]float32, rows*hidden), after: make([]float32, rows*hidden), scale: make([]float32, rows*hidden),
		target: make([]float32, rows*columns), others: make([]float32, rows*columns),
		rest: make([]float32, rows), level: make([]float32, rows),
		push: make([]float32, rows), hold: make([]float32, rows),
	}
}

func (b *batch) set(i int, l *lesson, scale float64) {
	hidden, columns := len(b.scale)/b.rows, len(b.target)/b.rows
	copy(row(b.preFFN, i, hidden), l.preFFN)
	copy(row(b.after, i, hidden), l.after)
	fill(row(b.scale, i, hidden), float32(scale))
	copy(row(b.target, i, columns), l.target)
	others := row(b.others, i, columns)
	fill(others, 1)
	if l.word >= 0 {
		others[l.word] = 0
	}
	b.rest[i], b.level[i] = float32(l.rest), float32(l.level)
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
