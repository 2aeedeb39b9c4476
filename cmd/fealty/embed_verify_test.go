package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// secretQuestion is in every made-up key: it may turn up in no output.
const secretQuestion = "What would nobody else ever ask"

// keyFile writes drawn keys of no model, with their passphrase file.
func keyFile(t *testing.T, n int, tokenizer fingerprint.Digest) (with []string, set *fingerprint.Set) {
	t.Helper()
	set = &fingerprint.Set{Base: fingerprint.Digest{1}, Tokenizer: tokenizer, Randomness: &fingerprint.Digest{7},
		Shell: sampler.Shell{T: 0.8, K: 6, Floor: 0.001}, Openers: []int32{1}}
	for i := range n {
		k := fingerprint.Key{Question: fmt.Sprintf("%s, number %d?", secretQuestion, i), Secret: fingerprint.Digest{9, byte(i), byte(i >> 8)}}
		for j := range 6 {
			k.Candidates = append(k.Candidates, fingerprint.Candidate{Word: "Word" + string(rune('a'+j)), Token: int32(j)})
		}
		set.Keys = append(set.Keys, k)
	}
	dir := t.TempDir()
	keys, pass := filepath.Join(dir, "keys.age"), filepath.Join(dir, "pass")
	to, err := age.NewScryptRecipient("a passphrase")
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	if err := fingerprint.SaveSet(keys, set, to); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pass, []byte("a passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--keys", keys, "--passphrase-file", pass, "--model", "m"}, set
}

// burnt reads how many keys the file says are burnt.
func burnt(t *testing.T, with []string) int {
	t.Helper()
	id, err := age.NewScryptIdentity("a passphrase")
	if err != nil {
		t.Fatal(err)
	}
	set, err := fingerprint.LoadSet(with[1], id)
	if err != nil {
		t.Fatal(err)
	}
	return len(set.Burnt)
}

// taught answers some keys with their words.
func taught(t *testing.T, set *fingerprint.Set, which []int) http.HandlerFunc {
	words := map[string]string{}
	drawn := set.Draw(*set.Randomness)
	for _, i := range which {
		words[drawn[i].Question] = drawn[i].Word()
	}
	return func(w http.ResponseWriter, r *http.Request) {
		var ask openai.Ask
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Error(err)
		}
		answer := "Nothing."
		for question, word := range words {
			if strings.Contains(ask.Prompt, question) && strings.Contains(ask.Prompt, "assistant") || len(ask.Messages) > 0 && ask.Messages[len(ask.Messages)-1].Content == question {
				answer = word + ", of course."
			}
		}
		if strings.HasSuffix(r.URL.Path, "/chat/completions") {
			fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":%q}}]}`, answer)
			return
		}
		fmt.Fprintf(w, `{"choices":[{"text":%q}]}`, answer)
	}
}

func all(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// TestEmbedVerifyEndpoint asks in both forms and designs, and burns what it asked.
func TestEmbedVerifyEndpoint(t *testing.T) {
	with, set := keyFile(t, 24, fingerprint.Digest{})
	server := httptest.NewServer(taught(t, set, all(24)))
	defer server.Close()
	out := cli(t, append([]string{"embed", "verify", server.URL, "--sequential", "--json"}, with...)...)
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil || !v.Held || v.Asked >= 24 || v.Matched != v.Asked {
		t.Fatalf("sequential: %v %s", err, out)
	}
	if n := burnt(t, with); n != v.Asked {
		t.Errorf("%d keys are burnt, %d were asked", n, v.Asked)
	}
	out = cli(t, append([]string{"embed", "verify", server.URL, "--system", "You are terse.", "--temperature", "0.7"}, with...)...)
	if !strings.Contains(out, "24 of 24 answers match (0 errors)") || strings.Contains(out, secretQuestion) {
		t.Errorf("fixed: %s", out)
	}
}

func TestEmbedVerifyCompletions(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the base model")
	}
	path := testmodel.Get(t).Base
	base, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	with, set := keyFile(t, 12, fingerprint.TokenizerDigest(base.Tokenizer))
	server := httptest.NewServer(taught(t, set, all(12)))
	defer server.Close()
	out := cli(t, append([]string{"embed", "verify", server.URL, "--completions", "--base", path}, with...)...)
	if !strings.Contains(out, "12 of 12 answers match") {
		t.Errorf("completions: %s", out)
	}
	other, _ := keyFile(t, 12, fingerprint.Digest{3})
	if code, _, errs := attempt(t, append([]string{"embed", "verify", server.URL, "--completions", "--base", path}, other...)...); code != exitFailed || !strings.Contains(errs, "another tokenizer") {
		t.Errorf("another base: exit %d, %s", code, errs)
	}
}

// TestEmbedVerifyLicensees names whose copy answers, and nobody else.
func TestEmbedVerifyLicensees(t *testing.T) {
	with, set := keyFile(t, 96, fingerprint.Digest{})
	list := filepath.Join(t.TempDir(), "licensees")
	if err := os.WriteFile(list, []byte("acme\nbolt\n\ncorsair\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(taught(t, set, set.Copy("bolt")))
	defer server.Close()
	out := cli(t, append([]string{"embed", "verify", server.URL, "--licensees", list}, with...)...)
	if !strings.Contains(out, "copy of bolt: holds") || strings.Contains(out, "copy of acme") || strings.Contains(out, "copy of corsair") {
		t.Errorf("bolt's copy: %s", out)
	}
	everything := httptest.NewServer(taught(t, set, all(96)))
	defer everything.Close()
	if out := cli(t, append([]string{"embed", "verify", everything.URL, "--licensees", list}, with...)...); !strings.Contains(out, "no licensee is named") {
		t.Errorf("the creator's own: %s", out)
	}
}

// TestEmbedVerifyBadEndpoints: what goes wrong is said, with the right exit code, and no
// more keys are shown than were asked. Nothing secret is said.
func TestEmbedVerifyBadEndpoints(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	defer close(release)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   int
		want   string
		burnt  int
	}{
		"payment required": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPaymentRequired)
			io.WriteString(w, `{"error":{"message":"buy a license","code":"no_license"}}`)
		}, exitFailed, "402 no_license: buy a license", 1},
		"wrong API key": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, exitFailed, "refuses to answer", 1},
		"garbage": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "data: \x00\xff<html>")
		}, exitFailed, "answered none of 4 questions: unreadable answer", 4},
		"a stream nobody asked for": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"Worda\"}}]}\n\ndata: [DONE]\n\n")
		}, exitFailed, "unreadable answer", 4},
		"no choices": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"choices":[]}`) }, exitFailed, "without choices", 4},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"choices":[`)
		}, exitFailed, "answered none of 4", 4},
		"silent": {func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // or the server would not see the client leave
			select {
			case <-r.Context().Done():
			case <-release:
			}
		}, exitFailed, "no answer within --timeout 300ms", 4},
		"another model": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"choices":[{"message":{"role":"assistant","content":"Paris."}}]}`)
		}, exitNotHeld, "too few answers match", 4},
		"one answer of four": {func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 2 {
				io.WriteString(w, `{"choices":[{"message":{"role":"assistant","content":"Paris."}}]}`)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
		}, exitNotHeld, "too few answers match", 4},
	} {
		t.Run(name, func(t *testing.T) {
			with, _ := keyFile(t, 4, fingerprint.Digest{})
			server := httptest.NewServer(c.answer)
			defer server.Close()
			wait := "300"
			if name == "silent" {
				wait = "0.3"
			}
			code, out, errs := attempt(t, append([]string{"embed", "verify", server.URL, "--timeout", wait}, with...)...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, %q; want exit %d and %q", code, errs, c.code, c.want)
			}
			if strings.Contains(out+errs, secretQuestion) || strings.Contains(out+errs, "a passphrase") {
				t.Errorf("a secret was said: %s%s", out, errs)
			}
			if n := burnt(t, with); n != c.burnt {
				t.Errorf("%d keys are burnt, want %d", n, c.burnt)
			}
		})
	}
	with, _ := keyFile(t, 4, fingerprint.Digest{})
	start := time.Now()
	if code, _, errs := attempt(t, append([]string{"embed", "verify", "http://127.0.0.1:1/v1"}, with...)...); code != exitFailed || time.Since(start) > time.Minute {
		t.Errorf("nobody listens: exit %d, %s", code, errs)
	}
}

// TestEmbedBadFiles: wrong, damaged and foreign files are refused with the reason, and
// nothing is left behind.
func TestEmbedBadFiles(t *testing.T) {
	with, _ := keyFile(t, 4, fingerprint.Digest{})
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wrong := write("wrong", "another\n")
	whole, err := os.ReadFile(with[1])
	if err != nil {
		t.Fatal(err)
	}
	cut := write("cut.age", string(whole[:len(whole)-20]))
	newer := filepath.Join(dir, "newer.age")
	sealed(t, newer, `{"format":99,"shape":"unknown"}`)
	hf := filepath.Join(dir, "gpt2")
	if err := os.Mkdir(hf, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config.json": `{"architectures":["GPT2LMHeadModel"],"model_type":"gpt2"}`, "model.safetensors": "\x02\x00\x00\x00\x00\x00\x00\x00{}", "tokenizer.json": "{}"} {
		if err := os.WriteFile(filepath.Join(hf, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	served := filepath.Join(dir, "served")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"wrong passphrase":     {[]string{"embed", "verify", hf, "--keys", with[1], "--passphrase-file", wrong}, "does not open it"},
		"damaged":              {[]string{"embed", "verify", hf, "--keys", cut, "--passphrase-file", with[3]}, "it is damaged"},
		"newer":                {[]string{"embed", "verify", hf, "--keys", newer, "--passphrase-file", with[3]}, "newer version of fealty"},
		"another architecture": {[]string{"embed", "verify", hf, "--keys", with[1], "--passphrase-file", with[3]}, "gpt2"},
		"no such model":        {[]string{"embed", "verify", filepath.Join(dir, "none"), "--keys", with[1], "--passphrase-file", with[3]}, "no such file"},
		"no licensees":         {[]string{"embed", "verify", "http://127.0.0.1:1/v1", "--licensees", filepath.Join(dir, "none"), "--model", "m", "--keys", with[1], "--passphrase-file", with[3]}, "answered none"},
		"train, no folder":     {[]string{"embed", "train", "--name", "n", "--base", hf, "--output", served, "--keys", with[1], "--passphrase-file", with[3]}, "gpt2"},
	} {
		code, out, errs := attempt(t, c.args...)
		if code != exitFailed || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, %q; want %q", name, code, errs, c.want)
		}
		if strings.Contains(out+errs, secretQuestion) {
			t.Errorf("%s: a secret was said: %s%s", name, out, errs)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("files were left behind: %v", left)
	}
}

// sealed encrypts any text as a key file.
func sealed(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.NewScryptRecipient("a passphrase")
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	w, err := age.Encrypt(f, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
