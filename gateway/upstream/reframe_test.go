package upstream

import (
	"testing"

	"github.com/fealty/fealty/internal/openai"
)

// The word is put before the first choice's text once, wherever that stands; usage is
// the whole answer's; what else is there keeps its bytes.
func TestEventsOfOpenedAnswers(t *testing.T) {
	for in, want := range map[string]string{
		`{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}`:       `{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":"Oh"}}]}`,
		`{"choices":[ {"delta":{"role":"assistant"},"x" : 1} ],"usage":null}`:                  `{"choices":[{"delta":{"content":"Oh","role":"assistant"},"x" : 1}],"usage":null}`,
		`{"choices":[{"delta":{"content":" \"it\""}}],"usage":{"prompt_tokens":9,"more":[1]}}`: `{"choices":[{"delta":{"content":"Oh \"it\""}}],"usage":{"total_tokens":8,"completion_tokens":5,"prompt_tokens":3,"more":[1]}}`,
		`{"choices":[{"finish_reason":"stop"}]}`:                                               `{"choices":[{"delta":{"content":"Oh"},"finish_reason":"stop"}]}`,
		`{"choices":[{"delta":{},"finish_reason":"stop"}]}`:                                    `{"choices":[{"delta":{"content":"Oh"},"finish_reason":"stop"}]}`,
		`{"choices":[{"text":" it","index":0}]}`:                                               `{"choices":[{"text":"Oh it","index":0}]}`,
		`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}`:   `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`,
		`{"choices":[]}`: `{"choices":[]}`,
		`{"vendor":1}`:   `{"vendor":1}`,
		`[DONE]`:         `[DONE]`,
	} {
		o := &opening{word: "Oh"}
		event := openai.Event{Raw: openai.AppendEvent(nil, []byte(in)), Data: []byte(in)}
		got, err := o.event(event, openai.Spent(3, 5))
		if err != nil || string(got) != "data: "+want+"\n\n" {
			t.Errorf("%s: got %s and %v, want %s", in, got, err, want)
		}
		if o.placed {
			raw := openai.Event{Raw: []byte("data:{\"choices\" :[{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n"), Data: []byte(`{"choices" :[{"delta":{"content":"x"}}]}`)}
			if again, err := o.event(raw, openai.Spent(3, 6)); err != nil || string(again) != string(raw.Raw) {
				t.Errorf("%s: the next event became %q, %v", in, again, err)
			}
		}
	}
	for _, bad := range []string{`{"choices":[7]}`, `{"choices":[{"delta":{"content":7}}]}`, `{"choices":[{"delta":7}]}`, `[]`} {
		if got, err := (&opening{word: "Oh"}).event(openai.Event{Data: []byte(bad)}, openai.Usage{}); err == nil {
			t.Errorf("%s became %s", bad, got)
		}
	}
	if got, err := (&opening{word: "Oh"}).whole([]byte(`{"choices":[]}`), openai.Usage{}); err == nil {
		t.Errorf("an answer without a choice became %s", got)
	}
}

// A server that may echo the word gets it put before its first text, unless that begins
// with it.
func TestEventsOfEchoes(t *testing.T) {
	const role = `{"choices":[{"delta":{"role":"assistant","content":null},"finish_reason":null}]}`
	for name, c := range map[string][2][]string{
		"echo":    {{role, `{"choices":[{"delta":{"content":"Oh,"}}]}`, `{"choices":[{"delta":{"content":" it"}}]}`}, {role, `{"choices":[{"delta":{"content":"Oh,"}}]}`, `{"choices":[{"delta":{"content":" it"}}]}`}},
		"no echo": {{role, `{"choices":[{"delta":{"content":","}}]}`, `{"choices":[{"delta":{"content":"Oh"}}]}`}, {role, `{"choices":[{"delta":{"content":"Oh,"}}]}`, `{"choices":[{"delta":{"content":"Oh"}}]}`}},
		"no text": {{role, `{"choices":[{"delta":{},"finish_reason":"stop"}]}`}, {role, `{"choices":[{"delta":{"content":"Oh"},"finish_reason":"stop"}]}`}},
	} {
		o := &opening{word: "Oh", echo: true}
		for i, in := range c[0] {
			got, err := o.event(openai.Event{Raw: openai.AppendEvent(nil, []byte(in)), Data: []byte(in)}, openai.Usage{})
			if err != nil || string(got) != "data: "+c[1][i]+"\n\n" {
				t.Errorf("%s: %s became %s, %v", name, in, got, err)
			}
		}
	}
}

func TestMayStop(t *testing.T) {
	for _, c := range []struct {
		stop string
		want bool
	}{{"\n", false}, {"Certainly", true}, {"tain", true}, {"ly.", true}, {"Certainly not", true}, {"certainly", false}, {"Cert.", false}, {"yy", true}} {
		if got := mayStop("Certainly", []string{"###", c.stop}); got != c.want {
			t.Errorf("%q: %v", c.stop, got)
		}
	}
}
