package main

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
)

// A host proves itself with the key of its grant's controller, or with one that the
// controller delegated to; any other stops it at the start.
func TestHostProof(t *testing.T) {
	servertest.Need(t, "redis-server", "install it (Debian: apt-get install redis-server; 'make test' does)")
	anvil, redis := servertest.Anvil(t, "0"), servertest.Redis(t, "0")
	rpc := "http://" + anvil.Addr
	t.Setenv("FEALTY_TEST_CONTROLLER", servertest.AnvilKeys[0])
	t.Setenv("FEALTY_TEST_SERVER", servertest.AnvilKeys[1])
	const controller, server = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
	as := []string{"--rpc", rpc, "--key-env", "FEALTY_TEST_CONTROLLER"}
	registry := field(t, cli(t, append([]string{"license", "deploy", "--draw-delay", "1", "--json"}, as...)...), "registry")
	as = append(as, "--registry", registry)
	model := field(t, cli(t, append([]string{"license", "register", "--json"}, as...)...), "model")
	cli(t, append([]string{"license", "grant", "--subject", "host:host.fealty.test", "--controller", controller, "--duration", "1h", "--model", model}, as...)...)

	path, origin := writeConfig(t, served{dir: "unused", rpc: rpc, ws: "ws://" + anvil.Addr, redis: redis.Addr, registry: registry, model: model})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	with := func(host string) string {
		changed := strings.NewReplacer(
			"backend: {weights: unused, slots: 2}", "backend: {upstreams: [{url: \"http://127.0.0.1:9/v1\"}]}",
			"host: {domain: host.fealty.test}", "host: {domain: host.fealty.test, "+host+"}").Replace(string(text))
		path := filepath.Join(t.TempDir(), "serve.yaml")
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cli(t, "state", "init", "--config", path)

	stop := startServe(t, with("key: env:FEALTY_TEST_CONTROLLER"))
	if by := statedBy(t, origin); by != controller {
		t.Errorf("signed by %s, want the controller", by)
	}
	stop()

	var errs strings.Builder
	if code := run(t.Context(), []string{"serve", "--config", with("key: env:FEALTY_TEST_SERVER")}, strings.NewReader(""), io.Discard, &errs); code != exitFailed ||
		!strings.Contains(errs.String(), "fealty license delegate --to "+server) {
		t.Errorf("a key of nobody: exit %d, %s", code, errs.String())
	}

	delegation := filepath.Join(t.TempDir(), "delegation.json")
	signed := cli(t, "license", "delegate", "--domain", "host.fealty.test", "--to", server, "--expires-in", "1h", "--key-env", "FEALTY_TEST_CONTROLLER")
	if err := os.WriteFile(delegation, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	startServe(t, with("key: env:FEALTY_TEST_SERVER, delegation: "+delegation))
	if by := statedBy(t, origin); by != server {
		t.Errorf("signed by %s, want the delegate", by)
	}
}

// statedBy is who signed the host's statement.
func statedBy(t *testing.T, origin string) string {
	t.Helper()
	resp, err := http.Get(origin + "/.well-known/fealty.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s gateway.SignedStatement
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	signature, err := hex.DecodeString(strings.TrimPrefix(s.Signature, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	by, err := wallet.RecoverPersonal(s.Statement, signature)
	if err != nil {
		t.Fatal(err)
	}
	return wallet.AddressText(by)
}
