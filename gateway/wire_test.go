package gateway_test

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/policy"
)

var volatile = regexp.MustCompile(`(cmpl-|req_)[0-9a-f]{32}|"created":\d+|eip155:1337:0x[0-9A-Fa-f]{40}`)

// dump is a reply as the golden files show it.
func (r reply) dump() string {
	var names []string
	for name := range r.header {
		if name != "Date" && name != "Openai-Processing-Ms" && name != "Content-Length" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var out strings.Builder
	fmt.Fprintln(&out, r.status)
	for _, name := range names {
		fmt.Fprintf(&out, "%s: %s\n", strings.ToLower(name), r.header.Get(name))
	}
	fmt.Fprintf(&out, "\n%s\n", r.body)
	return volatile.ReplaceAllStringFunc(out.String(), func(s string) string {
		return s[:strings.LastIndexAny(s, "-_:")+1] + "0"
	})
}

var wire = []struct{ name, path, body string }{
	{"chat", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"hello"}]}`},
	{"chat_stream", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"héé"}],"stream":true}`},
	{"chat_stream_usage", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"hey"}],"stream":true,"stream_options":{"include_usage":true},"max_tokens":2}`},
	{"chat_stop", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"one two"},{"type":"text","text":" three"}]}],"stop":["O T",  " THREE"]}`},
	{"completion", "/v1/completions", `{"model":"echo","prompt":"quote \" and < line","max_tokens":40}`},
	{"chat_n", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"two"}],"n":2,"logprobs":true,"top_logprobs":1}`},
	{"chat_n_stream", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"ab"}],"n":2,"stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":1}`},
	{"completion_echo", "/v1/completions", `{"model":"echo","prompt":"abc","echo":true,"logprobs":1,"max_tokens":2}`},
	{"completion_score", "/v1/completions", `{"model":"echo","prompt":[[97,98],"c"],"echo":true,"logprobs":0,"max_tokens":0}`},
	{"completion_stream", "/v1/completions", `{"model":"echo","prompt":["ab"],"stream":true,"stream_options":{"include_usage":true}}`},
}

var wireErrors = []struct{ name, path, body string }{
	{"error_value", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"hi"}],"top_p":2}`},
	{"error_model", "/v1/completions", `{"model":"nope","prompt":"hi"}`},
	{"error_internal", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"break"}]}`},
	{"error_in_stream", "/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"break"}],"stream":true}`},
}

// What goes over the wire, byte for byte, is what these files say.
func TestWire(t *testing.T) {
	r := newRig(t)
	for _, c := range slices.Concat(wire, wireErrors) {
		t.Run(c.name, func(t *testing.T) { r.onWire(t, c.name, r.key, c.path, c.body) })
	}
	t.Run("error_no_license", func(t *testing.T) {
		unpaid := r.keyWith(func(g *policy.Grant) { *g = policy.Grant{} })
		r.onWire(t, "error_no_license", unpaid, wire[0].path, wire[0].body)
	})
	golden(t, "models.http", "GET /v1/models\n\n"+r.do("GET", "/v1/models", r.key, "").dump())
}

// onWire holds a request and its reply to a golden file.
func (r *rig) onWire(t *testing.T, name, key, path, body string) {
	t.Helper()
	golden(t, name+".http", fmt.Sprintf("POST %s\n\n%s\n\n%s", path, body, r.post(path, key, body).dump()))
}

// The project's own client reads what the gateway writes, streams included.
func TestClient(t *testing.T) {
	r := newRig(t)
	ask := openai.Ask{Model: "echo", Messages: []openai.Message{{Role: "user", Content: "hello"}}}
	whole, err := r.client().Chat(t.Context(), ask)
	must(t, err)
	if whole.Text() != "HELLO" || whole.Usage.CompletionTokens != 5 {
		t.Errorf("got %q and %+v, want HELLO in 5 tokens", whole.Text(), whole.Usage)
	}
	var text string
	var usage *openai.Usage
	err = r.client().Stream(t.Context(), ask, func(c openai.Reply) error {
		for _, choice := range c.Choices {
			if choice.Delta.Content != nil {
				text += *choice.Delta.Content
			}
		}
		if c.Usage != nil {
			usage = c.Usage
		}
		return nil
	})
	must(t, err)
	if text != "HELLO" || usage == nil || *usage != *whole.Usage {
		t.Errorf("streamed %q and %+v, want what was not streamed: %q, %+v", text, usage, whole.Text(), whole.Usage)
	}
	models, err := r.client().Models(t.Context())
	must(t, err)
	if len(models) != 1 || models[0].ID != "echo" {
		t.Errorf("models: %+v", models)
	}
}
