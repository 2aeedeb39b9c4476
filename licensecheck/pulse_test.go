package licensecheck

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// beat is how long the pulse rests between two questions.
const beat = 10 * time.Millisecond

// pulse is a clock that goes as fast as the machine does: it beats whenever the chain has
// answered one more question, past every fault. While the machine stands still, or works
// for others, it beats less often, and what is promised within a time takes longer by it.
type pulse struct {
	mu    sync.Mutex
	beats []time.Time
}

// startPulse beats until the test ends.
func startPulse(t testing.TB, question func() error) *pulse {
	p := &pulse{beats: []time.Time{time.Now()}}
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(beat):
			}
			if err := question(); err != nil && t.Context().Err() != nil {
				return // the test is over
			} else if err != nil {
				t.Errorf("the chain does not answer the test: %v", err)
				return
			}
			p.mu.Lock()
			p.beats = append(p.beats, time.Now())
			p.mu.Unlock()
		}
	}()
	return p
}

// upTo is how many beats there were up to a time, of which there is one at least.
func (p *pulse) upTo(at time.Time) int {
	n, _ := slices.BinarySearchFunc(p.beats, at, time.Time.Compare)
	return max(n, 1)
}

// before is the time that lies so long before another by this clock, and by any other.
func (p *pulse) before(at time.Time, d time.Duration) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	back := p.beats[max(0, p.upTo(at)-1-int(d/beat))]
	if other := at.Add(-d); other.Before(back) {
		return other
	}
	return back
}

// steady reports whether no two beats of the span were further apart.
func (p *pulse) steady(from, to time.Time, apart time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := from
	for _, at := range p.beats[p.upTo(from)-1:] {
		if at.Sub(last) > apart {
			return false
		}
		if last = at; at.After(to) {
			return true
		}
	}
	return to.Sub(last) <= apart
}
