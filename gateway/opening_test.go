package gateway

import (
	"cmp"
	"testing"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/sampler"
)

func TestNormalisedPrompts(t *testing.T) {
	key := func(body string) string {
		r, err := openai.Parse(openai.Chat, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return string(normalised(r, 0))
	}
	one := key(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
	if one != key(`{"messages":[{"role":"user","content":[{"type":"text","text":" hi\n"}]}],"temperature":0,"model":"other"}`) {
		t.Error("white space, parts or settings make another prompt")
	}
	for _, other := range []string{`{"model":"m","messages":[{"role":"system","content":"hi"}]}`, `{"model":"m","messages":[{"role":"user","content":"h"},{"role":"user","content":"i"}]}`} {
		if one == key(other) {
			t.Errorf("%s is taken for the same prompt", other)
		}
	}
}

// The same requests are left alone before every backend.
func TestOpening(t *testing.T) {
	i := &sampler.Inverse{Rate: 1, Secret: []byte("0123456789abcdef")}
	for body, want := range map[string]bool{
		`"max_tokens":8`: true, `"temperature":0`: true, `"max_tokens":7`: false, `"logprobs":0`: false, `"echo":true`: false,
		`"suffix":"x"`: false, `"ebnf":"x"`: false, `"response_format":{"type":"json_object"}`: false, `"tools":[{}]`: false,
	} {
		r, err := openai.Parse(openai.Completion, []byte(`{"model":"m","prompt":"p",`+body+`}`))
		if err != nil {
			t.Fatal(err)
		}
		c := Call{Request: r, MaxTokens: cmp.Or(r.MaxTokens, 16)}
		if got := c.Opening(i, 0) != nil; got != want || c.Opening(nil, 0) != nil {
			t.Errorf("%s: opened %v, want %v", body, got, want)
		}
	}
	if ShowInverse(nil) != nil || ShowInverse(i).Where != sampler.First {
		t.Error("what is shown is not what is done")
	}
}
