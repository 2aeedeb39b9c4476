package eval

import (
	"fmt"
	"math"
	"slices"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/weights"
)

// tiny has two layers of 64 units over 32 values, and tables that are no blocks.
func tiny(seed uint64) *weights.Model {
	r := newRandom(seed, 1)
	m := &weights.Model{Config: weights.Config{Layers: 2, Hidden: 32, FFN: 64, Vocab: 40}, Tensors: map[string]*weights.Tensor{}}
	add := func(name string, shape ...int) {
		t := &weights.Tensor{Shape: shape, Data: make([]float32, shape[0]*shape[1])}
		for i := range t.Data {
			t.Data[i] = float32(r.NormFloat64())
		}
		m.Tensors[name] = t
	}
	add(embeddings, 40, 32)
	for layer := range 2 {
		gate, up, down := weights.BlockTensors(layer)
		add(gate, 64, 32)
		add(up, 64, 32)
		add(down, 32, 64)
	}
	return m
}

// blockOutput is SwiGLU of one input, straight from the checkpoint.
func blockOutput(m *weights.Model, layer int, x []float32) []float64 {
	u := openUnits(m, layer)
	out := make([]float64, u.Hidden)
	for i := range u.Units() {
		g, v := float64(dot(u.Gate[i], x)), float64(dot(u.Up[i], x))
		for h, d := range u.Down[i] {
			out[h] += g / (1 + math.Exp(-g)) * v * float64(d)
		}
	}
	return out
}

// sameBlocks wants two models to compute the same in every layer, whatever the order
// and number of their units.
func sameBlocks(t *testing.T, what string, got, want *weights.Model) {
	t.Helper()
	r := newRandom(3, 3)
	for layer := range 2 {
		for range 5 {
			x := make([]float32, 32)
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			a, b := blockOutput(got, layer, x), blockOutput(want, layer, x)
			for h := range a {
				if math.Abs(a[h]-b[h]) > 1e-3*(1+math.Abs(b[h])) {
					t.Fatalf("%s: layer %d gives %v, want %v", what, layer, a[h], b[h])
				}
			}
		}
	}
}

// A widened and permuted model must be recognised for what it is: whoever merges it with
// its base, or cuts what was added, gets the base back as long as nothing was trained.
func TestMergesFindTheUnits(t *testing.T) {
	base := tiny(1)
	e, err := fingerprint.Expand(base, 32, 7)
	if err != nil {
		t.Fatal(err)
	}
	sameBlocks(t, "narrowed", Narrowed(e.Model, base), base)
	for _, share := range []float64{0.7, 0.5} {
		for name, merge := range map[string]func(a, b *weights.Model, share float64) (*weights.Model, error){"padded": Merged, "narrow": MergedNarrow} {
			m, err := merge(e.Model, base, share)
			if err != nil {
				t.Fatal(err)
			}
			sameBlocks(t, fmt.Sprintf("%s %v", name, share), m, base)
		}
	}
	cut, n := CutAdded(e.Model, base)
	if n != 32 {
		t.Errorf("%d units were found added, want the last layer's 32", n)
	}
	sameBlocks(t, "cut", cut, base)
	if other, _ := Merged(e.Model, tiny(9), 0.5); other == nil {
		t.Error("another base cannot be merged")
	} else if _, n := CutAdded(e.Model, tiny(9)); n != 2*96 {
		t.Errorf("against another base %d units are new, want all", n)
	}
}

func TestGuessesFindTheUnusual(t *testing.T) {
	m := tiny(2)
	odd := []int{3, 40, 41, 60}
	gateName, _, downName := weights.BlockTensors(1)
	gate, down := m.Tensors[gateName], m.Tensors[downName]
	for _, i := range odd {
		for h := range 32 {
			gate.Data[i*32+h] = 9 + float32(h%2) // large, and all in one direction
			down.Data[h*64+i] *= 5
		}
	}
	for name, cut := range map[string]*weights.Model{"norm": CutByNorm(m, 4), "cosine": CutByCosine(m, 4)} {
		u := openUnits(cut, 1)
		for i := range u.Units() {
			if silent := norm(u.Down[i]) == 0; silent != slices.Contains(odd, i) {
				t.Errorf("%s: unit %d silent: %v", name, i, silent)
			}
		}
	}
}

func TestPruned(t *testing.T) {
	m := tiny(4)
	_, up, _ := weights.BlockTensors(0)
	before := slices.Clone(m.Tensors[up].Data)
	got, err := Pruned(m, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	zeros, largest, least := 0, 0.0, math.Inf(1)
	for i, v := range got.Tensors[up].Data {
		if v == 0 {
			zeros++
			largest = max(largest, math.Abs(float64(before[i])))
		} else {
			least = min(least, math.Abs(float64(v)))
		}
	}
	if share := float64(zeros) / float64(len(before)); math.Abs(share-0.2) > 0.01 || largest > least {
		t.Errorf("%.3f pruned; the largest of them %v, the smallest left %v", share, largest, least)
	}
	if !slices.Equal(before, m.Tensors[up].Data) || !slices.Equal(m.Tensors[embeddings].Data, got.Tensors[embeddings].Data) {
		t.Error("the original or the embedding table changed")
	}
}

func TestQuantisedAndPerturbed(t *testing.T) {
	m := tiny(5)
	gate, _, _ := weights.BlockTensors(0)
	var errors []float64
	for _, q := range []weights.Quant{weights.GGUFF16, weights.GGUFQ8_0, weights.GGUFQ4_0} {
		got, err := Quantised(m, q)
		if err != nil {
			t.Fatal(err)
		}
		errors = append(errors, difference(m, got, gate))
		if e := difference(m, got, embeddings); e > 0.01 {
			t.Errorf("%s changes the embedding table by %v", q, e)
		}
	}
	if !slices.IsSorted(errors) || errors[0] == 0 || errors[2] < 0.05 || errors[2] > 0.3 {
		t.Errorf("relative errors of f16, q8_0, q4_0: %v", errors)
	}
	near, err := Perturbed(m, 0.1, 1)
	if e := difference(m, near, embeddings); err != nil || math.Abs(e-0.1) > 0.01 {
		t.Errorf("perturbed by %v, want 0.1 (%v)", e, err)
	}
}

func difference(a, b *weights.Model, name string) float64 {
	var d, n float64
	for i, v := range a.Tensors[name].Data {
		e := float64(b.Tensors[name].Data[i] - v)
		d, n = d+e*e, n+float64(v)*float64(v)
	}
	return math.Sqrt(d / n)
}
