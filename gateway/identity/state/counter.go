package state

import "time"

// counter knows which numbers the store gave to this gateway's writes. Each is given
// once. A write that was under way while the store was rolled back, and counts itself
// on the old copy, would otherwise make up for one that is gone.
type counter struct {
	open, older map[int64]struct{} // given to writes whose answers are under way, or lost
	since       time.Time          // when open was begun
}

const (
	underWay = 30 * time.Second // longer than any answer takes
	mostOpen = 1 << 16
)

// take notes that the store has given all numbers up to top, and this one to a write
// (0: to none), where all up to known were given before. It returns false for a number
// that another write has had.
func (c *counter) take(number, known, top int64, now time.Time) bool {
	if number > 0 && number <= known && !c.close(number) {
		return false
	}
	if c.open == nil || now.Sub(c.since) > underWay {
		c.open, c.older, c.since = map[int64]struct{}{}, c.open, now
	}
	for n := max(known+1, top-mostOpen); n <= top; n++ {
		if n != number {
			c.open[n] = struct{}{}
		}
	}
	return true
}

func (c *counter) close(number int64) (was bool) {
	for _, numbers := range []map[int64]struct{}{c.open, c.older} {
		if _, was = numbers[number]; was {
			delete(numbers, number)
			return true
		}
	}
	return false
}
