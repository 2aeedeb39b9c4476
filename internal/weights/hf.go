package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fealty/fealty/internal/tokenizer"
)

// The files of a Hugging Face model directory.
const (
	hfConfigFile     = "config.json"
	hfGenerationFile = "generation_config.json"
	hfWeightsFile    = "model.safetensors"
	hfIndexFile      = "model.safetensors.index.json"
)

// maxJSONFile bounds config files in bytes. An index of the largest models takes some 100 KB.
const maxJSONFile = 16 << 20

// hfConfig is config.json of a Llama model.
type hfConfig struct {
	Architectures []string        `json:"architectures"`
	AttentionBias bool            `json:"attention_bias"`
	BOS           *int32          `json:"bos_token_id,omitempty"`
	EOS           json.RawMessage `json:"eos_token_id,omitempty"`
	HeadDim       int             `json:"head_dim,omitempty"`
	HiddenAct     string          `json:"hidden_act"`
	Hidden        int             `json:"hidden_size"`
	FFN           int             `json:"intermediate_size"`
	Context       int             `json:"max_position_embeddings"`
	MLPBias       bool            `json:"mlp_bias"`
	ModelType     string          `json:"model_type"`
	Name          string          `json:"_name_or_path,omitempty"`
	Heads         int             `json:"num_attention_heads"`
	Layers        int             `json:"num_hidden_layers"`
	KVHeads       int             `json:"num_key_value_heads,omitempty"`
	Pad           *int32          `json:"pad_token_id,omitempty"`
	NormEps       *pyFloat        `json:"rms_norm_eps"`
	RopeScaling   json.RawMessage `json:"rope_scaling"`
	RopeTheta     pyFloat         `json:"rope_theta,omitempty"`
	RopeNew       *ropeParameters `json:"rope_parameters,omitempty"` // where transformers 5 keeps theta
	Tied          bool            `json:"tie_word_embeddings"`
	TorchDType    string          `json:"torch_dtype,omitempty"`
	UseCache      bool            `json:"use_cache"`
	Vocab         int             `json:"vocab_size"`
}

// pyFloat is written with a point or an exponent, so that Python reads a float and no strict loader complains.
type pyFloat float64

// MarshalJSON writes 100000 as 100000.0.
func (f pyFloat) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

type ropeParameters struct {
	Theta float64 `json:"rope_theta"`
	Type  string  `json:"rope_type"`
}

// OpenHF reads a Hugging Face directory: config.json, one or several safetensors files, and the tokenizer.
func OpenHF(dir string) (*Model, error) {
	path := filepath.Join(dir, hfConfigFile)
	var c hfConfig
	if err := readJSON(path, &c); err != nil {
		return nil, err
	}
	config, err := c.config()
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	m := &Model{Config: config, Name: c.Name, Tensors: make(map[string]*Tensor)}
	if m.Name == "" {
		m.Name = filepath.Base(filepath.Clean(dir))
	}
	if m.Tokenizer, err = tokenizer.ReadHF(dir); err != nil {
		return nil, err
	}
	if err := m.readTensors(dir); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("weights: %s: %w", dir, err)
	}
	return m, nil
}

func readJSON(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxJSONFile+1))
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	if len(raw) > maxJSONFile {
		return fmt.Errorf("weights: %s has more than %d bytes; it is no config file", path, maxJSONFile)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	return nil
}

func (c *hfConfig) config() (Config, error) {
	if err := c.supported(); err != nil {
		return Config{}, err
	}
	config := Config{
		Layers: c.Layers, Hidden: c.Hidden, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, FFN: c.FFN,
		Vocab: c.Vocab, Context: c.Context, RopeTheta: float64(c.RopeTheta), NormEps: 1e-6, TieEmbeddings: c.Tied,
	}
	if c.NormEps != nil {
		config.NormEps = float64(*c.NormEps)
	}
	if c.RopeNew != nil {
		config.RopeTheta = c.RopeNew.Theta
	}
	if config.RopeTheta == 0 {
		config.RopeTheta = 10000
	}
	if config.KVHeads == 0 {
		config.KVHeads = c.Heads
	}
	if config.HeadDim == 0 && c.Heads > 0 {
		config.HeadDim = c.Hidden / c.Heads
	}
	return config, config.validate()
}

// supported refuses what would need other arithmetic than ours.
func (c *hfConfig) supported() error {
	switch {
	case c.ModelType != "llama":
		return fmt.Errorf("model_type is %q; only \"llama\" is supported", c.ModelType)
	case len(c.Architectures) > 0 && !slices.Contains(c.Architectures, "LlamaForCausalLM"):
		return fmt.Errorf("architectures is %q; only \"LlamaForCausalLM\" is supported", c.Architectures)
	case c.HiddenAct != "silu":
		return fmt.Errorf("hidden_act is %q; only \"silu\" is supported", c.HiddenAct)
	case c.AttentionBias || c.MLPBias:
		return errors.New("attention_bias and mlp_bias are not supported")
	case len(c.RopeScaling) > 0 && string(c.RopeScaling) != "null":
		return fmt.Errorf("rope_scaling is %s; scaled rotary positions are not supported", c.RopeScaling)
	case c.RopeNew != nil && c.RopeNew.Type != "" && c.RopeNew.Type != "default":
		return fmt.Errorf("rope_parameters.rope_type is %q; scaled rotary positions are not supported", c.RopeNew.Type)
	}
	return nil
}

func (m *Model) readTensors(dir string) error {
	files, err := weightFiles(dir)
	if err != nil {
		return err
	}
	skip := func(name string) bool {
		return m.Config.TieEmbeddings && name == "lm_head.weight" || strings.HasSuffix(name, ".rotary_emb.inv_freq")
	}
	for _, file := range files {
		if err := readSafetensors(filepath.Join(dir, file), m.Tensors, skip); err != nil {
			return err
		}
	}
	return nil
}

// weightFiles returns the one file, or those that the index names.
func weightFiles(dir string) ([]string, error) {
	path := filepath.Join(dir, hfIndexFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return []string{hfWeightsFile}, nil
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := readJSON(path, &index); err != nil {
		return nil, err
	}
	var files []string
	for _, file := range index.WeightMap {
		if filepath.Base(file) != file || !filepath.IsLocal(file) {
			return nil, fmt.Errorf("weights: %s: weight_map names %q, which is not a file of this directory", path, file)
		}
		files = append(files, file)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// WriteOptions says how [Write] stores a model.
type WriteOptions struct {
	DType    DType     // F32, F16 or BF16
	Manifest *Manifest // written as fealty.json, its Artefacts filled in; nil: none
	Replace  bool      // an existing directory that this package wrote may be replaced
}

// WriteHF writes a Hugging Face directory that transformers, vLLM and llama.cpp's converter load. dir must not exist or
// be empty.
func WriteHF(dir string, m *Model, dtype DType) error {
	return Write(dir, m, WriteOptions{DType: dtype})
}

// Write writes into a new directory beside dir, which then takes its place by renaming: nobody ever sees a part of it,
// and an error leaves dir as it was. Without Replace, dir must not exist or be empty; with it, dir may also hold what
// Write wrote earlier, but nothing else.
func Write(dir string, m *Model, o WriteOptions) error {
	if o.DType.width() == 0 {
		return fmt.Errorf("weights: dtype %q is not one of F32, F16, BF16", o.DType)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("weights: refusing to write %s: %w", dir, err)
	}
	dir = filepath.Clean(dir)
	if err := mayWrite(dir, o.Replace); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".new-")
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := m.fill(tmp, o); err != nil {
		return fmt.Errorf("weights: writing %s: %w", dir, err)
	}
	return takePlace(tmp, dir)
}

func (m *Model) fill(dir string, o WriteOptions) error {
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp makes it private
		return err
	}
	for file, content := range map[string]any{hfConfigFile: m.hfConfig(o.DType), hfGenerationFile: m.generation()} {
		if err := writeJSON(filepath.Join(dir, file), content); err != nil {
			return err
		}
	}
	if err := m.Tokenizer.WriteHF(dir); err != nil {
		return err
	}
	if err := writeSafetensors(filepath.Join(dir, hfWeightsFile), m.Tensors, o.DType); err != nil {
		return err
	}
	if o.Manifest != nil {
		return WriteManifest(dir, *o.Manifest)
	}
	return nil
}

func writeJSON(path string, content any) error {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(content); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// mayWrite checks that nothing of anybody else's would be lost.
func mayWrite(dir string, replace bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	if !replace {
		return fmt.Errorf("weights: %s is not empty and is left as it is; remove it or choose another directory", dir)
	}
	ours := append(tokenizer.HFFiles(), hfConfigFile, hfGenerationFile, hfWeightsFile, ManifestFile)
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) {
			return fmt.Errorf("weights: %s holds %s, which was not written by fealty; it is left as it is: choose another directory", dir, e.Name())
		}
	}
	if !written(filepath.Join(dir, hfWeightsFile)) {
		return fmt.Errorf("weights: %s was not written by fealty; it is left as it is: choose another directory", dir)
	}
	return nil
}

// written tells whether a safetensors file is one of ours.
func written(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	head, err := parseSafetensors(f, info.Size())
	return err == nil && head.metadata["producer"] == producer
}

// takePlace renames tmp to dir, moving an older dir out of the way and back if that fails.
func takePlace(tmp, dir string) error {
	old := tmp + ".old"
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("weights: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("weights: %w", errors.Join(err, os.Rename(old, dir)))
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("weights: %s is written; its predecessor could not be removed: %w", dir, err)
	}
	return nil
}

func (m *Model) hfConfig(dtype DType) hfConfig {
	c, eps := m.Config, pyFloat(m.Config.NormEps)
	return hfConfig{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", HiddenAct: "silu", Name: m.Name,
		Layers: c.Layers, Hidden: c.Hidden, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, FFN: c.FFN,
		Vocab: c.Vocab, Context: c.Context, RopeTheta: pyFloat(c.RopeTheta), NormEps: &eps, Tied: c.TieEmbeddings,
		RopeScaling: json.RawMessage("null"), TorchDType: dtype.torch(), UseCache: true,
		BOS: known(m.Tokenizer.BOS), Pad: known(m.Tokenizer.Pad), EOS: knownRaw(m.Tokenizer.EOS),
	}
}

func known(id int32) *int32 {
	if id == tokenizer.None {
		return nil
	}
	return &id
}

func knownRaw(id int32) json.RawMessage {
	if id == tokenizer.None {
		return nil
	}
	return json.RawMessage(fmt.Sprint(id))
}

func (m *Model) generation() map[string]any {
	g := map[string]any{"_from_model_config": true}
	for name, id := range map[string]int32{"bos_token_id": m.Tokenizer.BOS, "eos_token_id": m.Tokenizer.EOS, "pad_token_id": m.Tokenizer.Pad} {
		if id != tokenizer.None {
			g[name] = id
		}
	}
	return g
}
