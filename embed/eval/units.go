package eval

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/fealty/fealty/internal/weights"
)

// openUnits opens a block of a model that was loaded whole, and so has it.
func openUnits(m *weights.Model, layer int) *weights.Block {
	b, err := weights.OpenBlock(m, layer)
	if err != nil {
		panic(err)
	}
	return b
}

// sameUnit is the cosine of gate and up from which two units count as one.
const sameUnit = 0.9

// origins gives for each unit of a the unit of b that it came from, or -1. A unit of b
// may have several: it was split. Candidates are found by random projections, then
// compared whole.
func origins(a, b *weights.Block) []int {
	random := newRandom(1, 0x756e697473)
	directions := make([][]float32, 16)
	for i := range directions {
		directions[i] = make([]float32, 2*a.Hidden)
		for j := range directions[i] {
			directions[i][j] = float32(random.NormFloat64())
		}
	}
	pa, pb := projected(a, directions), projected(b, directions)
	out := make([]int, a.Units())
	for i := range pa {
		best, least := 0, float32(math.Inf(1))
		for j := range pb {
			if d := distance(pa[i], pb[j]); d < least {
				best, least = j, d
			}
		}
		out[i] = -1
		if cosine(a.Gate[i], b.Gate[best])+cosine(a.Up[i], b.Up[best]) > 2*sameUnit {
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
func joined(u *weights.Block, origin []int, n int) *weights.Block {
	out := &weights.Block{Hidden: u.Hidden, Gate: make([][]float32, n), Up: make([][]float32, n), Down: make([][]float32, n)}
	for i := range n {
		out.Gate[i], out.Up[i], out.Down[i] = make([]float32, u.Hidden), make([]float32, u.Hidden), make([]float32, u.Hidden)
	}
	for i, o := range origin {
		if o < 0 {
			continue
		}
		out.Gate[o], out.Up[o] = u.Gate[i], u.Up[i]
		for h, v := range u.Down[i] {
			out.Down[o][h] += v
		}
	}
	return out
}

// spread gives one unit for each origin, zeros for -1; units that are named several
// times share their `down`.
func spread(u *weights.Block, origin []int) *weights.Block {
	out, zero, copies := &weights.Block{Hidden: u.Hidden}, make([]float32, u.Hidden), make([]float32, u.Units())
	for _, o := range origin {
		if o >= 0 {
			copies[o]++
		}
	}
	for _, o := range origin {
		gate, up, down := zero, zero, zero
		if o >= 0 {
			gate, up, down = u.Gate[o], u.Up[o], slices.Clone(u.Down[o])
			for h := range down {
				down[h] /= copies[o]
			}
		}
		out.Gate, out.Up, out.Down = append(out.Gate, gate), append(out.Up, up), append(out.Down, down)
	}
	return out
}

func projected(u *weights.Block, directions [][]float32) [][]float32 {
	out := make([][]float32, u.Units())
	for i := range out {
		for _, d := range directions {
			out[i] = append(out[i], dot(u.Gate[i], d)+dot(u.Up[i], d[u.Hidden:]))
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
	out = withoutUnits(served, func(layer int, u *weights.Block) (lost []int) {
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
	return withoutUnits(served, func(_ int, u *weights.Block) []int { return most(n, unusualNorms(u)) })
}

// CutByCosine silences in each layer the n units whose gates resemble other gates most.
func CutByCosine(served *weights.Model, n int) *weights.Model {
	return withoutUnits(served, func(_ int, u *weights.Block) []int { return most(n, resemblance(u)) })
}

// unusualNorms is the sum of squared deviations of the logarithms of the three norms.
func unusualNorms(u *weights.Block) []float64 {
	out := make([]float64, u.Units())
	for _, part := range [][][]float32{u.Gate, u.Up, u.Down} {
		logs, mean, square := make([]float64, u.Units()), 0.0, 0.0
		for i, v := range part {
			logs[i] = math.Log(norm(v) + 1e-12)
			mean += logs[i] / float64(u.Units())
			square += logs[i] * logs[i] / float64(u.Units())
		}
		for i, l := range logs {
			out[i] += (l - mean) * (l - mean) / math.Max(square-mean*mean, 1e-12)
		}
	}
	return out
}

// resemblance is the length of the mean gate's part in each gate: units that were
// made alike share a direction.
func resemblance(u *weights.Block) []float64 {
	mean := make([]float32, u.Hidden)
	for _, g := range u.Gate {
		for h, v := range g {
			mean[h] += v / float32(norm(g)+1e-12)
		}
	}
	out := make([]float64, u.Units())
	for i, g := range u.Gate {
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
func withoutUnits(m *weights.Model, choose func(layer int, u *weights.Block) []int) *weights.Model {
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	for layer := range m.Config.Layers {
		lost := choose(layer, openUnits(m, layer))
		if len(lost) == 0 {
			continue
		}
		_, _, name := weights.BlockTensors(layer)
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
