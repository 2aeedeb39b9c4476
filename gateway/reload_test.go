package gateway_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/rules"
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
