package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/sampler"
)

// An innocent host gave these answers to questions with these candidates.
type innocent struct {
	name       string
	answers    []string
	candidates []string
	redraws    int // sets of secrets that it is judged under
}

// innocents are recordings of the unmodified base, which TestInteropBaseRecording makes and
// keeps true: all together they are judged under more than a million
// sets of secrets. Of their candidates the worst are taken: the words that they say most.
// Beside them stand hosts that know the candidates and play them.
func innocents(t *testing.T) []innocent {
	t.Helper()
	text, err := os.ReadFile("testdata/base.json")
	if err != nil {
		t.Fatal(err)
	}
	var recording struct {
		Hosts []struct {
			Name  string   `json:"name"`
			Words []string `json:"words"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(text, &recording); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, h := range recording.Hosts {
		for _, word := range h.Words {
			times[word]++
		}
	}
	delete(times, "") // an answer without a word
	most := slices.SortedFunc(maps.Keys(times), func(a, b string) int {
		return cmp.Or(times[b]-times[a], strings.Compare(a, b))
	})
	if len(recording.Hosts) < 4 || len(most) < len(rigWords) {
		t.Fatalf("the recording holds %d hosts that say %d words", len(recording.Hosts), len(most))
	}
	var out []innocent
	for _, h := range recording.Hosts {
		if len(h.Words) != 8 {
			t.Errorf("%s: %d answers are recorded, want 8", h.Name, len(h.Words))
		}
		out = append(out, innocent{"the base, " + h.Name, h.Words, most[:len(rigWords)], 260_000})
	}
	for name, word := range map[string]func(i int) string{
		"always the same candidate":   func(int) string { return rigWords[2] },
		"the likeliest candidate":     func(int) string { return rigWords[0] },
		"another candidate each time": func(i int) string { return rigWords[i%len(rigWords)] },
	} {
		h := innocent{name, make([]string, 8), rigWords, 65_000}
		for i := range h.answers {
			h.answers[i] = word(i) + " follows."
		}
		out = append(out, h)
	}
	return out
}

// Recorded answers of innocent hosts, under freshly drawn secrets, are claimed to match
// no more often than the level says: at 5 %, at 1 %, and at the default never in a
// million. Hosts that know the candidates and play them are among them.
func TestLevelHolds(t *testing.T) {
	t.Parallel()
	for _, h := range innocents(t) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			seed := sha256.Sum256([]byte(h.name))
			var mu sync.Mutex
			var group sync.WaitGroup
			var fixed, everSeq [3]int
			var matched int
			for part := range 2 {
				group.Go(func() {
					f, s, m := h.redraw(seed, part, h.redraws/2)
					mu.Lock()
					defer mu.Unlock()
					for i := range fixed {
						fixed[i] += f[i]
						everSeq[i] += s[i]
					}
					matched += m
				})
			}
			group.Wait()
			for i, level := range levels {
				expected := level * float64(h.redraws)
				most := expected + 5*math.Sqrt(expected)
				if float64(fixed[i]) > most || float64(everSeq[i]) > most {
					t.Errorf("level %g: %d and %d claims of %d; at most %.0f", level, fixed[i], everSeq[i], h.redraws, most)
				}
			}
			if matched < h.redraws/6 {
				t.Errorf("%d matches in %d redraws: it says no candidate, and nothing is tested", matched, h.redraws)
			}
		})
	}
}

var levels = [3]float64{0.05, 0.01, 1e-6}

// redraw counts the redraws in which a fixed test, and a sequential one that looks after
// each answer, claim at each level, and the matches of all.
func (h innocent) redraw(seed [32]byte, part, times int) (fixed, sequential [3]int, all int) {
	answers, k := h.answers, len(h.candidates)
	set := fingerprint.Set{Shell: sampler.Shell{K: k}, Keys: make([]fingerprint.Key, len(answers))}
	var candidates []fingerprint.Candidate
	for _, w := range h.candidates {
		candidates = append(candidates, fingerprint.Candidate{Word: w})
	}
	tails := make([]float64, len(answers)+1)
	for m := range tails {
		tail, err := fingerprint.BinomialTail(m, len(answers), k)
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
		e := fingerprint.NewEvidence(k, 1)
		for i, d := range set.Draw(fingerprint.Digest{7}) {
			hit := fingerprint.Matches(answers[i], d.Word())
			if hit {
				matched++
			}
			e.Add(hit)
			largest = max(largest, e.LogE())
		}
		all += matched
		for i, level := range levels {
			if tails[matched] <= level {
				fixed[i]++
			}
			if largest >= -math.Log(level) {
				sequential[i]++
			}
		}
	}
	return fixed, sequential, all
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
