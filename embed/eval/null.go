package eval

import (
	"encoding/binary"
	"fmt"
	"math"

	fingerprint "github.com/fealty/fealty/embed"
)

// Null is what the recorded answers of one model match when the words are drawn anew
// again and again, as if other creators had made their sets of the same questions.
type Null struct {
	Model    string             `json:"model"`
	Draws    int                `json:"draws"`
	Listed   float64            `json:"listed"`   // share of the answers that begin with one of the key's candidates: only these can ever match
	Matched  float64            `json:"matched"`  // share of all answers, over all draws
	Expected float64            `json:"expected"` // listed / k
	Bound    float64            `json:"bound"`    // six standard deviations of the binomial
	Claims   map[string]float64 `json:"claims"`   // by alpha: share of draws that were claimed to be the model, in the worse design
	Held     bool               `json:"held"`
	Reason   string             `json:"reason,omitempty"` // why not
}

// nullAlphas are the false-claim probabilities that so many draws can check.
var nullAlphas = []float64{0.05, 0.01, 0.001}

// Nulls draws the set's words anew and compares the recorded answers, one per key,
// with them. It holds if they match as often as the theory says, no more and no less,
// and if no more draws are claimed than alpha.
func Nulls(set *fingerprint.Set, model string, answers []string, draws int, seed uint64) (Null, error) {
	if len(answers) != len(set.Keys) || draws < 1 {
		return Null{}, fmt.Errorf("%d answers for %d keys, %d draws", len(answers), len(set.Keys), draws)
	}
	n := Null{Model: model, Draws: draws, Claims: make(map[string]float64)}
	keys := float64(len(set.Keys))
	for i, k := range set.Keys {
		for _, c := range k.Candidates {
			if fingerprint.Matches(answers[i], c.Word) {
				n.Listed += 1 / keys
				break
			}
		}
	}
	fixed, sequential := make([]int, len(nullAlphas)), make([]int, len(nullAlphas))
	tails, err := tailsOf(len(set.Keys), set.Shell.K)
	if err != nil {
		return n, err
	}
	for d := range draws {
		var randomness fingerprint.Digest
		binary.BigEndian.PutUint64(randomness[:], seed)
		binary.BigEndian.PutUint64(randomness[8:], uint64(d))
		hits := make([]bool, len(set.Keys))
		for i, k := range set.Draw(randomness) {
			hits[i] = fingerprint.Matches(answers[i], k.Word())
		}
		n.Matched += share(hits) / float64(draws)
		for a, alpha := range nullAlphas {
			fixed[a] += gate(tails[int(share(hits)*keys+0.5)] <= alpha)
			sequential[a] += gate(claims(hits, set.Shell.K, alpha))
		}
	}
	for a, alpha := range nullAlphas {
		n.Claims[fmt.Sprint(alpha)] = float64(max(fixed[a], sequential[a])) / float64(draws)
	}
	return n.judge(float64(draws)*keys, 1/float64(set.Shell.K)), nil
}

// sigmas is how many standard deviations a true null may be off. The secrets that draw the
// words are fresh with each set: beyond six is one of 500 million.
const sigmas = 6

// judge compares with the theory. total is the number of comparisons.
func (n Null) judge(total, p float64) Null {
	n.Expected = n.Listed * p
	n.Bound = sigmas * math.Sqrt(math.Max(n.Listed*total, 1)*p*(1-p)) / total
	n.Held = true
	if math.Abs(n.Matched-n.Expected) > n.Bound {
		n.Held, n.Reason = false, fmt.Sprintf("%.5f matched, %.5f +- %.5f expected", n.Matched, n.Expected, n.Bound)
	}
	for _, alpha := range nullAlphas {
		allowed := alpha + sigmas*math.Sqrt(alpha*(1-alpha)/float64(n.Draws))
		if claimed := n.Claims[fmt.Sprint(alpha)]; claimed > allowed {
			n.Held, n.Reason = false, fmt.Sprintf("%.4f of the draws are claimed at alpha %v", claimed, alpha)
		}
	}
	return n
}

// tailsOf are the p-values of 0 to n matches.
func tailsOf(n, k int) ([]float64, error) {
	out := make([]float64, n+1)
	for m := range out {
		c, err := fingerprint.BinomialTail(m, n, k)
		if err != nil {
			return nil, err
		}
		out[m] = c.P
	}
	return out, nil
}

// claims runs the sequential design over the answers in their order.
func claims(hits []bool, k int, alpha float64) bool {
	e := fingerprint.NewEvidence(k, 1)
	e.Alpha = alpha
	for _, hit := range hits {
		if e.Add(hit); e.Claimed() {
			return true
		}
	}
	return false
}
