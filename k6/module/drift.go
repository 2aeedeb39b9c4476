package module

import (
	"slices"
	"sync"
)

// A baseline is the first values of a series, of all virtual users together.
type baseline struct {
	mu     sync.Mutex
	first  []float64
	median float64
}

type baselines struct {
	mu     sync.Mutex
	byName map[string]*baseline
}

func (b *baselines) of(name string) *baseline {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byName[name] == nil {
		b.byName[name] = new(baseline)
	}
	return b.byName[name]
}

// drift is the value relative to the median of the first `first` of its name; 0
// while those are being collected.
func (i *instance) drift(name string, value float64, first int) float64 {
	b := i.baselines.of(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.first) < first {
		b.first = append(b.first, value)
		b.median = slices.Sorted(slices.Values(b.first))[len(b.first)/2]
		return 0
	}
	return value / b.median
}
