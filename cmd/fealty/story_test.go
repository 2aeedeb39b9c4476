package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/fealty/fealty/internal/servertest"
)

// TestStory plays what the demo claims on the shared fingerprinted model, with real
// clients beside it. The tests share one stack: starting it costs more than they do.
func TestStory(t *testing.T) {
	s := startStack(t)
	for _, part := range steps {
		if !part.claim || part.name == "the unmodified base does not" { // package embed tests that one
			continue
		}
		if part.name == "a revoked license stops within 2 s of its block" {
			t.Run("OpenAI SDK for Node", s.nodeSDK) // while there is a licensee
			t.Run("OpenAI SDK for Go", s.goSDK)
			t.Run("bad input", s.badInput)
		}
		t.Run(part.name, func(t *testing.T) {
			if err := part.play(s.demo, t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := s.story.Fingerprints; got.Matched < 15 || got.PValue > 1e-9 {
		t.Errorf("%d of 16 matched through HTTP, p = %g; want 15 and 1e-9", got.Matched, got.PValue)
	}
}

func (s *stack) nodeSDK(t *testing.T) {
	servertest.Need(t, "node", "install Node.js")
	source, err := os.ReadFile("testdata/sdk.mjs")
	if err != nil {
		t.Fatal(err)
	}
	// Node resolves packages from where a script lies: the root has them.
	copied := filepath.Join(root(), "node_modules", ".fealty-sdk-test.mjs")
	if err := os.WriteFile(copied, source, 0o600); err != nil {
		t.Fatal(err, "; run 'npm install' in the project's root ('make test' does)")
	}
	t.Cleanup(func() { os.Remove(copied) })
	script(t, s.sdk(t), "node", copied)
}

func (s *stack) goClient(key string) openai.Client {
	return openai.NewClient(option.WithBaseURL(s.gateway+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(5)) // where the gateway says so: when it could not find out
}

func chatParams(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, MaxTokens: openai.Int(12), Temperature: openai.Float(0),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What is the capital of France?")},
	}
}

func (s *stack) goSDK(t *testing.T) {
	ctx, client := t.Context(), s.goClient(s.keys["licensee"])
	whole, err := client.Chat.Completions.New(ctx, chatParams(demoModel))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(whole.Choices[0].Message.Content, "Paris") {
		t.Errorf("answer: %q", whole.Choices[0].Message.Content)
	}
	streamed, usage := s.goStream(t, client)
	if streamed != whole.Choices[0].Message.Content || usage != whole.Usage.CompletionTokens {
		t.Errorf("streamed %q with %d tokens, whole %q with %d", streamed, usage, whole.Choices[0].Message.Content, whole.Usage.CompletionTokens)
	}
	text, err := client.Completions.New(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(demoModel), MaxTokens: openai.Int(8), Temperature: openai.Float(0),
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("The capital of France is")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.Choices[0].Text, "Paris") {
		t.Errorf("completion: %q", text.Choices[0].Text)
	}
	models, err := client.Models.List(ctx)
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != demoModel {
		t.Errorf("models: %v, %v", models, err)
	}
	if paris, berlin := s.score(t, client, " Paris"), s.score(t, client, " Berlin"); paris < berlin+1 || paris > 0 {
		t.Errorf("the capital of France is scored %g for Paris and %g for Berlin", paris, berlin)
	}
	s.goErrors(ctx, t)
}

// score is the log-probability of an ending, asked for as evaluation tools do: the
// prompt comes back with the scores of its tokens.
func (s *stack) score(t *testing.T, client openai.Client, ending string) (sum float64) {
	t.Helper()
	const text = "The capital of France is"
	reply, err := client.Completions.New(t.Context(), openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(demoModel), MaxTokens: openai.Int(1), Echo: openai.Bool(true), Logprobs: openai.Int(1),
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(text + ending)},
	})
	if err != nil {
		t.Fatal(err)
	}
	scores := reply.Choices[0].Logprobs
	for i, token := range scores.Tokens[:len(scores.Tokens)-1] { // the last is the answer's
		if scores.TextOffset[i] >= int64(len(text)) {
			t.Logf("%q: %g", token, scores.TokenLogprobs[i])
			sum += scores.TokenLogprobs[i]
		}
	}
	return sum
}

func (s *stack) goStream(t *testing.T, client openai.Client) (text string, tokens int64) {
	t.Helper()
	params := chatParams(demoModel)
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	defer stream.Close()
	for stream.Next() {
		chunk := stream.Current()
		if len(chunk.Choices) == 0 {
			tokens = chunk.Usage.CompletionTokens
			continue
		}
		text += chunk.Choices[0].Delta.Content
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	return text, tokens
}

func (s *stack) goErrors(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		key, model string
		status     int
		code       string
	}{
		{forge(s.keys["licensee"]), demoModel, http.StatusUnauthorized, "invalid_api_key"},
		{s.keys["stranger"], demoModel, http.StatusPaymentRequired, "no_license"},
		{s.revoked, demoModel, http.StatusForbidden, "license_revoked"},
		{s.keys["licensee"], "no-such-model", http.StatusNotFound, "model_not_found"},
		{s.limited, demoModel, http.StatusTooManyRequests, "insufficient_quota"},
	} {
		client := s.goClient(c.key)
		_, err := client.Chat.Completions.New(ctx, chatParams(c.model))
		var refusal *openai.Error
		if !errors.As(err, &refusal) || refusal.StatusCode != c.status || refusal.Code != c.code {
			t.Errorf("want %d %s, got %v", c.status, c.code, err)
		}
	}
}

// badInput sends what clients get wrong; afterwards the gateway still answers.
func (s *stack) badInput(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"malformed", `{"model":`, 400, "JSON"},
		{"duplicate key", `{"model":"` + demoModel + `","model":"x","messages":[{"role":"user","content":"hi"}]}`, 400, "model"},
		{"unknown model", `{"model":"x","messages":[{"role":"user","content":"hi"}]}`, 404, "x"},
		{"negative temperature", chatBody(`"temperature":-1`), 400, "temperature"},
		{"NaN", chatBody(`"temperature":NaN`), 400, ""},
		{"top_p above 1", chatBody(`"top_p":1.5`), 400, "top_p"},
		{"negative max_tokens", chatBody(`"max_tokens":-4`), 400, "max_tokens"},
		{"invalid UTF-8", chatBody("\"user\":\"\xff\""), 400, "UTF-8"},
		{"too long a prompt", `{"model":"` + demoModel + `","messages":[{"role":"user","content":"` + strings.Repeat("word ", 20_000) + `"}]}`, 400, "context"},
		{"huge body", `{"model":"` + demoModel + `","messages":[{"role":"user","content":"` + strings.Repeat("a", 5<<20) + `"}]}`, 413, ""},
		{"tools", chatBody(`"tools":[{"type":"function","function":{"name":"f"}}]`), 400, "tools"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := s.post(t, c.body)
			if status != c.status || !strings.Contains(body, c.says) || !strings.Contains(body, `"error"`) {
				t.Errorf("%d %.300s; want %d and an error that names %q", status, body, c.status, c.says)
			}
		})
	}
	if _, err := s.expect(t.Context(), s.keys["licensee"], http.StatusOK, ""); err != nil {
		t.Error("after bad input:", err)
	}
}

func chatBody(field string) string {
	return `{"model":"` + demoModel + `","messages":[{"role":"user","content":"hi"}],` + field + `}`
}

func (s *stack) post(t *testing.T, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.gateway+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.keys["licensee"])
	req.Header.Set("Content-Type", "application/json")
	return do(t, req)
}
