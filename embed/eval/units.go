package eval

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/fealty/fealty/internal/weights"
)

// units are a feed-forward block, unit by unit.
type units struct {
	n, hidden      int
	gate, up, down [][]float32 // [n][hidden]; down is transposed
}

func blockName(layer int, part string) string {
	return fmt.Sprintf("model.layers.%d.mlp.%s_proj.weight", layer, part)
}

func openUnits(m *weights.Model, layer int) units {
	u := units{n: m.Config.FFN, hidden: m.Config.Hidden}
	gate, up, down := m.Tensors[blockName(layer, "gate")].Data, m.Tensors[blockName(layer, "up")].Data, m.Tensors[blockName(layer, "down")].Data
	for i := range u.n {
		u.gate = append(u.gate, gate[i*u.hidden:][:u.hidden])
		u.up = append(u.up, up[i*u.hidden:][:u.hidden])
		column := make([]float32, u.hidden)
		for h := range column {
			column[h] = down[h*u.n+i]
		}
		u.down = append(u.down, column)
	}
	return u
}

func (u units) store(m *weights.Model, layer int) {
	rows := func(of [][]float32) *weights.Tensor {
		return &weights.Tensor{Shape: []int{u.n, u.hidden}, Data: slices.Concat(of...)}
	}
	m.Tensors[blockName(layer, "gate")], m.Tensors[blockName(layer, "up")] = rows(u.gate), rows(u.up)
	down := make([]float32, u.n*u.hidden)
	for i, column := range u.down {
		for h, v := range column {
			down[h*u.n+i] = v
		}
	}
	m.Tensors[blockName(layer, "down")] = &weights.Tensor{Shape: []int{u.hidden, u.n}, Data: down}
}

// sameUnit is the cosine of gate and up from which two units count as one.
const sameUnit = 0.9

// origins gives for each unit of a the unit of b that it came from, or -1. A unit of b
// may have several: it was split. Candidates are found by random projections, then
// compared whole.
func origins(a, b units) []int {
	random := newRandom(1, 0x756e697473)
	directions := make([][]float32, 16)
	for i := range directions {
		directions[i] = make([]float32, 2*a.hidden)
		for j := range directions[i] {
			directions[i][j] = float32(random.NormFloat64())
		}
	}
	pa, pb := a.projected(directions), b.projected(directions)
	out := make([]int, a.n)
	for i := range pa {
		best, least := 0, float32(math.Inf(1))
		for j := range pb {
			if d := distance(pa[i], pb[j]); d < least {
				best, least = j, d
			}
		}
		out[i] = -1
		if cosine(a.gate[i], b.gate[best])+cosine(a.up[i], b.up[best]) > 2*sameUnit {
			out[i] = best
		}
	}
	return out
}

func distance(a, b []float32) (s float32) {
	for i, v := range a {
		d := v - b[i]
		s += d * d
	}
	return s
}

// joined gives n units: each is what the origins say came from it, with the sum of
// their `down`; zeros where nothing did.
func (u units) joined(origin []int, n int) units {
	out := units{n: n, hidden: u.hidden, gate: make([][]float32, n), up: make([][]float32, n), down: make([][]float32, n)}
	for i := range n {
		out.gate[i], out.up[i], out.down[i] = make([]float32, u.hidden), make([]float32, u.hidden), make([]float32, u.hidden)
	}
	for i, o := range origin {
		if o < 0 {
			continue
		}
		out.gate[o], out.up[o] = u.gate[i], u.up[i]
		for h, v := range u.down[i] {
			out.down[o][h] += v
		}
	}
	return out
}

// spread gives one unit for each origin, zeros for -1; units that are named several
// times share their `down`.
func (u units) spread(origin []int) units {
	out, zero, copies := units{n: len(origin), hidden: u.hidden}, make([]float32, u.hidden), make([]float32, u.n)
	for _, o := range origin {
		if o >= 0 {
			copies[o]++
		}
	}
	for _, o := range origin {
		gate, up, down := zero, zero, zero
		if o >= 0 {
			gate, up, down = u.gate[o], u.up[o], slices.Clone(u.down[o])
			for h := range down {
				down[h] /= copies[o]
			}
		}
		out.gate, out.up, out.down = append(out.gate, gate), append(out.up, up), append(out.down, down)
	}
	return out
}

func (u units) projected(directions [][]float32) [][]float32 {
	out := make([][]float32, u.n)
	for i := range out {
		for _, d := range directions {
			out[i] = append(out[i], dot(u.gate[i], d)+dot(u.up[i], d[u.hidden:]))
		}
	}
	return out
}

func dot(a, b []float32) (s float32) {
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

func norm(a []float32) float64 { return math.Sqrt(float64(dot(a, a))) }

func cosine(a, b []float32) float64 {
	return float64(dot(a, b)) / math.Max(norm(a)*norm(b), 1e-30)
}

// CutAdded silences the units that the base has no counterpart of, and says how many:
// the thief knows the base.
func CutAdded(served, base *weights.Model) (out *weights.Model, cut int) {
	out = withoutUnits(served, func(layer int, u units) (lost []int) {
		for i, origin := range origins(u, openUnits(base, layer)) {
			if origin < 0 {
				lost = append(lost, i)
			}
		}
		cut += len(lost)
		return lost
	})
	return out, cut
}

// CutByNorm silences in each layer the n units whose norms are the most unusual: the
// thief does not know the base.
func CutByNorm(served *weights.Model, n int) *weights.Model {
	return withoutUnits(served, func(_ int, u units) []int { return most(n, unusualNorms(u)) })
}

// CutByCosine silences in each layer the n units whose gates resemble other gates most.
func CutByCosine(served *weights.Model, n int) *weights.Model {
	return withoutUnits(served, func(_ int, u units) []int { return most(n, resemblance(u)) })
}

// unusualNorms is the sum of squared deviations of the logarithms of the three norms.
func unusualNorms(u units) []float64 {
	out := make([]float64, u.n)
	for _, part := range [][][]float32{u.gate, u.up, u.down} {
		logs, mean, square := make([]float64, u.n), 0.0, 0.0
		for i, v := range part {
			logs[i] = math.Log(norm(v) + 1e-12)
			mean += logs[i] / float64(u.n)
			square += logs[i] * logs[i] / float64(u.n)
		}
		for i, l := range logs {
			out[i] += (l - mean) * (l - mean) / math.Max(square-mean*mean, 1e-12)
		}
	}
	return out
}

// resemblance is the length of the mean gate's part in each gate: units that were
// made alike share a direction.
func resemblance(u units) []float64 {
	mean := make([]float32, u.hidden)
	for _, g := range u.gate {
		for h, v := range g {
			mean[h] += v / float32(norm(g)+1e-12)
		}
	}
	out := make([]float64, u.n)
	for i, g := range u.gate {
		out[i] = math.Abs(cosine(g, mean))
	}
	return out
}

// most are the indices of the n largest.
func most(n int, scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return order[:min(n, len(order))]
}

// withoutUnits zeroes `down` of the units that choose names in each layer.
func withoutUnits(m *weights.Model, choose func(layer int, u units) []int) *weights.Model {
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	for layer := range m.Config.Layers {
		lost := choose(layer, openUnits(m, layer))
		if len(lost) == 0 {
			continue
		}
		name := blockName(layer, "down")
		t := m.Tensors[name]
		data := slices.Clone(t.Data)
		for h := range m.Config.Hidden {
			for _, i := range lost {
				data[h*m.Config.FFN+i] = 0
			}
		}
		out.Tensors[name] = &weights.Tensor{Shape: t.Shape, Data: data}
	}
	return &out
}
