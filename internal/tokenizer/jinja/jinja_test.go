package jinja

import (
	"errors"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/reference"
)

func render(t *testing.T, source string, values Dict) (Text, error) {
	t.Helper()
	template, err := Parse(source)
	if err != nil {
		t.Fatalf("Parse(%q): %v", source, err)
	}
	return template.Render(values)
}

var talk = Dict{{"messages", List{
	Dict{{"role", Outside("system")}, {"content", Outside(" be nice ")}},
	Dict{{"role", Outside("user")}, {"content", Outside("héllo")}},
}}}

// transformers strips a block's indentation, drops the line break behind it, and so on: its own results say how.
func TestRenderAsJinja2(t *testing.T) {
	fixture := reference.Jinja(t)
	var messages List
	for _, m := range fixture.Messages {
		messages = append(messages, Dict{{"role", Outside(m.Role)}, {"content", Outside(m.Content)}})
	}
	values := Dict{
		{"messages", messages}, {"n", int64(7)}, {"nothing", nil}, {"add_generation_prompt", true},
		{"bos_token", Plain("<|im_start|>")}, {"eos_token", Plain("<|im_end|>")},
	}
	if len(fixture.Cases) < 50 {
		t.Fatalf("%d cases in the fixture, want at least 50", len(fixture.Cases))
	}
	for _, c := range fixture.Cases {
		got, err := render(t, c.Source, values)
		if err != nil || got.String() != c.Text {
			t.Errorf("%q\n got %q, %v\nwant %q", c.Source, got.String(), err, c.Text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for source, want := range map[string]string{
		"{% macro f() %}{% endmacro %}":   "statement \"macro\" is not supported",
		"{% include 'x' %}":               "statement \"include\" is not supported",
		"a\n{% import 'x' as y %}":        "line 2: the statement \"import\"",
		"{{ open('/etc/passwd') }}":       "function \"open\" is not supported",
		"{{ ''.__class__() }}":            "method \"__class__\" is not supported",
		"{{ x|attr('y') }}":               "filter \"attr\" is not supported",
		"{{ x is divisibleby 3 }}":        "test \"divisibleby\" is not supported",
		"{% if x %}":                      "\"endif\" is missing",
		"{% for x in y %}":                "\"endfor\" is missing",
		"{{ x":                            "not closed with }}",
		"{# x":                            "comment is not closed",
		"{{ 'x }}":                        "text literal is not closed",
		"{{ 1 + }}":                       "expected a value",
		"{{ a ? b }}":                     "unexpected character '?'",
		"{% break %}":                     "outside a loop",
		"{{ 2 ** 3 }}":                    "expected the end of the tag",
		strings.Repeat("{% if x %}", 100): "nested deeper",
		"{{ " + strings.Repeat("(", 1000) + strings.Repeat(")", 1000) + " }}": "nested deeper",
		"{{ " + strings.Repeat("not ", 1000) + "1 }}":                         "nested deeper",
		"{{ " + strings.Repeat("- ", 1000) + "1 }}":                           "nested deeper",
		"{{ " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + " }}": "nested deeper",
		strings.Repeat("x", maxSource+1):                                      "at most",
		"{{ 99999999999999999999 }}":                                          "too large",
		"{{ 'a\\uD800' }}":                                                    "not a character",
		"{% if a %}{% elif b %}{% else %}{{ a ":                               "not closed",
	} {
		if _, err := Parse(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40q): error %v, want one with %q", source, err, want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for source, want := range map[string]string{
		"{{ missing.x }}": "\"missing\", which is undefined",
		"{{ raise_exception('roles must alternate') }}": "roles must alternate",
		"{{ 'a' + 1 }}":                "does not work on a text and a number",
		"{{ 1 // 0 }}":                 "division by zero",
		"{{ messages }}":               "cannot print a list",
		"{% for x in 3 %}{% endfor %}": "cannot iterate over a number",
		"{% set x.y = 1 %}":            "not a namespace",
		"{{ [1][::0] }}":               "step must not be 0",
	} {
		if _, err := render(t, source, talk); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", source, err, want)
		}
	}
}

// Each of these would run for ages or fill the memory; the budget ends them.
func TestBudgetEndsRunaways(t *testing.T) {
	for _, source := range []string{
		"{% for a in range(100000000000) %}{% endfor %}",
		strings.Repeat("{% for a in range(99999) %}", 8) + strings.Repeat("{% endfor %}", 8),
		"{{ 'a' * 100000000000 }}",
		"{{ 'aaaaaaaaaa' * 9223372036854775807 }}",
		"{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
		"{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
		"{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
	} {
		if _, err := render(t, source, nil); !errors.Is(err, ErrBudget) {
			t.Errorf("%.60q: error %v, want ErrBudget", source, err)
		}
	}
}

// Whatever a template does to a message, its bytes stay marked as coming from outside.
func TestOriginSurvives(t *testing.T) {
	values := Dict{{"m", Outside("<X>")}, {"padded", Outside("  <X> ")}, {"two", Outside("a|<X>")}}
	for _, source := range []string{
		"{{ m }}", "{{ 't' + m }}", "{{ m ~ 't' }}", "{{ padded|trim }}", "{{ padded.strip() }}", "{{ two.split('|')[1] }}",
		"{{ two[2:] }}", "{{ two.replace('a', 'bb') }}", "{{ m|upper }}", "{{ m.lower()|upper }}", "{{ [m, 't']|join(' ') }}", "{{ {'k': m}|tojson }}",
		"{% set x %}{{ m }}{% endset %}{{ x }}", "{{ m * 2 }}", "{% for c in m %}{{ c }}{% endfor %}", "{{ m[0] ~ 'X>' }}", "{{ '<' ~ m[1:] }}",
		"{{ m|string }}", "{{ 'q'.replace('q', m) }}", "{% for k, v in {'a': m}.items() %}{{ v }}{% endfor %}", "{{ m|default('x') }}", "{{ [m]|first }}",
	} {
		got, err := render(t, source, values)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(got.String(), "<X>")
		if at < 0 {
			t.Fatalf("%q gave %q, which does not test anything", source, got.String())
		}
		if got.Trusted(at, at+3) {
			t.Errorf("%q: the message's text counts as the template's", source)
		}
	}
	got, _ := render(t, "<X>{{ m }}<X>", values)
	if !got.Trusted(0, 3) || got.Trusted(3, 6) || !got.Trusted(6, 9) || got.Trusted(0, 4) || got.Trusted(5, 9) {
		t.Error("the template's own text does not count as its own, or a part from outside does")
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{% for m in messages %}{{ m.role }}{% endfor %}", "{{ a[1:2]|trim is defined }}", "{%- set x = {'a': 1} -%}", "{# c #}{{ 'q\\n' }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		template, err := Parse(source)
		if err != nil {
			return
		}
		template.Render(talk) // an error is fine, a panic or a hang is not
	})
}
