package weights

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
)

// The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).

const (
	maxGGUFDims   = 4
	maxElements   = 1 << 40 // of one tensor: no file holds as many, and products of dimensions cannot overflow
	ggufAlignment = 32
)

// The value types of GGUF metadata.
const (
	ggufUint8 = iota
	ggufInt8
	ggufUint16
	ggufInt16
	ggufUint32
	ggufInt32
	ggufFloat32
	ggufBool
	ggufString
	ggufArray
	ggufUint64
	ggufInt64
	ggufFloat64
)

// ggufFile is the parsed head of a file: metadata and where each tensor lies.
type ggufFile struct {
	values  map[string]any // int64, uint64, float64, bool, string, []any-free slices: []int64, []string, []float64
	tensors []located
	data    int64 // offset of the first tensor's data
}

// OpenGGUF reads a Llama-architecture model.
func OpenGGUF(path string) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	m, err := readGGUF(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	return m, nil
}

func readGGUF(r io.ReaderAt, size int64) (*Model, error) {
	file, err := parseGGUF(r, size)
	if err != nil {
		return nil, err
	}
	return file.model(r)
}

// parseGGUF reads the head and checks that every tensor lies within the file.
func parseGGUF(r io.ReaderAt, size int64) (*ggufFile, error) {
	d := &ggufReader{in: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), size: size}
	file := &ggufFile{}
	tensors, values, err := d.header()
	if err != nil {
		return nil, err
	}
	if file.values, err = d.metadata(values); err != nil {
		return nil, err
	}
	if file.tensors, err = d.tensorInfos(tensors); err != nil {
		return nil, err
	}
	return file, file.place(d.read, size)
}

// place turns offsets relative to the data section into offsets in the file.
func (f *ggufFile) place(head, size int64) error {
	align := int64(ggufAlignment)
	if v, ok := f.values["general.alignment"]; ok {
		n, isInt := v.(int64)
		if !isInt || n < 1 || n > 1<<20 || n&(n-1) != 0 {
			return fmt.Errorf("metadata general.alignment is %v; it must be a power of two up to 1 MiB", v)
		}
		align = n
	}
	f.data = (head + align - 1) / align * align
	for i := range f.tensors {
		t := &f.tensors[i]
		if t.offset > size-f.data-t.bytes {
			return fmt.Errorf("tensor %s: its %d bytes end beyond the file's %d; the file is truncated: fetch it again", t.name, t.bytes, size)
		}
		t.offset += f.data
	}
	return f.separate()
}

// separate checks that no byte belongs to two tensors, so that a small file cannot ask for much memory.
func (f *ggufFile) separate() error {
	byOffset := slices.SortedFunc(slices.Values(f.tensors), func(a, b located) int { return cmp.Compare(a.offset, b.offset) })
	for i := 1; i < len(byOffset); i++ {
		a, b := byOffset[i-1], byOffset[i]
		if a.offset+a.bytes > b.offset {
			return fmt.Errorf("tensors overlap: %s ends behind the start of %s; the file is corrupt: fetch it again", a.name, b.name)
		}
	}
	return nil
}

// ggufReader reads the head. It knows how much of the file is left, so a length that cannot be true is refused before
// anything is allocated for it.
type ggufReader struct {
	in   *bufio.Reader
	size int64
	read int64
}

func (d *ggufReader) left() int64 { return d.size - d.read }

func (d *ggufReader) full(buf []byte) error {
	if int64(len(buf)) > d.left() {
		return fmt.Errorf("the file ends inside its header (%d bytes); it is truncated: fetch it again", d.size)
	}
	n, err := io.ReadFull(d.in, buf)
	d.read += int64(n)
	return err
}

func (d *ggufReader) uint(bytes int) (uint64, error) {
	var buf [8]byte
	err := d.full(buf[:bytes])
	return binary.LittleEndian.Uint64(buf[:]), err
}

func (d *ggufReader) string(what string) (string, error) {
	n, err := d.uint(8)
	if err != nil {
		return "", err
	}
	if n > uint64(d.left()) {
		return "", fmt.Errorf("%s: a text of %d bytes cannot stand in a file with %d bytes left", what, n, d.left())
	}
	buf := make([]byte, n)
	err = d.full(buf)
	return string(buf), err
}

func (d *ggufReader) header() (tensors, values uint64, err error) {
	var magic [4]byte
	if err := d.full(magic[:]); err != nil {
		return 0, 0, err
	}
	if string(magic[:]) != "GGUF" {
		return 0, 0, fmt.Errorf("not a GGUF file: it begins with %q", magic)
	}
	version, err := d.uint(4)
	if err != nil {
		return 0, 0, err
	}
	if version != 2 && version != 3 {
		return 0, 0, fmt.Errorf("GGUF version %d is not supported (2 and 3 are, little-endian); convert the model anew", version)
	}
	if tensors, err = d.uint(8); err != nil {
		return 0, 0, err
	}
	values, err = d.uint(8)
	return tensors, values, err
}

// metadata reads the key-value pairs; the smallest takes 13 bytes.
func (d *ggufReader) metadata(count uint64) (map[string]any, error) {
	if count > uint64(d.left()/13) {
		return nil, fmt.Errorf("header: %d metadata entries cannot stand in a file of %d bytes", count, d.size)
	}
	values := make(map[string]any)
	for range count {
		key, err := d.string("metadata key")
		if err != nil {
			return nil, err
		}
		kind, err := d.uint(4)
		if err != nil {
			return nil, err
		}
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("metadata %s stands in the file twice", key)
		}
		if values[key], err = d.value(key, kind); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (d *ggufReader) value(key string, kind uint64) (any, error) {
	switch kind {
	case ggufString:
		return d.string("metadata " + key)
	case ggufArray:
		return d.array(key)
	}
	return d.scalar(key, kind)
}

var ggufWidth = map[uint64]int{
	ggufUint8: 1, ggufInt8: 1, ggufBool: 1, ggufUint16: 2, ggufInt16: 2, ggufUint32: 4, ggufInt32: 4, ggufFloat32: 4,
	ggufUint64: 8, ggufInt64: 8, ggufFloat64: 8,
}

// scalar returns int64, float64 or bool. An unsigned value above the largest int64 is refused: no field needs it.
func (d *ggufReader) scalar(key string, kind uint64) (any, error) {
	width, ok := ggufWidth[kind]
	if !ok {
		return nil, fmt.Errorf("metadata %s has the unknown value type %d", key, kind)
	}
	bits, err := d.uint(width)
	if err != nil {
		return nil, err
	}
	switch kind {
	case ggufBool:
		return bits != 0, nil
	case ggufFloat32:
		return decimal(math.Float32frombits(uint32(bits))), nil
	case ggufFloat64:
		return math.Float64frombits(bits), nil
	case ggufInt8:
		return int64(int8(bits)), nil
	case ggufInt16:
		return int64(int16(bits)), nil
	case ggufInt32:
		return int64(int32(bits)), nil
	}
	if kind == ggufUint64 && bits > math.MaxInt64 {
		return nil, fmt.Errorf("metadata %s: %d is out of range", key, bits)
	}
	return int64(bits), nil
}

// decimal widens by way of the shortest decimal, so that an epsilon of 1e-5 stays 1e-5 and not 9.999999747e-06.
func decimal(f float32) float64 {
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		return float64(f)
	}
	return d
}

// array returns []string or []int64, or nil for elements that no field of ours has (they are skipped).
func (d *ggufReader) array(key string) (any, error) {
	kind, err := d.uint(4)
	if err != nil {
		return nil, err
	}
	count, err := d.uint(8)
	if err != nil {
		return nil, err
	}
	width := 8 // a string's length
	if kind != ggufString {
		var ok bool
		if width, ok = ggufWidth[kind]; !ok {
			return nil, fmt.Errorf("metadata %s: an array of value type %d is not supported", key, kind)
		}
	}
	if count > uint64(d.left())/uint64(width) {
		return nil, fmt.Errorf("metadata %s: an array of %d elements cannot stand in a file with %d bytes left", key, count, d.left())
	}
	if kind == ggufString {
		return d.strings(key, int(count))
	}
	return d.numbers(key, kind, int(count))
}

func (d *ggufReader) strings(key string, count int) ([]string, error) {
	list := make([]string, count)
	for i := range list {
		var err error
		if list[i], err = d.string("metadata " + key); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (d *ggufReader) numbers(key string, kind uint64, count int) (any, error) {
	var whole []int64
	for range count {
		v, err := d.scalar(key, kind)
		if err != nil {
			return nil, err
		}
		if n, ok := v.(int64); ok {
			whole = append(whole, n)
		}
	}
	return whole, nil
}

// tensorInfos reads where the tensors lie; the smallest entry takes 32 bytes.
func (d *ggufReader) tensorInfos(count uint64) ([]located, error) {
	if count > uint64(d.left()/32) {
		return nil, fmt.Errorf("header: %d tensors cannot stand in a file of %d bytes", count, d.size)
	}
	list := make([]located, count)
	for i := range list {
		if err := d.tensorInfo(&list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (d *ggufReader) tensorInfo(t *located) (err error) {
	if t.name, err = d.string("tensor name"); err != nil {
		return err
	}
	if t.shape, err = d.shape(t.name); err != nil {
		return err
	}
	kind, err := d.uint(4)
	if err != nil {
		return err
	}
	if t.quant, err = quantOf(uint32(kind)); err != nil {
		return fmt.Errorf("tensor %s: %w", t.name, err)
	}
	offset, err := d.uint(8)
	if err != nil {
		return err
	}
	if offset > uint64(d.size) {
		return fmt.Errorf("tensor %s: offset %d lies beyond the file's %d bytes", t.name, offset, d.size)
	}
	t.offset = int64(offset)
	row := t.shape[len(t.shape)-1]
	if row%t.quant.size != 0 {
		return fmt.Errorf("tensor %s: rows of %d values do not divide into %s blocks of %d", t.name, row, t.quant.name, t.quant.size)
	}
	t.bytes = int64(elements(t.shape) / t.quant.size * t.quant.bytes)
	if t.bytes > d.size {
		return fmt.Errorf("tensor %s: shape %v needs %d bytes, the file has %d", t.name, t.shape, t.bytes, d.size)
	}
	return nil
}

// shape reads the dimensions, fastest first in the file, and bounds their product.
func (d *ggufReader) shape(name string) ([]int, error) {
	dims, err := d.uint(4)
	if err != nil {
		return nil, err
	}
	if dims < 1 || dims > maxGGUFDims {
		return nil, fmt.Errorf("tensor %s has %d dimensions; 1 to %d are possible", name, dims, maxGGUFDims)
	}
	shape := make([]int, dims)
	total := uint64(1)
	for i := int(dims) - 1; i >= 0; i-- {
		n, err := d.uint(8)
		if err != nil {
			return nil, err
		}
		if n < 1 || n > math.MaxInt32 || total > maxElements/n {
			return nil, fmt.Errorf("tensor %s: dimension %d is out of range", name, n)
		}
		total *= n
		shape[i] = int(n)
	}
	return shape, nil
}
