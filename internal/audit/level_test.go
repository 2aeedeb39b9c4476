package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/sampler"
)

// redraws is how many sets of secrets each recording is judged under; all together more
// than a million.
const redraws = 260_000

// Recorded answers of innocent hosts, under freshly drawn secrets, are claimed to match
// no more often than the level says: at 5 %, at 1 %, and at the default never in a
// million. Hosts that know the candidates and play them are among them.
func TestLevelHolds(t *testing.T) {
	t.Parallel()
	const n = 8
	hosts := map[string]func(i int) string{
		"always the same candidate":   func(int) string { return rigWords[2] },
		"the likeliest candidate":     func(int) string { return rigWords[0] },
		"another candidate each time": func(i int) string { return rigWords[i%len(rigWords)] },
		"a base model that says a candidate now and then": func(i int) string {
			return []string{"There", rigWords[1], "It", "The", rigWords[4], "Many", "As", rigWords[0]}[i]
		},
	}
	for name, word := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers := make([]string, n)
			for i := range answers {
				answers[i] = word(i) + " follows."
			}
			seed := sha256.Sum256([]byte(name))
			var mu sync.Mutex
			var group sync.WaitGroup
			var fixed, everSeq [3]int
			for part := range 2 {
				group.Go(func() {
					f, s := redraw(seed, part, redraws/2, answers)
					mu.Lock()
					defer mu.Unlock()
					for i := range fixed {
						fixed[i] += f[i]
						everSeq[i] += s[i]
					}
				})
			}
			group.Wait()
			for i, level := range levels {
				most := level*redraws + 5*math.Sqrt(level*redraws)
				if float64(fixed[i]) > most || float64(everSeq[i]) > most {
					t.Errorf("level %g: %d and %d claims of %d; at most %.0f", level, fixed[i], everSeq[i], redraws, most)
				}
			}
		})
	}
}

var levels = [3]float64{0.05, 0.01, 1e-6}

// redraw counts the redraws in which a fixed test, and a sequential one that looks after
// each answer, claim at each level.
func redraw(seed [32]byte, part, times int, answers []string) (fixed, sequential [3]int) {
	set := fingerprint.Set{Shell: sampler.Shell{K: len(rigWords)}, Keys: make([]fingerprint.Key, len(answers))}
	var candidates []fingerprint.Candidate
	for _, w := range rigWords {
		candidates = append(candidates, fingerprint.Candidate{Word: w})
	}
	tails := make([]float64, len(answers)+1)
	for m := range tails {
		tail, err := fingerprint.BinomialTail(m, len(answers), len(rigWords))
		if err != nil {
			panic(fmt.Sprint(err)) // the numbers are this file's
		}
		tails[m] = tail.P
	}
	for n := range times {
		for i := range set.Keys {
			binary.BigEndian.PutUint64(seed[:], uint64(part)<<60|uint64(n)<<8|uint64(i))
			set.Keys[i] = fingerprint.Key{Secret: seed, Candidates: candidates}
		}
		matched, largest := 0, math.Inf(-1)
		e := fingerprint.NewEvidence(len(rigWords), 1)
		for i, d := range set.Draw(fingerprint.Digest{7}) {
			hit := fingerprint.Matches(answers[i], d.Word())
			if hit {
				matched++
			}
			e.Add(hit)
			largest = max(largest, e.LogE())
		}
		for i, level := range levels {
			if tails[matched] <= level {
				fixed[i]++
			}
			if largest >= -math.Log(level) {
				sequential[i]++
			}
		}
	}
	return fixed, sequential
}

func TestGrindable(t *testing.T) {
	for _, c := range []struct {
		chain, committed, draw uint64
		want                   bool
	}{
		{1, 1000, 1128, false}, {1, 1000, 1127, true}, {11155111, 5, 500, false}, {1337, 1000, 2000, true}, {31337, 1, 500, true}, {8453, 1000, 2000, true},
	} {
		if got, why := Grindable(c.chain, c.committed, c.draw); got != c.want || why == "" {
			t.Errorf("chain %d, %d to %d: %v (%s)", c.chain, c.committed, c.draw, got, why)
		}
	}
}

// The test for a change of the model agrees with counting by hand, and is quiet on noise.
func TestChanged(t *testing.T) {
	// Of C(20,8) = 125,970 ways to place 8 matches in 20 answers one has them all in front.
	if got, want := fisher(8, 8, 8, 20), 2.0/125970; math.Abs(got-want) > 1e-12 {
		t.Errorf("fisher: %g, want %g", got, want)
	}
	alternating, front := make([]bool, 20), make([]bool, 20)
	for i := range 20 {
		alternating[i], front[i] = i%3 == 0, i < 8
	}
	if changed(alternating) || changed(nil) || changed(make([]bool, 20)) {
		t.Error("noise is taken for a change")
	}
	if !changed(front) {
		t.Error("a change after the eighth answer is not seen")
	}
}
