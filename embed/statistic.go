package embed

import (
	"fmt"
	"math"
	"math/big"
)

// Chance is a probability that may be too small for a float64.
type Chance struct {
	P     float64 `json:"p"` // 0 when below 5e-324
	Log10 float64 `json:"log10"`
}

// BinomialTail is the exact probability of at least m matches in n independent
// queries that each match with probability 1/k:
//
//	sum over j >= m of C(n,j) (k-1)^(n-j) / k^n
//
// in integers, rounded once at the end.
func BinomialTail(m, n, k int) (Chance, error) {
	if n < 0 || m < 0 || m > n || k < 2 {
		return Chance{}, fmt.Errorf("no tail for %d matches of %d queries with %d candidates", m, n, k)
	}
	// term = C(n,j) (k-1)^(n-j), from j = n downwards.
	term, sum := big.NewInt(1), big.NewInt(0)
	misses := big.NewInt(int64(k - 1))
	for j := n; ; j-- {
		sum.Add(sum, term)
		if j == m {
			break
		}
		term.Mul(term, misses).Mul(term, big.NewInt(int64(j)))
		term.Quo(term, big.NewInt(int64(n-j+1)))
	}
	all := new(big.Int).Exp(big.NewInt(int64(k)), big.NewInt(int64(n)), nil)
	return chance(new(big.Rat).SetFrac(sum, all)), nil
}

func chance(r *big.Rat) Chance {
	p, _ := r.Float64()
	f := new(big.Float).SetRat(r)
	exponent := f.MantExp(f)
	mantissa, _ := f.Float64()
	return Chance{p, math.Log10(mantissa) + float64(exponent)*math.Log10(2)}
}

// times is the union bound over n events of this chance.
func (c Chance) times(n int) Chance {
	log := c.Log10 + math.Log10(float64(n))
	if log >= 0 {
		return Chance{1, 0}
	}
	return Chance{c.P * float64(n), log}
}

// Evidence is the sequential test: a bet against "matches with probability 1/k"
// whose capital E stays below S/alpha with probability 1 - alpha/S however
// long, and whenever, one looks (Ville's inequality).
type Evidence struct {
	K        int     // candidates per key
	Hit      float64 // h, the matching rate that is bet on, in (1/k, 1)
	Alpha    float64 // false-claim probability over all suspects and attempts
	Suspects int     // suspects and attempts so far, this one included
	logE     float64
}

// NewEvidence uses h = 0.5 and alpha = 1e-6.
func NewEvidence(k, suspects int) *Evidence {
	return &Evidence{K: k, Hit: 0.5, Alpha: 1e-6, Suspects: suspects}
}

// Add counts one scored answer.
func (e *Evidence) Add(matched bool) {
	if matched {
		e.logE += math.Log(float64(e.K) * e.Hit)
		return
	}
	e.logE += math.Log((1 - e.Hit) / (1 - 1/float64(e.K)))
}

// LogE is the natural logarithm of the capital, 0 at the start.
func (e *Evidence) LogE() float64 { return e.logE }

// Claimed tells whether the capital has reached S/alpha.
func (e *Evidence) Claimed() bool {
	return e.logE >= math.Log(float64(max(1, e.Suspects))/e.Alpha)
}
