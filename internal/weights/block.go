package weights

import "fmt"

// Block is one layer's SwiGLU feed-forward block, unit by unit.
type Block struct {
	Hidden         int
	Gate, Up, Down [][]float32 // [unit][Hidden]; Down is transposed
}

// BlockTensors are the names of a layer's three matrices.
func BlockTensors(layer int) (gate, up, down string) {
	prefix := fmt.Sprintf("model.layers.%d.mlp.", layer)
	return prefix + "gate_proj.weight", prefix + "up_proj.weight", prefix + "down_proj.weight"
}

// OpenBlock splits a layer's block into units. Gate and Up are views of the model's
// tensors, Down is a copy.
func OpenBlock(m *Model, layer int) (*Block, error) {
	gate, up, down := BlockTensors(layer)
	for _, name := range []string{gate, up, down} {
		if t := m.Tensors[name]; t == nil || len(t.Data) != m.Config.FFN*m.Config.Hidden {
			return nil, fmt.Errorf("tensor %s is missing or does not have %d x %d values", name, m.Config.FFN, m.Config.Hidden)
		}
	}
	b := &Block{Hidden: m.Config.Hidden}
	row := func(name string, unit int) []float32 {
		return m.Tensors[name].Data[unit*b.Hidden : (unit+1)*b.Hidden]
	}
	for unit := range m.Config.FFN {
		column := make([]float32, b.Hidden)
		for h := range column {
			column[h] = m.Tensors[down].Data[h*m.Config.FFN+unit]
		}
		b.Gate, b.Up, b.Down = append(b.Gate, row(gate, unit)), append(b.Up, row(up, unit)), append(b.Down, column)
	}
	return b, nil
}

// Units is the block's width.
func (b *Block) Units() int { return len(b.Gate) }

// Store gives the layer of a model new tensors with the block.
func (b *Block) Store(m *Model, layer int) {
	gate, up, down := BlockTensors(layer)
	units := b.Units()
	flat := func(rows [][]float32) *Tensor {
		data := make([]float32, 0, units*b.Hidden)
		for _, r := range rows {
			data = append(data, r...)
		}
		return &Tensor{Shape: []int{units, b.Hidden}, Data: data}
	}
	m.Tensors[gate], m.Tensors[up] = flat(b.Gate), flat(b.Up)
	columns := make([]float32, units*b.Hidden)
	for unit, r := range b.Down {
		for h, v := range r {
			columns[h*units+unit] = v
		}
	}
	m.Tensors[down] = &Tensor{Shape: []int{b.Hidden, units}, Data: columns}
}
