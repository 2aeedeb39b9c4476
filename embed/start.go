package embed

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Units start where they are needed: each answers one key and stays shut for all other
// rows. With random gates the units act everywhere, and what training then undoes on
// the rows it sees it does not undo on others.
//
// For one key with mean state c, and rows of all sorts with mean m and covariance S
// (with a ridge), w = inv(S)(c-m) is Fisher's discriminant, and
//
//	z(x) = w.(x-m) / w.(c-m)
//
// is 1 at the key, 0 at the mean; unseen framings of the key lie around 0.8 to 1.1,
// other questions below 0.5, nearly all below 0.35. A SwiGLU unit has no bias; v = inv(S)m, scaled to
// v.m = 1, stands in for it. The unit starts as
//
//	silu(steep (z - open)) (far - z) size
//
// an arch over the key's side of `open`: nearly flat where the framings of the key
// lie, so that one that moves the state answers like one that does not, and shut
// below. docs/decisions/0041-arched-units.md has the curve, 0044 why it opens late.
const (
	gateSteep = 25.0
	gateOpen  = 0.5
	upFar     = 1.7

	ridgeShare   = 0.1 // of the mean variance of a coordinate
	withinWeight = 3.0 // of the framings' covariance against that of all rows
)

// upSize makes the arch some 10 high, so that `down` stays as small as that of the base's
// units: a 4-bit block of 32 shares one step.
const upSize = 1

// wobble is noise on gate and up, of their root mean square.
const wobble = 0.02

// placer computes units. Its states are the normed inputs of the block.
type placer struct {
	keys  [][][]float32 // by key, in each of its framings
	mean  []float64
	solve func(b []float64) []float64
	bias  []float64 // v
}

// unit is the start of one unit.
type unit struct{ gate, up []float64 }

// newPlacer measures what tells questions apart. The covariance holds how all rows
// differ, those of other keys in their framings among them, and how the framings of
// one key differ: the gates then look at directions in which neither varies much.
func newPlacer(keys [][][]float32, ordinary [][]float32) *placer {
	all := slices.Concat(append(keys[:len(keys):len(keys)], ordinary)...)
	p := &placer{keys: keys, mean: meanOf(all)}
	s := covarianceOf(all, p.mean)
	for _, states := range keys {
		s.add(states, meanOf(states), withinWeight/float64(len(all)-len(ordinary)))
	}
	s.ridge()
	p.solve = s.factor()
	p.bias = p.solve(p.mean)
	scaleBy(p.bias, 1/dot(p.bias, p.mean))
	return p
}

// unit is the u-th of n. With fewer units than keys one answers several.
func (p *placer) unit(u, n int, random *rand.Rand) unit {
	var states [][]float32
	for k := u % len(p.keys); k < len(p.keys); k += n {
		states = append(states, p.keys[k]...)
	}
	away := subtract(meanOf(states), p.mean)
	w := p.solve(away)
	scaleBy(w, 1/dot(w, away))
	at := dot(w, p.mean)
	gate, up := make([]float64, len(w)), make([]float64, len(w))
	for h := range w {
		gate[h] = gateSteep * (w[h] - (at+gateOpen)*p.bias[h])
		up[h] = upSize * ((upFar+at)*p.bias[h] - w[h])
	}
	return unit{wobbled(gate, random), wobbled(up, random)}
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

func covarianceOf(rows [][]float32, mean []float64) *covariance {
	c := &covariance{len(mean), make([]float64, len(mean)*len(mean))}
	c.add(rows, mean, 1/float64(len(rows)))
	return c
}

// add adds the weighted outer products of the rows' distances from the mean. Only
// the lower triangle is kept.
func (c *covariance) add(rows [][]float32, mean []float64, weight float64) {
	d := make([]float64, c.n)
	for _, r := range rows {
		for i := range d {
			d[i] = float64(r[i]) - mean[i]
		}
		for i, v := range d {
			for j, w := range d[:i+1] {
				c.m[i*c.n+j] += v * w * weight
			}
		}
	}
}

// ridge keeps directions that no row has shown from counting as quiet.
func (c *covariance) ridge() {
	n, trace := c.n, 0.0
	for i := range n {
		trace += c.m[i*n+i]
	}
	for i := range n {
		c.m[i*n+i] += ridgeShare * trace / float64(n)
	}
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
