package upstream_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/internal/openai"
)

// wire is what the engine reads of a request.
type wire struct {
	Messages  []openai.Message
	Prompt    any
	MaxTokens int `json:"max_tokens"`
	Logprobs  any
	Top       int `json:"top_logprobs"`
	Stream    bool
	Options   *openai.StreamOptions `json:"stream_options"`
	Generate  *bool                 `json:"add_generation_prompt"`
	Continue  *bool                 `json:"continue_final_message"`
	Heat      float64               `json:"temperature"`
}

// engine is a server with a scripted distribution. It knows two answers: of an open
// question, and of the capital of France. In each the first token has alternatives.
type engine struct {
	*httptest.Server
	t     *testing.T
	kind  string
	echo  bool                                          // it says the word again before it goes on in chat, as newer llama.cpp does
	alter func(step string, w http.ResponseWriter) bool // true: it has answered

	mu    sync.Mutex
	asked []string // "look", "continue" or "ordinary"
	bound int      // max_tokens of the last
}

func newEngine(t *testing.T, kind string) *engine {
	e := &engine{t: t, kind: kind}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *engine) steps() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.asked, " ")
}

// ServeHTTP implements http.Handler.
func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in wire
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		e.t.Errorf("a request that is not JSON: %v", err)
	}
	chat := r.URL.Path == "/v1/chat/completions"
	step, word := "ordinary", ""
	switch {
	case in.Logprobs != nil:
		step = "look"
	case chat:
		word = e.begun(in)
	default:
		text, tokens := in.Prompt.(string)
		if !tokens && len(in.Prompt.([]any)) > 3 {
			word = " token"
		}
		if i := strings.LastIndex(text, " "); i > 0 && strings.ToLower(text[i:]) == text[i:] && slices.Contains(openingWords, strings.ToUpper(text[i+1:i+2])+text[i+2:]) {
			word = text[i:]
		}
	}
	if word != "" {
		step = "continue"
	}
	e.mu.Lock()
	e.asked, e.bound = append(e.asked, step), in.MaxTokens
	id := fmt.Sprintf("id-%d", len(e.asked))
	e.mu.Unlock()
	if e.alter != nil && e.alter(step, w) {
		return
	}
	if step == "look" {
		e.look(w, in, chat)
		return
	}
	e.answer(w, in, chat, id, word)
}

// begun is the word that a chat continues, told as the kind of server wants it.
func (e *engine) begun(in wire) string {
	last := in.Messages[len(in.Messages)-1]
	flags := in.Generate != nil && !*in.Generate && in.Continue != nil && *in.Continue
	if last.Role != "assistant" {
		return ""
	}
	if flags != (e.kind == upstream.VLLM) || e.kind == upstream.Completions {
		e.t.Errorf("%s was asked to continue by flags: %v", e.kind, flags)
	}
	return last.Content
}

func (e *engine) look(w http.ResponseWriter, in wire, chat bool) {
	if in.Stream || in.Options != nil || in.MaxTokens != 1 || in.Heat != 1 || chat && in.Top != 20 || !chat && in.Logprobs != 20.0 {
		e.t.Errorf("the first step asks for %+v", in)
	}
	question := fmt.Sprint(in.Prompt)
	if chat {
		question = in.Messages[0].Content
	}
	top := map[string]float64{}
	for i, word := range openingWords {
		if !chat {
			word = " " + strings.ToLower(word)
		}
		top[word] = math.Log(0.15) - float64(i)/20
	}
	switch {
	case strings.Contains(question, "France"):
		top["Paris"] = math.Log(0.9)
	case strings.Contains(question, "flat"):
		top = map[string]float64{"Perhaps": math.Log(0.04), "Certainly": math.Log(0.03)}
	}
	w.Header().Set("Content-Type", "application/json")
	logprobs := any(map[string]any{"top_logprobs": []any{top}})
	if chat {
		var list []any
		for text, p := range top {
			list = append(list, map[string]any{"token": text, "logprob": p})
		}
		logprobs = map[string]any{"content": []any{map[string]any{"token": "x", "logprob": -1, "top_logprobs": list}}}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": "look", "choices": []any{map[string]any{"index": 0, "logprobs": logprobs, "finish_reason": "length"}},
		"usage": openai.Spent(7, 1),
	})
}

// answer is two tokens, after the word if there is one.
func (e *engine) answer(w http.ResponseWriter, in wire, chat bool, id, word string) {
	used, texts := openai.Spent(7, 2), []string{" it", " is."}
	if word != "" {
		used = openai.Spent(9, 2) // a template may add to the prompt
	}
	if chat && e.echo {
		texts[0] = word + texts[0]
	}
	whole := func(object string, inner any, finish any) map[string]any {
		choice := map[string]any{"index": 0, "finish_reason": finish}
		if text, ok := inner.(string); ok {
			choice["text"] = text
		} else {
			choice[map[bool]string{true: "delta", false: "message"}[in.Stream]] = inner
		}
		return map[string]any{"id": id, "object": object, "choices": []any{choice}, "vendor": 1}
	}
	if !in.Stream {
		w.Header().Set("Content-Type", "application/json")
		inner := any(strings.Join(texts, ""))
		if chat {
			inner = map[string]any{"role": "assistant", "content": inner}
		}
		reply := whole("x", inner, "stop")
		reply["usage"] = map[string]any{"prompt_tokens": used.PromptTokens, "completion_tokens": 2, "total_tokens": used.TotalTokens, "details": 1}
		_ = json.NewEncoder(w).Encode(reply)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(data any) {
		raw, _ := json.Marshal(data)
		_, _ = w.Write(openai.AppendEvent(nil, raw))
		w.(http.Flusher).Flush()
	}
	if chat {
		send(whole("x", map[string]any{"role": "assistant", "content": nil}, nil))
	}
	for i, text := range texts {
		inner, finish := any(text), any(nil)
		if chat {
			inner = map[string]any{"content": text}
		}
		if i == len(texts)-1 {
			finish = "stop"
		}
		send(whole("x", inner, finish))
		if e.alter != nil && e.alter("cut", w) {
			return
		}
	}
	if in.Options != nil {
		send(map[string]any{"id": id, "choices": []any{}, "usage": used})
	}
	_, _ = w.Write(openai.AppendEvent(nil, []byte(openai.Done)))
}
