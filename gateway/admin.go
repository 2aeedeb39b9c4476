package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// admitted checks the second listener's own token, if one is set.
func (x *exchange) admitted() error {
	if !x.svc.cfg.Admin.Token.Set() {
		return nil
	}
	want, err := x.svc.cfg.Admin.Token.Resolve()
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
	x.svc.writeUpstreams(&out)
	for _, c := range x.svc.deps.Collectors {
		c.WritePrometheus(&out)
	}
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

const storeAway = "the state store does not answer: keys and tokens that were checked lately and budgets that are leased are served, " +
	"other requests get 503 state_unavailable\n"

// ready says in words what is wrong. One model without its host grant leaves the
// others served; with none servable there is nothing to be ready for.
func (x *exchange) ready() error {
	x.http.SetContentType("text/plain; charset=utf-8")
	if x.s.unready.Load() {
		x.http.SetStatusCode(http.StatusServiceUnavailable)
		x.http.SetBodyString("draining: answers under way are finishing\n")
		return nil
	}
	if err := x.svc.deps.Identities.Err(); err != nil {
		x.http.SetStatusCode(http.StatusServiceUnavailable)
		x.http.SetBodyString(err.Error() + "\n")
		return nil //nolint:nilerr // it is the answer
	}
	var words bytes.Buffer
	if x.svc.deps.Identities.Away() { // it is away for all gateways: if each were unready, nobody would be served what can be
		words.WriteString(storeAway)
	}
	servable := 0
	for _, m := range x.svc.listed {
		what, ok := x.svc.state(x.ctx, x.now, m)
		fmt.Fprintf(&words, "%s: %s\n", m.cfg.Name, what)
		if ok {
			servable++
		}
	}
	if servable == 0 {
		x.http.SetStatusCode(http.StatusServiceUnavailable)
	}
	x.http.Response.SetBodyRaw(words.Bytes())
	return nil
}

// state says in words whether a model can be served.
func (s *service) state(ctx context.Context, now time.Time, m *model) (words string, ok bool) {
	if err := s.hosted(ctx, now, m); err != nil {
		e := asError(err)
		return e.Code + ": " + e.Message, false
	}
	servers, ok := m.Backend.(Reporter)
	if !ok {
		return "ok", true
	}
	var wrong []string
	healthy := 0
	for i, server := range servers.Stats() {
		if server.Healthy {
			healthy++
			continue
		}
		wrong = append(wrong, fmt.Sprintf("upstream %d is left alone: %s", i+1, server.Problem))
	}
	if healthy == 0 && len(wrong) > 0 {
		return "no_upstream: " + strings.Join(wrong, "; "), false
	}
	return strings.Join(append([]string{"ok"}, wrong...), "; "), true
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
