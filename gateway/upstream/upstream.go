// Package upstream answers OpenAI requests from a server behind a URL: vLLM,
// llama.cpp, another gateway.
//
// Bytes go through in both directions. The gateway writes model, the token bound
// and stream_options; of the answer it takes away only a usage chunk that it asked
// for itself. No header of the caller's goes upstream. An answer that ends early
// is an error, never an end. Start with [New].
package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
)

const (
	maxReply    = 32 << 20 // bytes of an answer that is not streamed
	idlePerHost = 256      // connections kept for reuse
)

// Options is where and how to ask.
type Options struct {
	URL   string // ends in /v1
	Model string // the model's name there; empty: as the client named it
	Key   []byte // sent as a bearer token; empty: none
	// Silent bounds the wait for the headers and between bytes. Zero: 2 minutes.
	Silent  time.Duration
	Connect time.Duration // bounds dialling. Zero: 5 seconds
}

// Backend implements gateway.Backend. Close it.
type Backend struct {
	o      Options
	client *http.Client
}

// New checks the options. It does not connect: an upstream may come up later.
func New(o Options) (*Backend, error) {
	if !strings.HasPrefix(o.URL, "http://") && !strings.HasPrefix(o.URL, "https://") {
		return nil, errors.New("upstream: url must begin with http:// or https://")
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if o.Silent == 0 {
		o.Silent = 2 * time.Minute
	}
	if o.Connect == 0 {
		o.Connect = 5 * time.Second
	}
	dialer := &net.Dialer{Timeout: o.Connect, KeepAlive: 30 * time.Second}
	return &Backend{o: o, client: &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: o.Connect,
			MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: 60 * time.Second,
			// Bytes go through: whatever encoding the upstream uses must be plain.
			DisableCompression: true,
		},
		// A redirect would carry the key to a place that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close drops idle connections.
func (b *Backend) Close() { b.client.CloseIdleConnections() }

// Describe implements gateway.Backend: an upstream's weights cannot be seen.
func (b *Backend) Describe(m *openai.Model) { m.Attested = false }

// Generate implements gateway.Backend.
func (b *Backend) Generate(ctx context.Context, c gateway.Call) (gateway.Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &answer{cancel: cancel, ctx: ctx, silent: b.o.Silent, call: c}
	a.watchdog = time.AfterFunc(b.o.Silent, func() { cancel(errSilent) })
	resp, err := b.send(ctx, c) //nolint:bodyclose // the answer closes it
	if err != nil {
		a.Close()
		return nil, a.failure(err)
	}
	a.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		defer a.Close()
		return nil, refused(openai.ReadError(resp))
	}
	if err := a.expect(resp); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (b *Backend) send(ctx context.Context, c gateway.Call) (*http.Response, error) {
	model := b.o.Model
	if model == "" {
		model = c.Model
	}
	body := c.Request.Rewrite(nil, model, c.MaxTokens)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.o.URL+c.Request.Kind.Path(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "fealty")
	if len(b.o.Key) > 0 {
		req.Header.Set("Authorization", "Bearer "+string(b.o.Key))
	}
	return b.client.Do(req)
}

// refused decides which of an upstream's refusals are the caller's. One about our
// own key or license there is not.
func refused(e *openai.Error) *openai.Error {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		if e.Raw != nil {
			return e
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &openai.Error{
			Status: http.StatusServiceUnavailable, Code: "overloaded", Retry: true, RetryAfter: min(e.RetryAfter, 30*time.Second),
			Cause: plain(e), Message: "The model's server is busy. Send the request again.",
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

func broken(cause error) *openai.Error {
	return &openai.Error{
		Status: http.StatusBadGateway, Code: "upstream_error", Retry: true, Cause: cause,
		Message: "The model's server failed at this request.",
	}
}

var errSilent = &openai.Error{
	Status: http.StatusBadGateway, Code: "upstream_silent", Retry: true,
	Message: "The model's server fell silent (timeouts.silent).",
}

// answer implements gateway.Answer.
type answer struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	silent   time.Duration
	call     gateway.Call
	body     io.ReadCloser
	events   *openai.EventReader // nil: not a stream
	usage    openai.Usage
	chunks   int  // with content: the measure while no usage is known
	metered  bool // the upstream told its usage
	finished bool
}

// expect checks that the answer is of the kind that was asked for.
func (a *answer) expect(resp *http.Response) error {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	want := "application/json"
	if a.call.Request.Stream {
		want = "text/event-stream"
		a.events = openai.NewEventReader(resp.Body)
	}
	if !strings.EqualFold(strings.TrimSpace(kind), want) {
		return broken(fmt.Errorf("the upstream sent Content-Type %q, want %s", kind, want))
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return broken(fmt.Errorf("the upstream sent Content-Encoding %q", e))
	}
	return nil
}

// Next implements gateway.Answer.
func (a *answer) Next() ([]byte, error) {
	if a.finished {
		return nil, io.EOF
	}
	a.watchdog.Reset(a.silent)
	if a.events == nil {
		return a.whole()
	}
	for {
		event, err := a.events.Next()
		if err != nil {
			return nil, a.failure(fmt.Errorf("the stream ended before %s: %w", openai.Done, err))
		}
		if string(event.Data) == openai.Done {
			a.finished = true
			return event.Raw, nil
		}
		send, err := a.meter(event)
		if err != nil {
			return nil, err
		}
		if send {
			return event.Raw, nil
		}
	}
}

func (a *answer) whole() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(a.body, maxReply+1))
	switch {
	case err != nil:
		return nil, a.failure(err)
	case len(body) > maxReply:
		return nil, broken(fmt.Errorf("the upstream's answer is larger than %d bytes", maxReply))
	}
	var reply struct {
		Choices []json.RawMessage `json:"choices"`
		Usage   *openai.Usage     `json:"usage"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, broken(fmt.Errorf("the upstream's answer is not JSON: %w", err))
	}
	if a.chunks = a.call.MaxTokens; reply.Usage != nil {
		a.told(*reply.Usage)
	}
	a.finished = true
	return body, nil
}

// meter reads what the gateway must know of an event, and says whether the client
// gets it: all but a usage chunk that it did not ask for.
func (a *answer) meter(event openai.Event) (send bool, err error) {
	if event.Data == nil {
		return true, nil
	}
	var chunk struct {
		Choices []json.RawMessage `json:"choices"`
		Usage   *openai.Usage     `json:"usage"`
		Error   json.RawMessage   `json:"error"`
	}
	if err := json.Unmarshal(event.Data, &chunk); err != nil {
		return false, broken(fmt.Errorf("the upstream sent an event that is not JSON: %w", err))
	}
	if len(chunk.Error) > 0 && string(chunk.Error) != "null" {
		return false, a.cut(chunk.Error)
	}
	if chunk.Usage != nil {
		a.told(*chunk.Usage)
	}
	if len(chunk.Choices) > 0 {
		a.chunks++
		return true, nil
	}
	return chunk.Usage == nil || a.call.Request.IncludeUsage, nil
}

func (a *answer) told(u openai.Usage) {
	if u.PromptTokens >= 0 && u.CompletionTokens >= 0 {
		a.usage, a.metered = openai.Spent(u.PromptTokens, u.CompletionTokens), true
	}
}

// cut is the upstream's own mid-stream error, passed on with its message and code.
func (a *answer) cut(raw json.RawMessage) error {
	var said struct {
		Message string `json:"message"`
		Code    any    `json:"code"`
	}
	e := broken(errors.New("the upstream sent an error inside the stream"))
	if json.Unmarshal(raw, &said) == nil && said.Message != "" {
		e.Message = said.Message
		if code, ok := said.Code.(string); ok && code != "" {
			e.Code = code
		}
	}
	return e
}

// failure words a transport error; a context that was ended says why itself.
func (a *answer) failure(err error) error {
	var e *openai.Error
	if cause := context.Cause(a.ctx); cause != nil && errors.As(cause, &e) {
		return e
	}
	return broken(err)
}

// Usage implements gateway.Answer. Without the upstream's word, as when a stream
// was cut, every chunk counts as a token and every three bytes of the prompt.
func (a *answer) Usage() openai.Usage {
	if a.metered {
		return a.usage
	}
	if a.chunks == 0 {
		return openai.Usage{}
	}
	return openai.Spent((a.call.Request.PromptBytes+2)/3, a.chunks)
}

// Close implements gateway.Answer. An unfinished answer's connection is closed,
// not reused.
func (a *answer) Close() {
	a.watchdog.Stop()
	if a.body != nil && a.finished {
		_, _ = io.CopyN(io.Discard, a.body, 4<<10) // what follows [DONE] lets the connection be reused
	}
	a.cancel(nil)
	if a.body != nil {
		_ = a.body.Close()
	}
}
