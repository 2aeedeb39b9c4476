package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/wallet"
)

// A stack is the demo's, on a model that was fingerprinted once for all suites:
// real chain, registry, licenses, weights, gateway, sign-ins and keys.
type stack struct {
	*demo
	revoked string // API key of a license that was revoked
	limited string // API key with a limit of one request per minute, used up
}

// startStack plays the demo's preparation. It ends with the test.
func startStack(t *testing.T) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the model")
	}
	ctx := t.Context()
	marked := testmodel.Get(t)
	d := &demo{listen: "127.0.0.1:0", p: newProgress(io.Discard), dir: t.TempDir(), served: marked.Dir, set: marked.Set}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error("closing the stack:", err)
		}
	})
	for _, prepare := range []func(*demo, context.Context) error{
		(*demo).startChain, (*demo).publishAndLicense, (*demo).startGateway, (*demo).makeKeys,
	} {
		if err := prepare(d, ctx); err != nil {
			t.Fatal(err)
		}
	}
	s := &stack{demo: d}
	s.revokeGuest(t)
	s.limitKey(t)
	return s
}

func (s *stack) revokeGuest(t *testing.T) {
	t.Helper()
	if _, err := s.registry.Revoke(t.Context(), s.model, wallet.Subject(s.wallets["guest"].Address())); err != nil {
		t.Fatal(err)
	}
	s.revoked = s.keys["guest"]
	if r := <-s.untilRefused(t.Context(), s.revoked); r.code != "license_revoked" {
		t.Fatalf("a revoked license is refused with %d %s (%v)", r.status, r.code, r.err)
	}
}

func (s *stack) limitKey(t *testing.T) {
	t.Helper()
	a, err := openAccount(t.Context(), s.gateway, s.wallets["licensee"])
	if err != nil {
		t.Fatal(err)
	}
	// No token is left for any request, so it is refused at any second of any minute.
	k, err := a.createKey(t.Context(), keyRequest{Name: "limited", TokensPerDay: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.limited = k.Key
}

// sdk is what the SDK scripts get, by environment.
func (s *stack) sdk(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"base": s.gateway + "/v1", "model": demoModel,
		"keys": map[string]string{
			"licensed": s.keys["licensee"], "unlicensed": s.keys["stranger"], "revoked": s.revoked,
			"limited": s.limited, "forged": forge(s.keys["licensee"]),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return "FEALTY_SDK=" + string(text)
}

// root is the project's folder.
func root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..")
}

// script runs an SDK's script from the project's root.
func script(t *testing.T, env string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = root(), append(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
