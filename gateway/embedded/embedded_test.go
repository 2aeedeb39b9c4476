package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/openai"
	_ "github.com/fealty/fealty/internal/sameseed"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/sampler"
)

// naive is what a client must see in the end, said byte by byte: the text up to
// the stop string that completes first; of two that do, the longer.
func naive(whole string, stops []string) string {
	for end := range len(whole) + 1 {
		longest := ""
		for _, s := range stops {
			if strings.HasSuffix(whole[:end], s) && len(s) > len(longest) {
				longest = s
			}
		}
		if longest != "" {
			return whole[:end-len(longest)]
		}
	}
	return whole
}

// However the text is cut into tokens, the pieces make the naive text, no piece
// splits a rune, and nothing that was sent is taken back.
func TestTextDoesNotDependOnTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.StringOf(rapid.SampledFrom([]rune("abcdé🙂 "))).Draw(t, "whole")
		stops := rapid.SliceOfN(rapid.StringMatching(`[abcdé ]{1,4}`), 0, 4).Draw(t, "stops")
		var sent strings.Builder
		tx := text{}
		for _, s := range stops {
			tx.stops = append(tx.stops, []byte(s))
		}
		rest := []byte(whole)
		for len(rest) > 0 && !tx.stopped {
			n := rapid.IntRange(1, min(5, len(rest))).Draw(t, "token")
			piece := tx.add(rest[:n])
			if !utf8.ValidString(piece) {
				t.Fatalf("the piece %q splits a rune", piece)
			}
			sent.WriteString(piece)
			rest = rest[n:]
		}
		sent.WriteString(tx.rest())
		if want := naive(whole, stops); sent.String() != want {
			t.Fatalf("%q with stops %q came out as %q, want %q", whole, stops, sent.String(), want)
		}
	})
}

// Bytes that never become a rune are sent in the end, and do not block the rest.
func TestTextWithInvalidBytes(t *testing.T) {
	tx := text{}
	var sent []byte
	for _, b := range []byte("a\xe2\x82b\xffc\xf0\x9f") {
		sent = append(sent, tx.add([]byte{b})...)
	}
	sent = append(sent, tx.rest()...)
	if string(sent) != "a\xe2\x82b\xffc\xf0\x9f" {
		t.Errorf("came out as %q", sent)
	}
}

// scripted answers with given token ids, whose text is in vocabulary.
type scripted struct {
	ids    []int32
	last   engine.Request
	closed int
	fail   error
}

func (s *scripted) Generate(_ context.Context, r engine.Request) (Generation, error) {
	s.last = r
	if s.fail != nil {
		return nil, s.fail
	}
	return &script{s: s, ids: s.ids}, nil
}

type script struct {
	s   *scripted
	ids []int32
}

func (g *script) Next(context.Context) (int32, error) {
	if len(g.ids) == 0 {
		return 0, io.EOF
	}
	id := g.ids[0]
	g.ids = g.ids[1:]
	return id, nil
}

func (g *script) Finish() string { return "stop" }
func (g *script) Close()         { g.s.closed++ }

type vocabulary []string

func (v vocabulary) EncodeChat(m []tokenizer.Message) ([]int32, error) {
	if m[0].Role != "user" && m[0].Role != "system" {
		return nil, errors.New("the template wants a user")
	}
	return make([]int32, len(m)*10), nil
}
func (v vocabulary) Encode(text string, _ bool) []int32 { return make([]int32, len(text)) }
func (v vocabulary) Bytes(id int32) []byte              { return []byte(v[id]) }
func (v vocabulary) EOS() []int32                       { return []int32{99} }

func call(t *testing.T, body string) gateway.Call {
	t.Helper()
	r, err := openai.Parse(openai.Chat, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	c := gateway.Call{Request: r, Model: r.Model, ID: "1", MaxTokens: r.MaxTokens}
	if c.MaxTokens == 0 {
		c.MaxTokens = 1000
	}
	return c
}

func newBackend(t *testing.T, e Engine, inverse *sampler.Inverse) *Backend {
	t.Helper()
	b, err := New(Options{Engine: e, Tokenizer: vocabulary{"Hel", "lo ", "\xf0\x9f", "\x99\x82", " ST", "OP more"}, Context: 100, Inverse: inverse})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const ask = `{"model":"m","messages":[{"role":"user","content":"hi"}]`

// Streamed or not, an answer has the same text, finish and usage; a stop string
// across three tokens ends it and frees the engine at once.
func TestStreamedEqualsWhole(t *testing.T) {
	for body, want := range map[string]struct {
		text   string
		tokens int
	}{
		ask: {"Hello 🙂 STOP more", 6}, ask + `,"stop":["STOP"]`: {"Hello 🙂 ", 6}, ask + `,"stop":"lo"`: {"Hel", 2}, ask + `,"stop":["zzz"," STOP mor"]`: {"Hello 🙂", 6},
	} {
		e := &scripted{ids: []int32{0, 1, 2, 3, 4, 5}}
		b := newBackend(t, e, nil)
		a, err := b.Generate(t.Context(), call(t, body+`}`))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		var reply openai.Reply
		if err := json.Unmarshal(raw, &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Text() != want.text || *reply.Choices[0].FinishReason != "stop" || *reply.Usage != openai.Spent(10, want.tokens) {
			t.Errorf("%s: whole: %s", body, raw)
		}
		if _, err := a.Next(); err != io.EOF {
			t.Errorf("after the reply: %v", err)
		}
		a.Close()
		if e.closed != 1 {
			t.Errorf("the generation was closed %d times", e.closed)
		}
		text, usage := stream(t, b, body+`,"stream":true,"stream_options":{"include_usage":true}}`)
		if text != want.text || usage == nil || *usage != *reply.Usage {
			t.Errorf("%s: streamed %q and %+v", body, text, usage)
		}
	}
}

func stream(t *testing.T, b *Backend, body string) (text string, usage *openai.Usage) {
	t.Helper()
	a, err := b.Generate(t.Context(), call(t, body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var all bytes.Buffer
	for {
		part, err := a.Next()
		all.Write(part)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	events := openai.NewEventReader(&all)
	for {
		e, err := events.Next()
		if err != nil {
			t.Fatalf("no %s: %v", openai.Done, err)
		}
		if string(e.Data) == openai.Done {
			return text, usage
		}
		var chunk openai.Reply
		if err := json.Unmarshal(e.Data, &chunk); err != nil {
			t.Fatal(err)
		}
		if chunk.Usage != nil {
			usage = chunk.Usage
		}
		for _, c := range chunk.Choices {
			if c.Delta.Content != nil {
				text += *c.Delta.Content
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	for body, code := range map[string]string{
		ask + `,"tools":[{}]}`:    "unsupported_parameter",
		ask + `,"max_tokens":91}`: "context_length_exceeded",
		`{"model":"m","messages":[{"role":"assistant","content":"x"}]}`:                                                       "invalid_value",
		`{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":"x"},`, 9) + `{"role":"user","content":"x"}]}`: "context_length_exceeded",
	} {
		_, err := newBackend(t, &scripted{}, nil).Generate(t.Context(), call(t, body))
		var e *openai.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Code != code {
			t.Errorf("%.120s: got %v, want %s", body, err, code)
		}
	}
	_, err := newBackend(t, &scripted{fail: engine.ErrBusy}, nil).Generate(t.Context(), call(t, ask+`}`))
	var e *openai.Error
	if !errors.As(err, &e) || e.Status != 503 || !e.Retry {
		t.Errorf("a full queue: %v", err)
	}
}

// A length that nobody asked for takes what room there is; the model's end tokens
// and the seed reach the engine.
func TestWork(t *testing.T) {
	e := &scripted{}
	_, err := newBackend(t, e, nil).Generate(t.Context(), call(t, ask+`}`))
	if err != nil || e.last.MaxTokens != 90 || len(e.last.Prompt) != 10 || len(e.last.Stop) != 1 || e.last.Stop[0] != 99 {
		t.Errorf("the engine was asked for %+v, %v", e.last, err)
	}
	draw := func(seed string) (out []int32) {
		_, err := newBackend(t, e, nil).Generate(t.Context(), call(t, ask+`,"seed":`+seed+`}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			out = append(out, e.last.Choose.Choose(make([]float32, 64), nil))
		}
		return out
	}
	a, b, c := draw("1"), draw("1"), draw("2")
	if !equal(a, b) || equal(a, c) {
		t.Errorf("seed 1 drew %v and %v, seed 2 drew %v", a, b, c)
	}
}

func equal(a, b []int32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// The inverse nucleus opens an answer with a word that is not the most probable;
// it stays off where it could do harm.
func TestInverseNucleus(t *testing.T) {
	words := []string{"Perhaps", "Certainly", "Indeed", "Overall", "Generally", "Typically"}
	openers := []int32{0, 1, 2, 3, 4, 5}
	for _, w := range words { // a word that only exists capitalised is a name
		words = append(words, strings.ToLower(w), " "+strings.ToLower(w))
	}
	shell := sampler.Shell{T: 0.2, K: 2, Floor: 0.01}
	inverse := &sampler.Inverse{Shell: shell, Rate: 1, Secret: bytes.Repeat([]byte("s"), 32), Model: "m", Lexicon: sampler.NewLexicon(words, openers)}
	e := &scripted{}
	b := newBackend(t, e, inverse)
	logits := func() []float32 { return []float32{1.2, 1.1, 1, 0.9, 0.8, 0.7} }
	for body, want := range map[string]bool{
		ask + `,"temperature":0}`: true, ask + `,"temperature":0,"max_tokens":8}`: true,
		ask + `,"temperature":0,"max_tokens":7}`: false, ask + `,"temperature":0,"logit_bias":{"5":-1}}`: false,
	} {
		if _, err := b.Generate(t.Context(), call(t, body)); err != nil {
			t.Fatal(err)
		}
		if first := e.last.Choose.Choose(logits(), nil); (first != 0) != want {
			t.Errorf("%s: the first token is %d, want the inverse nucleus on: %v", body, first, want)
		}
	}
	var m openai.Model
	b.Describe(&m)
	if m.InverseNucleus == nil || m.InverseNucleus.Rate != 1 || m.ContextLength != 100 {
		t.Errorf("described as %+v", m)
	}
}
