package gateway

import (
	"context"
	"net/http"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fealty/fealty/internal/openai"
)

// TracingConfig sends OpenTelemetry traces of generation requests to a collector. They
// hold no prompt, no answer, no credential and no account.
type TracingConfig struct {
	// Endpoint takes OTLP over HTTP, such as http://collector:4318. Empty: there are no
	// traces, and they cost nothing.
	Endpoint string `yaml:"endpoint"`
	// Sample is the share of traces that is kept, by trace id: what the caller's
	// traceparent asks for does not decide. Zero: 0.01
	Sample float64 `yaml:"sample"`
	Key    Secret  `yaml:"key"` // sent as a bearer token; unset: none
}

func (t TracingConfig) validate(errs *problems) {
	errs.need("tracing.endpoint", t.Endpoint == "" || httpURL(t.Endpoint), "an http or https URL without user and query")
	errs.need("tracing.sample", t.Sample >= 0 && t.Sample <= 1, "a share from 0 to 1")
}

// w3c is the context between processes: https://www.w3.org/TR/trace-context/
var w3c propagation.TraceContext

// Propagate writes the trace that ctx belongs to into the headers of a request to
// another server; without one, nothing.
func Propagate(ctx context.Context, h http.Header) { w3c.Inject(ctx, propagation.HeaderCarrier(h)) }

// headers are a request's, as the propagator reads them.
type headers struct{ *fasthttp.RequestHeader }

// Get implements propagation.TextMapCarrier.
func (h headers) Get(key string) string { return string(h.Peek(key)) }

// Set implements propagation.TextMapCarrier.
func (h headers) Set(key, value string) { h.RequestHeader.Set(key, value) }

// Keys implements propagation.TextMapCarrier; the propagator asks by name.
func (h headers) Keys() []string { return nil }

// trail is the trace of one request; nil if there is none.
type trail struct {
	tracer trace.Tracer
	ctx    context.Context
	root   trace.Span
	step   trace.Span // the one under way; nil: none
	first  bool       // a token was sent
}

// trail starts the trace of a generation request, as a part of the caller's if the
// request says so.
func (x *exchange) trail(kind openai.Kind) *trail {
	tracer := x.svc.deps.Tracer
	if tracer == nil {
		return nil
	}
	path := "/v1" + kind.Path()
	ctx := w3c.Extract(context.Background(), headers{&x.http.Request.Header})
	ctx, root := tracer.Start(ctx, "POST "+path, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.now), trace.WithAttributes(
		attribute.String("http.request.method", "POST"), attribute.String("http.route", path), attribute.String("fealty.request_id", x.id),
	))
	return &trail{tracer: tracer, ctx: ctx, root: root}
}

// enter ends the step under way and starts the next: authorise, queue, reserve, generate.
// The returned context is the step's.
func (t *trail) enter(ctx context.Context, step string, kind trace.SpanKind) context.Context {
	if t == nil {
		return ctx
	}
	t.leave()
	_, t.step = t.tracer.Start(t.ctx, step, trace.WithSpanKind(kind))
	return trace.ContextWithSpan(ctx, t.step)
}

func (t *trail) leave() {
	if t.step != nil {
		t.step.End()
		t.step = nil
	}
}

// about says what the request asks for.
func (t *trail) about(r *openai.Request, model string) {
	if t == nil {
		return
	}
	t.root.SetAttributes(attribute.String("gen_ai.request.model", model), attribute.Bool("fealty.stream", r.Stream),
		attribute.Int("gen_ai.request.max_tokens", r.MaxTokens))
}

// token marks the first one.
func (t *trail) token() {
	if t == nil || t.first {
		return
	}
	t.first = true
	t.root.AddEvent("first token")
}

// end closes the trace with the code that the ledger has, or that the client got.
func (t *trail) end(code string, status int, used openai.Usage) {
	if t == nil {
		return
	}
	t.leave()
	t.root.SetAttributes(attribute.Int("http.response.status_code", status),
		attribute.Int("gen_ai.usage.input_tokens", used.PromptTokens), attribute.Int("gen_ai.usage.output_tokens", used.CompletionTokens))
	if code != "ok" {
		t.root.SetAttributes(attribute.String("error.type", code))
		if status >= http.StatusInternalServerError {
			t.root.SetStatus(codes.Error, code)
		}
	}
	t.root.End()
}
