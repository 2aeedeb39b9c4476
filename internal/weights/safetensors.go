package weights

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// The format: https://github.com/huggingface/safetensors#format. Eight bytes with the length of a JSON header, the
// header, then the tensors' bytes without holes.

// maxSafetensorsHeader is the reference implementation's limit in bytes.
const maxSafetensorsHeader = 100_000_000

// DType is how tensors are stored in a safetensors file.
type DType string

// The types that this package reads and writes.
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

func (d DType) width() int {
	switch d {
	case F32:
		return 4
	case F16, BF16:
		return 2
	}
	return 0
}

// torch is the type's name in config.json.
func (d DType) torch() string {
	return map[DType]string{F32: "float32", F16: "float16", BF16: "bfloat16"}[d]
}

// stored is where a tensor lies, relative to the end of the header.
type stored struct {
	DType   DType     `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// safetensorsFile is a parsed header.
type safetensorsFile struct {
	tensors  map[string]stored
	metadata map[string]string
	data     int64 // offset of the first tensor's bytes
}

// parseSafetensors reads the header and checks that the tensors fill the rest of the file exactly.
func parseSafetensors(r io.ReaderAt, size int64) (*safetensorsFile, error) {
	var prefix [8]byte
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return nil, fmt.Errorf("the file has %d bytes, too few for a safetensors header; fetch it again", size)
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxSafetensorsHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("header length %d cannot be true of a file of %d bytes; it is truncated or no safetensors file: fetch it again", n, size)
	}
	raw := make([]byte, n)
	if _, err := r.ReadAt(raw, 8); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	f := &safetensorsFile{data: 8 + int64(n)}
	if err := f.decode(raw); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return f, f.check(uint64(size - f.data))
}

func (f *safetensorsFile) decode(raw []byte) error {
	entries := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return fmt.Errorf("not JSON: %w; the file is corrupt: fetch it again", err)
	}
	if meta, ok := entries["__metadata__"]; ok {
		if err := json.Unmarshal(meta, &f.metadata); err != nil {
			return fmt.Errorf("__metadata__: %w", err)
		}
		delete(entries, "__metadata__")
	}
	f.tensors = make(map[string]stored, len(entries))
	for name, entry := range entries {
		var t stored
		d := json.NewDecoder(bytes.NewReader(entry))
		d.DisallowUnknownFields()
		if err := d.Decode(&t); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		f.tensors[name] = t
	}
	return nil
}

// check holds each tensor's offsets against its shape, and all together against the bytes that there are.
func (f *safetensorsFile) check(available uint64) error {
	names := make([]string, 0, len(f.tensors))
	for name, t := range f.tensors {
		if err := t.check(available); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := f.tensors[a].Offsets, f.tensors[b].Offsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	at := uint64(0)
	for _, name := range names {
		t := f.tensors[name]
		if t.Offsets[0] != at {
			return fmt.Errorf("tensor %s: data_offsets begin at %d where %d is next; the header is corrupt: fetch the file again", name, t.Offsets[0], at)
		}
		at = t.Offsets[1]
	}
	if at != available {
		return fmt.Errorf("the tensors take %d bytes, the file has %d; it is truncated or has more than it says: fetch it again", at, available)
	}
	return nil
}

func (t stored) check(available uint64) error {
	width := t.DType.width()
	if width == 0 {
		return fmt.Errorf("dtype %q is not supported (F32, F16 and BF16 are)", t.DType)
	}
	if t.Offsets[0] > t.Offsets[1] || t.Offsets[1] > available {
		return fmt.Errorf("data_offsets %v lie outside the file's %d bytes of data; it is truncated: fetch it again", t.Offsets, available)
	}
	bytes := uint64(width)
	for _, n := range t.Shape {
		if n < 0 || n > math.MaxInt32 || bytes*uint64(n) > available {
			return fmt.Errorf("shape %v does not fit the file's %d bytes of data", t.Shape, available)
		}
		bytes *= uint64(n)
	}
	if t.Offsets[1]-t.Offsets[0] != bytes {
		return fmt.Errorf("data_offsets span %d bytes; shape %v of %s needs %d", t.Offsets[1]-t.Offsets[0], t.Shape, t.DType, bytes)
	}
	return nil
}

// kinds maps types to the conversions of GGUF, which are the same.
var kinds = map[DType]uint32{F32: 0, F16: 1, BF16: 30}

// readSafetensors adds the tensors of a file to into, on all processors. skip names those that are not wanted.
func readSafetensors(path string, into map[string]*Tensor, skip func(name string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	f, err := parseSafetensors(file, info.Size())
	if err == nil {
		err = f.load(file, into, skip)
	}
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	return nil
}

func (f *safetensorsFile) load(r io.ReaderAt, into map[string]*Tensor, skip func(name string) bool) error {
	var jobs []job
	for name, t := range f.tensors {
		if skip(name) {
			continue
		}
		if _, twice := into[name]; twice {
			return fmt.Errorf("tensor %s stands in two files", name)
		}
		out := &Tensor{Shape: t.Shape}
		into[name] = out
		where := located{
			name: name, shape: t.Shape, quant: quants[kinds[t.DType]],
			offset: f.data + int64(t.Offsets[0]), bytes: int64(t.Offsets[1] - t.Offsets[0]),
		}
		jobs = append(jobs, job{located: where, out: out})
	}
	return loadAll(r, jobs)
}

// writeSafetensors writes all tensors in order of name.
func writeSafetensors(path string, tensors map[string]*Tensor, dtype DType) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	names := make([]string, 0, len(tensors))
	for name := range tensors {
		names = append(names, name)
	}
	slices.Sort(names)
	w := bufio.NewWriterSize(f, 1<<20)
	if err := writeSafetensorsHeader(w, names, tensors, dtype); err != nil {
		return err
	}
	for _, name := range names {
		if err := writeValues(w, tensors[name].Data, dtype); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// producer marks the files that this package wrote.
const producer = "fealty"

func writeSafetensorsHeader(w io.Writer, names []string, tensors map[string]*Tensor, dtype DType) error {
	header := map[string]any{"__metadata__": map[string]string{"format": "pt", "producer": producer}}
	at := uint64(0)
	for _, name := range names {
		t := tensors[name]
		end := at + uint64(len(t.Data)*dtype.width())
		header[name] = stored{dtype, t.Shape, [2]uint64{at, end}}
		at = end
	}
	raw, err := json.Marshal(header)
	if err != nil {
		return err
	}
	raw = append(raw, bytes.Repeat([]byte{' '}, (8-len(raw)%8)%8)...) // so that tensors are aligned
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(raw)))); err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}

func writeValues(w io.Writer, values []float32, dtype DType) error {
	buf := make([]byte, 0, 1<<16)
	for chunk := range slices.Chunk(values, 1<<14) {
		buf = buf[:0]
		for _, v := range chunk {
			switch dtype {
			case F32:
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			case F16:
				h, err := toFiniteHalf(v)
				if err != nil {
					return err
				}
				buf = binary.LittleEndian.AppendUint16(buf, h)
			case BF16:
				buf = binary.LittleEndian.AppendUint16(buf, toBFloat(v))
			}
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// toFiniteHalf is toHalf for a number that must not become infinite.
func toFiniteHalf(v float32) (uint16, error) {
	h := toHalf(v)
	if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
		return h, fmt.Errorf("%v does not fit into F16; write BF16 or F32", v)
	}
	return h, nil
}

// toHalf rounds to the nearest half-precision number, ties to even.
func toHalf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits >> 16 & 0x8000)
	magnitude := bits & 0x7fffffff
	switch {
	case magnitude > 0x7f800000: // not a number
		return sign | 0x7e00
	case magnitude >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2^-14: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(magnitude))*(1<<24)))
	}
	rounded := magnitude + 0xfff + magnitude>>13&1
	return sign | uint16(rounded>>13-112<<10)
}

// toBFloat rounds to the nearest bfloat16, ties to even.
func toBFloat(v float32) uint16 {
	bits := math.Float32bits(v)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
