package stealth

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Filter is what a host pays that stops fingerprints by a score: the share of
// ordinary answers that it spoils too, and how right it is when it strikes.
type Filter struct {
	Stopped   float64  // share of fingerprints, at least what was asked for
	Spoilt    Interval // share of ordinary answers, bootstrap 95 %
	Precision Interval // of a strike, at the prevalence
}

// NewFilter puts the threshold where at least the share of the positives is
// stopped; equal scores are all stopped. The interval resamples both groups and
// puts the threshold anew each time, from the seed.
func NewFilter(positive, negative []float64, share, prevalence float64, seed uint64) Filter {
	stopped, spoilt := strike(positive, negative, share)
	random := rand.New(rand.NewPCG(seed, 1))
	const rounds = 2000
	rates := make([]float64, rounds)
	for i := range rates {
		_, rates[i] = strike(resample(positive, random), resample(negative, random), share)
	}
	slices.Sort(rates)
	low, high := rates[rounds*25/1000], rates[rounds*975/1000]
	// No bootstrap sees what is rarer than one in the sample: Clopper and Pearson do.
	exact := Proportion(int(math.Round(spoilt*float64(len(negative)))), len(negative), 0.95)
	f := Filter{Stopped: stopped, Spoilt: Interval{spoilt, math.Min(low, exact.Low), math.Max(high, exact.High)}}
	at := func(rate float64) float64 {
		hits := stopped * prevalence
		return hits / (hits + rate*(1-prevalence))
	}
	f.Precision = Interval{at(f.Spoilt.Value), at(f.Spoilt.High), at(f.Spoilt.Low)}
	return f
}

// strike returns the shares of both groups at or above the highest threshold that
// stops the share of the positives.
func strike(positive, negative []float64, share float64) (stopped, spoilt float64) {
	sorted := slices.Sorted(slices.Values(positive))
	n := int(math.Ceil(share * float64(len(sorted))))
	threshold := sorted[len(sorted)-n]
	return atLeast(positive, threshold), atLeast(negative, threshold)
}

func atLeast(x []float64, threshold float64) float64 {
	n := 0
	for _, v := range x {
		if v >= threshold {
			n++
		}
	}
	return float64(n) / float64(len(x))
}

func resample(x []float64, random *rand.Rand) []float64 {
	out := make([]float64, len(x))
	for i := range out {
		out[i] = x[random.IntN(len(x))]
	}
	return out
}

// Proportion is k of n with the exact interval of Clopper and Pearson (1934).
func Proportion(k, n int, confidence float64) Interval {
	if n == 0 {
		return Interval{math.NaN(), 0, 1}
	}
	alpha := (1 - confidence) / 2
	out := Interval{Value: float64(k) / float64(n), High: 1}
	if k > 0 {
		out.Low = mathext.InvRegIncBeta(float64(k), float64(n-k+1), alpha)
	}
	if k < n {
		out.High = mathext.InvRegIncBeta(float64(k+1), float64(n-k), 1-alpha)
	}
	return out
}
