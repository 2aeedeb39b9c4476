package stealth

import "math"

// Comparison is what one measure says of two kinds of traffic.
type Comparison struct {
	N, M        int // sizes of both groups
	MedianX     float64
	MedianY     float64
	KS, KSP     float64
	MannWhitney float64 // p-value
	AUC         Interval
	Shift       Interval // of x against y, 90 %
	Margin      float64  // within which they count as equal
	TOST        float64  // p-value of not being equivalent
}

// Equivalent tells whether the difference is provably within the margin, at 5 %.
func (c Comparison) Equivalent() bool { return c.TOST < 0.05 }

// Compare measures x against the reference y; equivalent is what lies within the
// share of y's median. Both must have at least two values.
func Compare(x, y []float64, share float64) Comparison {
	c := Comparison{N: len(x), M: len(y), MedianX: Median(x), MedianY: Median(y)}
	c.KS, c.KSP = KS(x, y)
	_, c.MannWhitney = MannWhitney(x, y)
	c.AUC = AUC(x, y, 0.95)
	c.Shift = Shift(x, y, 0.90)
	c.Margin = share * math.Abs(c.MedianY)
	c.TOST = TOST(x, y, c.Margin)
	return c
}

// AUC is the probability that a positive scores higher than a negative, with
// DeLong's interval (Biometrics 44, 1988).
func AUC(positive, negative []float64, confidence float64) Interval {
	n, m := float64(len(positive)), float64(len(negative))
	above := placements(positive, negative)
	below := placements(negative, positive) // of each negative: share of positives below it
	area := mean(above)
	s := math.Sqrt(variance(above, area)/n + variance(below, 1-area)/m)
	z := quantile(0.5 + confidence/2)
	return Interval{area, math.Max(0, area-z*s), math.Min(1, area+z*s)}
}

// placements is, for each x, the share of y below it, equal ones counted half.
func placements(x, y []float64) []float64 {
	out := make([]float64, len(x))
	for i, a := range x {
		for _, b := range y {
			switch {
			case a > b:
				out[i]++
			case a == b:
				out[i] += 0.5
			}
		}
		out[i] /= float64(len(y))
	}
	return out
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func variance(x []float64, mean float64) float64 {
	if len(x) < 2 {
		return 0
	}
	var sum float64
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return sum / float64(len(x)-1)
}
