package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/internal/weights"
)

// What must never be printed.
const (
	secretToken = "k3y-0f-the-n0de-9a8b7c"
	passphrase  = "correct horse battery staple"
)

// refusedWith wants an exit code and words that help, and no secret anywhere.
func refusedWith(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	got, out, errs := attempt(t, args...)
	if got != code || !strings.Contains(errs, says) || out != "" {
		t.Errorf("%s\nexit %d, want %d and %q\n%s%s", strings.Join(args, " "), got, code, says, out, errs)
	}
	for _, secret := range []string{secretToken, passphrase, servertest.AnvilKeys[0], "hunter2"} {
		if strings.Contains(out+errs, secret) {
			t.Errorf("%s\nprints the secret %q:\n%s%s", strings.Join(args, " "), secret, out, errs)
		}
	}
}

// A wrong node, contract or wallet is told apart, with what to do.
func TestLicenseWrongChainAndContract(t *testing.T) {
	rpc := "http://" + servertest.Anvil(t, "0").Addr
	t.Setenv(creatorKey, servertest.AnvilKeys[0])
	t.Setenv("FEALTY_TEST_POOR", strings.Repeat("7", 64))
	model := "0x" + strings.Repeat("11", 32)
	command := func(verb, registry, key string, more ...string) []string {
		return append(append([]string{"license"}, strings.Fields(verb)...), append(more, "--rpc", rpc, "--registry", registry, "--key-env", key)...)
	}
	const nobody, factory = "0x0000000000000000000000000000000000000b0b", "0x4e59b44847b379578588920cA78FbF26c0B4956C" // anvil deploys the latter
	refusedWith(t, exitFailed, "no contract at 0x0000000000000000000000000000000000000B0b on chain 31337; check the address and the RPC URL, or deploy one",
		command("register", nobody, creatorKey)...)
	refusedWith(t, exitFailed, "is no license registry; check the address", command("register", factory, creatorKey)...)
	refusedWith(t, exitFailed, "is no license registry; check the address", "license", "show", "--subject", creatorWallet, "--model", model, "--rpc", rpc, "--registry", factory)
	refusedWith(t, exitFailed, "the node is on chain 31337, not 1; check the RPC URL and the chain id", "license", "deploy", "--chain-id", "1", "--rpc", rpc, "--key-env", creatorKey)
	refusedWith(t, exitFailed, "0 wei on chain 31337", "license", "deploy", "--rpc", rpc, "--key-env", "FEALTY_TEST_POOR")

	registry := field(t, cli(t, "license", "deploy", "--draw-delay", "1", "--json", "--rpc", rpc, "--key-env", creatorKey), "registry")
	refusedWith(t, exitFailed, "the wallet cannot pay for this", command("register", registry, "FEALTY_TEST_POOR")...)
	refusedWith(t, exitFailed, "no model "+model+" is registered here; check the id and the registry", command("publish "+servedDir(t), registry, creatorKey, "--model", model)...)
	refusedWith(t, exitFailed, "only the model's owner", command("plan", registry, creatorKey, "--model", model)...)
	refusedWith(t, exitFailed, "no model "+model+" is registered here", "license", "revenue", "--model", model, "--rpc", rpc, "--registry", registry)
}

// servedDir is a folder that license publish takes.
func servedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.gguf"), []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := weights.WriteManifest(dir, weights.Manifest{Model: "test"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The command line is checked before anything is asked of a node.
func TestLicenseUsage(t *testing.T) {
	t.Setenv(creatorKey, servertest.AnvilKeys[0])
	t.Setenv("FEALTY_TEST_NO_KEY", "hunter2")
	const registry = creatorWallet
	model := "0x" + strings.Repeat("11", 32)
	full := []string{"--rpc", "http://127.0.0.1:1", "--registry", registry, "--model", model, "--key-env", creatorKey}
	for _, c := range []struct{ command, says string }{
		{"grant --subject 0x1234", "is no address; it needs 0x and 40 hex digits"},
		{"grant --subject 0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "wrong checksum; look for a typo"},
		{"grant --subject host:not_a_domain!", "is no domain name"},
		{"grant --subject host:a.example", "a host needs the wallet that answers for it"},
		{"grant --subject " + creatorWallet + " --controller " + creatorWallet, "only a host has one"},
		{"grant --subject " + creatorWallet + " --duration tomorrow", "invalid duration"},
		{"grant --subject " + creatorWallet + " --duration -5h", "--duration: need at least one second"},
		{"grant --subject " + creatorWallet + " --scope chat,host", "none of chat, completions, embeddings"},
		{"plan --price 1.5", "--price: need a whole number"},
		{"plan --price -1", "--price: need a whole number"},
		{"plan --duration 1500ms", "--duration: need whole seconds"},
		{"plan --token 0x12", "--token:"},
		{"plan --stop 1 --price 3", "none of the others can be"},
		{"transfer 0x12", "is no address"},
		{"issuer", "takes 1 argument(s)"},
		{"buy --plan one", "invalid argument"},
		{"buy --permit x --switch", "none of the others can be"},
		{"commit --root 0x12", "--root: need 0x and 64 hexadecimal digits"},
		{"commit --keys k.age", "--keys FILE with --keys-passphrase-file FILE"},
		{"voucher --subject " + creatorWallet + " --seq 3", "--rpc reads them"},
	} {
		refusedWith(t, exitUsage, c.says, append(append([]string{"license"}, strings.Fields(c.command)...), full...)...)
	}
	without := func(flag string) (args []string) {
		for i := 0; i < len(full); i += 2 {
			if full[i] != flag {
				args = append(args, full[i], full[i+1])
			}
		}
		return append([]string{"license", "accept"}, args...)
	}
	refusedWith(t, exitUsage, "name the node", without("--rpc")...)
	refusedWith(t, exitUsage, "name the registry", without("--registry")...)
	refusedWith(t, exitUsage, "--model: need 0x and 64 hexadecimal digits", without("--model")...)
	refusedWith(t, exitUsage, "name the wallet", without("--key-env")...)
	refusedWith(t, exitFailed, "holds no private key; it needs 64 hex digits", append(without("--key-env"), "--key-env", "FEALTY_TEST_NO_KEY")...)
}

// RPC URLs hold keys: they come from files and variables, and no error shows them.
func TestLicenseKeepsTheURL(t *testing.T) {
	t.Setenv(creatorKey, servertest.AnvilKeys[0])
	deploy := func(rpc string) []string {
		return []string{"license", "deploy", "--rpc", rpc, "--key-env", creatorKey}
	}
	for _, inline := range []string{
		"https://node.example/v3/" + secretToken, "https://me:hunter2@node.example", "wss://node.example?key=" + secretToken,
		"http://me:hunter2@127.0.0.1:8545", secretToken,
	} {
		refusedWith(t, exitUsage, "does not belong on a command line; write env:NAME or file:PATH", deploy(inline)...)
	}
	rude := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "no project %s for %s:%s", r.URL, user, password)
	}))
	defer rude.Close()
	chatty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"the key in %s is over its quota"}}`, r.URL)
	}))
	defer chatty.Close()
	withUser := func(url string) string { return strings.Replace(url, "://", "://me:hunter2@", 1) }
	for name, c := range map[string]struct{ url, says string }{
		"dead":    {"http://127.0.0.1:1/v3/" + secretToken, "refused"},
		"rude":    {withUser(rude.URL) + "/v3/" + secretToken, "401"},
		"chatty":  {chatty.URL + "/?apikey=" + secretToken, "over its quota"},
		"scheme":  {"gopher://127.0.0.1/" + secretToken, "gopher"},
		"nothing": {secretToken, "needs http(s)://host or ws(s)://host"},
		"socket":  {"ws://127.0.0.1:1/" + secretToken, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FEALTY_TEST_RPC", c.url)
			refusedWith(t, exitFailed, c.says, deploy("env:FEALTY_TEST_RPC")...)
			file := filepath.Join(t.TempDir(), "rpc")
			if err := os.WriteFile(file, []byte(c.url+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			refusedWith(t, exitFailed, c.says, deploy("file:"+file)...)
			show := []string{"license", "show", "--subject", buyerWallet, "--registry", creatorWallet, "--model", "0x" + strings.Repeat("11", 32), "--rpc", "env:FEALTY_TEST_RPC"}
			code, out, errs := attempt(t, show...)
			if code == exitHeld || strings.Contains(out+errs, secretToken) || strings.Contains(out+errs, "hunter2") {
				t.Errorf("show: exit %d\n%s%s", code, out, errs)
			}
		})
	}
	refusedWith(t, exitFailed, "is empty", deploy("env:FEALTY_TEST_NOT_SET")...)
}

// Keystores and their passphrases stay where they are.
func TestLicenseKeepsThePassphrase(t *testing.T) {
	dir := t.TempDir()
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	store, pass, wrong := filepath.Join(dir, "me.json"), filepath.Join(dir, "me.pass"), filepath.Join(dir, "wrong.pass")
	if err := key.Save(store, passphrase); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{pass: passphrase + "\n", wrong: passphrase + "!"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	deploy := []string{"license", "deploy", "--rpc", "http://127.0.0.1:1", "--keystore", store}
	refusedWith(t, exitFailed, "does not open with this passphrase", append(deploy, "--passphrase-file", wrong)...)
	refusedWith(t, exitFailed, "needs a passphrase", deploy...)
	refusedWith(t, exitFailed, "is not an encrypted V3 keystore", "license", "deploy", "--rpc", "http://127.0.0.1:1", "--keystore", pass, "--passphrase-file", pass)
	refusedWith(t, exitFailed, "choose one", append(deploy, "--passphrase-file", pass, "--key-env", "X")...)
	refusedWith(t, exitFailed, "refused", append(deploy, "--passphrase-file", pass)...) // it opened; there is no node
}
