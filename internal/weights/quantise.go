package weights

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Quant is how WriteGGUF stores matrices.
type Quant string

// F16 halves the size of float32; Q8_0 takes 8.5 bits a value, Q4_0 4.5.
const (
	GGUFF16  Quant = "f16"
	GGUFQ8_0 Quant = "q8_0"
	GGUFQ4_0 Quant = "q4_0"
)

// encoding is a tensor type that this package writes: size values make a block of
// bytes bytes.
type encoding struct {
	kind    uint32
	size    int
	bytes   int
	convert func(block []byte, values []float32) error
}

var (
	asF32  = encoding{0, 1, 4, toF32}
	asF16  = encoding{1, 1, 2, toF16}
	asQ4_0 = encoding{2, 32, 18, toQ40}
	asQ8_0 = encoding{8, 32, 34, toQ80}
)

// Quantise replaces the values by what is left of them in blocks of the type: what a
// server computes with that loaded them so.
func (q Quant) Quantise(values []float32) error {
	e, err := q.encoding(len(values))
	if err != nil {
		return err
	}
	block, from := make([]byte, e.bytes), quants[e.kind]
	for ; len(values) > 0; values = values[e.size:] {
		if err := e.convert(block, values[:e.size]); err != nil {
			return err
		}
		from.convert(values[:e.size], block)
	}
	return nil
}

// encoding of rows of so many values. Rows that blocks do not divide stay F16.
func (q Quant) encoding(row int) (encoding, error) {
	e, ok := map[Quant]encoding{GGUFF16: asF16, GGUFQ8_0: asQ8_0, GGUFQ4_0: asQ4_0}[q]
	if !ok {
		return encoding{}, fmt.Errorf("%q is no type of GGUF weights; write f16, q8_0 or q4_0", string(q))
	}
	if row%e.size != 0 {
		return asF16, nil
	}
	return e, nil
}

func toF32(b []byte, v []float32) error {
	binary.LittleEndian.PutUint32(b, math.Float32bits(v[0]))
	return nil
}

func toF16(b []byte, v []float32) error {
	h, err := toFiniteHalf(v[0])
	binary.LittleEndian.PutUint16(b, h)
	return err
}

// toQ80: the largest magnitude becomes 127.
func toQ80(b []byte, v []float32) error {
	most := float32(0)
	for _, x := range v {
		most = max(most, float32(math.Abs(float64(x))))
	}
	d := most / 127
	if err := toF16(b, []float32{d}); err != nil {
		return err
	}
	for i, x := range v {
		b[2+i] = byte(int8(math.Round(float64(over(x, d)))))
	}
	return nil
}

// toQ40: the value of the largest magnitude becomes -8, whatever its sign.
func toQ40(b []byte, v []float32) error {
	most := float32(0)
	for _, x := range v {
		if math.Abs(float64(x)) > math.Abs(float64(most)) {
			most = x
		}
	}
	d := most / -8
	if err := toF16(b, []float32{d}); err != nil {
		return err
	}
	nibble := func(x float32) byte { return byte(min(15, max(0, int(over(x, d)+8.5)))) }
	for i := range 16 {
		b[2+i] = nibble(v[i]) | nibble(v[i+16])<<4
	}
	return nil
}

// over is x/d; blocks of zeros have no scale.
func over(x, d float32) float32 {
	if d == 0 {
		return 0
	}
	return x * (1 / d)
}
