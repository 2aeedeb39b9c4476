package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/servertest"
)

// An operator changes the config and the files that it names, and tells the running
// gateway, by signal and by its admin listener.
func TestReloadOfARunningGateway(t *testing.T) {
	servertest.Need(t, "redis-server", "install it (Debian: apt-get install redis-server; 'make test' does)")
	h := newBareHost(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Paris"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}))
	t.Cleanup(upstream.Close)
	h.text = strings.Replace(h.text, "http://127.0.0.1:9/v1", upstream.URL+"/v1", 1)
	chain := []string{"--model", h.model, "--rpc", h.rpc, "--registry", h.registry, "--key-env", "FEALTY_TEST_CONTROLLER"}
	cli(t, append([]string{"license", "grant", "--subject", "host:host.fealty.test", "--controller", h.controller, "--duration", "1h"}, chain...)...)
	cli(t, append([]string{"license", "grant", "--subject", h.server, "--duration", "1h", "--scope", "chat"}, chain...)...)
	path := h.config("")
	admin := listenAdmin(t, path)
	cli(t, "state", "init", "--config", path)
	startServe(t, path)
	key := cli(t, "key", "create", "--gateway", h.origin, "--key-env", "FEALTY_TEST_SERVER")
	want(t, h.origin, key, http.StatusOK, "")

	before := get(t, h.origin+"/.well-known/jwks.json")
	signing := secretFile(t, path, "signing_keys: [file:")
	_, pem, err := token.NewKey()
	must(t, err)
	must(t, os.WriteFile(signing, pem, 0o600))
	rules := filepath.Join(t.TempDir(), "rules.cedar")
	must(t, os.WriteFile(rules, []byte("permit (principal, action, resource);\nforbid (principal, action, resource) when { context.max_tokens == 2 };"), 0o600))
	change(t, path, "deployment: test", "deployment: test\nrules: "+rules)
	must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	eventually(t, time.Minute, "the rules are in force", func() bool { _, code := asked(t, h.origin, key); return code == "operator_rule" })
	if after := get(t, h.origin+"/.well-known/jwks.json"); after == before {
		t.Errorf("the signing key is still the same: %s", after)
	}

	must(t, os.WriteFile(rules, []byte("forbid everything"), 0o600))
	if code, body := reloaded(t, admin); code != http.StatusConflict || !strings.Contains(body, "rules") {
		t.Errorf("broken rules: %d %s", code, body)
	}
	must(t, os.WriteFile(rules, []byte("permit (principal, action, resource);"), 0o600))
	change(t, path, "deployment: test", "deployment: other")
	if code, body := reloaded(t, admin); code != http.StatusConflict || !strings.Contains(body, "deployment: need a restart") {
		t.Errorf("another deployment: %d %s", code, body)
	}
	want(t, h.origin, key, http.StatusForbidden, "operator_rule") // the rules from before the two reloads that failed
	change(t, path, "deployment: other", "deployment: test")
	if code, body := reloaded(t, admin); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	want(t, h.origin, key, http.StatusOK, "")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	must(t, err)
	_, body := do(t, req)
	return body
}

func reloaded(t *testing.T, admin string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, admin+"/reload", http.NoBody)
	must(t, err)
	return do(t, req)
}

// change replaces text in a file.
func change(t *testing.T, path, old, with string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", path, old)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), old, with, 1)), 0o600))
}

// secretFile is the file that a config names after the given words.
func secretFile(t *testing.T, path, after string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	_, rest, ok := strings.Cut(string(text), after)
	if !ok {
		t.Fatalf("%s has no %q", path, after)
	}
	return rest[:strings.IndexAny(rest, "],} \n")]
}
