package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/rules"
	"github.com/fealty/fealty/policy"
)

// Requests to come see all that was loaded; a stream under way ends under what it began
// with, and only then is that given up.
func TestReload(t *testing.T) {
	r := newRig(t)
	resp, in := r.begun()
	defer resp.Body.Close()
	var unused atomic.Bool
	must(t, r.reload(func(c *gateway.Config, d *gateway.Deps) {
		c.Models[0].Aliases = []string{"renamed"}
		c.Models[0].MaxTokens, c.Models[0].DefaultTokens = 10, 10
		c.Models[0].Admission = gateway.AdmissionConfig{Concurrent: 2}
	}, func() { unused.Store(true) }))
	if got := r.post("/v1/chat/completions", r.key, strings.Replace(chatBody(""), "echo", "renamed", 1)); got.status != 200 {
		t.Errorf("the new alias: %d %s", got.status, got.body)
	}
	if got := r.post("/v1/chat/completions", r.key, strings.Replace(chatBody(""), "echo", "gpt-4o", 1)).refusal(); got.code != "model_not_found" {
		t.Errorf("the old alias: %+v", got)
	}
	if got := r.post("/v1/chat/completions", r.key, chatBody(`,"max_tokens":11`)).refusal(); got.code != "invalid_value" {
		t.Errorf("over the new bound: %+v", got)
	}
	if unused.Load() {
		t.Error("what the running stream uses was given up")
	}
	close(r.engine.resume)
	if got := rest(t, in); !strings.Contains(got, "data: [DONE]") {
		t.Errorf("the stream that ran through the reload ended with %q", got)
	}
	until(t, "what nothing uses any more is given up", unused.Load)
}

// reload loads the rig's config with changes.
func (r *rig) reload(change option, unused func()) error {
	cfg, deps := testConfig(r.t), r.deps
	change(&cfg, &deps)
	return r.server.Reload(deps, cfg, unused)
}

// What cannot be loaded changes nothing.
func TestReloadAllOrNothing(t *testing.T) {
	r := newRig(t)
	deny, err := rules.Parse("own", []byte(`permit (principal, action, resource); forbid (principal, action, resource);`))
	must(t, err)
	for want, change := range map[string]option{
		"listen: need a restart":         func(c *gateway.Config, _ *gateway.Deps) { c.Listen = "127.0.0.1:1" },
		"redis.state: need a restart":    func(c *gateway.Config, _ *gateway.Deps) { c.Redis.State = c.Secret },
		"deployment: need a restart":     func(c *gateway.Config, _ *gateway.Deps) { c.Deployment = "other" },
		"timeouts.write: need a restart": func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Write = time.Second },
		"models: need at least one":      func(c *gateway.Config, _ *gateway.Deps) { c.Models = nil },
		"no backend":                     func(_ *gateway.Config, d *gateway.Deps) { d.Models = map[string]gateway.Model{} },
	} {
		err := r.reload(func(c *gateway.Config, d *gateway.Deps) {
			d.Rules = deny // would show
			change(c, d)
		}, func() { t.Errorf("%s: the running dependencies were given up", want) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != 200 {
			t.Fatalf("%s: afterwards %d %s", want, got.status, got.body)
		}
	}
}

// Many reloads under load: each request is answered, and each dependency that was
// replaced is given up once.
func TestReloadUnderLoad(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var asked, given atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				asked.Add(1)
				if got := r.post("/v1/chat/completions", r.key, chatBody(`,"stream":true`)); got.status != 200 || !strings.Contains(got.body, "[DONE]") {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
		})
	}
	const reloads = 50
	for i := range reloads {
		before := asked.Load()
		must(t, r.reload(func(c *gateway.Config, _ *gateway.Deps) { c.Models[0].MaxTokens = 1000 + i }, func() { given.Add(1) }))
		until(t, "a request comes in between", func() bool { return asked.Load() > before })
	}
	stop()
	clients.Wait()
	until(t, "all that was replaced is given up", func() bool { return given.Load() == reloads })
}

func TestReloadEndpoint(t *testing.T) {
	r := newRig(t)
	if got := r.do("POST", "/reload", "", "").refusal(); got.status != 404 {
		t.Errorf("without a way to reload: %+v", got)
	}
	var err error
	r.server.OnReload(func() error { return err })
	if got := r.do("POST", "/reload", "", ""); got.status != 200 || got.body != `{"reloaded":true}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	err = errors.New("models[0].name: need a name")
	got := r.do("POST", "/reload", "", "")
	if got.refusal() != (refusal{409, "not_reloaded", "", "false"}) || !strings.Contains(got.body, "models[0].name") {
		t.Errorf("%d %s", got.status, got.body)
	}
	public := r.send("POST", "/v1/../reload", r.key, "")
	public.Body.Close()
	if public.StatusCode != 404 {
		t.Errorf("on the public listener: %d", public.StatusCode)
	}
}

// While gateways of this version and of the next share a store, this one serves keys that
// the next one wrote, and changes no more of them than it knows. (The cache of licenses
// is apart: each version has records of its own there.)
func TestRecordsOfTheNextVersion(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	made := r.post("/v1/keys", token, `{"name":"ci","rpm":100}`)
	client, err := state.Open("redis://" + r.redis.Addr())
	must(t, err)
	defer client.Close()
	name := "fealty:1:key:" + made.field("id")
	stored := func() string {
		text, err := client.Get(t.Context(), name).Result()
		must(t, err)
		return text
	}
	must(t, client.Set(t.Context(), name, strings.Replace(stored(), "{", `{"regions":["eu"],`, 1), 0).Err())
	if got := r.post("/v1/chat/completions", made.field("key"), chatBody("")); got.status != 200 {
		t.Errorf("a key of the next version: %d %s", got.status, got.body)
	}
	if got := r.do("PATCH", "/v1/keys/"+made.field("id"), token, `{"rpm":99}`); got.status != 200 {
		t.Errorf("narrowed: %d %s", got.status, got.body)
	}
	if got := r.do("DELETE", "/v1/keys/"+made.field("id"), token, ""); got.status != 200 {
		t.Errorf("revoked: %d %s", got.status, got.body)
	}
	for _, want := range []string{`"regions":["eu"]`, `"rpm":99`, `"revoked":true`, `"name":"ci"`} {
		if got := stored(); !strings.Contains(got, want) {
			t.Errorf("no %s is left in %s", want, got)
		}
	}
	if got := r.post("/v1/chat/completions", made.field("key"), chatBody("")).refusal(); got.code != "credential_revoked" {
		t.Errorf("a revoked key of the next version: %+v", got)
	}
}

// fleet is gateways behind a client that does what a balancer does: it asks those that
// are ready, and asks another one if a connection fails before the answer has begun.
type fleet struct {
	mu   sync.Mutex
	rigs []*rig
}

func (f *fleet) set(rigs ...*rig) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rigs = rigs
}

func (f *fleet) pick(n int) *rig {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rigs[n%len(f.rigs)]
}

// Two gateways are replaced one after the other under load: no request fails, and no
// stream is cut.
func TestRollingRestart(t *testing.T) {
	slowly := func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Unready = 300 * time.Millisecond }
	first := newRig(t, slowly)
	more := func() *rig {
		r := newRigOn(t, first.redis, slowly)
		r.chain.set(first.subject, func(g *policy.Grant) { *g = license(everything) })
		r.key = first.key
		return r
	}
	second := more()
	f := &fleet{}
	f.set(first, second)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var answered atomic.Int64
	for i := range 4 {
		clients.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				f.ask(t, n)
				answered.Add(1)
			}
		})
	}
	replace := func(old, kept *rig) *rig {
		fresh := more()
		f.set(old, kept, fresh)
		served := answered.Load()
		until(t, "all three serve", func() bool { return answered.Load() > served+30 })
		down := make(chan struct{})
		go func() { defer close(down); old.shutdown(20 * time.Second) }()
		until(t, "it says that it is not ready", func() bool { return old.do("GET", "/readyz", "", "").status == 503 })
		f.set(kept, fresh) // as a balancer does
		<-down
		return fresh
	}
	third := replace(first, second)
	replace(second, third)
	stop()
	clients.Wait()
	if n := answered.Load(); n < 100 {
		t.Errorf("only %d requests: too few to tell", n)
	}
}

// ask sends one streamed request, to another gateway if a connection fails.
func (f *fleet) ask(t *testing.T, n int) {
	for attempt := range 5 {
		r := f.pick(n + attempt)
		req, err := http.NewRequestWithContext(context.Background(), "POST", r.url+"/v1/chat/completions", strings.NewReader(chatBody(`,"stream":true`)))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+r.key)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || err != nil || !strings.Contains(string(text), "[DONE]") {
			t.Errorf("status %d, %v: %s", resp.StatusCode, err, text)
		}
		return
	}
	t.Error("five gateways in a row could not be connected to")
}
