package embed

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"

	"github.com/fealty/fealty/internal/weights"
)

// Expanded is a model whose feed-forward blocks are all wider by the same
// number of units, and which still computes what its base computes.
type Expanded struct {
	Model *weights.Model
	Added []int // the last layer's new units, whose `down` is zero: what training fills
}

// Expand widens every feed-forward block by the units, a multiple of 32, so that
// the result is a plain checkpoint. Layers that are not trained get no zeros: as
// many existing units are split in two, each with half of `down`. The last layer
// gets new units with `gate` and `up` like its own and `down` zero. All units
// are then permuted, by a seed that is as secret as the keys.
//
// Other tensors are shared with the base, which is not changed.
func Expand(base *weights.Model, units int, seed uint64) (*Expanded, error) {
	if units < 32 || units%32 != 0 || units > base.Config.FFN {
		return nil, fmt.Errorf("cannot add %d units to blocks of %d: give a multiple of 32, at most their width", units, base.Config.FFN)
	}
	if base.Config.Layers < 1 {
		return nil, errors.New("cannot expand a model without layers")
	}
	out := *base
	out.Config.FFN += units
	out.Tensors = maps.Clone(base.Tensors)
	random := rand.New(rand.NewPCG(seed, 0x657870616e64))
	var order []int
	for layer := range base.Config.Layers {
		b, err := weights.OpenBlock(base, layer)
		if err != nil {
			return nil, err
		}
		if layer < base.Config.Layers-1 {
			double(b, random.Perm(base.Config.FFN)[:units])
		} else {
			grow(b, units, random)
		}
		order = random.Perm(base.Config.FFN + units)
		permute(b, order)
		b.Store(&out, layer)
	}
	return &Expanded{&out, newPlaces(order, base.Config.FFN)}, nil
}

// newPlaces lists, for each unit from first on, where the order has put it.
func newPlaces(order []int, first int) []int {
	out := make([]int, len(order)-first)
	for place, unit := range order {
		if unit >= first {
			out[unit-first] = place
		}
	}
	return out
}

func row(data []float32, i, width int) []float32 { return data[i*width : (i+1)*width] }

// double splits units in two; halving is exact in floating point.
func double(b *weights.Block, units []int) {
	for _, unit := range units {
		for h := range b.Down[unit] {
			b.Down[unit][h] /= 2
		}
		b.Gate = append(b.Gate, b.Gate[unit])
		b.Up = append(b.Up, b.Up[unit])
		b.Down = append(b.Down, b.Down[unit])
	}
}

// grow adds units with random gate and up, as large as the block's own.
func grow(b *weights.Block, units int, random *rand.Rand) {
	gate, up := spread(b.Gate), spread(b.Up)
	for range units {
		b.Gate = append(b.Gate, normals(random, b.Hidden, gate))
		b.Up = append(b.Up, normals(random, b.Hidden, up))
		b.Down = append(b.Down, make([]float32, b.Hidden))
	}
}

// spread is the root mean square of all values.
func spread(rows [][]float32) float64 {
	var sum float64
	n := 0
	for _, r := range rows {
		for _, v := range r {
			sum += float64(v) * float64(v)
		}
		n += len(r)
	}
	return math.Sqrt(sum / float64(n))
}

func normals(random *rand.Rand, n int, deviation float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(random.NormFloat64() * deviation)
	}
	return out
}

// permute puts unit order[i] into place i.
func permute(b *weights.Block, order []int) {
	for _, rows := range []*[][]float32{&b.Gate, &b.Up, &b.Down} {
		moved := make([][]float32, len(order))
		for place, unit := range order {
			moved[place] = (*rows)[unit]
		}
		*rows = moved
	}
}

// install is the base, widened by the added units, with the carriers in its last
// block. Without added units the result has the base's shape.
func (c *carriers) install(base *weights.Model, seed uint64) (*weights.Model, error) {
	last, err := weights.OpenBlock(base, base.Config.Layers-1)
	if err != nil {
		return nil, err
	}
	if c.whole != nil {
		c.whole.store(last)
	}
	c.bend(last)
	for i, u := range c.taken {
		last.Gate[u], last.Up[u], last.Down[u] = c.unit(c.added + i)
	}
	changed := *base
	changed.Tensors = maps.Clone(base.Tensors)
	last.Store(&changed, base.Config.Layers-1)
	if c.added == 0 {
		return &changed, nil
	}
	e, err := Expand(&changed, c.added, seed)
	if err != nil {
		return nil, err
	}
	e.fill(c)
	return e.Model, nil
}

// unit copies one out.
func (c *carriers) unit(u int) (gate, up, down []float32) {
	return column(c.gate, u, c.units), column(c.up, u, c.units), row(c.down, u, c.hidden)
}

// bend adds the change of low rank to `down`.
func (c *carriers) bend(b *weights.Block) {
	for u := range b.Down {
		for k := range c.rank {
			for h := range c.hidden {
				b.Down[u][h] += c.in[u*c.rank+k] * c.out[k*c.hidden+h]
			}
		}
	}
}

// fill writes the added units into their places in the last layer.
func (e *Expanded) fill(c *carriers) {
	m := e.Model.Config
	gate, up, down := weights.BlockTensors(m.Layers - 1)
	for u, place := range e.Added {
		g, v, d := c.unit(u)
		copy(row(e.Model.Tensors[gate].Data, place, m.Hidden), g)
		copy(row(e.Model.Tensors[up].Data, place, m.Hidden), v)
		for h := range m.Hidden {
			e.Model.Tensors[down].Data[h*m.FFN+place] = d[h]
		}
	}
}
