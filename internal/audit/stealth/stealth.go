// Package stealth measures how well an observer can tell two kinds of traffic
// apart, with confidence intervals.
//
// It holds statistics alone: no model, no network, no clock. Groups are slices of
// numbers; order does not matter and NaN is refused by the callers that read them.
// A test that finds no difference proves nothing by itself, so [TOST] asks the
// opposite question: is the difference provably small? Start with [Compare] for one
// measure and [Classify] for all of them together.
package stealth

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate with the bounds of its confidence interval.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// quantile of the standard normal distribution.
func quantile(p float64) float64 { return distuv.UnitNormal.Quantile(p) }

// upper tail of the standard normal distribution.
func tail(z float64) float64 { return distuv.UnitNormal.Survival(z) }

// KS is the two-sample Kolmogorov-Smirnov statistic and its asymptotic two-sided
// p-value (Smirnov 1948, with the effective number nm/(n+m)).
func KS(x, y []float64) (d, p float64) {
	x, y = slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y))
	d = stat.KolmogorovSmirnov(x, nil, y, nil)
	n, m := float64(len(x)), float64(len(y))
	return d, smirnov(d * math.Sqrt(n*m/(n+m)))
}

// smirnov is the survival function of the Kolmogorov distribution.
func smirnov(t float64) float64 {
	if t < 0.2 { // 1 to within 1e-12, where the series converges slowly
		return 1
	}
	var sum float64
	for k, sign := 1.0, 1.0; k <= 100; k, sign = k+1, -sign {
		sum += sign * math.Exp(-2*k*k*t*t)
	}
	return math.Min(1, math.Max(0, 2*sum))
}

// ranking is x and y put in one order; equal values share their mean rank.
type ranking struct {
	u    float64 // pairs in which x is the larger, equal ones counted half
	n, m float64
	ties float64 // sum of t^3-t over groups of t equal values
}

func rank(x, y []float64) ranking {
	type entry struct {
		value float64
		fromX bool
	}
	all := make([]entry, 0, len(x)+len(y))
	for _, v := range x {
		all = append(all, entry{v, true})
	}
	for _, v := range y {
		all = append(all, entry{v, false})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.value, b.value) })
	r := ranking{n: float64(len(x)), m: float64(len(y))}
	for from := 0; from < len(all); {
		to, ofX := from, 0.0
		for ; to < len(all) && all[to].value == all[from].value; to++ {
			if all[to].fromX {
				ofX++
			}
		}
		t := float64(to - from)
		r.u += ofX * float64(from+1+to) / 2
		r.ties += t*t*t - t
		from = to
	}
	r.u -= r.n * (r.n + 1) / 2
	return r
}

// deviation of u if both come from one distribution.
func (r ranking) deviation() float64 {
	n := r.n + r.m
	return math.Sqrt(r.n * r.m / 12 * (n + 1 - r.ties/(n*(n-1))))
}

// greater is the one-sided p-value for x tending to be larger than y.
func (r ranking) greater() float64 {
	s := r.deviation()
	if s == 0 {
		return 1
	}
	return tail((r.u - r.n*r.m/2 - 0.5) / s)
}

// MannWhitney is the U statistic of x and its two-sided p-value, by the normal
// approximation with corrections for ties and continuity.
func MannWhitney(x, y []float64) (u, p float64) {
	r := rank(x, y)
	s := r.deviation()
	if s == 0 {
		return r.u, 1
	}
	return r.u, math.Min(1, 2*tail((math.Abs(r.u-r.n*r.m/2)-0.5)/s))
}

// Median of the values; NaN if there are none.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Shift is the Hodges-Lehmann estimate of how much larger x is than y, with
// Moses' interval of the confidence (order statistics of all differences, by the
// normal approximation of U).
func Shift(x, y []float64, confidence float64) Interval {
	all := make([]float64, 0, len(x)*len(y))
	for _, a := range x {
		for _, b := range y {
			all = append(all, a-b)
		}
	}
	slices.Sort(all)
	n, m := float64(len(x)), float64(len(y))
	z := quantile(0.5 + confidence/2)
	k := int(math.Floor(n*m/2 - z*math.Sqrt(n*m*(n+m+1)/12)))
	k = min(max(k, 1), len(all))
	return Interval{Median(all), all[k-1], all[len(all)-k]}
}

// TOST is the p-value of two one-sided Mann-Whitney tests: small when x is
// provably neither `margin` larger than y nor `margin` smaller (Schuirmann 1987;
// with ranks, since times are not normal).
func TOST(x, y []float64, margin float64) float64 {
	moved := func(by float64) []float64 {
		out := make([]float64, len(x))
		for i, v := range x {
			out[i] = v + by
		}
		return out
	}
	return math.Max(rank(moved(margin), y).greater(), rank(y, moved(-margin)).greater())
}
