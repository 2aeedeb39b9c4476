package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the audit commands cannot do they refuse before anything is asked, and say why.
func TestAuditRefuses(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Setenv("FEALTY_TEST_AUDITOR", strings.Repeat("1", 64))
	signer := []string{"--signer-key-env", "FEALTY_TEST_AUDITOR"}
	broken, empty := path("broken.json", `{"statement":`), path("empty.json", `{"statement":{},"signer":"","signature":""}`)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"verify without a signer":      {[]string{"verify", "http://127.0.0.1:1/v1", "--dir", dir}, exitUsage, "--signer-keystore"},
		"verify without a registry":    {append([]string{"verify", "http://127.0.0.1:1/v1", "--dir", dir}, signer...), exitUsage, "--registry"},
		"signatures of no known kind":  {append([]string{"verify", "http://127.0.0.1:1/v1", "--dir", dir, "--registry", "0x" + strings.Repeat("1", 40), "--signatures", "maybe"}, signer...), exitUsage, "auto, always or never"},
		"a key on the command line":    {[]string{"witness", "x.json", "--output", dir, "--api-key", "sk-secret", "--signer-key-env", "FEALTY_TEST_AUDITOR"}, exitFailed, "no such file"},
		"witness without an output":    {append([]string{"witness", "x.json"}, signer...), exitUsage, "--output"},
		"evidence without a folder":    {append([]string{"evidence"}, signer...), exitUsage, "--dir DIR --output FILE"},
		"an attestation without tool":  {append([]string{"evidence", "--dir", dir, "--output", "x", "--tls-attestation", broken}, signer...), exitUsage, "TOOL=FILE"},
		"check of a broken file":       {[]string{"check", broken}, exitFailed, "broken.json"},
		"check of an empty statement":  {[]string{"check", empty}, exitNotHeld, "the evidence"},
		"check of no file":             {[]string{"check", filepath.Join(dir, "none")}, exitFailed, "none"},
		"report without an output":     {[]string{"report", empty}, exitUsage, "--output"},
		"an RPC URL that may be a key": {[]string{"verify", "http://127.0.0.1:1/v1", "--dir", dir, "--registry", "0x" + strings.Repeat("1", 40), "--rpc", "https://rpc.example/secret"}, exitUsage, "--signer"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := attempt(t, append([]string{"audit"}, c.args...)...)
			if code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("exit %d, %s%s; want %d and %q", code, out, errs, c.code, c.says)
			}
			if strings.Contains(out+errs, "sk-secret") || strings.Contains(out+errs, "rpc.example/secret") {
				t.Errorf("it shows a secret: %s%s", out, errs)
			}
		})
	}
}
