package llama

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/weights"
)

// smol is SmolLM2-135M-Instruct, loaded once for all tests and benchmarks.
var smol = sync.OnceValues(func() (*Model, error) {
	path, err := modelstore.SmolLM2(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	source, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	return New(source)
})

func smolModel(tb testing.TB) *Model {
	tb.Helper()
	m, err := smol()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// BenchmarkPrefill128 computes the prompt of one request in one chunk.
func BenchmarkPrefill128(b *testing.B) {
	m := smolModel(b)
	staging := cache(b, m, 1, 128)
	r := NewRunner(m)
	batch := &Batch{Staging: staging, Chunk: randomTokens(rand.New(rand.NewPCG(1, 1)), 128, m.Config().Vocab)}
	benchmark(b, r, batch, 128)
}

// BenchmarkPrefillChunk64 computes the second half of such a prompt.
func BenchmarkPrefillChunk64(b *testing.B) {
	m := smolModel(b)
	staging := cache(b, m, 1, 128)
	r := NewRunner(m)
	batch := &Batch{Staging: staging, Start: 64, Chunk: randomTokens(rand.New(rand.NewPCG(1, 1)), 64, m.Config().Vocab)}
	benchmark(b, r, batch, 64)
}

// BenchmarkDecode computes one token of each of some sequences of 200 tokens.
func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := smolModel(b)
			pool := cache(b, m, n, 256)
			batch := &Batch{Pool: pool}
			for i := range n {
				batch.Tokens, batch.Lengths = append(batch.Tokens, int32(100*i)), append(batch.Lengths, 200)
			}
			benchmark(b, NewRunner(m), batch, n)
		})
	}
}

// BenchmarkMixed is a tick of 4 decodes with a chunk of 64 beside them.
func BenchmarkMixed(b *testing.B) {
	m := smolModel(b)
	batch := &Batch{Pool: cache(b, m, 4, 256), Tokens: []int32{1, 2, 3, 4}, Lengths: []int{200, 200, 200, 200}}
	batch.Staging, batch.Start = cache(b, m, 1, 256), 64
	batch.Chunk = randomTokens(rand.New(rand.NewPCG(1, 1)), 64, m.Config().Vocab)
	benchmark(b, NewRunner(m), batch, 68)
}

// BenchmarkEvaluate is the work of finding candidates: prompts of 45 tokens, of
// which the first 22 are the chat template's.
func BenchmarkEvaluate(b *testing.B) {
	m := smolModel(b)
	r := rand.New(rand.NewPCG(1, 1))
	var sequences [][]int32
	template := randomTokens(r, 22, m.Config().Vocab)
	for range 64 {
		sequences = append(sequences, append(slices.Clone(template), randomTokens(r, 23, m.Config().Vocab)...))
	}
	e := NewEvaluator(m)
	visit := func(int, Row) error { return nil }
	if err := e.Each(b.Context(), sequences, visit); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		if err := e.Each(b.Context(), sequences, visit); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(sequences)*b.N)/b.Elapsed().Seconds(), "prompts/s")
}

// benchmark runs a batch again and again; tokens is how many it computes.
func benchmark(b *testing.B, r *Runner, batch *Batch, tokens int) {
	b.Helper()
	if err := r.Run(batch); err != nil { // compiles
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if err := r.Run(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(tokens*b.N)/b.Elapsed().Seconds(), "tok/s")
}
