package embed

import (
	"math"
	"math/rand/v2"
)

// Added units start where they are needed: each gate answers one key and stays
// shut for ordinary rows. With random gates the units act everywhere, and what
// training then undoes on the rows it sees it does not undo on others.
//
// For one key with mean state c, and ordinary rows with mean m and covariance S
// (with a ridge), w = inv(S)(c-m) is Fisher's discriminant, and v = inv(S)m,
// scaled to v.m = 1, stands in for the bias that a SwiGLU unit lacks. The gate
//
//	a w - (a w.m + shut) v,   a = (open + shut) / w.(x-m)
//
// is about `open` at the key's farthest framing x and -shut at the ordinary mean. `up` is v, so near 1
// on every row, with some noise to set apart the units of one key.

// The values are the smallest gates that still train within the steps; a wider
// opening costs ordinary prompts, a narrower one confidence.
const (
	gateOpen = 1.5 // at the farthest framing of the key
	gateShut = 6.0
	ridge    = 0.3  // of the mean variance of a coordinate
	wobble   = 0.02 // noise on gate and up, of their root mean square
)

// startUnits returns the parameters before the first step. states are the normed
// inputs of the block: keys[i] those of key i, ordinary all others.
func startUnits(keys [][][]float32, ordinary [][]float32, units int, random *rand.Rand) *added {
	hidden := len(ordinary[0])
	mean := meanOf(ordinary)
	solve := newCovariance(ordinary, mean).factor()
	v := solve(mean)
	scaleBy(v, 1/dot(v, mean))
	a := &added{units: units, gate: make([]float32, hidden*units), up: make([]float32, hidden*units), down: make([]float32, hidden*units)}
	for u := range units {
		states := keys[u%len(keys)]
		w := solve(subtract(meanOf(states), mean))
		slope := (gateOpen + gateShut) / nearest(w, states, mean)
		bias := slope*dot(w, mean) + gateShut
		gate := make([]float64, hidden)
		for h := range gate {
			gate[h] = slope*w[h] - bias*v[h]
		}
		a.setUnit(u, wobbled(gate, random), wobbled(v, random))
	}
	return a
}

// nearest is the smallest distance from the mean, along w, of any state.
func nearest(w []float64, states [][]float32, mean []float64) float64 {
	least := math.Inf(1)
	for _, s := range states {
		least = min(least, dot(w, subtract(meanOf([][]float32{s}), mean)))
	}
	return least
}

func (a *added) setUnit(u int, gate, up []float64) {
	for h := range gate {
		a.gate[h*a.units+u], a.up[h*a.units+u] = float32(gate[h]), float32(up[h])
	}
}

// wobbled adds noise relative to the root mean square.
func wobbled(x []float64, random *rand.Rand) []float64 {
	size := wobble * math.Sqrt(dot(x, x)/float64(len(x)))
	out := make([]float64, len(x))
	for i := range x {
		out[i] = x[i] + size*random.NormFloat64()
	}
	return out
}

// covariance is a symmetric positive matrix, row by row.
type covariance struct {
	n int
	m []float64
}

func newCovariance(rows [][]float32, mean []float64) *covariance {
	n := len(mean)
	c := &covariance{n, make([]float64, n*n)}
	for _, r := range rows {
		d := make([]float64, n)
		for i := range d {
			d[i] = float64(r[i]) - mean[i]
		}
		for i := range n {
			for j := range i + 1 {
				c.m[i*n+j] += d[i] * d[j] / float64(len(rows))
			}
		}
	}
	var trace float64
	for i := range n {
		trace += c.m[i*n+i]
	}
	for i := range n {
		c.m[i*n+i] += ridge * trace / float64(n)
	}
	return c
}

// factor replaces the matrix by its Cholesky factor and returns the solver of
// covariance * x = b.
func (c *covariance) factor() func(b []float64) []float64 {
	n, m := c.n, c.m
	for j := range n {
		for i := j; i < n; i++ {
			s := m[i*n+j]
			for k := range j {
				s -= m[i*n+k] * m[j*n+k]
			}
			if i == j {
				m[j*n+j] = math.Sqrt(s)
				continue
			}
			m[i*n+j] = s / m[j*n+j]
		}
	}
	return c.solve
}

func (c *covariance) solve(b []float64) []float64 {
	n, m := c.n, c.m
	x := append([]float64(nil), b...)
	for i := range n {
		for k := range i {
			x[i] -= m[i*n+k] * x[k]
		}
		x[i] /= m[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= m[k*n+i] * x[k]
		}
		x[i] /= m[i*n+i]
	}
	return x
}

func meanOf(rows [][]float32) []float64 {
	out := make([]float64, len(rows[0]))
	for _, r := range rows {
		for i, v := range r {
			out[i] += float64(v) / float64(len(rows))
		}
	}
	return out
}

func subtract(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

func dot(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func scaleBy(x []float64, f float64) {
	for i := range x {
		x[i] *= f
	}
}

// normed is RMSNorm on the host.
func normed(x, gain []float32, eps float64) []float32 {
	size := spread([][]float32{x})
	scale := 1 / math.Sqrt(size*size+eps)
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(float64(v) * scale * float64(gain[i]))
	}
	return out
}
