package upstream_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/sampler"
)

var openingWords = []string{"Perhaps", "Certainly", "Indeed", "Overall", "Generally", "Typically", "Usually", "Broadly"}

// inverse takes every prompt; its shell are the words after the first two.
func inverse() *sampler.Inverse {
	var vocabulary []string
	var openers []int32
	for _, w := range openingWords {
		for _, form := range []string{w, strings.ToLower(w), " " + strings.ToLower(w)} {
			openers = append(openers, int32(len(vocabulary)))
			vocabulary = append(vocabulary, form)
		}
	}
	return &sampler.Inverse{
		Shell: sampler.Shell{T: 0.2, K: 4, Floor: 0.01}, Rate: 1, Model: "ours",
		Secret: []byte("0123456789abcdef0123456789abcdef"), Lexicon: sampler.NewLexicon(vocabulary, openers),
	}
}

// told is an answer as a client sees it.
type told struct {
	text, finish string
	roles        int
	ids          map[string]bool
	usage        *openai.Usage
	ended        bool
}

func tell(t *testing.T, e *engine, p *upstream.Pool, kind openai.Kind, body string) (out told, used openai.Usage, err error) {
	t.Helper()
	r, err := openai.Parse(kind, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.asked = nil
	e.mu.Unlock()
	a, err := p.Generate(t.Context(), gateway.Call{Request: r, Model: "ours", MaxTokens: cmp.Or(r.MaxTokens, 16)})
	if err != nil {
		return out, used, err
	}
	defer a.Close()
	text, err := all(a)
	out.ids = map[string]bool{}
	if !r.Stream {
		text, out.ended = string(openai.AppendEvent(nil, []byte(strings.TrimSpace(text)))), true
	}
	for event := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		out.read(t, strings.TrimPrefix(event, "data: "))
	}
	return out, a.Usage(), err
}

func (o *told) read(t *testing.T, data string) {
	t.Helper()
	if data == openai.Done {
		if o.ended {
			t.Error("two ends")
		}
		o.ended = true
		return
	}
	var reply openai.Reply
	if err := json.Unmarshal([]byte(data), &reply); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	o.ids[reply.ID] = true
	if reply.Usage != nil {
		o.usage = reply.Usage
	}
	for _, c := range reply.Choices {
		if c.Delta != nil {
			if c.Delta.Role != "" {
				o.roles++
			}
			if c.Delta.Content != nil {
				o.text += *c.Delta.Content
			}
		}
		o.text += (&openai.Reply{Choices: []openai.Choice{c}}).Text()
		if c.FinishReason != nil {
			o.finish += *c.FinishReason
		}
	}
}

func openPool(t *testing.T, e *engine, i *sampler.Inverse) *upstream.Pool {
	return pool(t, upstream.Options{Servers: []upstream.Server{{URL: e.URL + "/v1", Continue: e.kind}}, Inverse: i})
}

// results are the counts that are not zero.
func results(p *upstream.Pool) string {
	var out []string
	for _, o := range p.Openings() {
		if o.Count > 0 {
			out = append(out, fmt.Sprint(o.Result, " ", o.Count))
		}
	}
	return strings.Join(out, ", ")
}

func chatAsk(question, more string) string {
	return fmt.Sprintf(`{"model":"ours","messages":[{"role":"user","content":%q}]%s}`, question, more)
}

func promptAsk(prompt, more string) string {
	return fmt.Sprintf(`{"model":"ours","prompt":%s%s}`, prompt, more)
}

// Of every kind of server two requests become one answer: one id, one role, the word
// before the text, the usage of what was delivered; and again at any temperature.
func TestOpenedAnswers(t *testing.T) {
	const echoing = "llamacpp, echoing"
	for _, kind := range []string{upstream.VLLM, upstream.LlamaCPP, echoing, upstream.Completions} {
		e := newEngine(t, strings.TrimSuffix(kind, ", echoing"))
		e.echo = kind == echoing
		p := openPool(t, e, inverse())
		for _, ask := range []struct {
			kind openai.Kind
			body func(more string) string
		}{
			{openai.Chat, func(more string) string { return chatAsk("Tell me about it.", more) }},
			{openai.Completion, func(more string) string { return promptAsk(`"It was so that"`, more) }},
			{openai.Completion, func(more string) string { return promptAsk(`["It was so that"]`, more) }},
			{openai.Completion, func(more string) string { return promptAsk(`[5,6,7]`, more) }},
		} {
			first := ""
			for _, more := range []string{"", `,"temperature":0,"top_p":0.1`, `,"stream":true,"max_tokens":16,"max_completion_tokens":16`, `,"stream":true,"stream_options":{"include_usage":true}`} {
				got, used, err := tell(t, e, p, ask.kind, ask.body(more))
				if err != nil {
					t.Fatalf("%s: %s: %v", kind, ask.body(more), err)
				}
				if ask.kind == openai.Chat && kind == upstream.Completions {
					if e.steps() != "ordinary" || got.text != " it is." || used != openai.Spent(7, 2) {
						t.Errorf("%s: chat took the steps %s and gave %+v", kind, e.steps(), got)
					}
					continue
				}
				if e.steps() != "look continue" || e.bound != 15 || used != openai.Spent(7, 3) || !got.ended || got.finish != "stop" || len(got.ids) != 1 {
					t.Errorf("%s: %s: steps %s, metered %+v, got %+v", kind, ask.body(more), e.steps(), used, got)
				}
				stream, usage := strings.Contains(more, `"stream"`), !strings.Contains(more, "stream") || strings.Contains(more, "include_usage")
				if ask.kind == openai.Chat && stream && got.roles != 1 || usage != (got.usage != nil) || usage && *got.usage != openai.Spent(7, 3) {
					t.Errorf("%s: %s: got %+v with the usage %+v", kind, ask.body(more), got, got.usage)
				}
				word, ok := strings.CutSuffix(got.text, " it is.")
				capital := strings.TrimSpace(word)
				if capital = strings.ToUpper(capital[:1]) + capital[1:]; !ok || !slices.Contains(openingWords[2:6], capital) || first != "" && word != first {
					t.Errorf("%s: %s: the answer is %q, want a word of the shell, and the same at each time (%q)", kind, ask.body(more), got.text, first)
				}
				first = word
			}
		}
	}
}

// What is obvious, what cannot be seen, and what the sampler must leave alone goes
// through as it is: the bytes are the server's.
func TestAnswersLeftAlone(t *testing.T) {
	for name, c := range map[string]struct{ body, steps, result string }{
		"Paris is Paris":         {chatAsk("The capital of France?", ""), "look ordinary", "obvious 1"},
		"a flat distribution":    {chatAsk("something flat", ""), "look ordinary", "unseen 1"},
		"a stop in the word":     {chatAsk("Tell me.", `,"stop":["e","d","y","l"]`), "look ordinary", "stop 1"},
		"seven tokens":           {chatAsk("Tell me.", `,"max_tokens":7`), "ordinary", ""},
		"two answers":            {chatAsk("Tell me.", `,"n":2`), "ordinary", ""},
		"JSON":                   {chatAsk("Tell me.", `,"response_format":{"type":"json_object"}`), "ordinary", ""},
		"a regular expression":   {chatAsk("Tell me.", `,"regex":"a*"`), "ordinary", ""},
		"tools":                  {chatAsk("Tell me.", `,"tools":[{}]`), "ordinary", ""},
		"a bias":                 {chatAsk("Tell me.", `,"logit_bias":{"5":1}`), "ordinary", ""},
		"the caller's beginning": {`{"model":"ours","messages":[{"role":"user","content":"Tell me."},{"role":"assistant","content":"Sure"}]}`, "continue", ""},
	} {
		e := newEngine(t, upstream.LlamaCPP)
		p := openPool(t, e, inverse())
		plain := openPool(t, e, nil)
		raw := func(p *upstream.Pool) string {
			r, err := openai.Parse(openai.Chat, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			a, err := p.Generate(t.Context(), gateway.Call{Request: r, Model: "ours", MaxTokens: cmp.Or(r.MaxTokens, 16)})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			text, err := all(a)
			if err != nil {
				t.Fatal(err)
			}
			return regexp.MustCompile("id-[0-9]").ReplaceAllString(text, "id")
		}
		got := raw(p)
		if e.steps() != c.steps || results(p) != c.result {
			t.Errorf("%s: took the steps %s and counted %q, want %s and %q", name, e.steps(), results(p), c.steps, c.result)
		}
		if want := raw(plain); got != want {
			t.Errorf("%s: got %s, want the server's own %s", name, got, want)
		}
	}
}

// A failure before a byte was sent is no reason to have no answer; one after it is said.
func TestFailuresOfEitherStep(t *testing.T) {
	status := func(step string, code int) func(string, http.ResponseWriter) bool {
		return func(s string, w http.ResponseWriter) bool {
			if s == step {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				_, _ = w.Write([]byte(`{"choices":[{"finish_reason":"length","logprobs":null}]}`))
			}
			return s == step
		}
	}
	hangUp := func(step string) func(string, http.ResponseWriter) bool {
		return func(s string, w http.ResponseWriter) bool {
			if s == step {
				panic(http.ErrAbortHandler)
			}
			return false
		}
	}
	for name, c := range map[string]struct {
		alter func(string, http.ResponseWriter) bool
		steps string
		code  string
	}{
		"a refusal of the first step":       {status("look", 400), "look ordinary", ""},
		"a busy server":                     {status("look", 503), "look ordinary", ""},
		"a server without log-probability":  {status("look", 200), "look ordinary", ""},
		"no answer to the first step":       {hangUp("look"), "look look ordinary", ""},
		"a refusal of the second step":      {status("continue", 400), "look continue ordinary", ""},
		"no answer to the second step":      {hangUp("continue"), "look continue continue ordinary", ""},
		"the second step is cut in the end": {hangUp("cut"), "look continue", "upstream_error"},
	} {
		e := newEngine(t, upstream.VLLM)
		e.alter = c.alter
		p := openPool(t, e, inverse())
		got, used, err := tell(t, e, p, openai.Chat, chatAsk("Tell me.", `,"stream":true`))
		if e.steps() != c.steps || codeOf(err) != c.code {
			t.Errorf("%s: steps %s and %v, want %s and %q", name, e.steps(), err, c.steps, c.code)
		}
		if c.code == "" && (results(p) != "error 1" || got.text != " it is." || used != openai.Spent(7, 2) || len(got.ids) != 1) {
			t.Errorf("%s: counted %s, metered %+v, got %+v", name, results(p), used, got)
		}
		if c.code != "" && (got.ended || results(p) != "shaped 1" || used.CompletionTokens == 0) {
			t.Errorf("%s: counted %s, metered %+v, got %+v", name, results(p), used, got)
		}
		if s := p.Stats()[0]; s.InFlight != 0 {
			t.Errorf("%s: %d answers are still in flight", name, s.InFlight)
		}
	}
}

// A client that leaves in the first step ends it, and nothing is counted.
func TestHangUpInTheFirstStep(t *testing.T) {
	e := newEngine(t, upstream.VLLM)
	left, reached := make(chan struct{}), make(chan struct{})
	e.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&wire{})
		close(reached)
		<-r.Context().Done()
		close(left)
	})
	p := openPool(t, e, inverse())
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-reached
		cancel(&openai.Error{Code: "client_gone"})
	}()
	r, err := openai.Parse(openai.Chat, []byte(chatAsk("Tell me.", "")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Generate(ctx, gateway.Call{Request: r, Model: "ours", MaxTokens: 16}); codeOf(err) != "client_gone" {
		t.Errorf("got %v, want client_gone", err)
	}
	wait(t, left)
	if results(p) != "" || p.Stats()[0].InFlight != 0 {
		t.Errorf("counted %q with %d in flight", results(p), p.Stats()[0].InFlight)
	}
}

// Which servers take part is said in /v1/models; a pool with one that cannot continue
// answers as before, and takes nothing from it.
func TestServersThatCannotContinue(t *testing.T) {
	e := newEngine(t, "")
	p := openPool(t, e, inverse())
	if got, used, err := tell(t, e, p, openai.Chat, chatAsk("Tell me.", "")); err != nil || got.text != " it is." || used != openai.Spent(7, 2) || e.steps() != "ordinary" {
		t.Errorf("%+v, %v after %s", got, err, e.steps())
	}
	if results(p) != "unsupported 1" || p.Stats()[0].Requests != 1 || p.Stats()[0].InFlight != 0 {
		t.Errorf("counted %s, %+v", results(p), p.Stats()[0])
	}
	shown := map[string]bool{}
	for _, kind := range []string{"", upstream.VLLM} {
		e.kind = kind
		var m openai.Model
		openPool(t, e, inverse()).Describe(&m)
		shown[kind] = m.InverseNucleus != nil && m.InverseNucleus.K == 4
	}
	if !maps.Equal(shown, map[string]bool{"": false, upstream.VLLM: true}) {
		t.Errorf("/v1/models shows the sampler: %v", shown)
	}
	bad := inverse()
	bad.Where = sampler.Sentences
	for _, o := range []upstream.Options{
		{Servers: []upstream.Server{{URL: e.URL, Continue: "somehow"}}},
		{Servers: []upstream.Server{{URL: e.URL}}, Inverse: bad},
		{Servers: []upstream.Server{{URL: e.URL}}, Inverse: &sampler.Inverse{}},
	} {
		if _, err := upstream.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
