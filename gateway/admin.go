package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/fealty/fealty/internal/openai"
)

// counters is what /metrics shows. Labels come from fixed sets: codes, and the
// models of the config.
type counters struct {
	set    *metrics.Set
	panics *metrics.Counter
	first  *metrics.Histogram
}

func newCounters(s *Server) *counters {
	set := metrics.NewSet()
	set.NewGauge("fealty_answers_running", func() float64 { return float64(len(s.slots)) })
	set.NewGauge("fealty_state_lost", func() float64 {
		if s.deps.Identities.Err() != nil {
			return 1
		}
		return 0
	})
	set.NewGauge("fealty_usage_records_waiting", func() float64 { return float64(s.deps.Ledger.Waiting()) })
	return &counters{
		set:    set,
		panics: set.NewCounter("fealty_panics_total"),
		first:  set.NewHistogram("fealty_first_byte_seconds"),
	}
}

// request counts an answered request by "ok" or the code of its refusal.
func (c *counters) request(code string) {
	c.set.GetOrCreateCounter(fmt.Sprintf("fealty_requests_total{code=%q}", known(code))).Inc()
}

// cut counts a stream that ended early.
func (c *counters) cut(code string) {
	c.set.GetOrCreateCounter(fmt.Sprintf("fealty_streams_cut_total{code=%q}", known(code))).Inc()
}

// known bounds the label: an upstream's own codes are its own business.
func known(code string) string {
	if plainName(code) && len(code) <= 40 {
		return code
	}
	return "other"
}

func (c *counters) firstByte(after time.Duration) { c.first.Update(after.Seconds()) }

func (c *counters) tokens(model string, u openai.Usage) {
	c.set.GetOrCreateCounter(fmt.Sprintf("fealty_tokens_total{model=%q,kind=\"prompt\"}", model)).Add(u.PromptTokens)
	c.set.GetOrCreateCounter(fmt.Sprintf("fealty_tokens_total{model=%q,kind=\"completion\"}", model)).Add(u.CompletionTokens)
}

// admitted checks the second listener's own token, if one is set.
func (x *exchange) admitted() error {
	if !x.s.cfg.Admin.Token.Set() {
		return nil
	}
	want, err := x.s.cfg.Admin.Token.Resolve()
	if err != nil {
		return internalError(err)
	}
	a, b := sha256.Sum256(want), sha256.Sum256(credential(&x.http.Request.Header))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return unauthorized("invalid_admin_token", "Send the admin token as a bearer token.")
	}
	return nil
}

func (x *exchange) showMetrics() error {
	if err := x.admitted(); err != nil {
		return err
	}
	var out bytes.Buffer
	x.s.metrics.set.WritePrometheus(&out)
	metrics.WriteProcessMetrics(&out)
	x.http.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	x.http.Response.SetBodyRaw(out.Bytes())
	return nil
}

func (x *exchange) health() error {
	x.http.SetContentType("text/plain; charset=utf-8")
	x.http.SetBodyString("ok\n")
	return nil
}

// ready says in words what is wrong. One model without its host grant leaves the
// others served; with none servable there is nothing to be ready for.
func (x *exchange) ready() error {
	x.http.SetContentType("text/plain; charset=utf-8")
	if x.s.draining.Load() {
		x.http.SetStatusCode(http.StatusServiceUnavailable)
		x.http.SetBodyString("draining: answers under way are finishing\n")
		return nil
	}
	if err := x.s.deps.Identities.Err(); err != nil {
		x.http.SetStatusCode(http.StatusServiceUnavailable)
		x.http.SetBodyString(err.Error() + "\n")
		return nil //nolint:nilerr // it is the answer
	}
	var words bytes.Buffer
	servable := 0
	for _, m := range x.s.listed {
		if err := x.s.hosted(x.ctx, x.now, m); err != nil {
			fmt.Fprintf(&words, "%s: %s\n", m.cfg.Name, asError(err).Code)
			continue
		}
		fmt.Fprintf(&words, "%s: ok\n", m.cfg.Name)
		servable++
	}
	if servable == 0 {
		x.http.SetStatusCode(http.StatusServiceUnavailable)
	}
	x.http.Response.SetBodyRaw(words.Bytes())
	return nil
}

func (a AdminConfig) validate(errs *problems) {
	if a.Listen == "" {
		return
	}
	host, _, err := net.SplitHostPort(a.Listen)
	errs.need("admin.listen", err == nil, "an address such as 127.0.0.1:8081")
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	errs.need("admin.token", local || a.Token.Set(), "file: or env:, since admin.listen is not a loopback address")
}
