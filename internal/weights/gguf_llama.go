package weights

import (
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/fealty/fealty/internal/tokenizer"
)

// model assembles the Llama model that the file describes.
func (f *ggufFile) model(r io.ReaderAt) (*Model, error) {
	g := &ggufFields{values: f.values}
	m := &Model{Config: g.config(f.tensors), Name: g.text("general.name", ""), Tensors: make(map[string]*Tensor)}
	m.Tokenizer = g.tokenizer()
	m.Tokenizer.Context = m.Config.Context
	if g.err != nil {
		return nil, g.err
	}
	if err := m.Config.validate(); err != nil {
		return nil, err
	}
	jobs, err := f.plan(m)
	if err != nil {
		return nil, err
	}
	if err := loadAll(r, jobs); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// plan names each tensor as Hugging Face does and checks its shape before anything is read.
func (f *ggufFile) plan(m *Model) ([]job, error) {
	want := m.Config.Shapes()
	jobs := make([]job, 0, len(f.tensors))
	for _, t := range f.tensors {
		name, ok := hfName(t.name)
		if !ok {
			return nil, fmt.Errorf("tensor %s is not part of a plain Llama model; its effect would be lost", t.name)
		}
		if _, twice := m.Tensors[name]; twice {
			return nil, fmt.Errorf("tensor %s stands in the file twice", t.name)
		}
		if shape := want[name]; !slices.Equal(shape, t.shape) {
			return nil, fmt.Errorf("tensor %s has shape %v; the metadata says %v", t.name, t.shape, shape)
		}
		out := &Tensor{Shape: t.shape}
		m.Tensors[name] = out
		jobs = append(jobs, job{t, out, rotaryHeads(name, m.Config)})
	}
	return jobs, nil
}

// ggufFields reads typed metadata and keeps the first error.
type ggufFields struct {
	values map[string]any
	err    error
}

func (g *ggufFields) fail(key, problem string) {
	if g.err == nil {
		g.err = fmt.Errorf("metadata %s %s", key, problem)
	}
}

func field[T any](g *ggufFields, key string, required bool, fallback T) T {
	v, ok := g.values[key]
	if !ok {
		if required {
			g.fail(key, "is missing")
		}
		return fallback
	}
	typed, ok := v.(T)
	if !ok {
		g.fail(key, fmt.Sprintf("has the wrong type (%T)", v))
		return fallback
	}
	return typed
}

func (g *ggufFields) text(key, fallback string) string { return field(g, key, false, fallback) }

// count reads a required whole number that fits an int32.
func (g *ggufFields) count(key string) int { return g.small(key, field(g, key, true, int64(0))) }

func (g *ggufFields) countOr(key string, fallback int) int {
	return g.small(key, field(g, key, false, int64(fallback)))
}

func (g *ggufFields) small(key string, n int64) int {
	if n != int64(int32(n)) {
		g.fail(key, fmt.Sprintf("is %d, which is out of range", n))
		return 0
	}
	return int(n)
}

func (g *ggufFields) config(tensors []located) Config {
	if arch := field(g, "general.architecture", true, ""); g.err == nil && arch != "llama" {
		g.fail("general.architecture", fmt.Sprintf("is %q; only the \"llama\" architecture is supported", arch))
	}
	if g.err != nil {
		return Config{}
	}
	c := Config{
		Layers:        g.count("llama.block_count"),
		Hidden:        g.count("llama.embedding_length"),
		Heads:         g.count("llama.attention.head_count"),
		FFN:           g.count("llama.feed_forward_length"),
		Context:       g.count("llama.context_length"),
		RopeTheta:     field(g, "llama.rope.freq_base", false, 10000.0),
		NormEps:       field(g, "llama.attention.layer_norm_rms_epsilon", true, 0.0),
		Vocab:         len(field(g, "tokenizer.ggml.tokens", true, []string(nil))),
		TieEmbeddings: !slices.ContainsFunc(tensors, func(t located) bool { return t.name == "output.weight" }),
	}
	if g.err == nil && c.Heads < 1 {
		g.fail("llama.attention.head_count", fmt.Sprintf("is %d; it must be at least 1", c.Heads))
	}
	c.KVHeads = g.countOr("llama.attention.head_count_kv", c.Heads)
	c.HeadDim = g.countOr("llama.attention.key_length", c.Hidden/max(c.Heads, 1))
	g.same("llama.vocab_size", c.Vocab)
	g.same("llama.attention.value_length", c.HeadDim)
	g.same("llama.rope.dimension_count", c.HeadDim)
	if kind := g.text("llama.rope.scaling.type", "none"); kind != "none" {
		g.fail("llama.rope.scaling.type", fmt.Sprintf("is %q; scaled rotary positions are not supported", kind))
	}
	return c
}

// same checks a redundant field where it is present.
func (g *ggufFields) same(key string, want int) {
	if got := g.countOr(key, want); g.err == nil && got != want {
		g.fail(key, fmt.Sprintf("is %d; this engine needs %d here", got, want))
	}
}

// The token types of GGUF that matter here.
const (
	ggufTokenControl = 3
	ggufTokenUser    = 4
)

func (g *ggufFields) tokenizer() *tokenizer.Spec {
	if kind := field(g, "tokenizer.ggml.model", true, ""); g.err == nil && kind != "gpt2" {
		g.fail("tokenizer.ggml.model", fmt.Sprintf("is %q; only byte-level BPE (\"gpt2\") is supported", kind))
	}
	s := &tokenizer.Spec{
		Tokens:       field(g, "tokenizer.ggml.tokens", true, []string(nil)),
		Pretokenizer: g.pretokenizer(),
		BOS:          g.id("tokenizer.ggml.bos_token_id"),
		EOS:          g.id("tokenizer.ggml.eos_token_id"),
		Pad:          g.id("tokenizer.ggml.padding_token_id"),
		Unknown:      g.id("tokenizer.ggml.unknown_token_id"),
		AddBOS:       field(g, "tokenizer.ggml.add_bos_token", false, false),
		ChatTemplate: g.text("tokenizer.chat_template", ""),
	}
	s.Merges = g.merges()
	g.sortTokens(s)
	return s
}

func (g *ggufFields) pretokenizer() tokenizer.Pretokenizer {
	switch kind := g.text("tokenizer.ggml.pre", "gpt-2"); kind {
	case "smollm":
		return tokenizer.SmolLM
	case "gpt-2":
		return tokenizer.GPT2
	default:
		g.fail("tokenizer.ggml.pre", fmt.Sprintf("is %q; only \"smollm\" and \"gpt-2\" are supported", kind))
		return ""
	}
}

func (g *ggufFields) id(key string) int32 { return int32(g.countOr(key, int(tokenizer.None))) }

func (g *ggufFields) merges() [][2]string {
	lines := field(g, "tokenizer.ggml.merges", true, []string(nil))
	merges := make([][2]string, len(lines))
	for i, line := range lines {
		parts, ok := tokenizer.ParseMerge(line)
		if !ok {
			g.fail("tokenizer.ggml.merges", fmt.Sprintf("entry %d (%q) is not two tokens", i, line))
			return nil
		}
		merges[i] = parts
	}
	return merges
}

func (g *ggufFields) sortTokens(s *tokenizer.Spec) {
	kinds := field(g, "tokenizer.ggml.token_type", true, []int64(nil))
	if g.err == nil && len(kinds) != len(s.Tokens) {
		g.fail("tokenizer.ggml.token_type", fmt.Sprintf("has %d entries for %d tokens", len(kinds), len(s.Tokens)))
	}
	for id, kind := range kinds {
		switch kind {
		case ggufTokenControl:
			s.Special = append(s.Special, int32(id))
		case ggufTokenUser:
			s.Added = append(s.Added, int32(id))
		}
	}
}

var (
	ggufBlock = regexp.MustCompile(`^blk\.(0|[1-9][0-9]*)\.([a-z_]+)\.weight$`)

	ggufPlain = map[string]string{
		"token_embd.weight":  "model.embed_tokens.weight",
		"output_norm.weight": "model.norm.weight",
		"output.weight":      "lm_head.weight",
	}
	ggufInBlock = map[string]string{
		"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
		"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
		"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
	}
)

func hfName(gguf string) (string, bool) {
	if name, ok := ggufPlain[gguf]; ok {
		return name, true
	}
	parts := ggufBlock.FindStringSubmatch(gguf)
	if parts == nil {
		return "", false
	}
	name, ok := ggufInBlock[parts[2]]
	return "model.layers." + parts[1] + "." + name + ".weight", ok
}

var hfRotary = regexp.MustCompile(`\.self_attn\.([qk])_proj\.weight$`)

// rotaryHeads returns the number of heads whose rows GGUF keeps in interleaved order, 0 for other tensors.
func rotaryHeads(name string, c Config) int {
	switch kind := hfRotary.FindStringSubmatch(name); {
	case kind == nil:
		return 0
	case kind[1] == "q":
		return c.Heads
	}
	return c.KVHeads
}
