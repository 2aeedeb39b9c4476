package state

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	_ "github.com/fealty/fealty/internal/sameseed"
)

func TestCounter(t *testing.T) {
	now := time.Unix(1000, 0)
	var c counter
	step := func(number, known, top int64, want bool) {
		t.Helper()
		if got := c.take(number, known, top, now); got != want {
			t.Errorf("number %d, known %d, top %d: %v", number, known, top, got)
		}
	}
	step(1, 0, 1, true)
	step(3, 1, 3, true)  // 2 is under way
	step(0, 3, 5, true)  // a read sees 4 and 5
	step(4, 5, 5, true)  // they come
	step(2, 5, 5, true)  // late
	step(2, 5, 5, false) // twice
	step(3, 5, 5, false) // rolled back: a write under way counted itself again
	step(5, 5, 5, true)
	step(8, 5, 9, true) // 6, 7, 9
	now = now.Add(underWay + 1)
	step(10, 9, 10, true)
	step(9, 10, 10, true) // late, but not too late
	now = now.Add(underWay + 1)
	step(11, 10, 11, true)
	now = now.Add(underWay + 1)
	step(12, 11, 12, true)
	step(7, 12, 12, false) // no answer takes that long: its number is not kept for ever
	step(1<<40, 12, 1<<40, true)
	if len(c.open) > mostOpen+1 {
		t.Errorf("%d numbers are held", len(c.open))
	}
}

// Answers come in any order, some never, and none is taken for a roll back; after a
// roll back by any number of writes, the next number that was confirmed is refused.
func TestCounterProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c counter
		var known int64
		now := time.Unix(1000, 0)
		numbers := rapid.Permutation([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}).Draw(t, "order")
		numbers = numbers[:rapid.IntRange(1, 10).Draw(t, "answered")]
		for _, n := range numbers {
			if !c.take(n, known, max(n, known), now) {
				t.Fatalf("number %d of %v", n, numbers)
			}
			known = max(known, n)
		}
		n := rapid.SampledFrom(numbers).Draw(t, "again")
		if c.take(n, known, known, now) {
			t.Fatalf("number %d of %v was given twice", n, numbers)
		}
	})
}
