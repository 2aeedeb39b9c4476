package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const messages = `"messages":[{"role":"user","content":"hi"}]`

func chat(extra string) string { return `{"model":"m",` + messages + extra + `}` }

func TestParseReads(t *testing.T) {
	r, err := Parse(Chat, []byte(`{ "model" : "m", "messages":[{"role":"developer","content":"be kind"},
		{"role":"user","name":"x","content":[{"type":"text","text":"a"},{"type":"text","text":"b\u00e9"}]}],
		"max_completion_tokens":7,"stream":true,"stream_options":{"include_usage":true,"x":1},"stop":"END","seed":-3,
		"temperature":0,"top_p":0.5,"top_k":-1,"min_p":0.1,"frequency_penalty":-2,"presence_penalty":2,"repetition_penalty":1.1,
		"logit_bias":{"5":-100},"n":1,"logprobs":false,"tools":[],"tool_choice":"none","response_format":{"type":"text"},"user":"u","vendor":{"a":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	seed := int64(-3)
	want := &Request{
		Kind: Chat, Model: "m", Messages: []Message{{"system", "be kind"}, {"user", "abé"}}, MaxTokens: 7,
		Stream: true, IncludeUsage: true, Stop: []string{"END"}, Seed: &seed, TopP: 0.5, MinP: 0.1,
		FrequencyPenalty: -2, PresencePenalty: 2, RepetitionPenalty: 1.1, LogitBias: map[int32]float32{5: -100},
		N: 1, BestOf: 1, PromptBytes: r.PromptBytes, text: r.text, members: r.members,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
	r, err = Parse(Completion, []byte(`{"model":"m","prompt":["p"],"max_tokens":null,"stop":null,"temperature":null}`))
	if err != nil || len(r.Prompts) != 1 || r.Prompts[0].Text != "p" || r.Temperature != 1 || r.MaxTokens != 0 || !r.Plain() {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Each is refused, and the error names the field.
func TestParseRefuses(t *testing.T) {
	for body, param := range map[string]string{
		``: "", `{`: "", `null`: "", `{}x`: "", `{"model":"m",}`: "", `{"a":01}`: "a", `{"a":1.}`: "a", `{"a":.5}`: "a", `{"a":tru}`: "a",
		"{\"a\":\"\x01\"}": "a", `{"a":"\x"}`: "a", `{"a":"\u12"}`: "a", `{"a":"`: "a", "{\"a\xff\":1}": "", `{'a':1}`: "",
		`{` + messages + `}`: "model", `{"model":"",` + messages + `}`: "model", `{"model":7,` + messages + `}`: "model",
		`{"model":"m"}`: "messages", `{"model":"m","messages":[]}`: "messages", `{"model":"m","messages":{}}`: "messages",
		`{"model":"m","messages":["x"]}`:                                           "messages[0]",
		`{"model":"m","messages":[{"content":"x"}]}`:                               "messages[0].role",
		`{"model":"m","messages":[{"role":"king","content":"x"}]}`:                 "messages[0].role",
		`{"model":"m","messages":[{"role":"user"}]}`:                               "messages[0].content",
		`{"model":"m","messages":[{"role":"user","content":7}]}`:                   "messages[0].content",
		`{"model":"m","messages":[{"role":"user","content":["x"]}]}`:               "messages[0].content[0]",
		`{"model":"m","messages":[{"role":"user","content":[{}]}]}`:                "messages[0].content[0].type",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}`:   "messages[0].content[0].text",
		`{"model":"m","messages":[{"role":"user","role":"system","content":"x"}]}`: "messages[0]",
		chat(`,"model":"n"`): "model", chat(`,"MODEL":"n"`): "MODEL", chat(`,"ſtream":true`): "ſtream", chat(`,"max_toKens":1`): "max_toKens",
		chat(`,"stream":"yes"`): "stream", chat(`,"stream_options":{"include_usage":true}`): "stream_options",
		chat(`,"stream":true,"stream_options":{"include_usage":1}`): "stream_options.include_usage",
		chat(`,"max_tokens":0`): "max_tokens", chat(`,"max_tokens":-1`): "max_tokens", chat(`,"max_tokens":1.5`): "max_tokens",
		chat(`,"max_tokens":99999999999999999999`): "max_tokens", chat(`,"max_tokens":1,"max_completion_tokens":2`): "max_completion_tokens",
		chat(`,"temperature":2.1`): "temperature", chat(`,"temperature":"1"`): "temperature", chat(`,"temperature":-0.1`): "temperature",
		chat(`,"temperature":Infinity`): "temperature", chat(`,"temperature":-Infinity`): "temperature", chat(`,"temperature":1e400`): "temperature",
		chat(`,"top_p":1.1`): "top_p", chat(`,"top_k":-2`): "top_k", chat(`,"min_p":-1`): "min_p", chat(`,"frequency_penalty":3`): "frequency_penalty",
		chat(`,"presence_penalty":-3`): "presence_penalty", chat(`,"repetition_penalty":0`): "repetition_penalty", chat(`,"seed":1.5`): "seed",
		chat(`,"n":0`): "n", chat(`,"n":1000`): "n", chat(`,"stop":["a","b","c","d","e"]`): "stop", chat(`,"stop":[""]`): "stop", chat(`,"stop":[1]`): "stop",
		chat(`,"stop":7`): "stop", chat(`,"logit_bias":{"x":1}`): "logit_bias", chat(`,"logit_bias":{"1":101}`): "logit_bias.1", chat(`,"logit_bias":[]`): "logit_bias",
		chat(`,"logprobs":1`): "logprobs", chat(`,"top_logprobs":21`): "top_logprobs", chat(`,"top_logprobs":2`): "top_logprobs", chat(`,"n":3,"best_of":2`): "best_of", chat(`,"response_format":"json"`): "response_format",
		chat(`,"x":` + strings.Repeat(`{"a":`, 100) + `1`): "x", chat(`,"x":` + strings.Repeat(`[`, 100)): "x",
	} {
		_, err := Parse(Chat, []byte(body))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.100s: got %v, want a refusal", body, err)
			continue
		}
		if e.Status != 400 || e.Param != param || e.Code == "" || e.Message == "" {
			t.Errorf("%.100s: refused with %+v, want param %q", body, e, param)
		}
	}
}

func TestParseMarksFeatures(t *testing.T) {
	for extra, param := range map[string]string{
		`,"tools":[{}]`: "tools", `,"tool_choice":"auto"`: "tool_choice", `,"best_of":2`: "best_of",
		`,"response_format":{"type":"json_object"}`: "response_format", `,"guided_json":{}`: "guided_json", `,"modalities":["text","audio"]`: "modalities",
	} {
		r, err := Parse(Chat, []byte(chat(extra)))
		if err != nil || len(r.Features) != 1 || r.Features[0].Param != param {
			t.Errorf("%s: %+v, %v", extra, r, err)
		}
	}
	r, err := Parse(Chat, []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}`))
	if err != nil || len(r.Features) != 1 || r.Features[0].Param != "messages[0].content[0]" {
		t.Errorf("an image: %+v, %v", r, err)
	}
}

func TestWithChangesMembers(t *testing.T) {
	r, err := Parse(Chat, []byte(` { "model" : "m", `+messages+`, "stream": true, "max_tokens": 4, "\u0078": [ 1 ] }`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.With(Change{"stream", ""}, Change{"temperature", "1"}, Change{"max_tokens", "1"}, Change{"seed", ""})
	want := `{"model":"m",` + messages + `,"x":[ 1 ],"temperature":1,"max_tokens":1}`
	if err != nil || string(got.text) != want || got.Stream || got.MaxTokens != 1 || got.Temperature != 1 || !r.Stream || r.MaxTokens != 4 {
		t.Errorf("%s, %v; want %s", got.text, err, want)
	}
	if _, err := r.With(Change{"top_logprobs", "21"}); err == nil {
		t.Error("a change that makes a wrong request is taken")
	}
}

func TestRewriteKeepsEveryOtherByte(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{chat(``), `{"max_tokens":9,"model":"up",` + messages + `}`},
		{` { "model" : "m" , ` + messages + ` , "max_tokens" : 3 ,"z": [ 1 ] } `, ` { "model" : "up" , ` + messages + ` , "max_tokens" : 9 ,"z": [ 1 ] } `},
		{chat(`,"max_completion_tokens":3`), `{"model":"up",` + messages + `,"max_completion_tokens":9}`},
		{chat(`,"max_tokens":null,"max_completion_tokens":3`), `{"model":"up",` + messages + `,"max_tokens":null,"max_completion_tokens":9}`},
		{chat(`,"max_tokens":null`), `{"model":"up",` + messages + `,"max_tokens":9}`},
		{chat(`,"stream":true`), `{"max_tokens":9,"stream_options":{"include_usage":true},"model":"up",` + messages + `,"stream":true}`},
		{chat(`,"stream":true,"stream_options":{"include_usage":false,"v":1}`), `{"max_tokens":9,"model":"up",` + messages + `,"stream":true,"stream_options":{"include_usage":true}}`},
		{chat(`,"stream":false,"e\u00e9":"\u0041"`), `{"max_tokens":9,"model":"up",` + messages + `,"stream":false,"e\u00e9":"\u0041"}`},
	} {
		r, err := Parse(Chat, []byte(c.in))
		if err != nil {
			t.Fatal(c.in, err)
		}
		if got := string(r.Rewrite(nil, "up", 9)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

// The other kinds have no stream_options, and their own name for the bound or none.
func TestRewriteOtherKinds(t *testing.T) {
	for _, c := range []struct {
		kind     Kind
		in, want string
	}{
		{Embedding, `{"model":"m","input":["a"],"dimensions":5}`, `{"model":"up","input":["a"],"dimensions":5}`},
		{Response, `{"model":"m","input":"a","stream":true}`, `{"max_output_tokens":9,"store":false,"model":"up","input":"a","stream":true}`},
		{Response, `{"model":"m","store":true,"input":[],"max_output_tokens":3}`, `{"model":"up","store":false,"input":[],"max_output_tokens":9}`},
		{Completion, `{"model":"m","prompt":[1,2]}`, `{"max_tokens":9,"model":"up","prompt":[1,2]}`},
	} {
		r, err := Parse(c.kind, []byte(c.in))
		if err != nil {
			t.Fatal(c.in, err)
		}
		if got := string(r.Rewrite(nil, "up", 9)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

func TestPrompts(t *testing.T) {
	for body, want := range map[string][]Prompt{
		`"a"`: {{Text: "a"}}, `["a","b"]`: {{Text: "a"}, {Text: "b"}}, `[1,2]`: {{Tokens: []int32{1, 2}}},
		`[[1],[2,3]]`: {{Tokens: []int32{1}}, {Tokens: []int32{2, 3}}}, `["a",[4]]`: {{Text: "a"}, {Tokens: []int32{4}}},
		`[]`: nil, `[[]]`: nil, `[-1]`: nil, `[1.5]`: nil, `[1,"a"]`: nil, `{}`: nil, `7`: nil, `[[["a"]]]`: nil, `[99999999999]`: nil,
	} {
		r, err := Parse(Completion, []byte(`{"model":"m","prompt":`+body+`}`))
		if (err == nil) != (want != nil) || err == nil && !reflect.DeepEqual(r.Prompts, want) {
			t.Errorf("%s: %+v, %v; want %+v", body, r, err, want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{chat(``), chat(`,"stream":true,"stop":["a"],"logit_bias":{"1":2}`), `{"model":"m","prompt":[1,2]}`, `{"model":"m","prompt":["a","b"],"echo":true,"max_tokens":0}`, `{"model":"m","input":"a","max_output_tokens":3,"store":true}`, `{"a":[{"b":"\ud800"}]}`, "{\"\xff\":NaN}"} {
		for kind := range Response + 1 {
			f.Add([]byte(seed), uint8(kind))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, k uint8) {
		kind := Kind(k) % (Response + 1)
		r, err := Parse(kind, bytes.Clone(body))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Status != 400 || !json.Valid(e.AppendBody(nil)) {
				t.Fatalf("refused with %#v", err)
			}
			return
		}
		// What is accepted is JSON to the standard library too, and stays the same
		// request when it is rewritten.
		if !json.Valid(body) {
			t.Fatal("accepted what is not JSON")
		}
		again, err := Parse(kind, r.Rewrite(nil, "up", 9))
		if err != nil {
			t.Fatalf("its own rewriting is refused: %v", err)
		}
		if again.Model != "up" || kind != Embedding && again.MaxTokens != 9 || again.Stream != r.Stream || kind < Embedding && again.IncludeUsage != r.Stream ||
			again.Temperature != r.Temperature || !reflect.DeepEqual(again.Prompts, r.Prompts) || !reflect.DeepEqual(again.Messages, r.Messages) ||
			!reflect.DeepEqual(again.Features, r.Features) || len(again.members) < len(r.members) {
			t.Fatalf("rewriting changed %+v to %+v", r, again)
		}
	})
}

// The strict reader accepts what encoding/json accepts, but for its extra rules.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":[1,-0.5e+3,{"b":null}],"c":"\u00e9\\\n"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		members, err := Members(text)
		if (err == nil) && !json.Valid(text) {
			t.Fatal("accepted what is not JSON")
		}
		var plain map[string]json.RawMessage
		if err == nil {
			if json.Unmarshal(text, &plain) != nil || len(plain) != len(members) {
				t.Fatalf("read %d members, encoding/json %d", len(members), len(plain))
			}
			for _, m := range members {
				if !bytes.Equal(plain[m.Name], m.Value) || !bytes.Equal(text[m.Start:m.End()], m.Value) {
					t.Fatalf("member %q is %s, encoding/json says %s", m.Name, m.Value, plain[m.Name])
				}
			}
		}
	})
}

func FuzzAppendText(f *testing.F) {
	f.Add("a\"b\\c\n\t\r\x00\x1f é 🙂 \xff <>&")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendText(nil, s), &got); err != nil || got != strings.ToValidUTF8(s, "\uFFFD") && got != string([]rune(s)) {
			t.Fatalf("%q reads back as %q, %v", s, got, err)
		}
	})
}

// TestDuplicatesAmongMany: a name that stands twice is found wherever it stands, in
// objects with few members and with many.
func TestDuplicatesAmongMany(t *testing.T) {
	for _, n := range []int{3, 15, 16, 17, 18, 40} {
		for _, first := range []int{0, n / 2, n - 2} {
			var b strings.Builder
			for i := range n {
				name := i
				if i == n-1 {
					name = first
				}
				fmt.Fprintf(&b, `,"m%d":%d`, name, i)
			}
			_, err := Members([]byte("{" + b.String()[1:] + "}"))
			var twice *DuplicateError
			if !errors.As(err, &twice) || twice.Name != fmt.Sprintf("m%d", first) {
				t.Errorf("%d members, the last named as number %d: %v, want a DuplicateError", n, first, err)
			}
		}
	}
}
