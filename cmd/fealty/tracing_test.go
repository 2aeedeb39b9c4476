package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fealty/fealty/internal/servertest"
)

// otlp is a collector: it keeps the spans that it is sent.
type otlp struct {
	mu    sync.Mutex
	got   []*spans.Span
	whole strings.Builder
	auth  string
}

func (o *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.auth = r.Header.Get("Authorization")
	o.whole.WriteString(sent.String())
	for _, resource := range sent.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			o.got = append(o.got, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// trace is the spans of one trace by name.
func (o *otlp) trace(id string) map[string]*spans.Span {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]*spans.Span{}
	for _, s := range o.got {
		if hex.EncodeToString(s.GetTraceId()) == id {
			out[s.GetName()] = s
		}
	}
	return out
}

// A request's trace begins at the caller, goes through the gateway's steps, and goes on
// at the upstream; it holds no prompt and no key.
func TestTraces(t *testing.T) {
	servertest.Need(t, "redis-server", "install it (Debian: apt-get install redis-server; 'make test' does)")
	h := newBareHost(t)
	var mu sync.Mutex
	var passed http.Header
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			passed = r.Header.Clone()
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Paris"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}`)
	}))
	t.Cleanup(upstream.Close)
	receiver := &otlp{}
	server := httptest.NewServer(receiver)
	t.Cleanup(server.Close)
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, []byte("collector-secret"), 0o600))
	h.text = strings.Replace(h.text, "http://127.0.0.1:9/v1", upstream.URL+"/v1", 1) +
		fmt.Sprintf("tracing: {endpoint: %q, sample: 1, key: %q}\nlog: {requests: true}\n", server.URL, "file:"+key)
	chain := []string{"--model", h.model, "--rpc", h.rpc, "--registry", h.registry, "--key-env", "FEALTY_TEST_CONTROLLER"}
	cli(t, append([]string{"license", "grant", "--subject", "host:host.fealty.test", "--controller", h.controller, "--duration", "1h"}, chain...)...)
	cli(t, append([]string{"license", "grant", "--subject", h.server, "--duration", "1h", "--scope", "chat"}, chain...)...)
	path := h.config("")
	cli(t, "state", "init", "--config", path)
	stop := startServe(t, path)
	own := cli(t, "key", "create", "--gateway", h.origin, "--key-env", "FEALTY_TEST_SERVER")
	want(t, h.origin, own, http.StatusOK, "") // from now on the gateway knows the license

	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.origin+"/v1/chat/completions",
		strings.NewReader(`{"model":"`+demoModel+`","messages":[{"role":"user","content":"a private question"}]}`))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+own)
	req.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-00") // not sampled, says the caller: it does not decide
	req.Header.Set("Tracestate", "vendor=x")
	if status, body := do(t, req); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	mu.Lock()
	parent := strings.Split(passed.Get("Traceparent"), "-")
	if len(parent) != 4 || parent[1] != id || parent[2] == "00f067aa0ba902b7" || passed.Get("Tracestate") != "vendor=x" {
		t.Errorf("to the upstream went %q, %q", passed.Get("Traceparent"), passed.Get("Tracestate"))
	}
	mu.Unlock()
	began := time.Now()
	stop() // sends what is left, within three seconds
	if took := time.Since(began); took > 3*time.Second && len(receiver.trace(id)) != 5 {
		t.Skipf("the machine stood still while the gateway stopped, for %v: what was left had no time", took)
	}
	eventually(t, time.Minute, "the trace is whole", func() bool { return len(receiver.trace(id)) == 5 })
	trace := receiver.trace(id)
	root := trace["POST /v1/chat/completions"]
	if root == nil || hex.EncodeToString(root.GetParentSpanId()) != "00f067aa0ba902b7" {
		t.Fatalf("the root's parent is not the caller: %v", trace)
	}
	for _, step := range []string{"authorise", "queue", "reserve", "generate"} {
		if s := trace[step]; s == nil || hex.EncodeToString(s.GetParentSpanId()) != hex.EncodeToString(root.GetSpanId()) {
			t.Errorf("no step %s below the root", step)
		}
	}
	if hex.EncodeToString(trace["generate"].GetSpanId()) != parent[2] {
		t.Error("the upstream's parent is not the step that asked it")
	}
	attributes := fmt.Sprint(root.GetAttributes())
	for _, want := range []string{"gen_ai.request.model", demoModel, "http.response.status_code", "gen_ai.usage.output_tokens", "fealty.request_id"} {
		if !strings.Contains(attributes, want) {
			t.Errorf("the root lacks %s: %s", want, attributes)
		}
	}
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	if whole := receiver.whole.String(); strings.Contains(whole, "private") || strings.Contains(whole, own) || strings.Contains(whole, "Paris") {
		t.Error("a trace holds what was asked, answered, or the key")
	}
	if receiver.auth != "Bearer collector-secret" {
		t.Errorf("the collector was sent %q", receiver.auth)
	}
}
