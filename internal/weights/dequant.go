package weights

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The block layouts are those of ggml, https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c: a block holds
// scale (and minimum) in half precision, then the packed values.

// quant is a GGUF tensor type: size values take bytes bytes.
type quant struct {
	name    string
	size    int
	bytes   int
	convert func(dst []float32, block []byte)
}

var quants = map[uint32]quant{
	0:  {"F32", 1, 4, fromF32},
	1:  {"F16", 1, 2, fromF16},
	2:  {"Q4_0", 32, 18, fromQ40},
	3:  {"Q4_1", 32, 20, fromQ41},
	6:  {"Q5_0", 32, 22, fromQ50},
	7:  {"Q5_1", 32, 24, fromQ51},
	8:  {"Q8_0", 32, 34, fromQ80},
	14: {"Q6_K", 256, 210, fromQ6K},
	30: {"BF16", 1, 2, fromBF16},
}

// dequantise fills dst, whose length is a multiple of q.size, from raw, which holds exactly its blocks.
func (q quant) dequantise(dst []float32, raw []byte) {
	for len(dst) > 0 {
		q.convert(dst[:q.size], raw[:q.bytes])
		dst, raw = dst[q.size:], raw[q.bytes:]
	}
}

func quantOf(kind uint32) (quant, error) {
	q, ok := quants[kind]
	if !ok {
		return quant{}, fmt.Errorf("tensor type %d is not supported (supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q6_K, Q8_0)", kind)
	}
	return q, nil
}

func fromF32(dst []float32, b []byte) { dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(b)) }
func fromF16(dst []float32, b []byte) { dst[0] = half(b) }
func fromBF16(dst []float32, b []byte) {
	dst[0] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
}

func fromQ80(dst []float32, b []byte) {
	d := half(b)
	for i, v := range b[2:34] {
		dst[i] = d * float32(int8(v))
	}
}

func fromQ40(dst []float32, b []byte) {
	d := half(b)
	for i, v := range b[2:18] {
		dst[i] = d * float32(int(v&15)-8)
		dst[i+16] = d * float32(int(v>>4)-8)
	}
}

func fromQ41(dst []float32, b []byte) {
	d, min := half(b), half(b[2:])
	for i, v := range b[4:20] {
		dst[i] = float32(d*float32(v&15)) + min
		dst[i+16] = float32(d*float32(v>>4)) + min
	}
}

func fromQ50(dst []float32, b []byte) {
	d, high := half(b), binary.LittleEndian.Uint32(b[2:])
	for i, v := range b[6:22] {
		dst[i] = d * float32(fifth(v&15, high, i)-16)
		dst[i+16] = d * float32(fifth(v>>4, high, i+16)-16)
	}
}

func fromQ51(dst []float32, b []byte) {
	d, min, high := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:])
	for i, v := range b[8:24] {
		dst[i] = float32(d*float32(fifth(v&15, high, i))) + min
		dst[i+16] = float32(d*float32(fifth(v>>4, high, i+16))) + min
	}
}

// fifth puts bit i of high above the four low bits.
func fifth(low byte, high uint32, i int) int { return int(low) | int(high>>i&1)<<4 }

// fromQ6K: 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales for 16 values each, one half-precision
// scale over all.
func fromQ6K(dst []float32, b []byte) {
	low, high, scales, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for part := range 2 {
		for i := range 32 {
			h := high[part*32+i]
			l0, l1 := low[part*64+i], low[part*64+32+i]
			for k, v := range [4]byte{l0&15 | h&3<<4, l1&15 | h>>2&3<<4, l0>>4 | h>>4&3<<4, l1>>4 | h>>6<<4} {
				scale := d * float32(int8(scales[part*8+k*2+i/16]))
				dst[part*128+k*32+i] = scale * float32(int(v)-32)
			}
		}
	}
}

// half reads an IEEE 754 half-precision number.
func half(b []byte) float32 { return halves[binary.LittleEndian.Uint16(b)] }

var halves = func() *[1 << 16]float32 {
	var table [1 << 16]float32
	for bits := range uint32(1 << 16) {
		table[bits] = widen(bits)
	}
	return &table
}()

func widen(bits uint32) float32 {
	sign, exponent, fraction := bits>>15<<31, bits>>10&31, bits&1023
	switch exponent {
	case 0: // zero and subnormal: fraction * 2^-24
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(v))
	case 31:
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
