//go:build interop

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/sampler"
)

// TestInteropOpenings lets the pool open answers of llama.cpp's server, whose
// log-probabilities have the form of completions: the answer of two requests begins
// with a word of the shell, the same at each time, and its usage is of one.
func TestInteropOpenings(t *testing.T) {
	base, err := modelstore.SmolLM2(t.Context(), func(line string) { t.Log(line) })
	must(t, err)
	url := startLlamaCPP(t, base)
	dir, _ := openerFolder(t)
	m := gateway.ModelConfig{
		Name:           "acme",
		Backend:        gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: url, Model: "base", Continue: "completions"}}},
		InverseNucleus: &gateway.InverseNucleusConfig{Rate: 1, T: 0.3, K: 2, From: dir},
	}
	ordinary, err := openPool(m, gateway.TimeoutsConfig{}, nil)
	must(t, err)
	t.Cleanup(ordinary.Close)
	inverse, err := poolInverse(m, bytes.Repeat([]byte("s"), 32))
	must(t, err)
	pool, err := openPool(m, gateway.TimeoutsConfig{}, inverse)
	must(t, err)
	t.Cleanup(pool.Close)
	all := []string{
		"We walked along the river until", "She opened the letter and", "He said to his brother that", "It rained all night, so",
		"The old man was tired because", "They left the town when", "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe capital of France is",
	}
	var prompts []string // that were shaped
	type answer struct {
		text   string
		shaped bool
	}
	firsts := map[string]answer{}
	// Round by round: the server goes on from what it computed of the last prompt, in sums of
	// another order. So each prompt follows the same one both times.
	for round := range 2 {
		for _, prompt := range all {
			before := shaped(pool)
			text, told, used := complete(t, pool, prompt)
			got := answer{text, shaped(pool) > before}
			if used.CompletionTokens > 12 || used != told {
				t.Errorf("%s: metered %+v, told %+v", prompt, used, told)
			}
			if round == 0 {
				t.Logf("%s: %q (shaped: %v)", prompt, got.text, got.shaped)
				firsts[prompt] = got
			} else if got != firsts[prompt] {
				t.Errorf("%s: %+v and then %+v", prompt, firsts[prompt], got)
			}
			if round == 0 && got.shaped {
				prompts = append(prompts, prompt)
			}
		}
	}
	if shaped(pool) == 0 {
		t.Fatal("no answer was opened")
	}
	t.Log(published(pool.Openings()))
	var opened, plain []time.Duration
	for _, prompt := range prompts { // the server may hold what it computed of the last one, for either
		firstToken(t, ordinary, prompt)
		opened, plain = append(opened, firstToken(t, pool, prompt)), append(plain, firstToken(t, ordinary, prompt))
	}
	t.Logf("openings: time to first token, prompt cached, median of %d streams: %.0f ms shaped, %.0f ms of the same prompts without", len(opened),
		percentile(opened, 0.5, time.Millisecond), percentile(plain, 0.5, time.Millisecond))
}

// published is the skip rate and what it is made of, in the form that the docs quote.
func published(openings []gateway.OpeningStats) string {
	var all, skipped uint64
	var parts []string
	for _, o := range openings {
		if all += o.Count; o.Result != string(sampler.Chosen) {
			skipped += o.Count
		}
		parts = append(parts, fmt.Sprintf("%s %d", o.Result, o.Count))
	}
	return fmt.Sprintf("openings: skip rate %.0f %% of %d answers (%s)", 100*float64(skipped)/float64(all), all, strings.Join(parts, ", "))
}

// firstToken is the time until a stream's first bytes have come.
func firstToken(t *testing.T, p *upstream.Pool, prompt string) time.Duration {
	t.Helper()
	r, err := openai.Parse(openai.Completion, fmt.Appendf(nil, `{"model":"acme","prompt":%q,"temperature":0,"max_tokens":12,"stream":true}`, prompt))
	must(t, err)
	began := time.Now()
	a, err := p.Generate(t.Context(), gateway.Call{Request: r, Model: "acme", MaxTokens: 12})
	must(t, err)
	defer a.Close()
	_, err = a.Next()
	must(t, err)
	took := time.Since(began)
	for err == nil {
		_, err = a.Next()
	}
	if err != io.EOF {
		t.Errorf("%s: the stream ended with %v", prompt, err)
	}
	return took
}

func shaped(p *upstream.Pool) uint64 {
	for _, o := range p.Openings() {
		if o.Result == string(sampler.Chosen) {
			return o.Count
		}
	}
	return 0
}

// complete is one answer, as told and as metered.
func complete(t *testing.T, p *upstream.Pool, prompt string) (text string, told, used openai.Usage) {
	t.Helper()
	r, err := openai.Parse(openai.Completion, fmt.Appendf(nil, `{"model":"acme","prompt":%q,"temperature":0,"max_tokens":12}`, prompt))
	must(t, err)
	a, err := p.Generate(t.Context(), gateway.Call{Request: r, Model: "acme", MaxTokens: 12})
	must(t, err)
	defer a.Close()
	body, err := a.Next()
	must(t, err)
	if _, err := a.Next(); err != io.EOF {
		t.Errorf("after the answer: %v", err)
	}
	var reply openai.Reply
	must(t, json.Unmarshal(body, &reply))
	return reply.Text(), *reply.Usage, a.Usage()
}
