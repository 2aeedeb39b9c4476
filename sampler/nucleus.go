package sampler

import (
	"cmp"
	"math"
	"slices"
)

// entry is a token with its weight: its probability up to a common factor.
type entry struct {
	id     int32
	weight float64
}

// byWeight sorts descending; equal weights by id, so that runs repeat.
func byWeight(a, b entry) int {
	if c := cmp.Compare(b.weight, a.weight); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// draw samples by temperature, then min_p, top_k and top_p, each over what the
// one before left (the order of Hugging Face transformers).
func (s *Sampler) draw(logits []float32) int32 {
	peak := top(logits)
	if math.IsInf(float64(peak), 0) {
		return argmax(logits) // nothing to weigh: all minus infinity, or a certain token
	}
	total := weigh(logits, peak, s.settings.Temperature, s.settings.MinP)
	if s.settings.TopP == 1 && s.settings.TopK <= 0 {
		return pickWhole(logits, s.random.Float64()*total)
	}
	s.head = nucleus(s.head, logits, total, s.settings.TopP, s.settings.TopK)
	return pick(s.head, s.random.Float64()*mass(s.head))
}

// weigh replaces logits by exp((l-peak)/temperature), the top token's being 1,
// zeroes those below minP, and returns the sum.
func weigh(logits []float32, peak float32, temperature, minP float64) float64 {
	scale := float32(1 / temperature)
	least := float32(minP)
	var total float64
	for i, l := range logits {
		w := expNeg((l - peak) * scale)
		if w < least {
			w = 0
		}
		logits[i] = w
		total += float64(w)
	}
	return total
}

// nucleus returns the smallest head of the sorted weights with at least topP of
// their mass (after the cut to topK, if that is positive): exact, at least one
// token. Few tokens hold nearly all mass, so it gathers those above a falling
// threshold until they must contain the head, and sorts only them.
func nucleus(dst []entry, weights []float32, total, topP float64, topK int) []entry {
	for threshold := float32(1.0 / 64); ; threshold /= 64 {
		head, sum := gather(dst[:0], weights, threshold)
		dst = head
		all := threshold < 1e-38 // below every weight that expNeg can give
		if topK > 0 && len(head) < topK && !all {
			continue
		}
		if topK <= 0 && sum < topP*total && !all {
			continue
		}
		slices.SortFunc(head, byWeight)
		if topK > 0 {
			head = head[:min(topK, len(head))]
			total = mass(head)
		}
		return cut(head, topP*total)
	}
}

// gather appends every token of at least the threshold, and returns their sum.
func gather(dst []entry, weights []float32, threshold float32) ([]entry, float64) {
	var sum float64
	for i, w := range weights {
		if w >= threshold && w > 0 {
			dst = append(dst, entry{int32(i), float64(w)})
			sum += float64(w)
		}
	}
	return dst, sum
}

// cut keeps the smallest head of sorted with at least the wanted mass.
func cut(sorted []entry, want float64) []entry {
	var sum float64
	for i, e := range sorted {
		if sum += e.weight; sum >= want {
			return sorted[:i+1]
		}
	}
	return sorted
}

func mass(head []entry) float64 {
	var sum float64
	for _, e := range head {
		sum += e.weight
	}
	return sum
}

// pick walks to the token in which the point lies.
func pick(head []entry, point float64) int32 {
	for _, e := range head {
		if point -= e.weight; point < 0 {
			return e.id
		}
	}
	return head[0].id // rounding left a remainder
}

func pickWhole(weights []float32, point float64) int32 {
	for i, w := range weights {
		if point -= float64(w); point < 0 {
			return int32(i)
		}
	}
	return argmax(weights)
}
