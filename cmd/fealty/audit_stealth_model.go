package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit/stealth"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// A sight is what one model says of the prompts of a plan.
type sight struct {
	tokens   *tokenizer.Tokenizer
	glimpses []glimpse
	inverse  *sampler.Inverse // its shell; nil if the weights have no manifest
}

// glimpse is what it says of one prompt.
type glimpse struct {
	question float64   // nats per token of the question, where a user's words begin
	logits   []float32 // of the first token of the answer
}

// sightSlots are how many prompts are looked at side by side.
const sightSlots = 16

// see asks a model for every prompt.
func see(ctx context.Context, path string, l stealth.Labels, p *progress) (*sight, error) {
	source, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	model, err := startLocal(source, engine.Options{Slots: sightSlots, Queue: len(l.Prompts) + 1})
	if err != nil {
		return nil, err
	}
	defer model.engine.Close()
	s := &sight{tokens: model.tokens, glimpses: make([]glimpse, len(l.Prompts))}
	if s.inverse, err = shellOf(path, model.tokens); err != nil {
		return nil, err
	}
	p.step("looking at prompts")
	var all sync.WaitGroup
	errs := make([]error, len(l.Prompts))
	var mu sync.Mutex
	done := 0
	for i, prompt := range l.Prompts {
		all.Go(func() {
			s.glimpses[i], errs[i] = look(ctx, model, prompt.Question)
			mu.Lock()
			defer mu.Unlock()
			done++
			p.update(done, len(l.Prompts))
		})
	}
	all.Wait()
	return s, errors.Join(errs...)
}

// shellOf is the shell that a manifest names, for a sampler that takes every prompt.
func shellOf(path string, tokens *tokenizer.Tokenizer) (*sampler.Inverse, error) {
	m, err := weights.ReadManifest(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && m.InverseNucleus == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i := &sampler.Inverse{
		Shell: sampler.Shell{T: m.InverseNucleus.T, K: m.InverseNucleus.K, Floor: m.InverseNucleus.Floor}, Rate: 1,
		Secret: make([]byte, 32), Lexicon: sampler.NewLexicon(fingerprint.Texts(tokens), m.InverseNucleus.Openers),
	}
	return i, i.Validate()
}

// look lets the model read a question token by token and keeps what it expected.
func look(ctx context.Context, m *localModel, question string) (glimpse, error) {
	ids, err := m.tokens.EncodeChat([]tokenizer.Message{{Role: "user", Content: question}})
	if err != nil {
		return glimpse{}, err
	}
	other, err := m.tokens.EncodeChat([]tokenizer.Message{{Role: "user", Content: "?"}})
	if err != nil {
		return glimpse{}, err
	}
	from, end := common(ids, other), commonEnd(ids, other)
	r := &reading{rest: ids[from:], question: len(ids) - end - from}
	if _, err := generateAll(ctx, m, engine.Request{Prompt: ids[:from], MaxTokens: len(r.rest) + 1, Choose: r}); err != nil {
		return glimpse{}, err
	}
	return glimpse{r.surprise / float64(max(1, r.question)), r.last}, nil
}

func common(a, b []int32) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonEnd(a, b []int32) (n int) {
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// reading is a chooser that follows a given text and notes how likely it was.
type reading struct {
	rest     []int32
	question int // how many of rest are the question's
	surprise float64
	last     []float32
}

func (r *reading) Choose(logits []float32, generated []int32) int32 {
	at := len(generated)
	if at == len(r.rest) {
		r.last = slices.Clone(logits)
		return 0
	}
	if at < r.question {
		r.surprise += surprise(logits, r.rest[at])
	}
	return r.rest[at]
}

func generateAll(ctx context.Context, m *localModel, r engine.Request) (ids []int32, err error) {
	g, err := m.engine.Generate(ctx, r)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	for {
		id, err := g.Next(ctx)
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
}

// first is the surprise, in nats, and the rank, from 1, of an answer's first token.
func (s *sight) first(prompt int, answer string) (nats float64, rank int) {
	logits := s.glimpses[prompt].logits
	ids := s.tokens.Encode(answer, false)
	if len(ids) == 0 {
		ids = s.tokens.EOS()
	}
	rank = 1
	for _, l := range logits {
		if l > logits[ids[0]] {
			rank++
		}
	}
	return surprise(logits, ids[0]), rank
}

func surprise(logits []float32, id int32) float64 {
	return math.Log(normaliser(logits)) - float64(logits[id]-slices.Max(logits))
}

// normaliser is the sum of exp(l - max).
func normaliser(logits []float32) (sum float64) {
	top := slices.Max(logits)
	for _, l := range logits {
		sum += math.Exp(float64(l - top))
	}
	return sum
}

func softmax64(logits []float32) []float64 {
	top, sum := slices.Max(logits), normaliser(logits)
	out := make([]float64, len(logits))
	for i, l := range logits {
		out[i] = math.Exp(float64(l-top)) / sum
	}
	return out
}

func peak(p []float64) float64 { return slices.Max(p) }

// entropy in nats.
func entropy(p []float64) (sum float64) {
	for _, v := range p {
		if v > 0 {
			sum -= v * math.Log(v)
		}
	}
	return sum
}

// divergence is KL(p || q) in nats.
func divergence(p, q []float64) (sum float64) {
	for i, v := range p {
		if v > 0 {
			sum += v * math.Log(v/math.Max(q[i], 1e-300))
		}
	}
	return math.Max(0, sum)
}
