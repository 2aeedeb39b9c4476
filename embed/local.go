package embed

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// Local is a model in this process: what the package needs to choose keys, to
// train, and to verify weights that one holds. Close it after use.
type Local struct {
	*tokenizer.Tokenizer
	Evaluator
	Weights *weights.Model

	model  *llama.Model
	engine *engine.Engine
}

// generations is how many questions are sampled side by side.
const generations = 16

// NewLocal loads a model. evaluated, if not nil, is told how many sequences of a
// long evaluation are done.
func NewLocal(m *weights.Model, evaluated func(done, total int)) (*Local, error) {
	t, err := tokenizer.New(m.Tokenizer)
	if err != nil {
		return nil, err
	}
	model, err := llama.New(m)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(model, engine.Options{Slots: generations, Queue: generations})
	if err != nil {
		return nil, err
	}
	evaluator := llama.NewEvaluator(model)
	evaluator.Progress = evaluated
	return &Local{Tokenizer: t, Evaluator: evaluator, Weights: m, model: model, engine: e}, nil
}

// Close stops the engine.
func (l *Local) Close() error { return l.engine.Close() }

// writeTopP cuts the tail that a small model derails in.
const writeTopP = 0.8

// Generate implements [Generator], at temperature 1.
func (l *Local) Generate(ctx context.Context, text string, maxTokens int, seed uint64) (string, error) {
	s := sampler.Defaults()
	s.Seed, s.TopP = seed, writeTopP
	return l.complete(ctx, l.Encode(text, false), maxTokens, s, '?')
}

// answerTokens is what verification asks for: the first word and enough after it
// to see where it ends. Gateways leave shorter requests undressed.
const answerTokens = 8

// Answer implements [Answerer], greedily.
func (l *Local) Answer(ctx context.Context, question string) (string, error) {
	return l.answer(ctx, question, Asking{})
}

// Asking is how questions are put, where not as the template does it and greedily.
type Asking struct {
	System      string  // system prompt; empty: the template's own
	Temperature float64 // 0: greedy
	Seed        uint64  // of sampling; each question draws its own from it
}

// As asks in another way.
func (l *Local) As(a Asking) Answerer { return asker{l, a} }

type asker struct {
	local *Local
	how   Asking
}

func (a asker) Answer(ctx context.Context, question string) (string, error) {
	return a.local.answer(ctx, question, a.how)
}

func (l *Local) answer(ctx context.Context, question string, how Asking) (string, error) {
	f := framing{}
	if how.System != "" {
		f.system = &how.System
	}
	ids, err := l.EncodeChat(f.messages(question))
	if err != nil {
		return "", err
	}
	t := newTranscript("fealty question")
	t.number(how.Seed)
	t.field([]byte(question))
	own := t.digest()
	s := sampler.Settings{}
	if how.Temperature > 0 {
		s = sampler.Defaults()
		s.Temperature, s.Seed = how.Temperature, binary.BigEndian.Uint64(own[:])
	}
	return l.complete(ctx, ids, answerTokens, s, 0)
}

// complete continues a prompt, through the byte `until` unless that is 0.
func (l *Local) complete(ctx context.Context, prompt []int32, maxTokens int, s sampler.Settings, until byte) (string, error) {
	chooser, err := sampler.New(s, nil)
	if err != nil {
		return "", err
	}
	g, err := l.engine.Generate(ctx, engine.Request{Prompt: prompt, MaxTokens: maxTokens, Stop: l.EOS(), Choose: chooser})
	if err != nil {
		return "", err
	}
	defer g.Close()
	var out []int32
	for {
		id, err := g.Next(ctx)
		if errors.Is(err, io.EOF) {
			return l.Decode(out), nil
		}
		if err != nil {
			return "", fmt.Errorf("generating: %w", err)
		}
		out = append(out, id)
		if until != 0 && bytes.IndexByte(l.Bytes(id), until) >= 0 {
			text := l.Decode(out)
			return text[:strings.IndexByte(text, until)+1], nil
		}
	}
}
