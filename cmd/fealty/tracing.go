package main

import (
	"context"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fealty/fealty/gateway"
)

// openTracing makes what sends traces to the config's collector, in batches and in the
// background; nil without one. A collector that is away loses traces, never requests.
func (n *node) openTracing(ctx context.Context, cfg gateway.Config) (trace.Tracer, error) {
	t := cfg.Tracing
	if t.Endpoint == "" {
		return nil, nil
	}
	key, err := optional(t.Key)
	if err != nil {
		return nil, err
	}
	provider, err := hold(n, "tracing", []any{t, key, cfg.Deployment}, func() (*sdktrace.TracerProvider, error) {
		return n.startTracing(ctx, t, key, cfg.Deployment)
	})
	if err != nil {
		return nil, err
	}
	return provider.Tracer("github.com/fealty/fealty/gateway"), nil
}

func (n *node) startTracing(ctx context.Context, t gateway.TracingConfig, key, deployment string) (*sdktrace.TracerProvider, error) {
	endpoint, err := url.Parse(t.Endpoint)
	if err != nil {
		return nil, err
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/v1/traces"
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(endpoint.String()), otlptracehttp.WithTimeout(10 * time.Second)}
	if key != "" {
		options = append(options, otlptracehttp.WithHeaders(map[string]string{"Authorization": "Bearer " + key}))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { n.log.Warn("traces were lost", "cause", err) }))
	sample := t.Sample
	if sample == 0 {
		sample = 0.01
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.TraceIDRatioBased(sample)), // not the caller's flag: anyone can set it
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "fealty"), attribute.String("service.version", version),
			attribute.String("service.namespace", deployment),
		)),
	)
	n.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = provider.Shutdown(ctx) // what cannot be sent any more is lost, and said by the handler
		return nil
	})
	return provider, nil
}
