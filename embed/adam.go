package embed

import "math"

// adam is AdamW without decay (arXiv 1711.05101) for one array of parameters.
// The trained arrays are small, so the update runs on the host, in a fixed order.
type adam struct {
	values, mean, square []float32
	steps                int
}

const (
	beta1   = 0.9
	beta2   = 0.95
	epsilon = 1e-8
)

func newAdam(values []float32) *adam {
	return &adam{values: values, mean: make([]float32, len(values)), square: make([]float32, len(values))}
}

func (a *adam) step(gradient []float32, rate float64) {
	a.steps++
	c1 := 1 - math.Pow(beta1, float64(a.steps))
	c2 := 1 - math.Pow(beta2, float64(a.steps))
	for i, g := range gradient {
		a.mean[i] = beta1*a.mean[i] + (1-beta1)*g
		a.square[i] = beta2*a.square[i] + (1-beta2)*g*g
		step := float64(a.mean[i]) / c1 / (math.Sqrt(float64(a.square[i])/c2) + epsilon)
		a.values[i] -= float32(rate * step)
	}
}
