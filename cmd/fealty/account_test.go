package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/servertest"
)

// A licensee signs in once, manages keys without naming the wallet again, and signs
// out. The gateway is real; nothing in this touches a license.
func TestLoginAndKeys(t *testing.T) {
	h := newBareHost(t)
	cli(t, "state", "init", "--config", h.config(""))
	startServe(t, h.config(""))
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	at := func(args ...string) []string { return append(args, "--gateway", h.origin) }
	refused := func(code int, says string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(t.Context(), args, strings.NewReader(""), &out, &errs); got != code || !strings.Contains(errs.String(), says) {
			t.Errorf("%v: exit %d, %s; want %d, %q", args, got, errs.String(), code, says)
		}
	}
	refused(exitUsage, "not signed in", at("key", "list")...)
	refused(exitUsage, "not signed in", at("logout")...)
	token := field(t, cli(t, at("login", "--json", "--key-env", "FEALTY_TEST_SERVER")...), "access_token")

	files, err := filepath.Glob(filepath.Join(dir, "fealty", "tokens", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info.Mode(), err)
	}
	key := cli(t, at("key", "create", "--name", "narrow", "--models", demoModel, "--rpm", "3", "--tokens-per-day", "900", "--expires-in", "1h")...)
	list := cli(t, at("key", "list")...)
	for _, want := range []string{"narrow", "active", "until", demoModel, "rpm 3", "tokens/day 900"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q: %s", want, list)
		}
	}
	if strings.Contains(list, key) || strings.Contains(list, key[20:]) {
		t.Error("the list shows the key again")
	}
	want(t, h.origin, key, http.StatusForbidden, "host_unlicensed")

	var listed struct{ Data []keyInfo }
	if err := json.Unmarshal([]byte(cli(t, at("key", "list", "--json")...)), &listed); err != nil || len(listed.Data) != 1 {
		t.Fatalf("listed %+v, %v", listed, err)
	}
	if out := cli(t, at("key", "narrow", listed.Data[0].ID, "--rpm", "2")...); !strings.Contains(out, "2 ") {
		t.Errorf("narrowed: %s", out)
	}
	refused(exitFailed, "rpm would rise", at("key", "narrow", listed.Data[0].ID, "--rpm", "3")...)
	cli(t, at("key", "revoke", listed.Data[0].ID)...)
	want(t, h.origin, key, http.StatusUnauthorized, "credential_revoked")
	if list := cli(t, at("key", "list")...); !strings.Contains(list, "revoked") {
		t.Errorf("after its revocation: %s", list)
	}
	refused(exitUsage, "--expires-in", at("key", "create", "--expires-in", "-1h")...)
	refused(exitFailed, "no such API key", at("key", "revoke", listed.Data[0].ID, "--key-env", "FEALTY_TEST_CONTROLLER")...) // named wallets go first

	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	refused(exitFailed, "can be read by others", at("key", "list")...)
	if err := os.Chmod(files[0], 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, at("logout")...)
	want(t, h.origin, token, http.StatusUnauthorized, "credential_revoked")
	refused(exitUsage, "not signed in", at("key", "list")...)
}

// bareHost is a gateway in front of nothing, on real servers: enough for everything
// that ends before a model is asked.
type bareHost struct {
	t                            *testing.T
	text, origin                 string
	rpc, registry, model, server string
	controller                   string
}

func newBareHost(t *testing.T) *bareHost {
	t.Helper()
	anvil, redis := servertest.Anvil(t, "0"), servertest.Redis(t, "0")
	t.Setenv("FEALTY_TEST_CONTROLLER", servertest.AnvilKeys[0])
	t.Setenv("FEALTY_TEST_SERVER", servertest.AnvilKeys[1])
	h := &bareHost{
		t: t, rpc: "http://" + anvil.Addr,
		controller: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", server: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
	}
	as := []string{"--rpc", h.rpc, "--key-env", "FEALTY_TEST_CONTROLLER", "--json"}
	h.registry = field(t, cli(t, append([]string{"license", "deploy", "--draw-delay", "1"}, as...)...), "registry")
	h.model = field(t, cli(t, append([]string{"license", "register", "--registry", h.registry}, as...)...), "model")
	path, origin := writeConfig(t, served{dir: "unused", rpc: h.rpc, ws: "ws://" + anvil.Addr, redis: redis.Addr, registry: h.registry, model: h.model})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h.text, h.origin = strings.Replace(string(text), "backend: {weights: unused, slots: 2}", "backend: {upstreams: [{url: \"http://127.0.0.1:9/v1\"}]}", 1), origin
	return h
}

// config writes the gateway's config with more settings of the host.
func (h *bareHost) config(host string) string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "serve.yaml")
	text := strings.Replace(h.text, "host: {domain: host.fealty.test}", "host: {domain: host.fealty.test, "+host+"}", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// TestMain keeps the tokens of these tests out of the configuration directory of
// whoever runs them. A test that needs the program as processes of their own sets
// beProgram and runs its own executable.
func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(mainWithSignals())
	}
	dir, err := os.MkdirTemp("", "fealty-config-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CONFIG_HOME", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

const beProgram = "FEALTY_TEST_IS_THE_PROGRAM"
