package gateway_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	sdkoption "github.com/openai/openai-go/v3/option"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/policy"
)

// codeCase is a request that is refused. One of status 200 is a stream that is cut
// after it began.
type codeCase struct {
	Name   string          `json:"name"`
	Key    string          `json:"key"`
	Body   json.RawMessage `json:"body"`
	Status int             `json:"status"`
	Code   string          `json:"code"`
}

// The official SDKs read every refusal as the error that it is, and a cut stream as
// one that was cut.
func TestSDKsReadEveryCode(t *testing.T) {
	r := newRig(t, smallBodies)
	cases := r.codeCases()
	t.Run("Go", func(t *testing.T) {
		for _, c := range cases {
			r.goSDK(t, c)
		}
	})
	t.Run("Node", func(t *testing.T) { nodeSDK(t, "codes", map[string]any{"base": r.url + "/v1", "cases": cases}) })
}

func smallBodies(c *gateway.Config, _ *gateway.Deps) { c.Limits.Body = 64 << 10 }

// keyWith is the API key of a new wallet with such a grant.
func (r *rig) keyWith(change func(*policy.Grant)) string {
	key, subject := newWallet(r.t)
	r.chain.set(subject, func(g *policy.Grant) { *g = license(everything); change(g) })
	return r.apiKey(key)
}

func (r *rig) codeCases() []codeCase {
	ended := r.post("/v1/keys", r.signIn(r.wallet), map[string]any{"name": "ended"})
	if got := r.do("DELETE", "/v1/keys/"+ended.field("id"), r.signIn(r.wallet), ""); got.status != 200 {
		r.t.Fatal(got.body)
	}
	small := r.post("/v1/keys", r.signIn(r.wallet), map[string]any{"name": "small", "tokens_per_day": 1})
	chat := func(prompt string) json.RawMessage {
		return json.RawMessage(strings.Replace(chatBody(""), "hi", prompt, 1))
	}
	body := func(extra string) json.RawMessage { return json.RawMessage(chatBody(extra)) }
	return []codeCase{
		{"value", r.key, body(`,"temperature":9`), 400, "invalid_value"},
		{"parameter", r.key, body(`,"tools":[{"type":"function","function":{"name":"f"}}]`), 400, "unsupported_parameter"},
		{"twin", r.key, body(`,"Model":"x"`), 400, "unknown_parameter"},
		{"context", r.key, chat(strings.Repeat("x", 5000)), 400, "context_length_exceeded"},
		{"forged", "fk_0000000000000000_" + strings.Repeat("0", 32), body(""), 401, "invalid_api_key"},
		{"ended", ended.field("key"), body(""), 401, "credential_revoked"},
		{"no license", r.keyWith(func(g *policy.Grant) { *g = policy.Grant{} }), body(""), 402, "no_license"},
		{"expired", r.keyWith(func(g *policy.Grant) { g.Final.NotAfter = 2 }), body(""), 402, "license_expired"},
		{"early", r.keyWith(func(g *policy.Grant) { g.Final.NotBefore = 1 << 39 }), body(""), 403, "license_not_yet_valid"},
		{"revoked", r.keyWith(func(g *policy.Grant) { g.Latest.Status = policy.Revoked }), body(""), 403, "license_revoked"},
		{"suspended", r.keyWith(func(g *policy.Grant) { g.Latest.Status = policy.Suspended }), body(""), 403, "license_suspended"},
		{"scope", r.keyWith(func(g *policy.Grant) { g.Final.Scope = policy.ScopeCompletions }), body(""), 403, "scope_missing"},
		{"model", r.key, json.RawMessage(`{"model":"nope","messages":[{"role":"user","content":"hi"}]}`), 404, "model_not_found"},
		{"endpoint", r.key, json.RawMessage(`{"model":"echo","input":"hi"}`), 404, "unsupported_endpoint"},
		{"size", r.key, chat(strings.Repeat("x", 100<<10)), 413, "request_too_large"},
		{"quota", small.field("key"), body(""), 429, "insufficient_quota"},
		{"failure", r.key, chat("break"), 500, "internal_error"},
		{"busy", r.key, chat("busy"), 503, "overloaded"},
		{"cut", r.key, json.RawMessage(strings.Replace(chatBody(`,"stream":true`), "hi", "break", 1)), 200, "internal_error"},
	}
}

func (r *rig) goSDK(t *testing.T, c codeCase) {
	t.Helper()
	client := sdk.NewClient(sdkoption.WithBaseURL(r.url+"/v1"), sdkoption.WithAPIKey(c.Key), sdkoption.WithMaxRetries(0))
	raw := sdkoption.WithRequestBody("application/json", []byte(c.Body))
	var err error
	pieces := 0
	switch {
	case c.Status == 200:
		stream := client.Chat.Completions.NewStreaming(t.Context(), sdk.ChatCompletionNewParams{}, raw)
		for stream.Next() {
			pieces++
		}
		err = stream.Err()
		if pieces == 0 || err == nil || !strings.Contains(err.Error(), c.Code) {
			t.Errorf("%s: %d pieces, then %v", c.Name, pieces, err)
		}
		return
	case c.Name == "endpoint":
		_, err = client.Embeddings.New(t.Context(), sdk.EmbeddingNewParams{}, raw)
	default:
		_, err = client.Chat.Completions.New(t.Context(), sdk.ChatCompletionNewParams{}, raw)
	}
	var refusal *sdk.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != c.Status || refusal.Code != c.Code || refusal.Message == "" {
		t.Errorf("%s: want %d %s, got %v", c.Name, c.Status, c.Code, err)
	}
}

// nodeSDK runs a script of testdata with the official SDK.
func nodeSDK(t *testing.T, script string, told map[string]any) {
	t.Helper()
	servertest.Need(t, "node", "install Node.js")
	source, err := os.ReadFile("testdata/" + script + ".mjs")
	must(t, err)
	// Node resolves packages from where a script lies: the root has them.
	file, err := os.CreateTemp("../node_modules", ".fealty-"+script+"-*-test.mjs") // not that of another run
	if err != nil {
		t.Fatal(err, "; run 'npm install' in the project's root ('make test' does)")
	}
	copied := file.Name()
	t.Cleanup(func() { os.Remove(copied) })
	_, err = file.Write(source)
	must(t, errors.Join(err, file.Close()))
	input, err := json.Marshal(told)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "node", copied)
	cmd.Env = append(os.Environ(), "FEALTY_CODES="+string(input))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	must(t, err)
}

// The Go SDK reads several answers, scores and an echoed prompt.
func TestSDKReadsScores(t *testing.T) {
	r := newRig(t)
	client := sdk.NewClient(sdkoption.WithBaseURL(r.url+"/v1"), sdkoption.WithAPIKey(r.key), sdkoption.WithMaxRetries(0))
	chat, err := client.Chat.Completions.New(t.Context(), sdk.ChatCompletionNewParams{
		Model: "echo", N: sdk.Int(2), Logprobs: sdk.Bool(true), TopLogprobs: sdk.Int(2), Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage("hey")},
	})
	must(t, err)
	for i, c := range chat.Choices {
		if c.Index != int64(i) || c.Message.Content != "HEY" || len(c.Logprobs.Content) != 3 || len(c.Logprobs.Content[0].TopLogprobs) != 2 || c.Logprobs.Content[1].Token != "E" {
			t.Errorf("answer %d: %s", i, c.RawJSON())
		}
	}
	text, err := client.Completions.New(t.Context(), sdk.CompletionNewParams{
		Model: "echo", Echo: sdk.Bool(true), Logprobs: sdk.Int(1), MaxTokens: sdk.Int(1),
		Prompt: sdk.CompletionNewParamsPromptUnion{OfArrayOfTokens: []int64{104, 105}},
	})
	must(t, err)
	if c := text.Choices[0]; c.Text != "hiH" || len(c.Logprobs.TokenLogprobs) != 3 || c.Logprobs.TokenLogprobs[1] != -50 {
		t.Errorf("scored: %s", text.RawJSON())
	}
}
