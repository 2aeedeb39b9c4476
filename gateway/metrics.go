package gateway

import (
	"fmt"
	"io"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"github.com/fealty/fealty/internal/openai"
)

// counters is what /metrics shows; docs/metrics.md explains each. Labels come from
// bounded sets: codes, the models of the config, and so many API keys.
type counters struct {
	set            *metrics.Set
	panics         *metrics.Counter
	requests, cuts *byCode
	reloads        [2]*metrics.Counter // refused, loaded

	mu   sync.Mutex
	keys map[string]*keyMetrics
	most int // of keys
}

// modelMetrics are one model's.
type modelMetrics struct {
	queued, first, opened, gap *metrics.Histogram
	prompt, completion         *metrics.Counter
}

// keyMetrics are one API key's.
type keyMetrics struct{ requests, tokens *metrics.Counter }

func newCounters(s *Server) *counters {
	set := metrics.NewSet()
	set.NewGauge("fealty_answers_running", func() float64 { return float64(s.held.Load()) })
	set.NewGauge("fealty_draining", func() float64 { return truth(s.unready.Load()) })
	set.NewGauge("fealty_certificate_expires_seconds", func() float64 { return s.certificates.left().Seconds() })
	set.NewGauge("fealty_state_lost", func() float64 { return truth(s.current.Load().deps.Identities.Err() != nil) })
	set.NewGauge("fealty_usage_records_waiting", func() float64 { return float64(s.current.Load().deps.Ledger.Waiting()) })
	c := &counters{
		set: set, panics: set.NewCounter("fealty_panics_total"), keys: map[string]*keyMetrics{},
		requests: &byCode{set: set, name: "fealty_requests_total", codes: map[string]*metrics.Counter{}},
		cuts:     &byCode{set: set, name: "fealty_streams_cut_total", codes: map[string]*metrics.Counter{}},
	}
	for i, result := range [...]string{"refused", "loaded"} {
		c.reloads[i] = set.NewCounter(fmt.Sprintf("fealty_reloads_total{result=%q}", result))
	}
	c.requests.add("ok") // so that both are there from the start
	c.cuts.add(errClientGone.Code)
	return c
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (c *counters) model(name string, q *queue) *modelMetrics {
	label := fmt.Sprintf("{model=%q}", name)
	c.set.NewGauge("fealty_requests_waiting"+label, func() float64 { return float64(q.length()) })
	return &modelMetrics{
		queued:     c.set.NewHistogram("fealty_queue_seconds" + label),
		first:      c.set.NewHistogram("fealty_time_to_first_token_seconds" + label),
		opened:     c.set.NewHistogram("fealty_inverse_nucleus_first_token_seconds" + label),
		gap:        c.set.NewHistogram("fealty_inter_token_seconds" + label),
		prompt:     c.set.NewCounter(fmt.Sprintf("fealty_tokens_total{model=%q,kind=\"prompt\"}", name)),
		completion: c.set.NewCounter(fmt.Sprintf("fealty_tokens_total{model=%q,kind=\"completion\"}", name)),
	}
}

func (m *modelMetrics) spent(u openai.Usage) {
	m.prompt.Add(u.PromptTokens)
	m.completion.Add(u.CompletionTokens)
}

// request counts an answered request by "ok" or the code of its refusal.
func (c *counters) request(code string) { c.requests.count(code) }

// cut counts a stream that ended early.
func (c *counters) cut(code string) { c.cuts.count(code) }

// byCode are counters with a label for the code.
type byCode struct {
	set   *metrics.Set
	name  string
	mu    sync.RWMutex
	codes map[string]*metrics.Counter
}

// maxCodes bounds the label: ours are some fifty, an upstream's own are its business.
const maxCodes = 100

func (b *byCode) count(code string) {
	b.mu.RLock()
	c := b.codes[code]
	b.mu.RUnlock()
	if c == nil {
		c = b.add(code)
	}
	c.Inc()
}

func (b *byCode) add(code string) *metrics.Counter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.codes) >= maxCodes || !plainName(code) || len(code) > 40 {
		code = "other"
	}
	if b.codes[code] == nil {
		b.codes[code] = b.set.NewCounter(fmt.Sprintf("%s{code=%q}", b.name, code))
	}
	return b.codes[code]
}

// key counts what an API key used. Only so many have counters of their own: the first
// ones since the start. Tokens, which live for minutes, have none.
func (c *counters) key(id string, u openai.Usage) {
	if k := c.ofKey(id); k != nil {
		k.requests.Inc()
		k.tokens.Add(u.PromptTokens + u.CompletionTokens)
	}
}

func (c *counters) allow(keys int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = keys
}

func (c *counters) ofKey(id string) *keyMetrics {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most == 0 || id == "" {
		return nil
	}
	if c.keys[id] == nil && len(c.keys) >= c.most {
		id = "other"
	}
	k := c.keys[id]
	if k == nil {
		k = &keyMetrics{
			requests: c.set.NewCounter(fmt.Sprintf("fealty_key_requests_total{key=%q}", id)),
			tokens:   c.set.NewCounter(fmt.Sprintf("fealty_key_tokens_total{key=%q}", id)),
		}
		c.keys[id] = k
	}
	return k
}

// writeUpstreams shows the servers that the models' backends ask.
func (s *service) writeUpstreams(w io.Writer) {
	for _, m := range s.listed {
		writeOpenings(w, m)
		servers, ok := m.Backend.(Reporter)
		if !ok {
			continue
		}
		for i, u := range servers.Stats() {
			label := fmt.Sprintf("{model=%q,upstream=\"%d\",url=%q}", m.cfg.Name, i+1, u.URL)
			metrics.WriteGaugeUint64(w, "fealty_upstream_healthy"+label, uint64(truth(u.Healthy)))
			metrics.WriteGaugeUint64(w, "fealty_upstream_in_flight"+label, uint64(max(0, u.InFlight)))
			metrics.WriteCounterUint64(w, "fealty_upstream_requests_total"+label, u.Requests)
			metrics.WriteCounterUint64(w, "fealty_upstream_failures_total"+label, u.Failures)
			metrics.WriteCounterUint64(w, "fealty_upstream_rests_total"+label, u.Rests)
		}
	}
}

// writeOpenings shows what inverse nucleus sampling did to answers from elsewhere.
func writeOpenings(w io.Writer, m *model) {
	o, ok := m.Backend.(Opener)
	if !ok {
		return
	}
	for _, one := range o.Openings() {
		metrics.WriteCounterUint64(w, fmt.Sprintf("fealty_inverse_nucleus_total{model=%q,result=%q}", m.cfg.Name, one.Result), one.Count)
	}
}
