// Package embedded answers OpenAI requests with an engine in this process.
//
// It turns messages into tokens and tokens into replies; it neither generates nor
// samples. What the engine cannot honour (tools, grammars) it
// refuses and never ignores. Start with [New].
package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/sampler"
)

// Engine generates tokens; [Local] makes one of *engine.Engine.
type Engine interface {
	Generate(ctx context.Context, r engine.Request) (Generation, error)
}

// Generation is a generation under way; *engine.Generation.
type Generation interface {
	Next(ctx context.Context) (int32, error) // io.EOF at the end
	Finish() string                          // "stop" or "length", after io.EOF
	Close()
}

// Local is the engine of this process.
func Local(e *engine.Engine) Engine { return local{e} }

type local struct{ engine *engine.Engine }

func (l local) Generate(ctx context.Context, r engine.Request) (Generation, error) {
	g, err := l.engine.Generate(ctx, r)
	if err != nil {
		return nil, err // not g: a nil *engine.Generation is no nil Generation
	}
	return g, nil
}

// Tokenizer is the model's; *tokenizer.Tokenizer.
type Tokenizer interface {
	// EncodeChat applies the chat template. Special tokens in a message's content
	// are plain text.
	EncodeChat(messages []tokenizer.Message) ([]int32, error)
	Encode(text string, parseSpecial bool) []int32
	Bytes(id int32) []byte // nil for special tokens
	EOS() []int32
}

// Options is what a Backend needs.
type Options struct {
	Engine    Engine
	Tokenizer Tokenizer
	Context   int // tokens of prompt and answer together
	// Vocabulary is how many tokens there are; prompts may be sent as their ids. 0:
	// the engine refuses what it does not know.
	Vocabulary int
	Inverse    *sampler.Inverse // nil: off
	// Attested: the weights were hashed and are an artefact of the published version.
	Attested bool
}

// Backend implements gateway.Backend.
type Backend struct{ o Options }

// New checks the options.
func New(o Options) (*Backend, error) {
	switch {
	case o.Engine == nil || o.Tokenizer == nil:
		return nil, errors.New("embedded: an engine and a tokenizer are required")
	case o.Context < 2:
		return nil, fmt.Errorf("embedded: a context of %d tokens holds no prompt and answer", o.Context)
	}
	if o.Inverse != nil {
		if err := o.Inverse.Validate(); err != nil {
			return nil, fmt.Errorf("embedded: %w", err)
		}
	}
	return &Backend{o: o}, nil
}

// Describe adds the context length and the public settings of the sampler.
func (b *Backend) Describe(m *openai.Model) {
	m.ContextLength = b.o.Context
	m.Attested = b.o.Attested
	m.InverseNucleus = gateway.ShowInverse(b.o.Inverse)
}

// Generate implements gateway.Backend.
func (b *Backend) Generate(ctx context.Context, c gateway.Call) (gateway.Answer, error) {
	if k := c.Request.Kind; k != openai.Chat && k != openai.Completion {
		return nil, openai.NoEndpoint(k)
	}
	if f := c.Request.Features; len(f) > 0 {
		return nil, openai.Unsupported(f[0].Param, f[0].Why)
	}
	prompts, err := b.prompts(c.Request)
	if err != nil {
		return nil, err
	}
	a := &answer{ctx: ctx, tokens: b.o.Tokenizer, call: c}
	for i, prompt := range prompts {
		a.prompt += len(prompt)
		for range c.Request.N {
			one, err := b.choice(ctx, c, i, prompt, len(a.choices))
			if err != nil {
				a.Close()
				return nil, err
			}
			a.choices = append(a.choices, one)
		}
	}
	return a, nil
}

// choice starts one answer to one prompt.
func (b *Backend) choice(ctx context.Context, c gateway.Call, at int, prompt []int32, index int) (*choice, error) {
	r := c.Request
	out := &choice{index: index, tokens: b.o.Tokenizer, prompt: prompt}
	for _, s := range r.Stop {
		out.text.stops = append(out.text.stops, []byte(s))
	}
	most, err := b.room(c, len(prompt))
	if err != nil {
		return nil, err
	}
	chooser, err := b.chooser(c, at, index)
	if err != nil {
		return nil, err
	}
	ask := engine.Request{Prompt: prompt, MaxTokens: most, Stop: b.o.Tokenizer.EOS(), Choose: chooser}
	if r.Echo {
		out.echo, out.begins = true, b.textOf(r, at, prompt)
	}
	if r.Logprobs {
		s := &scorer{then: chooser, top: r.TopLogprobs}
		if r.Echo && len(prompt) > 1 { // the rest of the prompt is generated as it is, to see its scores
			s.told = prompt[1:]
			ask.Prompt, ask.MaxTokens, ask.Stop = prompt[:1], most+len(s.told), nil
		}
		s.out = make(chan score, ask.MaxTokens+1)
		out.told, out.scores, ask.Choose = len(s.told), s.out, s
	}
	if ask.MaxTokens == 0 {
		return out, nil
	}
	if out.generation, err = b.o.Engine.Generate(ctx, ask); err != nil {
		return nil, refuse(err)
	}
	return out, nil
}

// textOf is a prompt's text.
func (b *Backend) textOf(r *openai.Request, at int, prompt []int32) string {
	if p := r.Prompts[at]; p.Tokens == nil {
		return p.Text
	}
	var text []byte
	for _, id := range prompt {
		text = append(text, b.o.Tokenizer.Bytes(id)...)
	}
	return string(text)
}

// prompts are the token ids of each prompt.
func (b *Backend) prompts(r *openai.Request) (all [][]int32, err error) {
	if r.Kind == openai.Completion {
		for _, p := range r.Prompts {
			ids := p.Tokens
			if ids == nil {
				ids = b.o.Tokenizer.Encode(p.Text, false)
			}
			if len(ids) == 0 {
				return nil, openai.Invalid("prompt", "prompt is empty. Send the text to complete.")
			}
			if i := slices.IndexFunc(ids, func(id int32) bool { return int(id) >= b.o.Vocabulary && b.o.Vocabulary > 0 }); i >= 0 {
				return nil, openai.Invalid("prompt", "prompt holds the token %d; this model has the tokens 0 to %d.", ids[i], b.o.Vocabulary-1)
			}
			all = append(all, ids)
		}
		return all, nil
	}
	messages := make([]tokenizer.Message, len(r.Messages))
	for i, m := range r.Messages {
		messages[i] = tokenizer.Message{Role: m.Role, Content: m.Content}
	}
	ids, err := b.o.Tokenizer.EncodeChat(messages)
	if err != nil {
		e := openai.Invalid("messages", "The model's chat template cannot render these messages.")
		e.Cause = err
		return nil, e
	}
	return [][]int32{ids}, nil
}

// room is how long the answer may be. A length that the caller asked for is kept
// or refused; the default takes what is left.
func (b *Backend) room(c gateway.Call, prompt int) (int, error) {
	left := b.o.Context - prompt
	if left < min(1, c.MaxTokens) || c.Request.MaxTokens > left {
		param := "messages"
		if c.Request.Kind == openai.Completion {
			param = "prompt"
		}
		return 0, &openai.Error{
			Status: http.StatusBadRequest, Code: "context_length_exceeded", Param: param,
			Message: fmt.Sprintf("This model's context is %d tokens; the prompt has %d and max_tokens is %d. Shorten the prompt or ask for fewer tokens.",
				b.o.Context, prompt, c.MaxTokens),
		}
	}
	return min(c.MaxTokens, left), nil
}

// chooser samples one of the answers: equal seeds give equal answers, but not those
// of one request.
func (b *Backend) chooser(c gateway.Call, at, index int) (engine.Chooser, error) {
	r := c.Request
	settings := sampler.Settings{
		Temperature: r.Temperature, TopP: r.TopP, MinP: r.MinP, TopK: r.TopK,
		FrequencyPenalty: r.FrequencyPenalty, PresencePenalty: r.PresencePenalty,
		RepetitionPenalty: r.RepetitionPenalty, LogitBias: r.LogitBias, Seed: rand.Uint64(),
	}
	if r.Seed != nil {
		settings.Seed = uint64(*r.Seed) + uint64(index)
	}
	s, err := sampler.New(settings, c.Opening(b.o.Inverse, at))
	if err != nil {
		name, _, _ := strings.Cut(err.Error(), " ")
		return nil, openai.Invalid(name, "%v.", err)
	}
	return s, nil
}

// refuse words what the engine says of its own state.
func refuse(err error) error {
	switch {
	case errors.Is(err, engine.ErrBusy):
		return &openai.Error{
			Status: http.StatusServiceUnavailable, Code: "overloaded", Retry: true, RetryAfter: time.Second, Cause: err,
			Message: "The model's queue is full. Send the request again.",
		}
	case errors.Is(err, engine.ErrClosed):
		return &openai.Error{
			Status: http.StatusServiceUnavailable, Code: "shutting_down", Retry: true, RetryAfter: time.Second, Cause: err,
			Message: "The model is being shut down. Send the request again.",
		}
	}
	return err
}
