package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
)

// deaf is an upstream that answers nothing, or one event and then nothing, and says when
// it was asked and when its client was gone.
type deaf struct{ asked, gone chan struct{} }

func newDeaf(t *testing.T) (d deaf, pool *upstream.Pool) {
	d = deaf{make(chan struct{}, 8), make(chan struct{}, 8)}
	server := httptest.NewServer(d)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	pool, err := upstream.New(upstream.Options{Servers: []upstream.Server{{URL: server.URL + "/v1"}}, Check: -1, Connect: patience})
	must(t, err)
	t.Cleanup(pool.Close)
	return d, pool
}

// ServeHTTP implements http.Handler.
func (d deaf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.asked <- struct{}{}
	if bytes.Contains(body, []byte("begin")) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
	}
	<-r.Context().Done()
	d.gone <- struct{}{}
}

// soon receives within a generous time.
func soon(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// asks sends a chat request. begun is closed when the first bytes of its answer have come;
// leave closes the connection.
func (r *rig) asks(body string) (begun <-chan struct{}, leave func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", r.url+"/v1/chat/completions", strings.NewReader(body))
	must(r.t, err)
	req.Header.Set("Authorization", "Bearer "+r.key)
	came, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		in := bufio.NewReader(resp.Body)
		if _, err := in.ReadByte(); err == nil {
			close(came)
		}
		_, _ = io.Copy(io.Discard, in) // until it is cut
	}()
	return came, func() { cancel(); <-done }
}

// Who leaves frees what it held, in whatever phase its request was: the server behind is
// let go, the place is free, what was reserved is given back and what was used is in the
// ledger. How soon is measured by 'fealty bench gateway'.
func TestClientGoneInAnyPhase(t *testing.T) {
	const budget = 3000 // tokens of the day: room for one of these requests, not for two
	ask := func(words, more string) string {
		return strings.Replace(chatBody(`,"max_tokens":2000`+more), "hi", words, 1)
	}
	engine, pool := newDeaf(t)
	r := newRig(t, withBackend(pool), func(c *gateway.Config, _ *gateway.Deps) {
		c.Models[0].Admission = gateway.AdmissionConfig{Concurrent: 1}
		c.Models[0].Caps = gateway.CapsConfig{TokensPerDay: budget}
	})
	waiting := func(n string) {
		t.Helper()
		until(t, n+" wait", func() bool { return r.metric(`fealty_requests_waiting{model="echo"}`) == n })
	}
	const stream = `,"stream":true`
	for _, c := range []struct {
		phase, body string
		begins      bool   // leaves after the first bytes
		counted     string // so far, requests and streams whose client left: that which waits is one of them
	}{
		{"prefill", ask("wait", ""), false, "2 0"},
		{"prefill of a stream", ask("wait", stream), false, "4 0"},
		{"mid-stream", ask("begin", stream), true, "5 1"},
	} {
		begun, leave := r.asks(c.body)
		soon(t, engine.asked, c.phase+": the upstream is asked") // so the place and the budget of the one before are free
		if c.begins {
			soon(t, begun, c.phase+": the first event")
		}
		_, withdraw := r.asks(c.body)
		waiting("1")
		withdraw()
		waiting("0")
		until(t, c.phase+": only the one that runs is held", func() bool { return r.metric("fealty_answers_running") == "1" })
		leave()
		soon(t, engine.gone, c.phase+": the upstream's connection is closed")
		r.settled()
		if s := pool.Stats(); s[0].InFlight != 0 || !s[0].Healthy {
			t.Errorf("%s: the pool holds %+v", c.phase, s)
		}
		until(t, c.phase+": it is counted", func() bool {
			return r.metric(`fealty_requests_total{code="client_gone"}`)+" "+r.metric(`fealty_streams_cut_total{code="client_gone"}`) == c.counted
		})
	}
	// Those that waited used nothing and are not in it; the last one got a token.
	if totals := r.do("GET", "/v1/usage", r.key, "").body; !strings.Contains(totals, `"requests":3`) || !strings.Contains(totals, `"completion_tokens":1}`) {
		t.Errorf("the ledger has the three that ran: %s", totals)
	}
	_, leave := r.asks(ask("again", "")) // the place and the budget of the last one are free too
	soon(t, engine.asked, "another one is served")
	leave()
}
