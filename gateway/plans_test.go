package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/embedded"
	"github.com/fealty/fealty/policy"
)

// receive is a value that comes within a generous time.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
	return v
}

// Licensees of two plans that wait for one place get it in the proportion of their plans'
// weights, whoever came first.
func TestPriorityByPlan(t *testing.T) {
	started, release := make(chan struct{}, 16), make(chan struct{})
	backend := backendFunc(func(ctx context.Context, _ gateway.Call) (gateway.Answer, error) {
		started <- struct{}{}
		select {
		case <-release:
			return &whole{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	r := newRig(t, withBackend(backend), admission(gateway.AdmissionConfig{
		Concurrent: 1, Queue: 16, Wait: time.Minute, Weights: map[uint32]float64{2: 4},
	}))
	other, subject := newWallet(t)
	r.chain.set(subject, func(g *policy.Grant) {
		*g = license(everything)
		g.Final.PlanVersion, g.Latest.PlanVersion = 2, 2
	})
	keys := map[string]string{"a": r.key, "b": r.apiKey(other)} // of plan 1 and of plan 2
	answered := make(chan string, 16)
	ask := func(who string) {
		go func() {
			if got := r.post("/v1/chat/completions", keys[who], chatBody("")); got.status != 200 {
				who = fmt.Sprintf("%s: %d %s", who, got.status, got.body)
			}
			answered <- who
		}()
	}
	ask("a")
	receive(t, started, "the first one has the place")
	for i, who := range "aabbbbbb" {
		ask(string(who))
		until(t, "it waits", func() bool { return r.metric(`fealty_requests_waiting{model="echo"}`) == strconv.Itoa(i+1) })
	}
	var order []string
	for i := range 9 {
		if i > 0 {
			receive(t, started, "the next one has the place")
		}
		release <- struct{}{}
		order = append(order, receive(t, answered, "its answer"))
	}
	// Behind the first: of equal requests four of the one for each of the other.
	if got := strings.Join(order, " "); got != "a a b b b b a b b" {
		t.Errorf("served %s, want a a b b b b a b b", got)
	}
}

// registry is what a chain grants, by model.
type registry map[[32]byte]*grants

func (g registry) Check(ctx context.Context, model, subject [32]byte) (policy.Grant, error) {
	return g[model].Check(ctx, model, subject)
}

// twoModels is a rig that serves a second model, "other", with an engine and licenses of
// its own.
func twoModels(t *testing.T) (r *rig, engine *echoEngine, licenses *grants) {
	t.Helper()
	engine = newEchoEngine()
	r = newRig(t, func(c *gateway.Config, d *gateway.Deps) {
		c.Models[0].Admission = gateway.AdmissionConfig{Concurrent: 1, Queue: 4, Wait: time.Minute}
		second := c.Models[0]
		second.Name, second.Aliases = "other", nil
		second.License.Model = "0x" + strings.Repeat("0", 63) + "2"
		c.Models = append(slices.Clone(c.Models), second)
		backend, err := embedded.New(embedded.Options{Engine: engine, Tokenizer: bytesTokenizer{}, Context: 4096})
		must(t, err)
		licenses = &grants{held: map[[32]byte]policy.Grant{d.Host: license(policy.ScopeHost)}}
		first, _ := d.Models["echo"].Licenses.(*grants)
		all := registry{c.Models[0].License.ID(): first, second.License.ID(): licenses}
		d.Models["echo"] = gateway.Model{Backend: d.Models["echo"].Backend, Licenses: all}
		d.Models["other"] = gateway.Model{Backend: backend, Licenses: all}
	})
	return r, engine, licenses
}

// Two models of one gateway have licenses, places, usage and metrics of their own.
func TestModelsStayApart(t *testing.T) {
	r, engine, licenses := twoModels(t)
	both, subject := newWallet(t)
	r.chain.set(subject, func(g *policy.Grant) { *g = license(everything) })
	licenses.set(subject, func(g *policy.Grant) { *g = license(everything) })
	second, subject := newWallet(t)
	licenses.set(subject, func(g *policy.Grant) { *g = license(everything) })
	keys := map[string]string{"echo": r.key, "other": r.apiKey(second), "both": r.apiKey(both)}
	body := func(model, words string) string {
		return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]}`, model, words)
	}

	// A license for one is none for the other.
	for _, c := range []struct{ who, model string }{{"echo", "other"}, {"other", "echo"}} {
		if got, want := r.post("/v1/chat/completions", keys[c.who], body(c.model, "hi")).refusal(), (refusal{402, "no_license", "", "false"}); got != want {
			t.Errorf("licensed for %s, asks %s: %+v, want %+v", c.who, c.model, got, want)
		}
	}
	if a, b := r.engine.count(), engine.count(); a+b != 0 {
		t.Errorf("the engines were asked %d and %d times by nobody who may", a, b)
	}

	// While the one is full and somebody waits for it, the other answers.
	waiting := func(model string) string { return r.metric(fmt.Sprintf("fealty_requests_waiting{model=%q}", model)) }
	held := make(chan reply, 2)
	for i := range 2 {
		go func() { held <- r.post("/v1/chat/completions", keys["echo"], body("echo", "hold")) }()
		until(t, "one has the place, the other waits", func() bool { return r.engine.count() == 1 && waiting("echo") == strconv.Itoa(i) })
	}
	for _, who := range []string{"other", "both", "both"} {
		if got := r.post("/v1/chat/completions", keys[who], body("other", "four")); got.status != 200 || !strings.Contains(got.body, "FOUR") {
			t.Errorf("the other model: %d %s", got.status, got.body)
		}
	}
	if waiting("echo") != "1" || waiting("other") != "0" || engine.count() != 3 {
		t.Errorf("%s wait for the first and %s for the other, whose engine was asked %d times; want 1, 0, 3", waiting("echo"), waiting("other"), engine.count())
	}
	close(r.engine.resume)
	for range 2 {
		if got := receive(t, held, "an answer of the first model"); got.status != 200 {
			t.Errorf("the first model: %d %s", got.status, got.body)
		}
	}
	if got := r.post("/v1/chat/completions", keys["both"], body("echo", "x")); got.status != 200 {
		t.Errorf("licensed for both: %d %s", got.status, got.body)
	}
	r.settled()

	// What each used, in the ledger and the metrics: a letter is a token.
	for who, want := range map[string]string{"echo": "echo 2 8", "other": "other 1 4", "both": "echo 1 1, other 2 8"} {
		if got := r.used(keys[who]); got != want {
			t.Errorf("%s used %s, want %s", who, got, want)
		}
	}
	for model, want := range map[string]string{"echo": "9", "other": "12"} {
		if got := r.metric(fmt.Sprintf(`fealty_tokens_total{model=%q,kind="completion"}`, model)); got != want {
			t.Errorf("%s: %s tokens by the metrics, want %s", model, got, want)
		}
	}
	// A revocation of the one ends nothing of the other.
	licenses.set(subject, func(g *policy.Grant) { g.Latest.Status = policy.Revoked })
	if got := r.post("/v1/chat/completions", keys["other"], body("other", "hi")).refusal(); got.status != 403 {
		t.Errorf("revoked: %+v", got)
	}
	if got := r.post("/v1/chat/completions", keys["both"], body("other", "hi")); got.status != 200 {
		t.Errorf("another licensee of it: %d %s", got.status, got.body)
	}
}

// used is what the ledger has of a key's owner: model, requests, tokens of answers.
func (r *rig) used(key string) string {
	r.t.Helper()
	var totals struct {
		Data []struct {
			Model      string
			Requests   int
			Completion int `json:"completion_tokens"`
		}
	}
	must(r.t, json.Unmarshal([]byte(r.do("GET", "/v1/usage", key, "").body), &totals))
	var all []string
	for _, d := range totals.Data {
		all = append(all, fmt.Sprintf("%s %d %d", d.Model, d.Requests, d.Completion))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
