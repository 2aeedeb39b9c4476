package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/policy"
)

const holdStream = `{"model":"echo","messages":[{"role":"user","content":"hold on"}],"stream":true}`

// begun starts a stream that will hold, and reads until its second delta.
func (r *rig) begun() (*http.Response, *bufio.Reader) {
	r.t.Helper()
	resp := r.send("POST", "/v1/chat/completions", r.key, holdStream)
	in := bufio.NewReader(resp.Body)
	for {
		line, err := in.ReadString('\n')
		must(r.t, err)
		if strings.Contains(line, `"content":"O"`) {
			return resp, in
		}
	}
}

// freed waits until the engine's slot is free again.
func (r *rig) freed() {
	r.t.Helper()
	select {
	case <-r.engine.freed:
	case <-time.After(patience):
		r.t.Fatal("the generation was not closed")
	}
}

// settled waits until no answer holds a slot of the gateway.
func (r *rig) settled() {
	r.t.Helper()
	for end := time.Now().Add(patience); r.metric("fealty_answers_running") != "0"; runtime.Gosched() {
		if time.Now().After(end) {
			r.t.Fatal("an answer still runs")
		}
	}
}

func TestHangUp(t *testing.T) {
	r := newRig(t)
	for name, start := range map[string]func() func(){
		"mid-stream": func() func() {
			resp, _ := r.begun()
			return func() { resp.Body.Close() }
		},
		"not streamed": func() func() {
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "POST", r.url+"/v1/chat/completions", strings.NewReader(strings.Replace(chatBody(""), "hi", "hold", 1)))
			must(t, err)
			req.Header.Set("Authorization", "Bearer "+r.key)
			running := r.engine.count()
			done := make(chan struct{})
			go func() {
				defer close(done)
				if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
					resp.Body.Close()
				}
			}()
			r.runs(running + 1)
			return func() { cancel(); <-done }
		},
	} {
		t.Run(name, func(t *testing.T) {
			leave := start()
			leave()
			r.freed() // within patience: nothing else ends it
			r.settled()
		})
	}
	// 14 and 11 tokens of prompt, 2 of answer each: also those who leave are charged.
	totals := r.do("GET", "/v1/usage", r.key, "")
	if !strings.Contains(totals.body, `"requests":2,"prompt_tokens":25,"completion_tokens":4`) {
		t.Errorf("usage: %s", totals.body)
	}
}

// runs waits until so many answers run.
func (r *rig) runs(n int) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		started := r.engine.count()
		if started >= n && r.metric("fealty_answers_running") != "0" {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("%d answers started, want %d", started, n)
		}
	}
}

// rest reads a cut stream: an error event, a proper end of the body, no [DONE].
func rest(t testing.TB, in io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(in)
	must(t, err)
	return string(text)
}

func TestRevokedMidStream(t *testing.T) {
	for how, c := range map[string]struct {
		recheck time.Duration
		tell    func(*rig)
	}{
		"found by looking": {20 * time.Millisecond, func(*rig) {}},
		"told":             {time.Hour, func(r *rig) { r.server.LicenseChanged() }},
	} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, func(cfg *gateway.Config, _ *gateway.Deps) { cfg.Timeouts.Recheck = c.recheck })
			r.cutByRevocation(func() { c.tell(r) })
		})
	}
}

func (r *rig) cutByRevocation(tell func()) {
	t := r.t
	resp, in := r.begun()
	defer resp.Body.Close()
	r.chain.set(r.subject, func(g *policy.Grant) { g.Latest.Status = policy.Revoked })
	tell()
	got := rest(t, in)
	if !strings.Contains(got, `data: {"error":{"message":"`) || !strings.Contains(got, `"code":"license_revoked"`) || strings.Contains(got, "[DONE]") {
		t.Errorf("the stream ended with %q", got)
	}
	r.freed()
	if got := r.metric(`fealty_streams_cut_total{code="license_revoked"}`); got != "1" {
		t.Errorf("counted %q cut streams, want 1", got)
	}
}

// stuck is a chain that answers nothing for one subject, once it is told whose.
type stuck struct {
	*grants
	subject atomic.Pointer[[32]byte]
	asked   chan struct{}
}

func (s *stuck) Check(ctx context.Context, model, subject [32]byte) (policy.Grant, error) {
	if who := s.subject.Load(); who != nil && *who == subject {
		select {
		case s.asked <- struct{}{}:
		default:
		}
		<-ctx.Done()
	}
	return s.grants.Check(ctx, model, subject)
}

// While nobody answers for one stream's license, another one's revocation is seen.
func TestRevokedBesideAStuckLookUp(t *testing.T) {
	chain := &stuck{asked: make(chan struct{}, 1)}
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		m := d.Models["echo"]
		chain.grants = m.Licenses.(*grants)
		m.Licenses = chain
		d.Models["echo"] = m
	})
	key, subject := newWallet(t)
	r.chain.set(subject, func(g *policy.Grant) { *g = license(everything) })
	own := r.key
	r.key = r.apiKey(key)
	resp, _ := r.begun()
	defer resp.Body.Close()
	r.key = own
	chain.subject.Store(&subject)
	soon(t, chain.asked, "the first stream's license is looked up")
	r.cutByRevocation(r.server.LicenseChanged)
}

func TestBrokenMidStream(t *testing.T) {
	r := newRig(t)
	got := r.post("/v1/chat/completions", r.key, strings.Replace(holdStream, "hold", "break", 1))
	if got.status != 200 || !strings.Contains(got.body, `"code":"internal_error"`) || strings.Contains(got.body, "[DONE]") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if strings.Contains(got.body, "secret cause") || !strings.Contains(r.log.String(), "secret cause") {
		t.Error("the cause belongs in the log, not in the stream")
	}
}

func TestDrain(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Drain = 200 * time.Millisecond })
	resp, in := r.begun()
	defer resp.Body.Close()
	down := make(chan struct{})
	go func() {
		defer close(down)
		r.shutdown(patience)
	}()
	got := rest(t, in)
	if !strings.Contains(got, `"code":"shutting_down"`) || strings.Contains(got, "[DONE]") {
		t.Errorf("the stream that was still running ended with %q", got)
	}
	<-down
	for range 2 {
		if err := <-r.served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	// Shutdown has waited for all that it started: no goroutine runs our code. (fasthttp closes a
	// connection a moment after it has counted it as closed.)
	until(t, "no goroutine of the gateway runs", func() bool {
		stacks := make([]byte, 1<<22)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "fealty/gateway.(")
	})
}

// An answer that can finish in time is not cut by a shutdown.
func TestDrainFinishes(t *testing.T) {
	r := newRig(t)
	resp, in := r.begun()
	defer resp.Body.Close()
	down := make(chan struct{})
	go func() { defer close(down); r.shutdown(patience) }()
	for r.do("GET", "/readyz", "", "").status != 503 {
		runtime.Gosched()
	}
	close(r.engine.resume)
	if got := rest(t, in); !strings.Contains(got, "data: [DONE]") {
		t.Errorf("the stream ended with %q", got)
	}
	<-down
}

// behind makes a second gateway whose backend is the first.
func behind(t *testing.T, first *rig) *rig {
	t.Helper()
	b, err := upstream.New(upstream.Options{Servers: []upstream.Server{{URL: first.url + "/v1", Model: "gpt-4o", Key: []byte(first.key)}}, Connect: patience})
	must(t, err)
	t.Cleanup(b.Close)
	return newRig(t, withBackend(b))
}

// A gateway as the upstream of another: the same bytes reach the client, but for
// the model's name, which is the upstream's.
func TestGatewayBehindGateway(t *testing.T) {
	first := newRig(t)
	second := behind(t, first)
	for _, c := range wire {
		direct := first.post(c.path, first.key, strings.Replace(c.body, `"echo"`, `"gpt-4o"`, 1))
		through := second.post(c.path, second.key, c.body)
		if a, b := withoutUsageNull(direct.dump()), withoutUsageNull(through.dump()); a != b {
			t.Errorf("%s:\n    direct: %s\nthrough: %s", c.name, a, b)
		}
	}
	if metered, served := second.sums(), first.sums(); metered*2 != served || served == 0 {
		t.Errorf("the second gateway metered %d tokens; the first, which served everything twice, %d", metered, served)
	}
}

// withoutUsageNull: the gateway asks its upstream for usage, which marks each chunk.
func withoutUsageNull(s string) string { return strings.ReplaceAll(s, `,"usage":null`, "") }

// sums adds the tokens of a usage answer.
func (r *rig) sums() (n int) {
	r.t.Helper()
	var body struct {
		Data []struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
		}
	}
	must(r.t, json.Unmarshal([]byte(r.do("GET", "/v1/usage", r.key, "").body), &body))
	for _, d := range body.Data {
		n += d.Prompt + d.Completion
	}
	return n
}

func TestHangUpReachesTheUpstream(t *testing.T) {
	first := newRig(t)
	second := behind(t, first)
	resp, _ := second.begun()
	resp.Body.Close()
	first.freed()
	second.settled()
}

// What the upstream refuses for its own reasons is not blamed on the caller.
func TestUpstreamRefuses(t *testing.T) {
	first := newRig(t)
	second := behind(t, first)
	if got := second.post("/v1/chat/completions", second.key, chatBody(`,"tools":[{}]`)).refusal(); got != (refusal{400, "unsupported_parameter", "tools", "false"}) {
		t.Errorf("a field that the upstream cannot honour: %+v", got)
	}
	first.chain.set(first.subject, func(g *policy.Grant) { g.Latest.Status = policy.Revoked })
	if got := second.post("/v1/chat/completions", second.key, chatBody("")).refusal(); got != (refusal{502, "upstream_error", "", "false"}) {
		t.Errorf("our own license at the upstream: %+v", got)
	}
	first.chain.fail(errors.New("x"))
	if got := second.post("/v1/chat/completions", second.key, chatBody("")).refusal(); got != (refusal{503, "overloaded", "", "true"}) {
		t.Errorf("a busy upstream: %+v", got)
	}
	first.shutdown(patience)
	if got := second.post("/v1/chat/completions", second.key, chatBody("")).refusal(); got != (refusal{503, "upstream_unavailable", "", "true"}) {
		t.Errorf("no upstream: %+v", got)
	}
}
