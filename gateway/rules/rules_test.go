package rules_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway/rules"
)

const example = `
// All licensees, in general.
permit (principal, action, resource);

// The large model is for two companies.
forbid (principal, action, resource == Model::"acme-large")
unless { principal in [Licensee::"eip155:1:0xAA", Licensee::"eip155:1:0xBB"] };

// Long answers only as streams.
forbid (principal, action, resource)
when { context.max_tokens > 1000 && !context.stream };

// Maintenance.
forbid (principal, action == Action::"completions", resource)
when { context.now >= datetime("2026-12-24") && context.now < datetime("2026-12-27") };
`

func TestRules(t *testing.T) {
	r, err := rules.Parse("rules.cedar", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	usual := rules.Request{Account: "eip155:1:0xCC", Use: "chat", Model: "acme-chat", MaxTokens: 10, Now: time.Date(2026, 12, 25, 0, 0, 0, 0, time.UTC)}
	for name, c := range map[string]struct {
		change func(*rules.Request)
		denied string // empty: permitted
	}{
		"usual":               {func(*rules.Request) {}, ""},
		"a model for others":  {func(q *rules.Request) { q.Model = "acme-large" }, "forbidden at line 6"},
		"a model for you":     {func(q *rules.Request) { q.Model, q.Account = "acme-large", "eip155:1:0xBB" }, ""},
		"long, in one piece":  {func(q *rules.Request) { q.MaxTokens = 1001 }, "forbidden at line 10"},
		"long, as a stream":   {func(q *rules.Request) { q.MaxTokens, q.Stream = 1001, true }, ""},
		"during maintenance":  {func(q *rules.Request) { q.Use = "completions" }, "forbidden at line 14"},
		"after maintenance":   {func(q *rules.Request) { q.Use, q.Now = "completions", q.Now.AddDate(0, 0, 2) }, ""},
		"tokens beyond count": {func(q *rules.Request) { q.Tokens = 1<<64 - 1 }, ""},
	} {
		q := usual
		c.change(&q)
		err := r.Check(q)
		if c.denied == "" && err != nil || c.denied != "" && (!errors.Is(err, rules.ErrDenied) || !strings.Contains(err.Error(), c.denied)) {
			t.Errorf("%s: got %v, want %q", name, err, c.denied)
		}
	}
}

// What Cedar passes over refuses here: a forbid that fails is no permission.
func TestRuleThatFails(t *testing.T) {
	r, err := rules.Parse("rules.cedar", []byte(`permit (principal, action, resource);
forbid (principal, action, resource) when { context.tokenz > 5 };`))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(rules.Request{Now: time.Now()}); !errors.Is(err, rules.ErrFailed) || !strings.Contains(err.Error(), "tokenz") {
		t.Errorf("got %v, want ErrFailed that names the attribute", err)
	}
}

func TestExampleFile(t *testing.T) {
	text, err := os.ReadFile("../../configs/rules.cedar")
	if err != nil {
		t.Fatal(err)
	}
	r, err := rules.Parse("rules.cedar", text)
	if err != nil {
		t.Fatal(err)
	}
	q := rules.Request{Account: "eip155:1:0xCC", Use: "chat", Model: "m", MaxTokens: 1001, Now: time.Now()}
	if err := r.Check(q); !errors.Is(err, rules.ErrDenied) {
		t.Errorf("a long answer in one piece: %v", err)
	}
	if q.Stream = true; r.Check(q) != nil {
		t.Errorf("a long answer as a stream: %v", r.Check(q))
	}
}

func TestBadRules(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "permits nothing",
		"forbid (principal, action, resource);": "permits nothing",
		"permit (principal, action, resource)":  "rules.cedar",
		"allow everything":                      "rules.cedar",
	} {
		if _, err := rules.Parse("rules.cedar", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
	if r, err := rules.Parse("r", []byte(`permit (principal == Licensee::"a", action, resource);`)); err != nil {
		t.Error(err)
	} else if err := r.Check(rules.Request{Account: "b"}); !errors.Is(err, rules.ErrDenied) || !strings.Contains(err.Error(), "no policy permits") {
		t.Errorf("nobody permits it: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	r, err := rules.Parse("rules.cedar", []byte(example))
	if err != nil {
		b.Fatal(err)
	}
	q := rules.Request{Account: "eip155:1:0xCC", Use: "chat", Model: "acme-chat", MaxTokens: 10, Now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Check(q); err != nil {
			b.Fatal(err)
		}
	}
}
