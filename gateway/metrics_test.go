package gateway_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
)

// pooled is a backend that says how its servers do, and opens every answer in two steps.
type pooled struct{ gateway.Backend }

type opened struct{ gateway.Answer }

func (opened) Opened() bool { return true }

func (p pooled) Generate(ctx context.Context, c gateway.Call) (gateway.Answer, error) {
	a, err := p.Backend.Generate(ctx, c)
	if err != nil {
		return nil, err
	}
	return opened{a}, nil
}

func (pooled) Openings() []gateway.OpeningStats {
	return []gateway.OpeningStats{{Result: "shaped", Count: 2}}
}

func (pooled) Stats() []gateway.UpstreamStats {
	return []gateway.UpstreamStats{
		{URL: "http://10.0.0.7/v1", Healthy: true, Requests: 7, Failures: 1},
		{URL: "http://10.0.0.8/v1", Problem: "3 requests in a row failed", Fallback: true},
	}
}

var (
	documented = regexp.MustCompile("(?m)^\\| `(fealty_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|")
	sample     = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{([^}]*)\})? `)
	mention    = regexp.MustCompile(`\b(?:fealty|process|go)_[a-z_]+`)
)

// fromCmd are shown by parts that cmd/fealty wires; a test there looks at them.
func fromCmd(name string) bool {
	return strings.HasPrefix(name, "fealty_license_") || strings.HasPrefix(name, "fealty_chain_") || strings.HasPrefix(name, "fealty_revocation_")
}

// family is a histogram's name without the ending of one of its series.
func family(name string) string {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if strings.HasPrefix(name, "fealty_") && !strings.HasPrefix(name, "fealty_revocation_") {
			name = strings.TrimSuffix(name, end)
		}
	}
	return name
}

// docs is the documented metrics' types and labels.
func docs(t *testing.T) map[string][2]string {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	must(t, err)
	out := map[string][2]string{}
	for _, m := range documented.FindAllStringSubmatch(string(page), -1) {
		out[m[1]] = [2]string{m[2], strings.Join(strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("`, ", r) }), ",")}
	}
	return out
}

// After one of everything, /metrics holds what docs/metrics.md says: no name less, no name
// more, and the labels that stand there.
func TestMetricsAreAsDocumented(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, d *gateway.Deps) {
		c.Metrics.Keys = 1
		d.Models["echo"] = gateway.Model{Backend: pooled{d.Models["echo"].Backend}, Licenses: d.Models["echo"].Licenses}
	})
	if got := r.post("/v1/chat/completions", r.key, chatBody(`,"stream":true`)); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	another := r.post("/v1/keys", r.signIn(r.wallet), `{"name":"another"}`).field("key")
	if got := r.post("/v1/chat/completions", another, chatBody("")); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	r.settled()
	page, shown := r.do("GET", "/metrics", "", "").body, map[string]string{}
	for _, m := range sample.FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "fealty_") {
			continue
		}
		var labels []string
		for _, pair := range strings.Split(m[2], ",") {
			if name, _, ok := strings.Cut(pair, "="); ok && name != "vmrange" {
				labels = append(labels, name)
			}
		}
		shown[family(m[1])] = strings.Join(labels, ",")
	}
	known := docs(t)
	for name, labels := range shown {
		if d, ok := known[name]; !ok || d[1] != labels {
			t.Errorf("docs/metrics.md says %q of %s, which has the labels %q", known[name], name, labels)
		}
	}
	for name := range known {
		if _, ok := shown[name]; !ok && !fromCmd(name) {
			t.Errorf("docs/metrics.md has %s, which the gateway does not show", name)
		}
	}
	// Two keys where one may have counters of its own.
	if !strings.Contains(page, `fealty_key_requests_total{key="other"} 1`) || strings.Count(page, "fealty_key_requests_total{") != 2 {
		t.Error("the second key does not share")
	}
	if strings.Contains(page, r.key) || strings.Contains(page, another) {
		t.Error("a key's text is a label")
	}
}

// The dashboard and the alert rules ask for nothing that is not documented.
func TestDashboardsAndAlerts(t *testing.T) {
	dashboard, err := os.ReadFile("../configs/dashboards/fealty.json")
	must(t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(dashboard, &board))
	alerts, err := os.ReadFile("../configs/alerts/fealty.yaml")
	must(t, err)
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	must(t, yaml.UnmarshalWithOptions(alerts, &rules, yaml.Strict()))
	var asked []string
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			asked = append(asked, p.Title+": "+target.Expr)
		}
	}
	for _, g := range rules.Groups {
		for _, rule := range g.Rules {
			if rule.Alert == "" || rule.Annotations["summary"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("the rule %+v has no name, summary or severity", rule)
			}
			asked = append(asked, rule.Alert+": "+rule.Expr)
		}
	}
	if len(asked) < 20 {
		t.Fatalf("found %d questions", len(asked))
	}
	known := docs(t)
	process := newRig(t).do("GET", "/metrics", "", "").body
	for _, question := range asked {
		for _, name := range mention.FindAllString(question, -1) {
			_, ok := known[family(name)]
			_, sum := known[name+"_sum"]
			if !ok && !sum && !strings.Contains(process, "\n"+name+" ") {
				t.Errorf("there is no metric %s: %s", name, question)
			}
		}
		if strings.Count(question, "(") != strings.Count(question, ")") || strings.Count(question, "{") != strings.Count(question, "}") {
			t.Errorf("unbalanced: %s", question)
		}
	}
}

// /readyz says in words which upstreams are left alone, and is ready as long as one is not.
func TestReadyzInWords(t *testing.T) {
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		d.Models["echo"] = gateway.Model{Backend: pooled{d.Models["echo"].Backend}, Licenses: d.Models["echo"].Licenses}
	})
	r.readyz("echo: ok; upstream 2 is left alone: 3 requests in a row failed\n")
}

// readyz waits until the gateway is ready, in these words: that the store does not answer
// is among them for a second, if it was slow to.
func (r *rig) readyz(want string) {
	r.t.Helper()
	var got reply
	until(r.t, "it is ready", func() bool {
		got = r.do("GET", "/readyz", "", "")
		return !strings.HasPrefix(got.body, "the state store does not answer")
	})
	if got.status != 200 || got.body != want {
		r.t.Errorf("readyz: %d %q, want %q", got.status, got.body, want)
	}
}

// With all servers of its only model gone a gateway is not ready and says so; requests are
// told to come again.
func TestReadyzWithoutUpstreams(t *testing.T) {
	servers := []upstream.Server{{URL: "http://127.0.0.1:1/v1"}, {URL: "http://127.0.0.1:9/v1"}} // ports that no test is given
	pool, err := upstream.New(upstream.Options{Servers: servers, Check: time.Hour})              // one look, at the start
	must(t, err)
	t.Cleanup(pool.Close)
	r := newRig(t, withBackend(pool))
	var got reply
	until(t, "it is not ready", func() bool { got = r.do("GET", "/readyz", "", ""); return got.status == 503 })
	if want := regexp.MustCompile(`^echo: no_upstream: upstream 1 is left alone: [^;]+; upstream 2 is left alone: [^;]+\n$`); !want.MatchString(got.body) {
		t.Errorf("%q, want %s", got.body, want)
	}
	for _, extra := range []string{"", `,"stream":true`} {
		got := r.post("/v1/chat/completions", r.key, chatBody(extra))
		if want := (refusal{503, "upstream_unavailable", "", "true"}); got.refusal() != want || got.header.Get("retry-after") != "1" {
			t.Errorf("a request gets %d %s, want %+v", got.status, got.body, want)
		}
	}
	if n := r.metric(`fealty_requests_total{code="upstream_unavailable"}`); n != "2" {
		t.Errorf("counted %s times, want 2", n)
	}
}

// A state store that does not answer is no reason to be taken out of service, since it is
// away for all gateways; /readyz says what that means.
func TestReadyzWithoutStateStore(t *testing.T) {
	r := newRig(t)
	r.readyz("echo: ok\n")
	r.redis.Close()
	until(t, "it says so", func() bool {
		got := r.do("GET", "/readyz", "", "")
		return got.status == 200 && strings.HasPrefix(got.body, "the state store does not answer: ") && strings.HasSuffix(got.body, "\necho: ok\n")
	})
	if n := r.metric("fealty_state_lost"); n != "0" {
		t.Errorf("fealty_state_lost is %s: it is away, not lost", n)
	}
}
