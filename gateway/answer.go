package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

// answer is one request being answered, from its admission to its settlement.
type answer struct {
	s           *Server
	svc         *service // held until the end
	id          string   // x-request-id
	pass        pass
	scope       policy.Scope
	credential  []byte       // to ask again whether it still stands
	confirmed   time.Time    // when it last did; of askCallers
	looks       atomic.Int64 // at its license that are wanted; 0: none is under way
	began       time.Time
	reservation *limit.Reservation // nil until the budget is charged
	record      *usage.Record      // nil until the ledger has it
	backend     Answer             // nil until the backend has accepted
	queued      bool               // it has one of its model's places
	tokens      int                // of the answer, when it last had more
	grew        time.Time          // when that was; zero: it has none yet
	handed      bool               // a stream is ended by fasthttp closing it
	status      string             // for the ledger; "" while a stream runs
	answered    int                // with this HTTP status
	trail       *trail             // nil: not traced
	seal        *seal              // nil: not to be signed

	ctx     context.Context
	cancel  context.CancelCauseFunc
	release context.CancelFunc
	conn    *conn
}

func (x *exchange) chat() error       { return x.generate(openai.Chat, policy.ScopeChat) }
func (x *exchange) completion() error { return x.generate(openai.Completion, policy.ScopeCompletions) }
func (x *exchange) embedding() error  { return x.generate(openai.Embedding, policy.ScopeEmbeddings) }
func (x *exchange) response() error   { return x.generate(openai.Response, policy.ScopeChat) }

// generate answers one generation request, up to the first byte of a stream.
func (x *exchange) generate(kind openai.Kind, scope policy.Scope) error {
	t := x.trail(kind)
	a, call, err := x.accept(kind, scope, t)
	if err != nil {
		e := asError(err)
		t.end(e.Code, e.Status, openai.Usage{})
		return e
	}
	defer a.unlessHanded() // also if what follows panics
	if err := a.start(call); err != nil {
		return a.failed(err)
	}
	rateHeaders(&x.http.Response.Header, a.reservation)
	if a.pass.grant.Stale {
		x.http.Response.Header.Set("x-fealty-license", "stale")
	}
	if call.Request.Stream {
		x.stream(a)
		return nil
	}
	return x.whole(a)
}

// accept reads the request and asks whether its caller may send it.
func (x *exchange) accept(kind openai.Kind, scope policy.Scope, t *trail) (*answer, Call, error) {
	t.enter(x.ctx, "authorise", trace.SpanKindInternal)
	caller, err := x.caller()
	if err != nil {
		return nil, Call{}, err
	}
	body, err := x.jsonBody()
	if err != nil {
		return nil, Call{}, err
	}
	request, err := openai.Parse(kind, body)
	if err != nil {
		return nil, Call{}, err
	}
	if request.Stream && !x.http.Request.Header.IsHTTP11() {
		return nil, Call{}, errNoChunks
	}
	p, err := x.svc.admit(x.ctx, x.now, caller, request.Model, scope)
	if err != nil {
		return nil, Call{}, err
	}
	t.about(request, p.model.cfg.Name)
	call, err := x.call(request, p.model)
	if err != nil {
		return nil, Call{}, err
	}
	a, err := x.open(p, scope)
	if err != nil {
		return nil, Call{}, err
	}
	a.trail, a.seal = t, x.seal(body)
	return a, call, nil
}

// call bounds the answer: by what was asked for, or by the model's default.
func (x *exchange) call(r *openai.Request, m *model) (Call, error) {
	most := orMax(m.cfg.MaxTokens)
	if r.MaxTokens > most {
		return Call{}, openai.Invalid(r.BoundBy(), "%s is %d; this model allows at most %d.", r.BoundBy(), r.MaxTokens, most)
	}
	tokens := r.MaxTokens
	def(&tokens, m.cfg.DefaultTokens)
	if r.ScoreOnly || r.BoundBy() == "" {
		tokens = 0
	}
	return Call{Request: r, Model: r.Model, ID: x.id[len(requestPrefix):], Created: x.now.Unix(), MaxTokens: tokens}, nil
}

// open takes one of the slots and starts watching the client.
func (x *exchange) open(p pass, scope policy.Scope) (*answer, error) {
	if x.s.held.Add(1) > int64(x.svc.cfg.Limits.Concurrent) {
		x.s.held.Add(-1)
		return nil, errOverloaded
	}
	x.svc.users.Add(1)
	a := &answer{
		s: x.s, svc: x.svc, id: x.id, pass: p, scope: scope, began: x.now, conn: connOf(x.http), status: "internal_error", answered: http.StatusInternalServerError,
		credential: bytes.Clone(credential(&x.http.Request.Header)), confirmed: time.Now(),
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	a.cancel = cancel
	a.ctx, a.release = context.WithTimeout(ctx, x.svc.cfg.Timeouts.Request)
	x.s.running.add(a)
	if a.conn != nil {
		a.conn.watch(func() { cancel(errClientGone) })
	}
	return a, nil
}

// start asks the operator's rules, waits for its turn and charges the budget, then the
// backend begins.
func (a *answer) start(call Call) (err error) {
	tokens := estimate(call.Request.PromptBytes, call.MaxTokens*call.Request.Answers())
	if err := a.svc.obey(a.began, a.pass, a.scope, call, tokens); err != nil {
		return err
	}
	a.trail.enter(a.ctx, "queue", trace.SpanKindInternal)
	if err := a.queue(tokens); err != nil {
		return err
	}
	a.trail.enter(a.ctx, "reserve", trace.SpanKindInternal)
	if a.reservation, err = a.svc.reserve(a.ctx, a.began, a.pass, a.scope, tokens); err != nil {
		return err
	}
	if a.record, err = a.svc.deps.Ledger.Begin(usage.Entry{
		Time: a.began, Request: a.id, Subject: a.pass.caller.Subject, KeyID: a.pass.caller.KeyID,
		Model: a.pass.model.cfg.Name, Version: a.pass.model.cfg.License.Version,
	}); err != nil {
		return stateUnavailable(err)
	}
	a.backend, err = a.pass.model.Backend.Generate(a.trail.enter(a.ctx, "generate", trace.SpanKindClient), call)
	return err
}

// queue waits for one of the model's places.
func (a *answer) queue(tokens uint64) error {
	m, began := a.pass.model, time.Now()
	err := m.queue.enter(a.ctx, a.pass.caller.Subject, a.pass.grant.Final.PlanVersion, tokens)
	m.metrics.queued.Update(time.Since(began).Seconds())
	a.queued = err == nil
	return err
}

// why is what to say of an error: what ended the context comes first, since the
// backend then only reports that it was interrupted.
func (a *answer) why(err error) *openai.Error {
	if e := cutBy(a.ctx); e != nil {
		return e
	}
	return asError(err)
}

func (a *answer) failed(err error) error {
	e := a.why(err)
	a.status, a.answered = e.Code, e.Status
	return e
}

// unlessHanded ends the answer, unless fasthttp now has it as a stream.
func (a *answer) unlessHanded() {
	if !a.handed {
		a.end()
	}
}

// whole sends an answer that is not streamed.
func (x *exchange) whole(a *answer) error {
	body, err := collect(a.backend)
	if err != nil {
		return a.failed(err)
	}
	a.status, a.answered = "ok", http.StatusOK
	x.http.SetContentType("application/json")
	x.http.Response.SetBodyRaw(body)
	if a.seal != nil {
		a.seal.answer.Write(body)
		if signature := a.signature(); signature != nil {
			x.http.Response.Header.SetBytesV(wallet.SignatureHeader, signature)
		}
	}
	x.s.metrics.request("ok")
	return nil
}

func collect(b Answer) ([]byte, error) {
	var body []byte
	for {
		part, err := b.Next()
		body = append(body, part...)
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// stream hands the answer to fasthttp, which reads it after the handler returns.
func (x *exchange) stream(a *answer) {
	x.http.SetContentType("text/event-stream; charset=utf-8")
	x.http.Response.Header.Set("cache-control", "no-cache")
	x.http.Response.Header.Set("x-accel-buffering", "no")
	x.http.Response.ImmediateHeaderFlush = true
	x.http.SetBodyStream(&stream{answer: a}, -1)
	a.handed, a.status, a.answered = true, "", http.StatusOK
	x.s.metrics.request("ok")
}

// stream is a streamed answer as fasthttp wants it: each Read becomes one chunk on
// the wire.
type stream struct {
	*answer
	rest []byte // of the backend's last bytes
}

// Read returns the next bytes of the answer. A stream that is cut ends with an
// error event and without [DONE]; only then is the chunked body ended properly.
func (s *stream) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.fail(s.s.panicked(s.id, r, debug.Stack()))
			n, err = s.take(p), nil
		}
	}()
	if len(s.rest) == 0 && s.status == "" {
		s.advance()
	}
	if len(s.rest) == 0 {
		if s.status == errClientGone.Code {
			return 0, errClientGone
		}
		return 0, io.EOF
	}
	return s.take(p), nil
}

func (s *stream) take(p []byte) int {
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n
}

func (s *stream) advance() {
	part, err := s.next()
	switch {
	case errors.Is(err, io.EOF):
		s.status = "ok"
		if signature := s.signature(); signature != nil {
			s.rest = append(append([]byte(wallet.SignatureComment), signature...), '\n')
		}
	case err != nil:
		s.fail(s.why(err))
	default:
		used := s.backend.Usage()
		s.record.Progress(used.PromptTokens, used.CompletionTokens)
		s.rest = part
		if s.seal != nil {
			s.seal.addEvents(part)
		}
		s.timed(used.CompletionTokens)
	}
}

// next lets heartbeats through while the backend is waited for, and only then.
func (s *stream) next() ([]byte, error) {
	s.conn.silent(true)
	defer s.conn.silent(false) // also if it panics
	return s.backend.Next()
}

// timed measures from the request to its first token, and between tokens. Of tokens
// that come together each counts with its share of the gap.
func (a *answer) timed(tokens int) {
	fresh := tokens - a.tokens
	if fresh <= 0 {
		return
	}
	now := time.Now()
	if a.grew.IsZero() {
		a.trail.token()
		a.pass.model.metrics.first.Update(now.Sub(a.began).Seconds())
		if o, ok := a.backend.(Opened); ok && o.Opened() {
			a.pass.model.metrics.opened.Update(now.Sub(a.began).Seconds())
		}
	} else {
		a.pass.model.metrics.gap.Update(now.Sub(a.grew).Seconds() / float64(fresh))
	}
	a.tokens, a.grew = tokens, now
}

// fail makes the terminal event.
func (s *stream) fail(e *openai.Error) {
	s.status = e.Code
	s.s.metrics.cut(e.Code)
	s.s.log.Warn("stream cut", "request", s.id, "code", e.Code, "cause", e.Cause)
	if e != errClientGone {
		body := e.AppendBody(nil)
		if e.Raw != nil { // a raw body may hold line breaks, an event may not
			clean := *e
			clean.Raw = nil
			body = clean.AppendBody(nil)
		}
		s.rest = openai.AppendEvent(nil, body)
	}
}

// Close is called by fasthttp when the stream was sent, or could not be.
func (s *stream) Close() error {
	if s.status == "" { // the write failed before the watcher saw the client leave
		s.status = errClientGone.Code
		s.s.metrics.cut(s.status)
	}
	s.end()
	return nil
}

// end frees everything and settles what was used, however the answer ended.
func (a *answer) end() {
	used := openai.Usage{}
	if a.backend != nil {
		a.backend.Close()
		used = a.backend.Usage()
	}
	if a.conn != nil {
		a.conn.unwatch()
	}
	a.release()
	a.cancel(nil)
	a.s.running.remove(a)
	a.settle(used)
	a.trail.end(a.status, a.answered, used)
	a.log(used)
	if a.queued {
		a.pass.model.queue.leave()
	}
	a.s.held.Add(-1)
	a.svc.release()
}

func (a *answer) settle(used openai.Usage) {
	if a.reservation != nil {
		a.reservation.Settle(uint64(used.PromptTokens + used.CompletionTokens))
	}
	if a.record != nil {
		a.record.End(a.status, used.PromptTokens, used.CompletionTokens)
		a.pass.model.metrics.spent(used)
		a.s.metrics.key(a.pass.caller.KeyID, used)
	}
}

// log writes a line about an answer, if the operator wants one for each. It holds what
// the ledger holds: no prompt, no answer, no credential.
func (a *answer) log(used openai.Usage) {
	if !a.svc.cfg.Log.Requests {
		return
	}
	a.s.log.Info("answered", "request", a.id, "model", a.pass.model.cfg.Name, "account", a.pass.caller.Account, "key", a.pass.caller.KeyID,
		"status", a.answered, "code", a.status, "prompt_tokens", used.PromptTokens, "completion_tokens", used.CompletionTokens,
		"seconds", time.Since(a.began).Seconds())
}

// panicked is the one place where a panic becomes an error, a log line and a count.
func (s *Server) panicked(id string, value any, stack []byte) *openai.Error {
	s.metrics.panics.Inc()
	s.log.Error("panic", "request", id, "value", fmt.Sprint(value), "stack", string(stack))
	return &openai.Error{
		Status: http.StatusInternalServerError, Code: "internal_error",
		Message: "The gateway failed at this request. Its log names the cause under the x-request-id.",
	}
}
