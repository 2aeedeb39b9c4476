// Package weights reads and writes the weights of Llama-style models: GGUF in, Hugging Face directories in and out, and
// the manifest (fealty.json) that names what is served.
//
// Whatever the file, the tensors come out as float32 under Hugging Face's names and in its layout. Files are untrusted:
// nothing is allocated by a length that was not checked against the file's size, an unknown tensor or setting is an
// error rather than a guess, and each error names the file and the field. Writing goes to a new directory that takes its
// place by one rename; a directory that this package did not write is never replaced.
//
// Start with [Open] and [WriteHF].
package weights

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fealty/fealty/internal/tokenizer"
)

// Config is the shape of a Llama-style model.
type Config struct {
	Layers        int
	Hidden        int // width of the residual stream
	Heads         int
	KVHeads       int
	HeadDim       int
	FFN           int // units in each feed-forward block
	Vocab         int
	Context       int // positions the model was trained for
	RopeTheta     float64
	NormEps       float64
	TieEmbeddings bool // the head is the embedding table; there is no lm_head.weight
}

// Tensor is a dense row-major array. Linear weights are [out, in].
type Tensor struct {
	Shape []int
	Data  []float32
}

// Model is one model in memory.
type Model struct {
	Config    Config
	Name      string
	Tensors   map[string]*Tensor // by Hugging Face's names: "model.layers.3.mlp.gate_proj.weight"
	Tokenizer *tokenizer.Spec
}

// Open reads a GGUF file or a Hugging Face directory, whichever is at path.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if info.IsDir() {
		return OpenHF(path)
	}
	if strings.EqualFold(filepath.Ext(path), ".gguf") {
		return OpenGGUF(path)
	}
	return nil, fmt.Errorf("weights: %s is neither a .gguf file nor a directory with config.json and model.safetensors", path)
}

// Shapes returns the name and shape of each tensor of a model of this shape.
func (c Config) Shapes() map[string][]int {
	shapes := map[string][]int{
		"model.embed_tokens.weight": {c.Vocab, c.Hidden},
		"model.norm.weight":         {c.Hidden},
	}
	if !c.TieEmbeddings {
		shapes["lm_head.weight"] = []int{c.Vocab, c.Hidden}
	}
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for layer := range c.Layers {
		for name, shape := range map[string][]int{
			"input_layernorm":          {c.Hidden},
			"post_attention_layernorm": {c.Hidden},
			"self_attn.q_proj":         {q, c.Hidden},
			"self_attn.k_proj":         {kv, c.Hidden},
			"self_attn.v_proj":         {kv, c.Hidden},
			"self_attn.o_proj":         {c.Hidden, q},
			"mlp.gate_proj":            {c.FFN, c.Hidden},
			"mlp.up_proj":              {c.FFN, c.Hidden},
			"mlp.down_proj":            {c.Hidden, c.FFN},
		} {
			shapes[fmt.Sprintf("model.layers.%d.%s.weight", layer, name)] = shape
		}
	}
	return shapes
}

// Limits far above any model that this engine could run; they keep a corrupt header from asking for absurd work.
const (
	maxLayers = 1 << 10
	maxWidth  = 1 << 20
	maxVocab  = 1 << 22
	maxHeads  = 1 << 12
)

// validate checks the values alone, before any tensor is looked at.
func (c Config) validate() error {
	for _, f := range []struct {
		name       string
		value, max int
	}{
		{"layers", c.Layers, maxLayers},
		{"hidden size", c.Hidden, maxWidth},
		{"attention heads", c.Heads, maxHeads},
		{"key-value heads", c.KVHeads, maxHeads},
		{"head dimension", c.HeadDim, maxWidth},
		{"feed-forward size", c.FFN, maxWidth},
		{"vocabulary size", c.Vocab, maxVocab},
		{"context length", c.Context, math.MaxInt32},
	} {
		if f.value < 1 || f.value > f.max {
			return fmt.Errorf("%s is %d; it must be between 1 and %d", f.name, f.value, f.max)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("%d attention heads cannot share %d key-value heads evenly", c.Heads, c.KVHeads)
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head dimension is %d; rotary positions need an even one", c.HeadDim)
	}
	if !(c.RopeTheta > 0) || math.IsInf(c.RopeTheta, 0) {
		return fmt.Errorf("rope theta is %v; it must be positive", c.RopeTheta)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return fmt.Errorf("norm epsilon is %v; it must be between 0 and 1", c.NormEps)
	}
	return nil
}

// Validate checks that the model has exactly the tensors its config says, in these shapes, and a tokenizer that fits.
func (m *Model) Validate() error {
	if err := m.Config.validate(); err != nil {
		return err
	}
	want := m.Config.Shapes()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		shape := want[name]
		t, ok := m.Tensors[name]
		if !ok {
			return fmt.Errorf("tensor %s is missing", name)
		}
		if !slices.Equal(t.Shape, shape) {
			return fmt.Errorf("tensor %s has shape %v; the config says %v", name, t.Shape, shape)
		}
		if len(t.Data) != elements(shape) {
			return fmt.Errorf("tensor %s holds %d values for shape %v", name, len(t.Data), shape)
		}
	}
	for name := range m.Tensors {
		if _, known := want[name]; !known {
			return fmt.Errorf("tensor %s is not part of a Llama model; its effect would be lost", name)
		}
	}
	if m.Tokenizer == nil {
		return fmt.Errorf("the model has no tokenizer")
	}
	if n := len(m.Tokenizer.Tokens); n > m.Config.Vocab {
		return fmt.Errorf("the tokenizer has %d tokens, the embedding table only %d rows", n, m.Config.Vocab)
	}
	return nil
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
