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

// TestInteropOpenings lets the pool open answers of llama.cpp's server: the answer of two
// requests begins with a word of the shell, the same at each time, and its usage is of one.
func TestInteropOpenings(t *testing.T) {
	base, err := modelstore.SmolLM2(t.Context(), func(line string) { t.Log(line) })
	must(t, err)
	// What a server goes on from was computed in sums of another order, and a near tie may
	// fall otherwise: what is compared is computed anew each time.
	anew := startLlamaCPP(t, base, "--no-cache-prompt")
	for name, c := range map[string]struct {
		how  string // the upstream's continue
		kind openai.Kind
		all  []string
	}{
		"completions": {upstream.Completions, openai.Completion, []string{
			"We walked along the river until", "She opened the letter and", "He said to his brother that", "It rained all night, so",
			"The old man was tired because", "They left the town when", "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe capital of France is",
		}},
		"chat": {upstream.LlamaCPP, openai.Chat, []string{
			"How do I bake bread?", "Why is the sky blue?", "Tell me about the sea.", "What should I pack for a hike?", "How do birds fly?", "Why do leaves fall?",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, pool := openingPools(t, anew, c.how)
			for _, prompt := range c.all {
				first, wasShaped := complete(t, pool, c.kind, prompt)
				t.Logf("%s: %q (shaped: %v)", prompt, first, wasShaped)
				if half := strings.Fields(first + " .")[0]; len(half)%2 == 0 && strings.EqualFold(half[:len(half)/2], half[len(half)/2:]) {
					t.Errorf("%s: %q says its first word twice", prompt, first)
				}
				if again, isShaped := complete(t, pool, c.kind, prompt); again != first || isShaped != wasShaped {
					t.Errorf("%s: %q (shaped: %v) and then %q (%v)", prompt, first, wasShaped, again, isShaped)
				}
			}
			if shaped(pool) == 0 {
				t.Error("no answer was opened")
			}
			t.Log(published(pool.Openings()))
		})
	}
	t.Run("first token", func(t *testing.T) { openingTimes(t, base) })
}

// openingPools are a pool without the sampler and one with it, before one server.
func openingPools(t *testing.T, url, how string) (ordinary, opening *upstream.Pool) {
	t.Helper()
	dir, _ := openerFolder(t)
	m := gateway.ModelConfig{
		Name:           "acme",
		Backend:        gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: url, Model: "base", Continue: how}}},
		InverseNucleus: &gateway.InverseNucleusConfig{Rate: 1, T: 0.3, K: 2, From: dir},
	}
	inverse, err := poolInverse(m, bytes.Repeat([]byte("s"), 32))
	must(t, err)
	if ordinary, err = openPool(m, gateway.TimeoutsConfig{}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ordinary.Close)
	if opening, err = openPool(m, gateway.TimeoutsConfig{}, inverse); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opening.Close)
	return ordinary, opening
}

// openingTimes logs what the second step costs until the first token, with a server that keeps
// what it computed, for either.
func openingTimes(t *testing.T, base string) {
	ordinary, opening := openingPools(t, startLlamaCPP(t, base), upstream.Completions)
	var opened, plain []time.Duration
	for _, prompt := range []string{"We walked along the river until", "She opened the letter and", "He said to his brother that", "They left the town when"} {
		firstToken(t, ordinary, prompt)
		before := shaped(opening)
		took := firstToken(t, opening, prompt)
		if shaped(opening) > before {
			opened, plain = append(opened, took), append(plain, firstToken(t, ordinary, prompt))
		}
	}
	if len(opened) > 0 {
		t.Logf("openings: time to first token, prompt cached, median of %d streams: %.0f ms shaped, %.0f ms of the same prompts without", len(opened),
			percentile(opened, 0.5, time.Millisecond), percentile(plain, 0.5, time.Millisecond))
	}
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

// complete is one answer, whose metered usage must be what it tells, and whether it was
// opened.
func complete(t *testing.T, p *upstream.Pool, kind openai.Kind, prompt string) (text string, opened bool) {
	t.Helper()
	ask := `{"model":"acme","prompt":%q,"temperature":0,"max_tokens":12}`
	if kind == openai.Chat {
		ask = `{"model":"acme","messages":[{"role":"user","content":%q}],"temperature":0,"max_tokens":12}`
	}
	r, err := openai.Parse(kind, fmt.Appendf(nil, ask, prompt))
	must(t, err)
	before := shaped(p)
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
	if used := a.Usage(); used.CompletionTokens > 12 || used != *reply.Usage {
		t.Errorf("%s: metered %+v, told %+v", prompt, used, reply.Usage)
	}
	return reply.Text(), shaped(p) > before
}
