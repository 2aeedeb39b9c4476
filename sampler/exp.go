package sampler

import "math"

// expNeg is e^x for x <= 0 in float32, to 3e-7 relative; 0 below -87 (where
// float32 runs out of normal numbers) and for NaN. math.Exp over a 49152-word
// vocabulary costs several times more than all else that sampling does.
func expNeg(x float32) float32 {
	if !(x >= -87) {
		return 0
	}
	// e^x = 2^n * e^r with |r| <= ln2/2, ln 2 in two parts to keep r exact.
	n := int32(x*math.Log2E - 0.5)
	f := float32(n)
	r := x - f*0.693359375
	r += f * 2.12194440e-4
	// Estrin's form of the Taylor polynomial: its three parts run side by side.
	r2 := r * r
	p := (1 + r) + r2*(0.5+r*(1.0/6)) + r2*r2*((1.0/24+r*(1.0/120))+r2*(1.0/720))
	return p * math.Float32frombits(uint32(n+127)<<23)
}
