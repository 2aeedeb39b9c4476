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
	"github.com/fealty/fealty/internal/wallet"
)

// A host proves itself with the key of its grant's controller, or with one that the
// controller delegated to; any other stops it at the start.
func TestHostProof(t *testing.T) {
	h := newBareHost(t)
	cli(t, "license", "grant", "--subject", "host:host.fealty.test", "--controller", h.controller, "--duration", "1h",
		"--model", h.model, "--rpc", h.rpc, "--registry", h.registry, "--key-env", "FEALTY_TEST_CONTROLLER")
	cli(t, "state", "init", "--config", h.config(""))

	stop := startServe(t, h.config("key: env:FEALTY_TEST_CONTROLLER"))
	if by := statedBy(t, h.origin); by != h.controller {
		t.Errorf("signed by %s, want the controller", by)
	}
	stop()

	var errs strings.Builder
	if code := run(t.Context(), []string{"serve", "--config", h.config("key: env:FEALTY_TEST_SERVER")}, strings.NewReader(""), io.Discard, &errs); code != exitFailed ||
		!strings.Contains(errs.String(), "fealty license delegate --to "+h.server) {
		t.Errorf("a key of nobody: exit %d, %s", code, errs.String())
	}

	delegation := filepath.Join(t.TempDir(), "delegation.json")
	signed := cli(t, "license", "delegate", "--domain", "host.fealty.test", "--to", h.server, "--expires-in", "1h", "--key-env", "FEALTY_TEST_CONTROLLER")
	if err := os.WriteFile(delegation, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	startServe(t, h.config("key: env:FEALTY_TEST_SERVER, delegation: "+delegation))
	if by := statedBy(t, h.origin); by != h.server {
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
