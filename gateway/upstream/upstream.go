// Package upstream answers OpenAI requests from servers behind URLs: vLLM,
// llama.cpp, SGLang, another gateway.
//
// A [Pool] is the servers of one model. It balances by what each has in hand until
// the end of its bodies, prefers the server that has seen a prompt's beginning,
// leaves alone the ones that fail, and asks another one as long as the client has
// got no byte.
//
// Bytes go through in both directions. The gateway writes model, the token bound
// and stream_options; of the answer it takes away only a usage chunk that it asked
// for itself. The exception are answers that inverse nucleus sampling opens, in two
// steps of which the client sees one answer ([Options].Inverse). No header of the
// caller's goes upstream, and no field of the deny list ([Denied]). An answer that ends
// early is an error, never an end. Start with [New].
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/sampler"
)

const (
	idlePerHost = 256             // connections kept for reuse
	idleTime    = 4 * time.Second // vLLM's and llama.cpp's servers close theirs after 5
)

// Server is one OpenAI-style server.
type Server struct {
	URL   string // ends in /v1
	Model string // the model's name there; empty: as the client named it
	Key   []byte // sent as a bearer token; empty: none
	// Deny are fields that it is never sent, beside [Denied]; Allow takes from both.
	Deny, Allow []string
	// Continue is how it continues an answer whose first word is given: [VLLM],
	// [LlamaCPP] or [Completions]. Empty: not at all, so that its answers are never
	// opened by inverse nucleus sampling.
	Continue string
}

// Options are a pool's servers and how they are asked.
type Options struct {
	Servers  []Server
	Fallback []Server // asked when none of Servers can answer

	Connect time.Duration // bounds dialling. Zero: 5 seconds
	// Headers bounds the wait for an answer's headers; of one that is not streamed
	// they come with its end. Zero: as Silent.
	Headers time.Duration
	Silent  time.Duration // bounds the wait between bytes. Zero: 2 minutes

	Attempts int // servers asked for one answer at most. Zero: 3
	// Affinity is how many bytes of a prompt choose the server that is preferred,
	// since it may still hold what it computed of them. Zero: 1024; negative: none.
	Affinity int
	// CheckPath is asked for below each URL, every Check. Zero: /models, 5 seconds;
	// a negative Check: never.
	CheckPath string
	Check     time.Duration

	// Inverse opens a share of the answers, in two steps. nil: none. Its Where is First.
	Inverse *sampler.Inverse
}

func (o Options) filled() Options {
	zero(&o.Connect, 5*time.Second)
	zero(&o.Silent, 2*time.Minute)
	zero(&o.Headers, o.Silent)
	zero(&o.Attempts, 3)
	zero(&o.Affinity, 1024)
	zero(&o.CheckPath, "/models")
	zero(&o.Check, 5*time.Second)
	return o
}

func zero[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

// Pool implements gateway.Backend. Close it.
type Pool struct {
	o      Options
	client *transport   // follows no redirect: it would carry the key to a place that nobody configured
	tiers  [2][]*server // Servers, Fallback
	shaped tally        // of the answers that inverse nucleus sampling was to open

	mu   sync.Mutex // of the servers' health
	stop context.CancelFunc
	wait sync.WaitGroup
}

// New checks the options. It does not connect: an upstream may come up later.
func New(o Options) (*Pool, error) {
	if len(o.Servers) == 0 {
		return nil, errors.New("upstream: at least one server is required")
	}
	if i := o.Inverse; i != nil {
		if err := i.Validate(); err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		if i.Where == sampler.Sentences {
			return nil, errors.New("upstream: inverse_nucleus.where can only be first: what a server generates is not looked at token by token")
		}
	}
	p := &Pool{o: o.filled()}
	for tier, list := range [...][]Server{o.Servers, o.Fallback} {
		for _, s := range list {
			one, err := newServer(s)
			if err != nil {
				return nil, err
			}
			p.tiers[tier] = append(p.tiers[tier], one)
		}
	}
	dialer := &net.Dialer{Timeout: p.o.Connect, KeepAlive: 30 * time.Second}
	p.client = &transport{dial: dialer.DialContext, shake: p.o.Connect, most: idlePerHost, expire: idleTime}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	if p.o.Check > 0 {
		p.each(func(s *server) { p.wait.Go(func() { p.watch(ctx, s) }) })
	}
	return p, nil
}

func (p *Pool) each(do func(*server)) {
	for _, tier := range p.tiers {
		for _, s := range tier {
			do(s)
		}
	}
}

// Close ends the health checks and drops idle connections.
func (p *Pool) Close() {
	p.stop()
	p.wait.Wait()
	p.client.close()
}

// Describe implements gateway.Backend: an upstream's weights cannot be seen.
func (p *Pool) Describe(m *openai.Model) {
	m.Attested = false
	p.each(func(s *server) {
		if s.Continue != "" {
			m.InverseNucleus = gateway.ShowInverse(p.o.Inverse)
		}
	})
}

// Generate implements gateway.Backend. It returns when the answer has begun: until
// then nothing has reached the client, and a server that failed is replaced.
func (p *Pool) Generate(ctx context.Context, c gateway.Call) (gateway.Answer, error) {
	skip, refusal := p.deniers(c.Request)
	if refusal != nil {
		return nil, refusal
	}
	prefix := c.Request.Prefix(p.o.Affinity)
	if a := p.opened(ctx, c, prefix, skip); a != nil {
		return a, nil
	}
	var f *failure
	for attempt := 0; attempt < p.o.Attempts; attempt++ {
		s := p.pick(time.Now(), prefix, skip)
		if s == nil {
			break
		}
		a, failed := p.ask(ctx, s, c, nil)
		if failed == nil {
			return a, nil
		}
		if failed.fault == stale && f == nil {
			attempt-- // the server had closed the connection meanwhile: ask it anew
		} else {
			skip = append(skip, s)
			if failed.fault == stale {
				failed.fault = servers
			}
		}
		p.settle(s, failed, false)
		if f = failed; f.fault == callers {
			break
		}
	}
	return nil, worded(f)
}

// deniers are the servers that must not see this request; a refusal if all are.
func (p *Pool) deniers(r *openai.Request) (all []*server, refusal error) {
	count := 0
	p.each(func(s *server) {
		count++
		if e := s.denied(r); e != nil {
			all, refusal = append(all, s), e
		}
	})
	if len(all) < count {
		refusal = nil
	}
	return all, refusal
}

// ask sends the request to one server and waits for the first bytes. o is the word
// that the request continues; nil: none.
func (p *Pool) ask(ctx context.Context, s *server, c gateway.Call, o *opening) (*answer, *failure) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &answer{pool: p, server: s, cancel: cancel, ctx: ctx, silent: p.o.Silent, call: c, meter: meter{opening: o}}
	a.watchdog = time.AfterFunc(p.o.Headers, func() { cancel(errSilent) })
	if f := a.begin(); f != nil {
		a.abandon()
		return nil, f
	}
	return a, nil
}

// failure is why a server did not answer, or not to the end.
type failure struct {
	*openai.Error
	fault fault
}

// fault is whose failure it is.
type fault uint8

const (
	callers fault = iota // the request's, or it was ended from this side
	busy                 // the server works, but not for this request now
	stale                // it closed the connection that the request was sent on
	servers              // it answered wrongly, or not in time
	gone                 // no connection
)

// worded is what a caller is told whom no server answered: nil is that none was asked.
func worded(f *failure) error {
	if f != nil && f.fault != gone {
		return f.Error
	}
	e := &openai.Error{
		Status: http.StatusServiceUnavailable, Code: "upstream_unavailable", Retry: true, RetryAfter: time.Second,
		Message: "None of the model's servers can be asked now. Send the request again.",
	}
	if f != nil {
		e.Cause = f.Cause
	}
	return e
}

// refused decides which of an upstream's refusals are the caller's. One about our
// own key or license there is not.
func refused(kind openai.Kind, e *openai.Error) *failure {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		if e.Raw != nil {
			return &failure{e, callers}
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &failure{&openai.Error{
			Status: http.StatusServiceUnavailable, Code: "overloaded", Retry: true, RetryAfter: min(e.RetryAfter, 30*time.Second),
			Cause: plain(e), Message: "The model's server is busy. Send the request again.",
		}, busy}
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		if kind == openai.Embedding || kind == openai.Response {
			return &failure{openai.NoEndpoint(kind), callers}
		}
	}
	bad := broken(plain(e))
	bad.Retry = e.Status >= http.StatusInternalServerError
	return bad
}

// plain is an upstream's refusal for the log, without its body: that may repeat
// the prompt.
func plain(e *openai.Error) error {
	return fmt.Errorf("the upstream answered %d (code %q)", e.Status, e.Code)
}

func broken(cause error) *failure {
	return &failure{&openai.Error{
		Status: http.StatusBadGateway, Code: "upstream_error", Retry: true, Cause: cause,
		Message: "The model's server failed at this request.",
	}, servers}
}

var errSilent = &openai.Error{
	Status: http.StatusBadGateway, Code: "upstream_silent", Retry: true,
	Message: "The model's server fell silent (timeouts.headers, timeouts.silent).",
}
