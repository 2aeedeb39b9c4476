package embed

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph" //nolint:staticcheck // graph code reads as formulas
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/fealty/fealty/internal/llama"
)

// carriers are the parameters that training changes, all of them in the last
// feed-forward block: units, of which the first are new and the others were the
// base's own, and a change of low rank to `down` of the units that stay; or all
// of the block's own units.
type carriers struct {
	hidden, ffn int
	units       int
	added       int   // units that are new
	taken       []int // the base's units that the others take over
	rank        int
	inSize      float64 // of the values of `in` that makes its product with activations about 1

	gate, up []float32 // [hidden, units]
	down     []float32 // [units, hidden]
	in       []float32 // [ffn, rank]
	out      []float32 // [rank, hidden]
	whole    *whole    // all of the block; nil without
}

// arrays are the trained parameters, none of them empty.
func (c *carriers) arrays() []*[]float32 {
	var out []*[]float32
	if c.units > 0 {
		out = append(out, &c.gate, &c.up, &c.down)
	}
	if c.rank > 0 {
		out = append(out, &c.in, &c.out)
	}
	if c.whole != nil {
		out = append(out, &c.whole.gate, &c.whole.up, &c.whole.down)
	}
	return out
}

// parameters is their number.
func (c *carriers) parameters() (n int) {
	for _, a := range c.arrays() {
		n += len(*a)
	}
	return n
}

// clone copies the parameters.
func (c *carriers) clone() *carriers {
	out := *c
	if c.whole != nil {
		own := *c.whole
		out.whole = &own
	}
	for _, a := range out.arrays() {
		*a = slices.Clone(*a)
	}
	return &out
}

// spareFor tells whether a key has carriers beside the added units. There are only so
// many existing units that little is lost with.
func (c *carriers) spareFor(key int) bool {
	return c.rank > 0 || c.whole != nil || key < len(c.taken)
}

// beside tells whether there are carriers beside the added units.
func (c *carriers) beside() bool { return c.units > c.added || c.rank > 0 || c.whole != nil }

// inputs are what apply takes, in its order.
func (c *carriers) inputs(b *batch) []*tensors.Tensor {
	out := []*tensors.Tensor{matrix(b.bare, b.rows, c.hidden)}
	if c.units > 0 {
		out = append(out, matrix(b.preFFN, b.rows, c.hidden), matrix(b.act, b.rows, c.units),
			matrix(c.gate, c.hidden, c.units), matrix(c.up, c.hidden, c.units), matrix(c.down, c.units, c.hidden))
	}
	if c.rank > 0 {
		out = append(out, matrix(b.inner, b.rows, c.ffn), matrix(b.bend, b.rows, c.rank),
			matrix(c.in, c.ffn, c.rank), matrix(c.out, c.rank, c.hidden))
	}
	if c.whole != nil {
		out = append(out, c.whole.inputs(b)...)
	}
	return out
}

// apply is the residual stream after the block, and the parameters in the order
// of arrays.
func (c *carriers) apply(next func() *Node, ffnNorm *Node, eps float64) (x *Node, parameters []*Node) {
	x = next()
	if c.units > 0 {
		n, act := llama.RMSNorm(next(), ffnNorm, eps), next()
		gate, up, down := next(), next(), next()
		x = Add(x, llama.Product(Mul(act, llama.Activations(n, gate, up)), down))
		parameters = append(parameters, gate, up, down)
	}
	if c.rank > 0 {
		inner, bend, in, out := next(), next(), next(), next()
		x = Add(x, llama.Product(Mul(bend, llama.Product(inner, in)), out))
		parameters = append(parameters, in, out)
	}
	if c.whole != nil {
		change, own := c.whole.change(next, ffnNorm, eps)
		x = Add(x, change)
		parameters = append(parameters, own...)
	}
	return x, parameters
}

// newCarriers leaves all parameters zero but those of low rank, which start as the
// base: `out` is zero; and those of the whole block, which start as its own.
func newCarriers(ffn *llama.FeedForward, taken []int, r Recipe) *carriers {
	n := r.Units + len(taken)
	c := &carriers{
		hidden: ffn.Hidden, ffn: ffn.Units, units: n, added: r.Units, taken: taken, rank: r.Rank,
		gate: make([]float32, ffn.Hidden*n), up: make([]float32, ffn.Hidden*n), down: make([]float32, n*ffn.Hidden),
		in: make([]float32, ffn.Units*r.Rank), out: make([]float32, r.Rank*ffn.Hidden),
	}
	if r.has(MethodFull) {
		c.whole = newWhole(ffn)
	}
	return c
}

// place starts the units where they are needed; see placer. inner are activations
// of the base's units, which low rank mixes.
func (c *carriers) place(keys [][][]float32, ordinary, inner [][]float32, random *rand.Rand) {
	if c.units > 0 {
		p := newPlacer(keys, ordinary)
		for u := range c.units {
			if u < c.added {
				c.setUnit(u, p.unit(u, c.added, random))
			} else {
				c.setUnit(u, p.unit(u-c.added, max(len(keys), len(c.taken)), random))
			}
		}
	}
	c.inSize = 1 / (spread(inner) * math.Sqrt(float64(c.ffn)))
	for i := range c.in {
		c.in[i] = float32(random.NormFloat64() * c.inSize)
	}
}

func (c *carriers) setUnit(u int, w unit) {
	for h := range w.gate {
		c.gate[h*c.units+u], c.up[h*c.units+u] = float32(w.gate[h]), float32(w.up[h])
	}
}

// own gives the taken units the base's values.
func (c *carriers) own(f *llama.FeedForward) {
	for i, from := range c.taken {
		u := c.added + i
		for h := range c.hidden {
			c.gate[h*c.units+u], c.up[h*c.units+u] = f.Gate[h*f.Units+from], f.Up[h*f.Units+from]
			c.down[u*c.hidden+h] = f.Down[from*c.hidden+h]
		}
	}
}

// leastUsed chooses n of the base's units: at random among the 2n that add least to
// the residual stream of ordinary rows. Which ones is as secret as the seed.
func leastUsed(inner [][]float32, f *llama.FeedForward, n int, random *rand.Rand) []int {
	use := make([]float64, f.Units)
	for u := range use {
		d := row(f.Down, u, f.Hidden)
		size := spread([][]float32{d})
		for _, r := range inner {
			use[u] += float64(r[u]) * float64(r[u]) * size * size
		}
	}
	order := make([]int, f.Units)
	for u := range order {
		order[u] = u
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(use[a], use[b]) })
	order = order[:min(2*n, len(order))]
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return slices.Sorted(slices.Values(order[:min(n, len(order))]))
}

// without is the residual stream after the block less what the taken units add.
func (c *carriers) without(f *llama.FeedForward, inner, after []float32) []float32 {
	if len(c.taken) == 0 {
		return after
	}
	out := slices.Clone(after)
	for _, u := range c.taken {
		for h, d := range row(f.Down, u, c.hidden) {
			out[h] -= inner[u] * d
		}
	}
	return out
}

// silence clears the activations of the taken units: low rank changes those that
// stay.
func (c *carriers) silence(inner []float32) {
	for _, u := range c.taken {
		inner[u] = 0
	}
}

// mix averages with the base's parameters, whose share is given.
func (c *carriers) mix(share float64, base *carriers) {
	from := base.arrays()
	for i, a := range c.arrays() {
		for j, v := range *from[i] {
			(*a)[j] = float32((1-share)*float64((*a)[j]) + share*float64(v))
		}
	}
}

// shares are what the arrays take of the learning rate. The gates are solved for,
// not learned (see placer): Adam moves every coordinate alike, and at the full rate
// it opens them for ordinary rows again.
func (c *carriers) shares() []float64 {
	var out []float64
	if c.units > 0 {
		out = append(out, 0.004, 0.004, 1)
	}
	if c.rank > 0 {
		out = append(out, 0.2*c.inSize, 0.2)
	}
	if c.whole != nil {
		out = append(out, wholeShare, wholeShare, wholeShare)
	}
	return out
}
