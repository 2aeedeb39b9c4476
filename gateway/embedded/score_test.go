package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/openai"
)

// bigram is an engine whose logits depend on the last token alone, as the naive
// twin's below do.
type bigram struct{ vocabulary int }

func (b bigram) logits(last int32) []float32 {
	out := make([]float32, b.vocabulary)
	for i := range out {
		out[i] = float32((int(last)*7+i*i*3)%11) / 2
	}
	return out
}

// probability of the token after last.
func (b bigram) probability(last, token int32) float64 {
	var sum float64
	row := b.logits(last)
	for _, l := range row {
		sum += math.Exp(float64(l))
	}
	return math.Exp(float64(row[token])) / sum
}

func (b bigram) Generate(_ context.Context, r engine.Request) (Generation, error) {
	return &bigramAnswer{b: b, r: r}, nil
}

type bigramAnswer struct {
	b      bigram
	r      engine.Request
	made   []int32
	finish string
}

func (g *bigramAnswer) Next(context.Context) (int32, error) {
	if len(g.made) == g.r.MaxTokens {
		g.finish = engine.FinishLength
		return 0, io.EOF
	}
	all := slices.Concat(g.r.Prompt, g.made)
	id := g.r.Choose.Choose(g.b.logits(all[len(all)-1]), g.made)
	if slices.Contains(g.r.Stop, id) {
		g.finish = engine.FinishStop
		return 0, io.EOF
	}
	g.made = append(g.made, id)
	return id, nil
}

func (g *bigramAnswer) Finish() string { return g.finish }
func (g *bigramAnswer) Close()         {}

// letters: token i is the i-th letter; 7 ends an answer.
type letters struct{ vocabulary }

func (letters) Bytes(id int32) []byte {
	if id == 7 {
		return nil
	}
	return []byte{byte('a' + id)}
}

func (letters) Encode(text string, _ bool) []int32 {
	ids := make([]int32, len(text))
	for i := range text {
		ids[i] = int32(text[i] - 'a')
	}
	return ids
}
func (letters) EOS() []int32 { return []int32{7} }

type scoredReply struct {
	Choices []struct {
		Index    int
		Text     string
		Finish   string `json:"finish_reason"`
		Logprobs struct {
			Tokens  []string
			Token   []*float64           `json:"token_logprobs"`
			Top     []map[string]float64 `json:"top_logprobs"`
			Offsets []int                `json:"text_offset"`
			Content []struct {
				Token   string
				Logprob float64
				Bytes   []int
				Top     []struct{ Token string } `json:"top_logprobs"`
			}
		}
	}
	Usage openai.Usage
}

func complete(t *testing.T, kind openai.Kind, body string) (reply scoredReply) {
	t.Helper()
	b, err := New(Options{Engine: bigram{8}, Tokenizer: letters{}, Context: 64, Vocabulary: 8})
	if err != nil {
		t.Fatal(err)
	}
	r, err := openai.Parse(kind, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.Generate(t.Context(), gateway.Call{Request: r, Model: "m", ID: "1", MaxTokens: r.MaxTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	raw, err := a.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if got := a.Usage(); got != reply.Usage {
		t.Errorf("metered %+v, said %+v", got, reply.Usage)
	}
	return reply
}

// With echo and logprobs every token of prompt and answer has the probability that
// the model gave it, whatever the prompt holds: the token that ends answers too.
func TestScores(t *testing.T) {
	twin := bigram{8}
	for _, prompt := range []string{`"badcafe"`, `[1,0,3,7,2,0]`, `"a"`} {
		for _, most := range []int{0, 1, 5} {
			reply := complete(t, openai.Completion, fmt.Sprintf(`{"model":"m","prompt":%s,"echo":true,"logprobs":2,"max_tokens":%d,"seed":4}`, prompt, most))
			c := reply.Choices[0]
			if got := len(c.Logprobs.Tokens); got != reply.Usage.TotalTokens && c.Finish == "length" {
				t.Errorf("%s: %d scores for %+v", prompt, got, reply.Usage)
			}
			text := ""
			for i, token := range c.Logprobs.Tokens {
				if c.Logprobs.Offsets[i] != len(text) {
					t.Errorf("%s: token %d stands at %d, its offset says %d", prompt, i, len(text), c.Logprobs.Offsets[i])
				}
				text += token
				if i == 0 {
					if c.Logprobs.Token[0] != nil || c.Logprobs.Top[0] != nil {
						t.Errorf("%s: the first token has a score", prompt)
					}
					continue
				}
				id := func(s string) int32 {
					if s == "" {
						return 7
					}
					return int32(s[0] - 'a')
				}
				want := math.Log(twin.probability(id(c.Logprobs.Tokens[i-1]), id(token)))
				if math.Abs(*c.Logprobs.Token[i]-want) > 1e-5 || c.Logprobs.Top[i][token] != *c.Logprobs.Token[i] {
					t.Errorf("%s: token %d (%q) has %v and %v, want %v", prompt, i, token, *c.Logprobs.Token[i], c.Logprobs.Top[i], want)
				}
				most := math.Inf(-1)
				for other := range int32(8) {
					most = max(most, math.Log(twin.probability(id(c.Logprobs.Tokens[i-1]), other)))
				}
				best := math.Inf(-1)
				for _, l := range c.Logprobs.Top[i] {
					best = max(best, l)
				}
				if math.Abs(best-most) > 1e-5 {
					t.Errorf("%s: of the alternatives of token %d the best has %v, want %v", prompt, i, best, most)
				}
			}
			if c.Text != text {
				t.Errorf("%s: the text is %q, its tokens make %q", prompt, c.Text, text)
			}
		}
	}
}

// Scores do not change what is drawn, and a stop string takes its tokens' scores
// with it.
func TestScoresFollowTheText(t *testing.T) {
	const ask = `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":30,"seed":5`
	plain := complete(t, openai.Completion, `{"model":"m","prompt":"b","max_tokens":30,"seed":5}`)
	scored := complete(t, openai.Completion, `{"model":"m","prompt":"b","max_tokens":30,"seed":5,"logprobs":0}`)
	if plain.Choices[0].Text != scored.Choices[0].Text || len(plain.Choices[0].Text) < 3 {
		t.Errorf("drawn %q, with scores %q", plain.Choices[0].Text, scored.Choices[0].Text)
	}
	text, at := plain.Choices[0].Text, 1
	for strings.Index(text, text[at:at+2]) != at {
		at++
	}
	stop := text[at : at+2]
	cut := complete(t, openai.Completion, fmt.Sprintf(`{"model":"m","prompt":"b","max_tokens":30,"seed":5,"logprobs":0,"stop":%q}`, stop))
	if c := cut.Choices[0]; c.Text != text[:at] || len(c.Logprobs.Tokens) != at || c.Finish != "stop" {
		t.Errorf("cut at %q: %+v", stop, c)
	}
	chat := complete(t, openai.Chat, ask+`,"logprobs":true,"top_logprobs":3}`)
	if len(chat.Choices[0].Logprobs.Content) == 0 {
		t.Fatalf("no scores: %+v", chat)
	}
	for _, one := range chat.Choices[0].Logprobs.Content {
		if len(one.Top) != 3 || len(one.Bytes) != 1 || string(rune(one.Bytes[0])) != one.Token || one.Logprob > 0 {
			t.Errorf("%+v", one)
		}
	}
}

// Each of several answers and prompts is what it is when asked for alone.
func TestSeveralAnswers(t *testing.T) {
	reply := complete(t, openai.Completion, `{"model":"m","prompt":["ab","c"],"n":3,"max_tokens":12,"seed":7}`)
	if len(reply.Choices) != 6 || reply.Usage.PromptTokens != 3 {
		t.Fatalf("%+v", reply)
	}
	var texts []string
	for i, c := range reply.Choices {
		prompt := []string{"ab", "c"}[i/3]
		alone := complete(t, openai.Completion, fmt.Sprintf(`{"model":"m","prompt":%q,"max_tokens":12,"seed":%d}`, prompt, 7+i))
		if c.Index != i || c.Text != alone.Choices[0].Text || c.Finish != alone.Choices[0].Finish {
			t.Errorf("answer %d: %+v, alone %+v", i, c, alone.Choices[0])
		}
		texts = append(texts, c.Text)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(texts)))) < 3 {
		t.Errorf("the answers are alike: %q", texts)
	}
}

// Streamed, the answers take turns and each is what it is as a whole.
func TestSeveralStreams(t *testing.T) {
	const body = `{"model":"m","prompt":["ab","c"],"n":2,"max_tokens":9,"seed":7,"echo":true,"logprobs":1`
	whole := complete(t, openai.Completion, body+`}`)
	b, err := New(Options{Engine: bigram{8}, Tokenizer: letters{}, Context: 64, Vocabulary: 8})
	if err != nil {
		t.Fatal(err)
	}
	r, err := openai.Parse(openai.Completion, []byte(body+`,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.Generate(t.Context(), gateway.Call{Request: r, MaxTokens: 9})
	if err != nil {
		t.Fatal(err)
	}
	var got scoredReply
	got.Choices = slices.Clone(whole.Choices)
	for i := range got.Choices {
		got.Choices[i] = whole.Choices[i]
		got.Choices[i].Text, got.Choices[i].Finish, got.Choices[i].Logprobs.Tokens = "", "", nil
		got.Choices[i].Logprobs.Offsets = nil
	}
	for {
		part, err := a.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		events := openai.NewEventReader(bytes.NewReader(part))
		for e, err := events.Next(); err == nil && string(e.Data) != openai.Done; e, err = events.Next() {
			var chunk scoredReply
			if err := json.Unmarshal(e.Data, &chunk); err != nil {
				t.Fatal(err)
			}
			c := chunk.Choices[0]
			sum := &got.Choices[c.Index]
			sum.Text += c.Text
			sum.Finish += c.Finish
			sum.Logprobs.Tokens = append(sum.Logprobs.Tokens, c.Logprobs.Tokens...)
			sum.Logprobs.Offsets = append(sum.Logprobs.Offsets, c.Logprobs.Offsets...)
		}
	}
	if !reflect.DeepEqual(got.Choices, whole.Choices) {
		t.Errorf("streamed %+v\nwhole %+v", got.Choices, whole.Choices)
	}
}

func TestUnknownTokens(t *testing.T) {
	b, err := New(Options{Engine: bigram{8}, Tokenizer: letters{}, Context: 64, Vocabulary: 8})
	if err != nil {
		t.Fatal(err)
	}
	r, err := openai.Parse(openai.Completion, []byte(`{"model":"m","prompt":[1,8]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Generate(t.Context(), gateway.Call{Request: r, MaxTokens: 9})
	var e *openai.Error
	if !errors.As(err, &e) || e.Status != 400 || e.Param != "prompt" {
		t.Errorf("a token that does not exist: %v", err)
	}
}
