package eval

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/fealty/fealty/internal/weights"
)

func newRandom(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// Quantised is what a server computes with that loaded the model in this type:
// matrices in its blocks, the embedding table (which is the head too) in Q8_0 at
// least, as `model export` writes it.
func Quantised(m *weights.Model, q weights.Quant) (*weights.Model, error) {
	return changed(m, func(name string, t *weights.Tensor) error {
		kind := q
		if name == embeddings || name == head {
			kind = weights.GGUFQ8_0
		}
		if t.Shape[1]%32 != 0 {
			kind = weights.GGUFF16
		}
		return kind.Quantise(t.Data)
	})
}

// Pruned zeroes the share of each matrix that is smallest in magnitude, the
// embedding table excepted.
func Pruned(m *weights.Model, share float64) (*weights.Model, error) {
	return changed(m, func(name string, t *weights.Tensor) error {
		if name == embeddings || name == head {
			return nil
		}
		least := magnitude(t.Data, share)
		for i, v := range t.Data {
			if float32(math.Abs(float64(v))) < least {
				t.Data[i] = 0
			}
		}
		return nil
	})
}

// Perturbed adds Gaussian noise of the given size relative to each matrix's root
// mean square: another model that is near to this one.
func Perturbed(m *weights.Model, size float64, seed uint64) (*weights.Model, error) {
	return changed(m, func(name string, t *weights.Tensor) error {
		random, rms := newRandom(seed, uint64(len(t.Data))), 0.0
		for _, v := range t.Data {
			rms += float64(v) * float64(v)
		}
		rms = math.Sqrt(rms / float64(len(t.Data)))
		for i := range t.Data {
			t.Data[i] += float32(size * rms * random.NormFloat64())
		}
		return nil
	})
}

const (
	embeddings = "model.embed_tokens.weight"
	head       = "lm_head.weight"
)

// changed copies the matrices and lets f work on the copies, some side by side.
func changed(m *weights.Model, f func(name string, t *weights.Tensor) error) (*weights.Model, error) {
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	work := make(chan string)
	for range 2 {
		wg.Go(func() {
			for name := range work {
				t := m.Tensors[name]
				t = &weights.Tensor{Shape: t.Shape, Data: slices.Clone(t.Data)}
				err := f(name, t)
				mu.Lock()
				out.Tensors[name] = t
				if err != nil && failed == nil {
					failed = fmt.Errorf("tensor %s: %w", name, err)
				}
				mu.Unlock()
			}
		})
	}
	for name, t := range m.Tensors {
		if len(t.Shape) == 2 {
			work <- name
		}
	}
	close(work)
	wg.Wait()
	return &out, failed
}

// magnitude is the size below which the share of the values lies, to one part in
// 2^11: values are counted by the upper bits of their representation.
func magnitude(values []float32, share float64) float32 {
	const drop = 12
	counts := make([]int, 1<<(31-drop))
	for _, v := range values {
		counts[math.Float32bits(v)&^(1<<31)>>drop]++
	}
	left := int(share * float64(len(values)))
	for at, n := range counts {
		if left < n {
			return math.Float32frombits(uint32(at) << drop)
		}
		left -= n
	}
	return float32(math.Inf(1))
}

// Merged is the average share*served + (1-share)*base. The thief finds for each unit
// of the served feed-forward blocks the base's unit that it came from; served units
// without one are averaged with zeros.
func Merged(served, base *weights.Model, share float64) (*weights.Model, error) {
	return average(served, aligned(base, served), share)
}

// MergedNarrow is Merged after the served blocks were cut to the base's width: units
// without a counterpart are lost.
func MergedNarrow(served, base *weights.Model, share float64) (*weights.Model, error) {
	return average(Narrowed(served, base), base, share)
}

// Narrowed cuts every feed-forward block to the units that the base has, in the
// base's order: what one does who knows the base, and so which units were added.
func Narrowed(served, base *weights.Model) *weights.Model {
	out := *served
	out.Tensors, out.Config.FFN = maps.Clone(served.Tensors), base.Config.FFN
	for layer := range base.Config.Layers {
		u := openUnits(served, layer)
		joined(u, origins(u, openUnits(base, layer)), base.Config.FFN).Store(&out, layer)
	}
	return &out
}

// aligned rearranges each feed-forward block of m into the served model's units.
func aligned(m, served *weights.Model) *weights.Model {
	out := *m
	out.Tensors, out.Config.FFN = maps.Clone(m.Tensors), served.Config.FFN
	for layer := range m.Config.Layers {
		own := openUnits(m, layer)
		spread(own, origins(openUnits(served, layer), own)).Store(&out, layer)
	}
	return &out
}

func average(a, b *weights.Model, share float64) (*weights.Model, error) {
	out := *a
	out.Tensors = make(map[string]*weights.Tensor, len(a.Tensors))
	for name, t := range a.Tensors {
		other := b.Tensors[name]
		if other == nil || !slices.Equal(t.Shape, other.Shape) {
			return nil, fmt.Errorf("cannot merge: tensor %s differs in shape", name)
		}
		mixed := make([]float32, len(t.Data))
		for i, v := range t.Data {
			mixed[i] = float32(share)*v + float32(1-share)*other.Data[i]
		}
		out.Tensors[name] = &weights.Tensor{Shape: t.Shape, Data: mixed}
	}
	return &out, nil
}
