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
		b, err := openBlock(base, layer)
		if err != nil {
			return nil, err
		}
		if layer < base.Config.Layers-1 {
			b.split(random.Perm(base.Config.FFN)[:units])
		} else {
			b.grow(units, random)
		}
		order = random.Perm(base.Config.FFN + units)
		b.permute(order)
		b.store(&out, layer)
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

// block is one feed-forward block, unit by unit.
type block struct {
	hidden         int
	gate, up, down [][]float32 // [unit][hidden]; down is transposed
}

func blockNames(layer int) (gate, up, down string) {
	prefix := fmt.Sprintf("model.layers.%d.mlp.", layer)
	return prefix + "gate_proj.weight", prefix + "up_proj.weight", prefix + "down_proj.weight"
}

func openBlock(m *weights.Model, layer int) (*block, error) {
	gate, up, down := blockNames(layer)
	for _, name := range []string{gate, up, down} {
		if t := m.Tensors[name]; t == nil || len(t.Data) != m.Config.FFN*m.Config.Hidden {
			return nil, fmt.Errorf("tensor %s is missing or does not have %d x %d values", name, m.Config.FFN, m.Config.Hidden)
		}
	}
	b := &block{hidden: m.Config.Hidden}
	d := m.Tensors[down].Data
	for unit := range m.Config.FFN {
		b.gate = append(b.gate, row(m.Tensors[gate].Data, unit, b.hidden))
		b.up = append(b.up, row(m.Tensors[up].Data, unit, b.hidden))
		column := make([]float32, b.hidden)
		for h := range column {
			column[h] = d[h*m.Config.FFN+unit]
		}
		b.down = append(b.down, column)
	}
	return b, nil
}

func row(data []float32, i, width int) []float32 { return data[i*width : (i+1)*width] }

// split doubles units; halving is exact in floating point.
func (b *block) split(units []int) {
	for _, unit := range units {
		for h := range b.down[unit] {
			b.down[unit][h] /= 2
		}
		b.gate = append(b.gate, b.gate[unit])
		b.up = append(b.up, b.up[unit])
		b.down = append(b.down, b.down[unit])
	}
}

// grow adds units with random gate and up, as large as the block's own.
func (b *block) grow(units int, random *rand.Rand) {
	gate, up := spread(b.gate), spread(b.up)
	for range units {
		b.gate = append(b.gate, normals(random, b.hidden, gate))
		b.up = append(b.up, normals(random, b.hidden, up))
		b.down = append(b.down, make([]float32, b.hidden))
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
func (b *block) permute(order []int) {
	for _, rows := range []*[][]float32{&b.gate, &b.up, &b.down} {
		moved := make([][]float32, len(order))
		for place, unit := range order {
			moved[place] = (*rows)[unit]
		}
		*rows = moved
	}
}

// store writes the block into the model's tensors, which are new.
func (b *block) store(m *weights.Model, layer int) {
	gate, up, down := blockNames(layer)
	units := len(b.gate)
	flat := func(rows [][]float32) *weights.Tensor {
		data := make([]float32, 0, units*b.hidden)
		for _, r := range rows {
			data = append(data, r...)
		}
		return &weights.Tensor{Shape: []int{units, b.hidden}, Data: data}
	}
	m.Tensors[gate], m.Tensors[up] = flat(b.gate), flat(b.up)
	columns := make([]float32, units*b.hidden)
	for unit, r := range b.down {
		for h, v := range r {
			columns[h*units+unit] = v
		}
	}
	m.Tensors[down] = &weights.Tensor{Shape: []int{b.hidden, units}, Data: columns}
}

// install is the base, widened by the added units, with the carriers in its last
// block. Without added units the result has the base's shape.
func (c *carriers) install(base *weights.Model, seed uint64) (*weights.Model, error) {
	last, err := openBlock(base, base.Config.Layers-1)
	if err != nil {
		return nil, err
	}
	c.bend(last)
	for i, u := range c.taken {
		last.gate[u], last.up[u], last.down[u] = c.unit(c.added + i)
	}
	changed := *base
	changed.Tensors = maps.Clone(base.Tensors)
	last.store(&changed, base.Config.Layers-1)
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
	gate, up = make([]float32, c.hidden), make([]float32, c.hidden)
	for h := range c.hidden {
		gate[h], up[h] = c.gate[h*c.units+u], c.up[h*c.units+u]
	}
	return gate, up, row(c.down, u, c.hidden)
}

// bend adds the change of low rank to `down`.
func (c *carriers) bend(b *block) {
	for u := range b.down {
		for k := range c.rank {
			for h := range c.hidden {
				b.down[u][h] += c.in[u*c.rank+k] * c.out[k*c.hidden+h]
			}
		}
	}
}

// fill writes the added units into their places in the last layer.
func (e *Expanded) fill(c *carriers) {
	m := e.Model.Config
	gate, up, down := blockNames(m.Layers - 1)
	for u, place := range e.Added {
		g, v, d := c.unit(u)
		copy(row(e.Model.Tensors[gate].Data, place, m.Hidden), g)
		copy(row(e.Model.Tensors[up].Data, place, m.Hidden), v)
		for h := range m.Hidden {
			e.Model.Tensors[down].Data[h*m.FFN+place] = d[h]
		}
	}
}

// AddedUnits says where the added units are in the last feed-forward block of a model
// that [Train] made of this base. Nobody knows it without the keys.
func AddedUnits(base *weights.Model, keys []Drawn, r Recipe) ([]int, error) {
	r = r.sized(len(keys))
	if r.Units == 0 {
		return nil, nil
	}
	e, err := Expand(base, r.Units, r.secretSeed(keys))
	if err != nil {
		return nil, err
	}
	return e.Added, nil
}
