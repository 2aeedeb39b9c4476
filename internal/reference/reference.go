// Package reference holds what third-party implementations answer for the model that the tests run: token ids, chat
// prompts, logits, continuations, dequantised weights.
//
// The fixtures in testdata are made by generate.py (see there what they are independent of, and about.json for the exact
// versions and llama.cpp's agreement); setup.sh installs what it needs. Nothing here computes anything: a test loads a
// fixture and compares. Start with [Greedy] and [Tokenization].
package reference

import (
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"testing"
)

//go:embed testdata
var files embed.FS

// TokenCase is a text and its ids by Hugging Face's tokenizers.
type TokenCase struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`     // control tokens parsed
	Plain   []int32 `json:"plain"`   // control tokens as text; absent: the same ids
	Decoded *string `json:"decoded"` // what IDs decode to without control tokens; absent: Text
}

// Decoding is a sequence of ids that need not be well-formed text, and what it decodes to.
type Decoding struct {
	IDs  []int32 `json:"ids"`
	Text string  `json:"text"`
}

// Tokens is the tokenizer's fixture.
type Tokens struct {
	Cases  []TokenCase `json:"cases"`
	Broken []Decoding  `json:"broken"`
}

// Message is one turn.
type Message struct{ Role, Content string }

// ChatCase is a conversation and its prompt by transformers and Jinja2.
type ChatCase struct {
	Messages   []Message `json:"messages"`
	Generation bool      `json:"generation"` // with the opening of the assistant's turn
	Text       string    `json:"text"`
	IDs        []int32   `json:"ids"` // of Text, control tokens parsed
}

// Template is a Jinja template and what it renders to.
type Template struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

// Templates are general templates rendered by Jinja2 with transformers' settings, and the messages they were given. The
// other values are n = 7, nothing = none, add_generation_prompt = true and the model's special tokens.
type Templates struct {
	Messages []Message  `json:"messages"`
	Cases    []Template `json:"cases"`
}

// Step is one step of a greedy continuation with the two largest logits, so that a near-tie can be shown to be one.
type Step struct {
	ID     int32
	Logit  float32
	Second int32
	Other  float32 // logit of Second
}

// UnmarshalJSON reads [id, logit, second, other].
func (s *Step) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal(raw, &[]any{&s.ID, &s.Logit, &s.Second, &s.Other})
}

// Continuation is a greedy continuation, which goes on past end-of-text tokens.
type Continuation struct {
	Prompt string  `json:"prompt"`
	IDs    []int32 `json:"ids"`
	Steps  []Step  `json:"steps"`
}

// Logit is one entry of a row of logits.
type Logit struct {
	ID    int32
	Value float32
}

// UnmarshalJSON reads [id, value].
func (l *Logit) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal(raw, &[]any{&l.ID, &l.Value})
}

// Prefill is what the model computes at the last position of IDs.
type Prefill struct {
	IDs        []int32   `json:"ids"`
	Top        []Logit   `json:"top"`   // the 50 largest, in order
	Fixed      []Logit   `json:"fixed"` // the same ids in each case
	Sum        float64   `json:"sum"`   // of all logits
	Norm       float64   `json:"norm"`  // Euclidean, of all logits
	PreFFN     []float32 `json:"pre_ffn"`
	PreFFNNorm float64   `json:"pre_ffn_norm"` // of the whole row, of which PreFFN is the beginning
}

// Tensor is a sample of a dequantised tensor: every Step-th value, and sums over all in float64.
type Tensor struct {
	Name   string    `json:"name"`
	Shape  []int     `json:"shape"`
	Sum    float64   `json:"sum"`
	Abs    float64   `json:"abs"` // sum of magnitudes
	Step   int       `json:"step"`
	Values []float32 `json:"values"`
}

// Quant is some blocks of one GGUF tensor type and what they stand for.
type Quant struct {
	Kind   uint32    `json:"kind"`
	Name   string    `json:"name"`
	Raw    string    `json:"raw"` // hex
	Values []float32 `json:"values"`
}

// Halves is 16-bit numbers read in both formats.
type Halves struct {
	Bits   []uint16  `json:"bits"`
	Half   []float32 `json:"half"`
	BFloat []float32 `json:"bfloat"`
}

// Weights is the fixture of the weight readers.
type Weights struct {
	Tensors []Tensor `json:"tensors"`
	Quants  []Quant  `json:"quants"`
	Halves  Halves   `json:"halves"`
}

// Tokenization returns the tokenizer's cases.
func Tokenization(t testing.TB) Tokens { return load[Tokens](t, "tokenizer") }

// Chats returns the chat prompts.
func Chats(t testing.TB) []ChatCase { return load[cases[ChatCase]](t, "chat").Cases }

// Jinja returns templates that are not the model's.
func Jinja(t testing.TB) Templates {
	return load[struct {
		Jinja Templates `json:"jinja"`
	}](t, "chat").Jinja
}

// Greedy returns the greedy continuations.
func Greedy(t testing.TB) []Continuation { return load[cases[Continuation]](t, "greedy").Cases }

// Prefills returns the logits at the end of some prompts.
func Prefills(t testing.TB) []Prefill { return load[cases[Prefill]](t, "prefill").Cases }

// WeightSamples returns samples of the weights.
func WeightSamples(t testing.TB) Weights { return load[Weights](t, "weights") }

type cases[T any] struct {
	Cases []T `json:"cases"`
}

func load[T any](t testing.TB, name string) (v T) {
	t.Helper()
	if err := read("testdata/"+name+".json.gz", &v); err != nil {
		t.Fatalf("reference fixture %s: %v", name, err)
	}
	return v
}

func read(path string, into any) error {
	f, err := files.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}
