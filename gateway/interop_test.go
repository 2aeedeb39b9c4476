//go:build interop

package gateway_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestInteropPythonReadsEveryCode is TestSDKsReadEveryCode for the SDK for Python.
func TestInteropPythonReadsEveryCode(t *testing.T) {
	python := os.Getenv("FEALTY_PYTHON")
	if python == "" {
		t.Fatal("FEALTY_PYTHON is not set; run 'make interop'")
	}
	r := newRig(t, smallBodies)
	input, err := json.Marshal(map[string]any{"base": r.url + "/v1", "cases": r.codeCases()})
	must(t, err)
	cmd := exec.CommandContext(t.Context(), python, "testdata/codes.py")
	cmd.Env = append(os.Environ(), "FEALTY_CODES="+string(input))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	must(t, err)
}

// TestInteropSchemathesis fuzzes every route by the served OpenAPI document: no
// request, valid or not, is answered with a status above 499, another type or
// another form than the document says.
func TestInteropSchemathesis(t *testing.T) {
	program := os.Getenv("FEALTY_SCHEMATHESIS")
	if program == "" {
		t.Fatal("FEALTY_SCHEMATHESIS is not set; run 'make interop'")
	}
	r := newRig(t)
	config := filepath.Join(t.TempDir(), "schemathesis.toml")
	must(t, os.WriteFile(config, []byte(`headers = { Authorization = "Bearer ${FEALTY_KEY}" }
request-timeout = 120
[generation]
max-examples = 20
deterministic = true
`), 0o600))
	for name, key := range map[string]string{"API key": r.key, "token": r.signIn(r.wallet)} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "--config-file", config, "run", r.url+"/openapi.json",
				"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
				"--exclude-path", "/auth/revoke", "--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color",
				// They judge how easily inputs can be made up and how fast this machine is, not the gateway.
				"--suppress-health-check", "all")
			cmd.Env, cmd.Dir = append(os.Environ(), "FEALTY_KEY="+key), t.TempDir()
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			must(t, err)
		})
	}
}
