package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/testmodel"
)

// cli runs one command line of the real program.
func cli(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != exitHeld {
		t.Fatalf("fealty %s: exit %d\n%s", strings.Join(args, " "), code, errs.String())
	}
	return strings.TrimSpace(out.String())
}

func field(t *testing.T, text, name string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	value, ok := all[name].(string)
	if !ok {
		t.Fatalf("no %s in %s", name, text)
	}
	return value
}

// TestServeOnAnvilAndRedis is what a creator, a host and a licensee do with the
// commands alone, against a real node and a real Redis.
func TestServeOnAnvilAndRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the model")
	}
	servertest.Need(t, "redis-server", "install it (Debian: apt-get install redis-server; 'make test' does)")
	marked := testmodel.Get(t)
	farFromMidnight(t)
	anvil, redis := servertest.Anvil(t, "0"), servertest.Redis(t, "0")
	rpc := "http://" + anvil.Addr
	t.Setenv("FEALTY_TEST_CREATOR", servertest.AnvilKeys[0])
	t.Setenv("FEALTY_TEST_LICENSEE", servertest.AnvilKeys[1])
	t.Setenv("FEALTY_TEST_STRANGER", servertest.AnvilKeys[2])
	const licensee, creator = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"

	registry := field(t, cli(t, "license", "deploy", "--rpc", rpc, "--key-env", "FEALTY_TEST_CREATOR", "--draw-delay", "1", "--json"), "registry")
	model := field(t, cli(t, "license", "register", "--rpc", rpc, "--key-env", "FEALTY_TEST_CREATOR", "--registry", registry, "--json"), "model")
	chain := []string{"--rpc", rpc, "--registry", registry, "--model", model}
	as := func(who string, args ...string) string {
		return cli(t, append(append(args, chain...), "--key-env", who)...)
	}
	as("FEALTY_TEST_CREATOR", "license", "publish", marked.Dir)
	as("FEALTY_TEST_CREATOR", "license", "plan", "--price", "1000", "--duration", "1h", "--rpm", "600")
	as("FEALTY_TEST_CREATOR", "license", "grant", "--subject", "host:host.fealty.test", "--controller", creator, "--duration", "1h")
	as("FEALTY_TEST_LICENSEE", "license", "buy", "--plan", "1")
	if shown := cli(t, append([]string{"license", "show", "--subject", licensee, "--finality", "latest"}, chain...)...); !strings.Contains(shown, ": allowed") {
		t.Errorf("license show: %s", shown)
	}

	config, origin := writeConfig(t, served{dir: marked.Dir, rpc: rpc, ws: "ws://" + anvil.Addr, redis: redis.Addr, registry: registry, model: model})
	admin := listenAdmin(t, config)
	if out := cli(t, "config", "check", "--config", config); !strings.Contains(out, "holds") {
		t.Errorf("config check: %s", out)
	}
	cli(t, "state", "init", "--config", config)
	stop := startServe(t, config)
	wallet := func(who string, args ...string) string {
		return cli(t, append(args, "--gateway", origin, "--key-env", who)...)
	}
	key := wallet("FEALTY_TEST_LICENSEE", "key", "create", "--name", "test")
	token := wallet("FEALTY_TEST_LICENSEE", "login")
	other := wallet("FEALTY_TEST_STRANGER", "key", "create")

	want(t, origin, key, http.StatusOK, "")
	want(t, origin, token, http.StatusOK, "")
	want(t, origin, other, http.StatusPaymentRequired, "no_license")
	want(t, origin, forge(key), http.StatusUnauthorized, "invalid_api_key")

	showsLayers(t, config, admin, licensee)
	as("FEALTY_TEST_CREATOR", "license", "revoke", "--subject", licensee)
	eventually(t, time.Minute, "the revoked key is refused", func() bool { _, code := asked(t, origin, key); return code == "license_revoked" })
	as("FEALTY_TEST_CREATOR", "license", "reinstate", "--subject", licensee)
	eventually(t, time.Minute, "the reinstated key is served", func() bool { status, _ := asked(t, origin, key); return status == http.StatusOK })

	exports(t, config)
	redis.Kill()
	eventually(t, time.Minute, "a lost state store is said to be one", func() bool { _, code := asked(t, origin, key); return code == "state_unavailable" })
	stop()
	if _, err := net.Dial("tcp", strings.TrimPrefix(origin, "http://")); err == nil {
		t.Error("the port is still open after the gateway stopped")
	}
}

// exports compares the lines of the ledger with their sum.
func exports(t *testing.T, config string) {
	t.Helper()
	var rows [][]string
	eventually(t, time.Minute, "the requests are in the ledger", func() bool {
		text := cli(t, "usage", "export", "--config", config, "--csv")
		if strings.Contains(text, "FEALTY_TEST") || strings.Contains(text, "capital") {
			t.Fatalf("a secret or a prompt is in the ledger: %s", text)
		}
		var err error
		if rows, err = csv.NewReader(strings.NewReader(text)).ReadAll(); err != nil {
			t.Fatal(err)
		}
		return len(rows) >= 4 // the head, and two answers before the revocation and one after
	})
	var sum struct {
		Requests   int `json:"requests"`
		Completion int `json:"completion_tokens"`
	}
	requests, completion := 0, 0
	for line := range strings.Lines(cli(t, "usage", "export", "--config", config, "--sum", "--json")) {
		if err := json.Unmarshal([]byte(line), &sum); err != nil {
			t.Fatal(err)
		}
		requests, completion = requests+sum.Requests, completion+sum.Completion
	}
	for _, row := range rows[1:] {
		n, err := strconv.Atoi(row[7])
		if err != nil {
			t.Fatal(err)
		}
		completion -= n
	}
	if requests != len(rows)-1 || completion != 0 {
		t.Errorf("the sum is of %d requests, and %d tokens off; the ledger has %d", requests, completion, len(rows)-1)
	}
	file := filepath.Join(t.TempDir(), "usage.csv")
	cli(t, "usage", "export", "--config", config, "--output", file)
	if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), "time,request,subject,") {
		t.Errorf("exported file: %q, %v", text, err)
	}
}

// listenAdmin gives the second listener of a config a port that is known.
func listenAdmin(t *testing.T, config string) (url string) {
	t.Helper()
	address := "127.0.0.1:" + servertest.Port(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"127.0.0.1:0"`), []byte(fmt.Sprintf("%q", address)), 1)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return "http://" + address
}

// showsLayers: license show has a word from every layer of the running gateway, and ends as it does.
func showsLayers(t *testing.T, config, admin, licensee string) {
	t.Helper()
	var shown string
	eventually(t, time.Minute, "the ledger has both requests", func() bool {
		shown = cli(t, "license", "show", "--config", config, "--model", "gpt-4o", "--subject", licensee, "--gateway", admin)
		return strings.Contains(shown, "used     2 requests, ")
	})
	for _, line := range []string{
		licensee + " for chat on model", ": allowed", "memory   allowed, written once, confirmed", "redis    final  block", "chain    final  block",
		"window   ", "scope    chat,completions; asked: chat", "plan     1: 600 requests per minute", "host     host.fealty.test: allowed",
	} {
		if !strings.Contains(shown, line) {
			t.Errorf("license show says nothing like %q:\n%s", line, shown)
		}
	}
	if code, _, errs := attempt(t, "license", "show", "--config", config, "--model", "gpt-5", "--subject", licensee); code != exitUsage || !strings.Contains(errs, "it serves") {
		t.Errorf("a model that is not served: exit %d %s", code, errs)
	}
}

// farFromMidnight waits until the day, by which usage is counted and limited, will not
// end before the test does.
func farFromMidnight(t *testing.T) {
	t.Helper()
	const longest = 5 * time.Minute
	now := time.Now().UTC()
	if left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); left < longest {
		t.Logf("waiting %v for midnight to pass", left)
		time.Sleep(left + time.Second)
	}
}

func asked(t *testing.T, origin, credential string) (int, string) {
	t.Helper()
	c := &openai.Client{BaseURL: origin + "/v1", Key: credential}
	_, err := c.Chat(t.Context(), ask("What is the capital of France?", 2))
	return status(err)
}

func want(t *testing.T, origin, credential string, wantStatus int, wantCode string) {
	t.Helper()
	got, code := 0, ""
	_ = patiently(t.Context(), func() error { // that it could not find out is no answer
		_, err := (&openai.Client{BaseURL: origin + "/v1", Key: credential}).Chat(t.Context(), ask("What is the capital of France?", 2))
		got, code = status(err)
		return err
	})
	if got != wantStatus || code != wantCode {
		t.Errorf("status %d %s, want %d %s", got, code, wantStatus, wantCode)
	}
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

type served struct{ dir, rpc, ws, redis, registry, model string }

// writeConfig writes what an operator would, with secrets in files of their own.
func writeConfig(t *testing.T, s served) (path, origin string) {
	t.Helper()
	dir := t.TempDir()
	_, pem, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"secret": rand.Text() + rand.Text(), "signing": string(pem), "rpc": s.rpc, "ws": s.ws,
		"state": "redis://" + s.redis + "/0", "cache": "redis://" + s.redis + "/1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := "127.0.0.1:" + servertest.Port(t)
	file := func(name string) string { return "file:" + filepath.Join(dir, name) }
	text := fmt.Sprintf(`
listen: %[1]s
admin: {listen: "127.0.0.1:0"}
deployment: test
host: {domain: host.fealty.test}
secret: %[2]s
redis: {state: %[3]s, cache: %[4]s}
identity: {issuer: "http://%[1]s", chain: anvil, signing_keys: [%[5]s]}
chains:
  - {name: anvil, chain_id: 31337, rpc: [%[6]s], ws: %[7]s, finality: latest}
models:
  - name: %[8]s
    aliases: [gpt-4o]
    license: {chain: anvil, registry: "%[9]s", model: "%[10]s", version: 1}
    backend: {weights: %[11]s, slots: 2}
timeouts: {drain: 2s}
`, address, file("secret"), file("state"), file("cache"), file("signing"), file("rpc"), file("ws"), demoModel, s.registry, s.model, s.dir)
	path = filepath.Join(dir, "serve.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, "http://" + address
}

// startServe runs 'fealty serve' until the test, or the returned function, stops it
// as Ctrl-C would.
func startServe(t *testing.T, config string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	logs, sink := io.Pipe()
	done := make(chan int, 1)
	go func() {
		defer sink.Close()
		done <- run(ctx, []string{"serve", "--config", config}, strings.NewReader(""), io.Discard, sink)
	}()
	lines := bufio.NewScanner(logs)
	for lines.Scan() && !strings.Contains(lines.Text(), "msg=serving") {
		t.Log(lines.Text())
	}
	go func() { // ends when the gateway does
		for lines.Scan() {
		}
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if code := <-done; code != exitHeld {
			t.Errorf("serve ended with exit %d", code)
		}
	}
	t.Cleanup(stop)
	return stop
}
