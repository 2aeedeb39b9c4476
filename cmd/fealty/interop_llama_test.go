//go:build interop

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// startLlamaCPP runs llama.cpp's own server on the weights.
func startLlamaCPP(t *testing.T, path string, more ...string) (url string) {
	t.Helper()
	url, _ = llamaCPP(t, path, more...)
	return url
}

// llamaCPP does the same; kill ends the server as a crash would. more are arguments.
func llamaCPP(t *testing.T, path string, more ...string) (url string, kill func()) {
	t.Helper()
	program, port := os.Getenv("FEALTY_LLAMA_SERVER"), servertest.Port(t)
	if program == "" {
		t.Fatal("FEALTY_LLAMA_SERVER is not set; run 'make interop'")
	}
	cmd := exec.Command(program, append([]string{
		"--model", path, "--host", "127.0.0.1", "--port", port, "--no-ui",
		"--ctx-size", "4096", "--parallel", "4", "--threads", "1", "--threads-batch", "1",
	}, more...)...)
	var logs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &logs, &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	t.Cleanup(kill)
	origin := "http://127.0.0.1:" + port
	for deadline := time.Now().Add(5 * time.Minute); ; {
		if resp, err := http.Get(origin + "/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK { // 503 while it loads
				return origin + "/v1", kill
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("llama.cpp's server ended: %v: %s", err, logs.String())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("llama.cpp's server does not answer within 5 minutes: %s", logs.String())
		}
	}
}

// llamacppOthers sends what the gateway passes through to llama.cpp: responses, tools and
// formats that only an upstream knows, and embeddings.
func (s *stack) llamacppOthers(t *testing.T) {
	base := testmodel.Get(t).Base
	_, origin, err := s.serve(t.Context(), "127.0.0.1:0", gateway.BackendConfig{
		Upstreams: []gateway.UpstreamConfig{{URL: startLlamaCPP(t, base), Model: "base"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	key := s.everything(t)
	answer := s.through(t, key, origin, "/v1/responses", `{"input":"Why is the sky blue?","max_output_tokens":48,"temperature":0}`)
	if !strings.Contains(answer, "light") || !strings.Contains(answer, `"output_tokens"`) {
		t.Errorf("responses: %s", answer)
	}
	answer = s.through(t, key, origin, "/v1/chat/completions", `{"messages":[{"role":"user","content":"Name a colour."}],"max_tokens":24,"temperature":0,
		"response_format":{"type":"json_schema","json_schema":{"name":"c","schema":{"type":"object","properties":{"colour":{"type":"string","maxLength":10}},"required":["colour"]}}}}`)
	var reply struct {
		Choices []struct{ Message struct{ Content string } }
	}
	var colour struct{ Colour string }
	if err := json.Unmarshal([]byte(answer), &reply); err != nil || len(reply.Choices) != 1 || json.Unmarshal([]byte(reply.Choices[0].Message.Content), &colour) != nil || colour.Colour == "" {
		t.Errorf("an answer in a format: %s", answer)
	}
	_, origin, err = s.serve(t.Context(), "127.0.0.1:0", gateway.BackendConfig{
		Upstreams: []gateway.UpstreamConfig{{URL: startLlamaCPP(t, base, "--embeddings", "--pooling", "mean"), Model: "base"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer = s.through(t, key, origin, "/v1/embeddings", `{"input":["Paris","London"]}`)
	var vectors struct {
		Data []struct{ Embedding []float64 }
	}
	if err := json.Unmarshal([]byte(answer), &vectors); err != nil || len(vectors.Data) != 2 || len(vectors.Data[1].Embedding) != 576 {
		t.Errorf("embeddings: %.300s", answer)
	}
}

// everything is the API key of a new licensee who may use every endpoint.
func (s *stack) everything(t *testing.T) string {
	t.Helper()
	key, err := wallet.Generate()
	must(t, err)
	terms := registry.Terms{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Scope: policy.ScopeChat | policy.ScopeCompletions | policy.ScopeEmbeddings, Plan: s.plan}
	_, err = s.registry.Grant(t.Context(), s.model, wallet.Subject(key.Address()), terms)
	must(t, err)
	a, err := openAccount(t.Context(), s.gateway, key)
	must(t, err)
	k, err := a.createKey(t.Context(), keyRequest{Name: "everything"})
	must(t, err)
	return k.Key
}

// through posts a request, with the model's name, and wants it answered.
func (s *stack) through(t *testing.T, key, origin, path, body string) string {
	t.Helper()
	body = fmt.Sprintf(`{"model":%q,%s`, demoModel, strings.TrimPrefix(body, "{"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, origin+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d: %s", path, resp.StatusCode, text.String())
	}
	return text.String()
}
