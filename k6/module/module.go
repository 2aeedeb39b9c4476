// Package module is the k6 module "k6/x/openai": ask, record and drift.
//
//	import { ask, record } from "k6/x/openai";
//	const reply = await ask("POST", url, {headers, body, timeout: "60s", tags});
//	record("samples.csv", {id: 1, ttft_ms: reply.first_ms});
//
// An exchange adds to the metrics llm_ttft, llm_gap, llm_duration (milliseconds),
// llm_frames and llm_truncated. Start with [Module].
package module

import (
	"context"
	"fmt"
	"time"

	"github.com/grafana/sobek"

	"go.k6.io/k6/js/common"
	"go.k6.io/k6/js/modules"
	"go.k6.io/k6/js/promises"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/metrics"

	"github.com/fealty/fealty/k6/exchange"
)

func init() {
	modules.Register("k6/x/openai", &Module{files: files{}, baselines: baselines{byName: map[string]*baseline{}}})
}

// Module is shared by all virtual users.
type Module struct {
	files     files
	baselines baselines
}

// NewModuleInstance implements [modules.Module].
func (m *Module) NewModuleInstance(vu modules.VU) modules.Instance {
	i := &instance{vu: vu, files: m.files, baselines: &m.baselines}
	var err error
	if i.measures, err = register(vu.InitEnv().Registry); err != nil {
		common.Throw(vu.Runtime(), err)
	}
	return i
}

type instance struct {
	vu        modules.VU
	files     files
	baselines *baselines
	measures  measures
}

// Exports implements [modules.Instance].
func (i *instance) Exports() modules.Exports {
	return modules.Exports{Named: map[string]any{"ask": i.ask, "record": i.record, "drift": i.drift}}
}

type measures struct{ first, gap, duration, frames, truncated *metrics.Metric }

func register(r *metrics.Registry) (m measures, err error) {
	for _, each := range []struct {
		into *(*metrics.Metric)
		name string
		kind metrics.MetricType
		unit metrics.ValueType
	}{
		{&m.first, "llm_ttft", metrics.Trend, metrics.Time},
		{&m.gap, "llm_gap", metrics.Trend, metrics.Time},
		{&m.duration, "llm_duration", metrics.Trend, metrics.Time},
		{&m.frames, "llm_frames", metrics.Counter, metrics.Default},
		{&m.truncated, "llm_truncated", metrics.Rate, metrics.Default},
	} {
		if *each.into, err = r.NewMetric(each.name, each.kind, each.unit); err != nil {
			return m, err
		}
	}
	return m, nil
}

// options are the third argument of ask.
type options struct {
	Headers map[string]string `js:"headers"`
	Body    string            `js:"body"`
	Timeout string            `js:"timeout"` // Go duration; empty: 60s
	Tags    map[string]string `js:"tags"`
}

// ask returns a promise of a [exchange.Reply]. It is only refused for a mistake in
// the arguments: what servers and networks do is in the reply.
func (i *instance) ask(method, url string, given sobek.Value) *sobek.Promise {
	rt, state := i.vu.Runtime(), i.vu.State()
	if state == nil {
		common.Throw(rt, fmt.Errorf("ask: not in the init context"))
	}
	var o options
	if given != nil && !sobek.IsUndefined(given) {
		if err := rt.ExportTo(given, &o); err != nil {
			common.Throw(rt, fmt.Errorf("ask: the options: %w", err))
		}
	}
	timeout := 60 * time.Second
	if o.Timeout != "" {
		var err error
		if timeout, err = time.ParseDuration(o.Timeout); err != nil {
			common.Throw(rt, fmt.Errorf("ask: timeout: %w", err))
		}
	}
	tags := state.Tags.GetCurrentValues().Tags.WithTagsFromMap(o.Tags)
	promise, resolve, _ := promises.New(i.vu)
	ctx := i.vu.Context()
	go func() {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		reply := exchange.Do(limited, state.Transport, exchange.Request{Method: method, URL: url, Headers: o.Headers, Body: o.Body})
		i.push(ctx, state, tags, reply)
		resolve(reply)
	}()
	return promise
}

// push adds an exchange to the metrics. Answers that gave no text have no times.
func (i *instance) push(ctx context.Context, state *lib.State, tags *metrics.TagSet, r *exchange.Reply) {
	now := time.Now()
	var out metrics.Samples
	add := func(m *metrics.Metric, value float64) {
		out = append(out, metrics.Sample{TimeSeries: metrics.TimeSeries{Metric: m, Tags: tags}, Time: now, Value: value})
	}
	if r.OK() {
		add(i.measures.duration, r.TotalMS)
	}
	if r.Stream {
		if r.FirstMS > 0 {
			add(i.measures.first, r.FirstMS)
		}
		for _, gap := range r.GapsMS {
			add(i.measures.gap, gap)
		}
		add(i.measures.frames, float64(r.Frames))
		truncated := 0.0
		if r.Truncated {
			truncated = 1
		}
		add(i.measures.truncated, truncated)
	}
	if len(out) > 0 {
		metrics.PushIfNotDone(ctx, state.Samples, out)
	}
}
