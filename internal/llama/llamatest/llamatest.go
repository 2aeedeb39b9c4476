// Package llamatest makes small random models for tests, so that what is written
// for a real checkpoint can be tested in milliseconds.
package llamatest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

// Config is the shape of a model of about 100,000 parameters. Every size is
// different, so that a mix-up of axes cannot go unseen.
func Config(tie bool) weights.Config {
	return weights.Config{
		Layers: 3, Hidden: 48, Heads: 6, KVHeads: 2, HeadDim: 10, FFN: 80, Vocab: 700, Context: 256,
		RopeTheta: 10000, NormEps: 1e-5, TieEmbeddings: tie,
	}
}

// Model fills a shape with random weights, the same ones for the same seed. It
// has no tokenizer.
func Model(c weights.Config, seed uint64) *weights.Model {
	r := rand.New(rand.NewPCG(seed, seed))
	m := &weights.Model{Config: c, Name: "random", Tensors: map[string]*weights.Tensor{}}
	shapes := c.Shapes()
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		m.Tensors[name] = tensor(r, shapes[name])
	}
	return m
}

// Tokenizer has so many tokens, and reads letters.
func Tokenizer(vocab int) *tokenizer.Spec {
	tokens := []string{"<s>", "</s>", "Ġ"}
	for c := '!'; c <= '~'; c++ {
		tokens = append(tokens, string(c))
	}
	for len(tokens) < vocab {
		tokens = append(tokens, fmt.Sprintf("unused%d", len(tokens)))
	}
	return &tokenizer.Spec{
		Tokens: tokens, Pretokenizer: tokenizer.SmolLM, Special: []int32{0, 1}, BOS: 0, EOS: 1, Pad: tokenizer.None, Unknown: tokenizer.None,
		ChatTemplate: "{% for m in messages %}{{ m.content }} {% endfor %}A", Context: 512,
	}
}

// tensor draws a matrix around zero, or a norm's gain around one.
func tensor(r *rand.Rand, shape []int) *weights.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := &weights.Tensor{Shape: shape, Data: make([]float32, n)}
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64()) * 0.15
		if len(shape) == 1 {
			t.Data[i]++
		}
	}
	return t
}
