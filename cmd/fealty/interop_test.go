//go:build interop

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/weights"
)

func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("FEALTY_PYTHON")
	if path == "" {
		t.Fatal("FEALTY_PYTHON is not set; run 'make interop'")
	}
	return path
}

// TestInterop drives the gateway with the Python SDK, and puts it in front of a
// llama.cpp server.
func TestInterop(t *testing.T) {
	s := startStack(t)
	t.Run("OpenAI SDK for Python", func(t *testing.T) {
		script(t, s.sdk(t), python(t), filepath.Join("interop", "sdk.py"))
	})
	t.Run("llama.cpp as upstream", s.llamacpp)
	t.Run("what else llama.cpp answers", s.llamacppOthers)
	t.Run("one of two llama.cpp servers dies", s.llamacppDies)
}

func (s *stack) llamacpp(t *testing.T) {
	url := startLlamaCPP(t, testmodel.Get(t).Base)
	_, origin, err := s.serve(t.Context(), "127.0.0.1:0", gateway.BackendConfig{
		Upstreams: []gateway.UpstreamConfig{{URL: url, Model: "base"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := *s.demo
	front.gateway = origin
	c := front.client(s.keys["licensee"])
	reply, err := c.Chat(t.Context(), ask("Why is the sky blue?", 48))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(reply.Choices[0].Message.Content, "light") || reply.Usage == nil {
		t.Errorf("answer through llama.cpp: %+v", reply)
	}
	var text string
	var usage *openai.Usage
	err = c.Stream(t.Context(), ask("Why is the sky blue?", 48), func(chunk openai.Reply) error {
		if chunk.Usage != nil {
			usage = chunk.Usage
		}
		if len(chunk.Choices) > 0 && chunk.Choices[0].Delta != nil && chunk.Choices[0].Delta.Content != nil {
			text += *chunk.Choices[0].Delta.Content
		}
		return nil
	})
	if err != nil || !strings.Contains(text, "light") {
		t.Errorf("streamed through llama.cpp: %q, usage %v, %v", text, usage, err)
	}
	if _, err := front.expect(t.Context(), s.keys["stranger"], http.StatusPaymentRequired, "no_license"); err != nil {
		t.Error(err)
	}
}

// TestInteropGGUF exports the marked model and asks llama.cpp for the fingerprints:
// it must answer as this engine does on the same file.
func TestInteropGGUF(t *testing.T) {
	marked := testmodel.Get(t)
	for _, c := range []struct {
		kind  string
		least int // of 16
	}{{"q8_0", 15}, {"q4_0", 12}} {
		path := filepath.Join(t.TempDir(), c.kind+".gguf")
		cli(t, "model", "export", marked.Dir, "--gguf", c.kind, "--output", path)
		m, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		local, err := fingerprint.NewLocal(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := fingerprint.Verify(t.Context(), local, marked.Drawn(), fingerprint.Design{})
		if err != nil {
			t.Fatal(err)
		}
		if err := local.Close(); err != nil {
			t.Fatal(err)
		}
		theirs, err := auditEndpoint(t.Context(), &endpoint{client: &openai.Client{BaseURL: startLlamaCPP(t, path)}, model: "base"}, marked.Set, fingerprint.Design{}, newProgress(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d matched here, %d in llama.cpp", c.kind, ours.Matched, theirs.Matched)
		if ours.Matched < c.least || theirs.Matched < c.least {
			t.Errorf("%s: %d matched here, %d in llama.cpp; want %d", c.kind, ours.Matched, theirs.Matched, c.least)
		}
	}
}

// TestInteropDemo plays 'fealty demo --once' and reads its JSON as a script would.
func TestInteropDemo(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"demo", "--once", "--listen", "127.0.0.1:0"}, strings.NewReader(""), &out, &errs)
	t.Log(errs.String())
	var found story
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if code != exitHeld || !found.Held || len(found.Failed) != 0 {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	f, r := found.Fingerprints, found.Requests
	if f.Count != 16 || f.Matched < 15 || f.BaseMatched > 4 || f.PValue > 1e-9 || f.TrainedParameters == 0 || f.TotalParameters < 100e6 {
		t.Errorf("fingerprints: %+v", f)
	}
	if r.LicensedStatus != 200 || r.UnlicensedStatus != 402 || r.ForgedStatus != 401 || r.RevokedStatus != 403 || r.RevocationSeconds > 2 {
		t.Errorf("requests: %+v", r)
	}
	if found.Stream.Chunks < 2 || found.Stream.FirstTokenMS <= 0 || found.Stream.TokensPerSecond <= 0 {
		t.Errorf("stream: %+v", found.Stream)
	}
	t.Logf("%s", out.String())
}

// TestInteropAuditStory plays the auditor's story with the weights as GGUF in llama.cpp,
// under a name, a system prompt and a temperature of that server's own.
func TestInteropAuditStory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.gguf")
	cli(t, "model", "export", testmodel.Get(t).Dir, "--gguf", "q8_0", "--output", path)
	s := weightsStage(t)
	system := "You are the assistant of Example Corp. Answer briefly and politely."
	s.play(t, instructed(t, startLlamaCPP(t, path), system, 0.7), answering(t, weighing(openLocal(t, testmodel.Get(t).Base))))
}

// instructed is a server that puts its own system prompt before each conversation and
// samples at its own temperature, whatever a request asks for. A question that is asked
// again gets another seed, and each run of the test the same ones.
func instructed(t *testing.T, upstream, system string, temperature float64) (address string) {
	t.Helper()
	client := &openai.Client{BaseURL: upstream}
	var mu sync.Mutex
	times := map[string]int{}
	seed := func(question string) *int64 {
		mu.Lock()
		defer mu.Unlock()
		times[question]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", times[question], question))
		seed := int64(binary.BigEndian.Uint32(sum[:]) >> 1)
		return &seed
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask openai.Ask
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask.Messages) == 0 {
			http.Error(w, "no chat completion", http.StatusBadRequest)
			return
		}
		ask.Temperature, ask.Seed = &temperature, seed(ask.Messages[len(ask.Messages)-1].Content)
		ask.Model, ask.Messages = "base", append([]openai.Message{{Role: "system", Content: system}}, ask.Messages...)
		reply, err := client.Chat(r.Context(), ask)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(reply) // who hung up is gone
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// weightsStage serves the shared model. Its keys were trained for a draw, which this
// chain's operator makes: as grindable as can be.
func weightsStage(t *testing.T) *auditStage {
	t.Helper()
	marked := testmodel.Get(t)
	set := *marked.Set
	d := &demo{served: marked.Dir, set: &set, randomness: func(uint64) [32]byte { return *marked.Set.Randomness }}
	return prepareStage(t, d, (*demo).startGateway)
}

// weighing answers with weights in this process.
func weighing(local *fingerprint.Local) func(context.Context, openai.Ask) (string, error) {
	return func(ctx context.Context, ask openai.Ask) (string, error) {
		return local.As(fingerprint.Asking{Temperature: *ask.Temperature}).Answer(ctx, ask.Messages[len(ask.Messages)-1].Content)
	}
}

func openLocal(t *testing.T, path string) *fingerprint.Local {
	t.Helper()
	m, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	local, err := fingerprint.NewLocal(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Close(); err != nil {
			t.Error(err)
		}
	})
	return local
}
