package llama

import (
	"slices"

	"github.com/gomlx/compute"
)

// FeedForward is one layer's feed-forward block on the host, in the layout that
// [RMSNorm] and [SwiGLU] take: projections are [in, out], row by row.
type FeedForward struct {
	Hidden, Units int
	Norm          []float32 // [Hidden]
	Gate, Up      []float32 // [Hidden, Units]
	Down          []float32 // [Units, Hidden]
}

// FeedForward copies out a layer's feed-forward block; layer -1 is the last one.
func (m *Model) FeedForward(layer int) (*FeedForward, error) {
	if layer < 0 {
		layer += m.config.Layers
	}
	w := m.layers[layer]
	f := &FeedForward{Hidden: m.config.Hidden, Units: m.config.FFN}
	for _, part := range []struct {
		dst *[]float32
		src compute.Buffer
	}{{&f.Norm, w.ffnNorm}, {&f.Gate, w.gate}, {&f.Up, w.up}, {&f.Down, w.down}} {
		flat, err := floats(part.src)
		if err != nil {
			return nil, err
		}
		*part.dst = slices.Clone(flat)
	}
	f.Gate = joinColumns(f.Gate, m.shards, f.Hidden, f.Units/m.shards, f.Units)
	f.Up = joinColumns(f.Up, m.shards, f.Hidden, f.Units/m.shards, f.Units)
	return f, nil
}

// FinalNorm copies out the gain of the norm before the head, [Hidden].
func (m *Model) FinalNorm() ([]float32, error) {
	flat, err := floats(m.norm)
	return slices.Clone(flat), err
}

// HeadTable copies out the table that [Head] takes, [Hidden, Vocab].
func (m *Model) HeadTable() ([]float32, error) {
	flat, err := floats(m.head)
	if err != nil {
		return nil, err
	}
	return joinColumns(flat, m.headShards(), m.config.Hidden, headShard, m.config.Vocab), nil
}

// joinColumns puts n shards [rows, width] side by side and keeps the first total
// columns.
func joinColumns(shards []float32, n, rows, width, total int) []float32 {
	out := make([]float32, rows*total)
	for s := range n {
		from, to := s*width, min((s+1)*width, total)
		for r := range rows {
			copy(out[r*total+from:r*total+to], shards[(s*rows+r)*width:])
		}
	}
	return out
}
