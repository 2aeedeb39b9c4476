package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/sampler"
)

// How servers continue an answer whose first word is given. Each of them continues a
// text completion whose prompt ends in the word.
const (
	VLLM        = "vllm"     // chat by continue_final_message; SGLang too
	LlamaCPP    = "llamacpp" // chat whose last message is the assistant's
	Completions = "completions"
)

// Why an answer was not opened, beside the sampler's own verdicts.
const (
	atStop      sampler.Verdict = "stop"        // a stop string could begin in the word
	unsupported sampler.Verdict = "unsupported" // the server whose turn it was cannot continue
	failed      sampler.Verdict = "error"       // in either step, with no byte sent yet
)

var verdicts = [...]sampler.Verdict{
	sampler.Chosen, sampler.Obvious, sampler.Blank, sampler.Narrow, sampler.Unseen, atStop, unsupported, failed,
}

// tally counts what became of prompts that were chosen to be opened.
type tally struct {
	mu     sync.Mutex
	counts [len(verdicts)]uint64
}

func (t *tally) count(v sampler.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range verdicts {
		if verdicts[i] == v {
			t.counts[i]++
		}
	}
}

// Openings implements gateway.Opener.
func (p *Pool) Openings() []gateway.OpeningStats {
	p.shaped.mu.Lock()
	defer p.shaped.mu.Unlock()
	out := make([]gateway.OpeningStats, len(verdicts))
	for i, v := range verdicts {
		out[i] = gateway.OpeningStats{Result: string(v), Count: p.shaped.counts[i]}
	}
	return out
}

// opened is the answer in two steps: its first word is chosen here from what a server
// expects, and the server continues. It is nil when the request is to be answered as it
// is: most are, and any failure before a byte of the answer is no reason to have none.
func (p *Pool) opened(ctx context.Context, c gateway.Call, prefix []byte, skip []*server) *answer {
	key := p.keyed(c)
	if key == nil {
		return nil
	}
	a, v := p.twoSteps(ctx, c, key, prefix, skip)
	if ctx.Err() == nil {
		p.shaped.count(v)
	}
	return a
}

// keyed is nil for all requests but the chosen ones for one free text.
func (p *Pool) keyed(c gateway.Call) *sampler.Keyed {
	r := c.Request
	switch {
	case r.Kind == openai.Chat && r.Messages[len(r.Messages)-1].Role == "assistant":
		return nil // the caller has begun the answer itself
	case r.Kind != openai.Chat && r.Kind != openai.Completion, r.Answers() != 1, len(r.LogitBias) > 0:
		return nil
	}
	return c.Opening(p.o.Inverse, 0)
}

func (p *Pool) twoSteps(ctx context.Context, c gateway.Call, key *sampler.Keyed, prefix []byte, skip []*server) (*answer, sampler.Verdict) {
	r, err := c.Request.With(glance(c.Request.Kind)...)
	if err != nil {
		return nil, failed
	}
	s := p.pick(time.Now(), prefix, skip)
	if s == nil {
		return nil, failed
	}
	if s.Continue == "" || s.Continue == Completions && c.Request.Kind == openai.Chat {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.health.untake()
		return nil, unsupported
	}
	a, f := p.anew(ctx, s, gateway.Call{Request: r, Model: c.Model, ID: c.ID, Created: c.Created, MaxTokens: 1}, nil)
	if f != nil {
		return nil, p.settled(s, f)
	}
	a.Close()
	top, err := alternatives(a.first)
	if err != nil {
		return nil, failed // no fault of a server that answers well otherwise
	}
	o := &opening{}
	var v sampler.Verdict
	if o.id, o.word, v = key.FromTop(top); v != sampler.Chosen {
		return nil, v
	}
	if mayStop(o.word, c.Request.Stop) {
		return nil, atStop
	}
	if a.meter.told {
		o.prompt = a.meter.usage.PromptTokens
	}
	return p.goOn(ctx, s, c, o)
}

// settled frees a server that failed at one of the steps.
func (p *Pool) settled(s *server, f *failure) sampler.Verdict {
	if f.fault == stale {
		f.fault = servers
	}
	p.settle(s, f, false)
	return failed
}

// anew is ask, once more if the server had closed the connection meanwhile.
func (p *Pool) anew(ctx context.Context, s *server, c gateway.Call, o *opening) (*answer, *failure) {
	a, f := p.ask(ctx, s, c, o)
	if f != nil && f.fault == stale {
		return p.ask(ctx, s, c, o)
	}
	return a, f
}

// glance asks for the first token's alternatives: not streamed, at temperature 1, and
// without what would change or cut the distribution in servers that show it changed.
func glance(k openai.Kind) []openai.Change {
	out := []openai.Change{{Name: "temperature", Value: "1"}, {Name: "top_p", Value: "1"}, {Name: "logprobs", Value: fmt.Sprint(sampler.TopSize)}}
	if k == openai.Chat {
		out[2].Value = "true"
		out = append(out, openai.Change{Name: "top_logprobs", Value: fmt.Sprint(sampler.TopSize)})
	}
	for _, name := range []string{
		"stream", "stream_options", "stop", "seed", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty",
		"max_tokens", "max_completion_tokens",
	} {
		out = append(out, openai.Change{Name: name})
	}
	return out
}

// goOn is the second step.
func (p *Pool) goOn(ctx context.Context, s *server, c gateway.Call, o *opening) (*answer, sampler.Verdict) {
	r, err := c.Request.With(o.request(c.Request, s.Continue)...)
	if err != nil {
		return nil, failed
	}
	r.PromptBytes = c.Request.PromptBytes
	c.Request, c.MaxTokens = r, c.MaxTokens-1
	p.mu.Lock()
	s.health.take()
	p.mu.Unlock()
	a, f := p.anew(ctx, s, c, o)
	if f != nil {
		return nil, p.settled(s, f)
	}
	return a, sampler.Chosen
}

// alternatives reads the first token's, in the form of chat or in that of completions.
func alternatives(body []byte) (top []sampler.Alternative, err error) {
	var reply struct {
		Choices []struct {
			Logprobs struct {
				Content []struct {
					Top []struct {
						Token   string  `json:"token"`
						Logprob float64 `json:"logprob"`
					} `json:"top_logprobs"`
				} `json:"content"`
				Top []map[string]float64 `json:"top_logprobs"`
			} `json:"logprobs"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("the upstream's log-probabilities cannot be read: %w", err)
	}
	for _, c := range reply.Choices[:min(1, len(reply.Choices))] {
		for _, at := range c.Logprobs.Content[:min(1, len(c.Logprobs.Content))] {
			for _, t := range at.Top {
				top = append(top, sampler.Alternative{Text: t.Token, Logprob: t.Logprob})
			}
		}
		for _, at := range c.Logprobs.Top[:min(1, len(c.Logprobs.Top))] {
			for text, logprob := range at {
				top = append(top, sampler.Alternative{Text: text, Logprob: logprob})
			}
		}
	}
	if len(top) == 0 {
		return nil, errors.New("the upstream shows no log-probabilities: let it, or leave out its continue")
	}
	return top, nil
}

// mayStop: a stop string stands in the word, or could begin in it and end after it,
// where the server would not see it.
func mayStop(word string, stops []string) bool {
	for _, stop := range stops {
		if strings.Contains(word, stop) {
			return true
		}
		for n := 1; n < min(len(stop), len(word)+1); n++ {
			if strings.HasSuffix(word, stop[:n]) {
				return true
			}
		}
	}
	return false
}
