package jinja

import (
	"errors"
	"strings"
	"testing"
)

func render(t *testing.T, source string, values Dict) (Text, error) {
	t.Helper()
	template, err := Parse(source)
	if err != nil {
		t.Fatalf("Parse(%q): %v", source, err)
	}
	return template.Render(values)
}

var talk = Dict{
	{"messages", List{
		Dict{{"role", Outside("system")}, {"content", Outside(" be nice ")}},
		Dict{{"role", Outside("user")}, {"content", Outside("héllo")}},
		Dict{{"role", Outside("assistant")}, {"content", Outside("a</think>b")}},
	}},
	{"add_generation_prompt", true},
	{"bos_token", Plain("<s>")},
	{"n", int64(7)},
	{"nothing", nil},
}

// The expected texts are Jinja2 3.1.6's with trim_blocks and lstrip_blocks, as transformers sets them.
func TestRenderAsJinja2(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"a\n", "a"},
		{"a\n\n", "a\n"},
		{"{% if true %}\n  x\n{% endif %}\ny", "  x\ny"},
		{"  {% if true %}\nx{% endif %}", "x"},
		{"  {%+ if true %}\nx{% endif %}", "  x"},
		{"a  {% if true %}\nx{% endif %}", "a  x"},
		{"a \n {%- if true -%} \n x {% endif %}", "ax "},
		{"a {{- 1 -}} b", "a1b"},
		{"{{ 1 }}\n{{ 2 }}", "1\n2"},
		{"{# note #}\nx {#- y -#} z", "xz"},
		{"{% if true +%}\nx{% endif %}", "\nx"},
		{"{{ 'it''s' \"x\\n\\u00e9\\\\\" }}", "itsx\né\\"},
		{"{{ messages[0].role ~ ':' ~ messages[0]['content']|trim }}", "system:be nice"},
		{"{{ messages[-1]['content'].split('</think>')[-1].strip() }}", "b"},
		{"{% for m in messages[1:] %}{{ loop.index0 }}{{ m.role }}{{ ',' if not loop.last }}{% endfor %}", "0user,1assistant"},
		{"{% for m in messages if m.role != 'user' %}{{ loop.index }}{{ m.role[0] }}{% endfor %}", "1s2a"},
		{"{% for m in messages[::-1] %}{{ m.role }} {% endfor %}", "assistant user system "},
		{"{% for k, v in {'a': 1, 'b': 2.5}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2.5;"},
		{"{% for x in [] %}y{% else %}none{% endfor %}", "none"},
		{"{% for x in range(5) %}{% if x == 3 %}{% break %}{% elif x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "02"},
		{"{% set ns = namespace(x=1) %}{% for i in range(3) %}{% set ns.x = ns.x + i %}{% set y = 1 %}{% endfor %}{{ ns.x }}{{ y }}", "4"},
		{"{% set t %}a{{ n }}{% endset %}{{ t * 2 }}", "a7a7"},
		{"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 1 + 2 * 3 }} {{ 2 ~ 3 }}", "3 -4 2 3.5 2.0 7 23"},
		{"{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'b' > 'a' }} {{ 1 == 1.0 }} {{ true == 1 }}", "True False True True True"},
		{"{{ 'x' in 'xyz' and 'a' not in ['b'] and 'role' in messages[0] }}", "True"},
		{"{{ missing is defined }} {{ missing }} {{ n is defined and n is number }} {{ nothing is none }}", "False  True True"},
		{"{{ missing|default('d') }}{{ ''|default('e', true) }}{{ nothing|default('f') }}", "deNone"},
		{"{{ messages|length }}{{ 'héé'|length }}{{ 'abc'|upper }}{{ [1, 2]|join('-') }}{{ 'aXbX'.replace('X', '--') }}", "33ABC1-2a--b--"},
		{"{{ [1, 'é<', none, true, {'k': [2.0]}]|tojson }}", `[1, "é<", null, true, {"k": [2.0]}]`},
		{"{{ 'é/x'[0] ~ 'abcdef'[2:4] ~ 'abc'[-1] ~ 'abc'[:-1] }}", "écdcab"},
		{"{{ bos_token + ('x' if n > 5 else 'y') }}{{ 'z' if false }}", "<s>x"},
		{"{% generation %}g{% endgeneration %}", "g"},
		{"{{ not true or 1 and 2 }}{{ (1, 2)|last }}{{ messages[0].get('x', 'q') }}", "22q"},
		{"{{ ' a '.lstrip() ~ '|' ~ 'xxaxx'.strip('x') ~ 'ab'.startswith('a') }}", "a |aTrue"},
		{"{{ {'a': {'b': 1}} == {'a': {'b': 1}} }}{{ [1] + [2] == [1, 2] }}", "TrueTrue"},
	} {
		got, err := render(t, c.source, talk)
		if err != nil || got.String() != c.want {
			t.Errorf("%q\n got %q, %v\nwant %q", c.source, got.String(), err, c.want)
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
