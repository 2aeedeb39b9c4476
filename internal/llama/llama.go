// Package llama is the Llama architecture as GoMLX graphs: a decode step for
// many sequences at once, a chunk of one prompt's prefill beside it, and whole
// sequences in bulk.
//
// It computes logits and nothing else: it chooses no token, knows no text and
// keeps no sequence (package engine does). Everything about the model's shape
// comes from weights.Config.
//
// The graphs are written for the pure-Go backend, whose matrix products,
// same-shape arithmetic, concatenation and softmax are fast and whose
// broadcasting, slicing and reducing walk element by element. Hence sums and
// broadcasts are written as products with ones, and each weight is stored as the
// shards (per key-value head, per half of the feed-forward) that the product
// runs over in parallel.
//
// Start with [New], then [NewRunner] or [NewEvaluator].
package llama

import (
	"fmt"
	"math"
	"runtime"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	_ "github.com/gomlx/compute/gobackend" // registers "go"
	"github.com/gomlx/compute/shapes"

	"github.com/fealty/fealty/internal/weights"
)

// backendConfig runs the operations of a graph one after another, each product
// on all cores. Running operations side by side is no faster here, deadlocks the
// backend's worker pool when as many products wait as it has workers, and would
// let a panic escape on a goroutine nobody can recover.
const backendConfig = "go:ops_sequential"

// headShard is the number of vocabulary columns in one shard of the head: small
// enough that a shard's product for a few rows skips the backend's packing,
// which costs more than the product itself.
const headShard = 512

// Model is one model's weights, laid out for the graphs and shared by them. It
// is read-only and may be used by several goroutines.
type Model struct {
	config  weights.Config
	backend compute.Backend

	layers    []layerBuffers
	embedding compute.Buffer // [Vocab, Hidden]
	norm      compute.Buffer // [Hidden]
	head      compute.Buffer // [shards, Hidden, headShard], zero beyond Vocab
	turn      compute.Buffer // [HeadDim, HeadDim]: RoPE's rotation by a quarter turn
	shards    int            // of the feed-forward

	frequencies []float32 // of RoPE, [HeadDim/2]
}

// layerBuffers are one layer's weights. A projection [out, in] of the checkpoint
// is held as [in, out], split on the axis that stays whole inside a shard.
type layerBuffers struct {
	attnNorm compute.Buffer // [Hidden]
	q        compute.Buffer // [KVHeads, Hidden, group*HeadDim]
	k, v     compute.Buffer // [KVHeads, Hidden, HeadDim]
	o        compute.Buffer // [KVHeads, group*HeadDim, Hidden]
	ffnNorm  compute.Buffer // [Hidden]
	gate, up compute.Buffer // [shards, Hidden, FFN/shards]
	down     compute.Buffer // [shards, FFN/shards, Hidden]
}

// New lays a model's weights out for the graphs. It copies what it needs: source
// may be dropped afterwards.
func New(source *weights.Model) (model *Model, err error) {
	err = guard("load the model", func() error {
		backend, err := compute.NewWithConfig(backendConfig)
		if err != nil {
			return err
		}
		m := &Model{
			config: source.Config, backend: backend,
			shards: feedForwardShards(source.Config.FFN), frequencies: frequencies(source.Config),
		}
		model = m
		return m.load(source)
	})
	if err != nil {
		return nil, err
	}
	return model, nil
}

// Config is the model's shape.
func (m *Model) Config() weights.Config { return m.config }

// group is the number of query heads that share one key-value head.
func (m *Model) group() int { return m.config.Heads / m.config.KVHeads }

// feedForwardShards is how many pieces of the feed-forward run in parallel: as
// many as there are cores, as far as its width divides.
func feedForwardShards(width int) int {
	for n := min(runtime.GOMAXPROCS(0), 8); n > 1; n-- {
		if width%(n*8) == 0 {
			return n
		}
	}
	return 1
}

// load fills the model's buffers from the source's tensors.
func (m *Model) load(source *weights.Model) error {
	c, l := m.config, loader{model: m, source: source}
	m.embedding = l.copied("model.embed_tokens.weight", c.Vocab, c.Hidden)
	m.norm = l.copied("model.norm.weight", c.Hidden)
	head := "lm_head.weight"
	if c.TieEmbeddings {
		head = "model.embed_tokens.weight"
	}
	m.head = l.head(head)
	m.turn = l.turn()
	m.layers = make([]layerBuffers, c.Layers)
	for i := range m.layers {
		m.layers[i] = l.layer(i)
	}
	return l.err
}

// loader copies tensors into backend buffers. It keeps the first error.
type loader struct {
	model  *Model
	source *weights.Model
	err    error
}

func (l *loader) layer(i int) layerBuffers {
	c := l.model.config
	name := func(part string) string { return fmt.Sprintf("model.layers.%d.%s.weight", i, part) }
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return layerBuffers{
		attnNorm: l.copied(name("input_layernorm"), c.Hidden),
		q:        l.columns(name("self_attn.q_proj"), q, c.Hidden, c.KVHeads),
		k:        l.columns(name("self_attn.k_proj"), kv, c.Hidden, c.KVHeads),
		v:        l.columns(name("self_attn.v_proj"), kv, c.Hidden, c.KVHeads),
		o:        l.rows(name("self_attn.o_proj"), c.Hidden, q, c.KVHeads),
		ffnNorm:  l.copied(name("post_attention_layernorm"), c.Hidden),
		gate:     l.columns(name("mlp.gate_proj"), c.FFN, c.Hidden, l.model.shards),
		up:       l.columns(name("mlp.up_proj"), c.FFN, c.Hidden, l.model.shards),
		down:     l.rows(name("mlp.down_proj"), c.Hidden, c.FFN, l.model.shards),
	}
}

// tensor returns a source tensor's values after checking its shape.
func (l *loader) tensor(name string, shape ...int) []float32 {
	if l.err != nil {
		return nil
	}
	t, ok := l.source.Tensors[name]
	want := shapes.Make(dtypes.Float32, shape...).Size()
	switch {
	case !ok:
		l.err = fmt.Errorf("llama: tensor %s is missing", name)
	case len(t.Data) != want || fmt.Sprint(t.Shape) != fmt.Sprint(shape):
		l.err = fmt.Errorf("llama: tensor %s has shape %v and %d values; the config says %v", name, t.Shape, len(t.Data), shape)
	}
	if l.err != nil {
		return nil
	}
	return t.Data
}

// buffer allocates a buffer that the host can write, nil after an error.
func (l *loader) buffer(shape ...int) (compute.Buffer, []float32) {
	if l.err != nil {
		return nil, nil
	}
	b, flat, err := newFloats(l.model.backend, shape...)
	l.err = err
	return b, flat
}

// copied takes a tensor as it is.
func (l *loader) copied(name string, shape ...int) compute.Buffer {
	data := l.tensor(name, shape...)
	b, flat := l.buffer(shape...)
	copy(flat, data)
	return b
}

// columns takes a projection [out, in] as n shards [in, out/n].
func (l *loader) columns(name string, out, in, n int) compute.Buffer {
	data := l.tensor(name, out, in)
	b, flat := l.buffer(n, in, out/n)
	if l.err != nil {
		return nil
	}
	size := in * out / n
	for i := range n {
		transpose(flat[i*size:][:size], data[i*size:][:size], out/n, in)
	}
	return b
}

// rows takes a projection [out, in] as n shards [in/n, out].
func (l *loader) rows(name string, out, in, n int) compute.Buffer {
	data := l.tensor(name, out, in)
	b, flat := l.buffer(n, in/n, out)
	if l.err != nil {
		return nil
	}
	transpose(flat, data, out, in)
	return b
}

// head takes the output table [Vocab, Hidden] as shards [Hidden, headShard]; the
// last one is filled up with zeros.
func (l *loader) head(name string) compute.Buffer {
	c := l.model.config
	data := l.tensor(name, c.Vocab, c.Hidden)
	b, flat := l.buffer(l.model.headShards(), c.Hidden, headShard)
	if l.err != nil {
		return nil
	}
	clear(flat)
	for s := range l.model.headShards() {
		from, to := s*headShard, min((s+1)*headShard, c.Vocab)
		shard := flat[s*headShard*c.Hidden:][:headShard*c.Hidden]
		transposeInto(shard, headShard, data[from*c.Hidden:to*c.Hidden], to-from, c.Hidden)
	}
	return b
}

func (m *Model) headShards() int { return (m.config.Vocab + headShard - 1) / headShard }

// turn is the matrix R with (x R)[j] = -x[j+half] in the first half and
// x[j-half] in the second, Hugging Face's rotate_half.
func (l *loader) turn() compute.Buffer {
	d := l.model.config.HeadDim
	b, flat := l.buffer(d, d)
	if l.err != nil {
		return nil
	}
	clear(flat)
	for j := range d / 2 {
		flat[(j+d/2)*d+j] = -1
		flat[j*d+j+d/2] = 1
	}
	return b
}

// newFloats allocates a buffer and the slice through which the host reaches it.
func newFloats(backend compute.Backend, shape ...int) (compute.Buffer, []float32, error) {
	b, flat, err := backend.NewSharedBuffer(0, shapes.Make(dtypes.Float32, shape...))
	if err != nil {
		return nil, nil, fmt.Errorf("llama: allocate %v floats: %w", shape, err)
	}
	return b, flat.([]float32), nil
}

// newInts allocates a buffer of token ids or row numbers.
func newInts(backend compute.Backend, shape ...int) (compute.Buffer, []int32, error) {
	b, flat, err := backend.NewSharedBuffer(0, shapes.Make(dtypes.Int32, shape...))
	if err != nil {
		return nil, nil, fmt.Errorf("llama: allocate %v ids: %w", shape, err)
	}
	return b, flat.([]int32), nil
}

// transpose writes the transpose of src [rows, cols] to dst [cols, rows].
func transpose(dst, src []float32, rows, cols int) {
	transposeInto(dst, rows, src, rows, cols)
}

// transposeInto is transpose for a dst whose rows are stride apart. It goes tile
// by tile, since a column-wise walk misses the cache at each step.
func transposeInto(dst []float32, stride int, src []float32, rows, cols int) {
	const tile = 16
	for r0 := 0; r0 < rows; r0 += tile {
		for c0 := 0; c0 < cols; c0 += tile {
			for r := r0; r < min(r0+tile, rows); r++ {
				for c := c0; c < min(c0+tile, cols); c++ {
					dst[c*stride+r] = src[r*cols+c]
				}
			}
		}
	}
}

// frequencies are RoPE's inverse frequencies, rounded to float32 as the reference
// implementation has them.
func frequencies(c weights.Config) []float32 {
	f := make([]float32, c.HeadDim/2)
	for i := range f {
		f[i] = float32(1 / math.Pow(c.RopeTheta, float64(2*i)/float64(c.HeadDim)))
	}
	return f
}

// angles writes the cosines and sines of one position, [HeadDim] each with two
// equal halves. The angle is a float32 product, as in the reference.
func (m *Model) angles(position int, cos, sin []float32) {
	half := len(m.frequencies)
	for i, f := range m.frequencies {
		s, c := math.Sincos(float64(float32(position) * f))
		cos[i], cos[i+half] = float32(c), float32(c)
		sin[i], sin[i+half] = float32(s), float32(s)
	}
}
