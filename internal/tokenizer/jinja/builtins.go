package jinja

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// RaisedError is what raise_exception in a template ends the rendering with, e.g. "roles must alternate".
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "the chat template refuses: " + e.Message }

var functions = map[string]func(*run, given) (any, error){
	"raise_exception": func(_ *run, g given) (any, error) {
		message, _ := g.get(0, "message")
		t, err := printed(message)
		if err != nil {
			return nil, err
		}
		return nil, &RaisedError{t.s}
	},
	"namespace": func(r *run, g given) (any, error) {
		ns := make(namespace, len(g.named))
		for name, v := range g.named {
			ns[name] = v
		}
		return ns, r.charge(len(ns))
	},
	"dict": func(r *run, g given) (any, error) {
		if len(g.list) > 0 || len(g.named) > 1 {
			return nil, fmt.Errorf("jinja: dict() takes one named value here; write {...}")
		}
		var d Dict
		for name, v := range g.named {
			d = append(d, Pair{name, v})
		}
		return d, nil
	},
	"range": numbers,
}

// numbers is range(stop) or range(start, stop, step), charged before it is made.
func numbers(r *run, g given) (any, error) {
	at := [3]int64{0, 0, 1}
	for i, v := range g.list {
		n, ok := v.(int64)
		if !ok || i > 2 {
			return nil, fmt.Errorf("jinja: range() takes up to three whole numbers")
		}
		at[i] = n
	}
	if len(g.list) == 1 {
		at[0], at[1] = 0, at[0]
	}
	if at[2] == 0 || len(g.list) == 0 || len(g.named) > 0 {
		return nil, fmt.Errorf("jinja: range() takes up to three whole numbers, the last not 0")
	}
	var list List
	for n := at[0]; at[2] > 0 && n < at[1] || at[2] < 0 && n > at[1]; n += at[2] {
		if err := r.charge(32); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

var tests = map[string]func(any) bool{
	"defined":   func(v any) bool { _, u := v.(undefined); return !u },
	"undefined": func(v any) bool { _, u := v.(undefined); return u },
	"none":      func(v any) bool { return v == nil },
	"string":    func(v any) bool { _, ok := v.(Text); return ok },
	"mapping":   func(v any) bool { _, ok := v.(Dict); return ok },
	"iterable":  func(v any) bool { return isList(v) || isUndefined(v) },
	"sequence":  func(v any) bool { return isList(v) || isUndefined(v) },
	"boolean":   func(v any) bool { _, ok := v.(bool); return ok },
	"true":      func(v any) bool { return v == true },
	"false":     func(v any) bool { return v == false },
	"integer":   func(v any) bool { _, ok := v.(int64); return ok },
	"float":     func(v any) bool { _, ok := v.(float64); return ok },
	"number":    func(v any) bool { _, ok := asFloat(v); return ok },
}

func isUndefined(v any) bool { _, ok := v.(undefined); return ok }

func isList(v any) bool {
	switch v.(type) {
	case List, Dict, Text:
		return true
	}
	return false
}

type method func(*run, any, given) (any, error)

// onText makes a method of texts; f is charged for the text's length.
func onText(f func(*run, Text, given) (any, error)) method {
	return func(r *run, v any, g given) (any, error) {
		t, ok := v.(Text)
		if !ok {
			return nil, fmt.Errorf("jinja: this works on texts, not on %s", describe(v))
		}
		if err := r.charge(t.size()); err != nil {
			return nil, err
		}
		return f(r, t, g)
	}
}

var filters = map[string]method{
	"trim":    stripped(true, true),
	"upper":   onText(func(_ *run, t Text, _ given) (any, error) { return t.changed(strings.ToUpper(t.s)), nil }),
	"lower":   onText(func(_ *run, t Text, _ given) (any, error) { return t.changed(strings.ToLower(t.s)), nil }),
	"replace": onText(replaced),
	"length":  length,
	"count":   length,
	"default": fallback,
	"d":       fallback,
	"first":   func(r *run, v any, _ given) (any, error) { return item(v, int64(0)) },
	"last":    func(r *run, v any, _ given) (any, error) { return item(v, int64(-1)) },
	"list":    func(r *run, v any, _ given) (any, error) { return r.list(v) },
	"string":  func(_ *run, v any, _ given) (any, error) { return printed(v) },
	"safe":    func(_ *run, v any, _ given) (any, error) { return v, nil },
	"items":   entries,
	"join":    joined,
	"tojson":  toJSON,
}

var methods = map[string]method{
	"strip":      stripped(true, true),
	"lstrip":     stripped(true, false),
	"rstrip":     stripped(false, true),
	"upper":      filters["upper"],
	"lower":      filters["lower"],
	"replace":    filters["replace"],
	"split":      onText(split),
	"startswith": onText(affix(strings.HasPrefix)),
	"endswith":   onText(affix(strings.HasSuffix)),
	"items":      entries,
	"get":        get,
	"keys":       func(r *run, v any, _ given) (any, error) { return r.list(v) },
	"values": func(r *run, v any, _ given) (any, error) {
		d, ok := v.(Dict)
		var list List
		for _, p := range d {
			list = append(list, p.Value)
		}
		if !ok {
			return nil, fmt.Errorf("jinja: %s has no values()", describe(v))
		}
		return list, r.charge(16 * len(d))
	},
}

// textArgument returns a text argument, empty when it was not given.
func textArgument(g given, i int, name string) (Text, error) {
	v, ok := g.get(i, name)
	if !ok || v == nil {
		return Plain(""), nil
	}
	t, ok := v.(Text)
	if !ok {
		return Text{}, fmt.Errorf("jinja: expected a text, found %s", describe(v))
	}
	return t, nil
}

// stripped removes white space, or the given characters.
func stripped(left, right bool) method {
	return onText(func(_ *run, t Text, g given) (any, error) {
		chars, err := textArgument(g, 0, "chars")
		if err != nil {
			return nil, err
		}
		cut := pythonSpace
		if chars.s != "" {
			cut = func(r rune) bool { return strings.ContainsRune(chars.s, r) }
		}
		return t.trim(cut, left, right), nil
	})
}

// pythonSpace is str.isspace: Unicode's white space and the four separators of ASCII.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func replaced(r *run, t Text, g given) (any, error) {
	old, err := textArgument(g, 0, "old")
	if err != nil {
		return nil, err
	}
	by, err := textArgument(g, 1, "new")
	if err != nil {
		return nil, err
	}
	if old.s == "" {
		return nil, fmt.Errorf("jinja: replace needs a text to look for")
	}
	parts := t.split(old.s, -1)
	if err := r.charge(t.size() + len(parts)*(by.size()+64)); err != nil {
		return nil, err
	}
	var b builder
	for i, part := range parts {
		if i > 0 {
			b.add(by)
		}
		b.add(part)
	}
	return b.text(), nil
}

func split(r *run, t Text, g given) (any, error) {
	sep, err := textArgument(g, 0, "sep")
	if err != nil {
		return nil, err
	}
	limit := int64(-1)
	if v, ok := g.get(1, "maxsplit"); ok {
		if limit, ok = v.(int64); !ok {
			return nil, fmt.Errorf("jinja: split's limit must be a whole number")
		}
	}
	if sep.s == "" {
		return nil, fmt.Errorf("jinja: split needs a separator")
	}
	parts := t.split(sep.s, int(min(limit, budget)))
	list := make(List, len(parts))
	for i, p := range parts {
		list[i] = p
	}
	return list, r.charge(64 * len(parts))
}

func affix(has func(s, affix string) bool) func(*run, Text, given) (any, error) {
	return func(_ *run, t Text, g given) (any, error) {
		if len(g.list) != 1 {
			return nil, fmt.Errorf("jinja: startswith and endswith take one text")
		}
		a, err := textArgument(g, 0, "")
		return has(t.s, a.s), err
	}
}

func length(r *run, v any, _ given) (any, error) {
	if t, ok := v.(Text); ok {
		return int64(len(t.runes()) - 1), r.charge(len(t.s))
	}
	if ns, ok := v.(Dict); ok {
		return int64(len(ns)), nil
	}
	list, err := r.list(v)
	return int64(len(list)), err
}

// fallback is default(value, boolean): for what is undefined, or with boolean for all that is false.
func fallback(_ *run, v any, g given) (any, error) {
	all, _ := g.get(1, "boolean")
	if isUndefined(v) || truthy(all) && !truthy(v) {
		if other, ok := g.get(0, "default_value"); ok {
			return other, nil
		}
		return Text{}, nil
	}
	return v, nil
}

func entries(r *run, v any, _ given) (any, error) {
	d, ok := v.(Dict)
	if !ok && !isUndefined(v) {
		return nil, fmt.Errorf("jinja: %s has no items", describe(v))
	}
	var list List
	for _, p := range d {
		list = append(list, List{Plain(p.Key), p.Value})
	}
	return list, r.charge(64 * len(d))
}

func get(r *run, v any, g given) (any, error) {
	d, isDict := v.(Dict)
	key, err := textArgument(g, 0, "key")
	if !isDict || err != nil {
		return nil, fmt.Errorf("jinja: get() works on mappings with a text as key, not on %s", describe(v))
	}
	if found, ok := d.Get(key.s); ok {
		return found, r.charge(len(d))
	}
	other, _ := g.get(1, "default")
	return other, r.charge(len(d))
}

func joined(r *run, v any, g given) (any, error) {
	sep, err := textArgument(g, 0, "d")
	if err != nil {
		return nil, err
	}
	list, err := r.list(v)
	if err != nil {
		return nil, err
	}
	var b builder
	for i, e := range list {
		t, err := printed(e)
		if err != nil {
			return nil, err
		}
		if err := r.charge(t.size() + sep.size()); err != nil {
			return nil, err
		}
		if i > 0 {
			b.add(sep)
		}
		b.add(t)
	}
	return b.text(), nil
}

// toJSON is Python's json.dumps(v, ensure_ascii=False). What it makes counts as coming from outside if any text in it does.
func toJSON(r *run, v any, g given) (any, error) {
	if len(g.list)+len(g.named) > 0 {
		return nil, fmt.Errorf("jinja: tojson takes no arguments here")
	}
	var b strings.Builder
	outside, err := r.json(&b, v)
	if err != nil {
		return nil, err
	}
	if outside {
		return Outside(b.String()), nil
	}
	return Plain(b.String()), nil
}

func (r *run) json(b *strings.Builder, v any) (outside bool, err error) {
	if err := r.charge(8); err != nil {
		return false, err
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64, float64:
		t, err := printed(v)
		b.WriteString(t.s)
		return false, err
	case Text:
		return len(v.marks) > 0, r.jsonText(b, v.s)
	case List:
		return r.jsonList(b, v)
	case Dict:
		return r.jsonDict(b, v)
	default:
		return false, fmt.Errorf("jinja: %s cannot be written as JSON", describe(v))
	}
	return false, nil
}

func (r *run) jsonText(b *strings.Builder, s string) error {
	var quoted strings.Builder
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err
	}
	// Go escapes the two line separators that JavaScript once disliked; Python does not.
	out := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029", `\\`, `\\`).Replace(strings.TrimSuffix(quoted.String(), "\n"))
	b.WriteString(out)
	return r.charge(len(out))
}

func (r *run) jsonList(b *strings.Builder, list List) (outside bool, err error) {
	b.WriteByte('[')
	for i, e := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		o, err := r.json(b, e)
		if err != nil {
			return false, err
		}
		outside = outside || o
	}
	b.WriteByte(']')
	return outside, nil
}

func (r *run) jsonDict(b *strings.Builder, d Dict) (outside bool, err error) {
	b.WriteByte('{')
	for i, p := range d {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := r.jsonText(b, p.Key); err != nil {
			return false, err
		}
		b.WriteString(": ")
		o, err := r.json(b, p.Value)
		if err != nil {
			return false, err
		}
		outside = outside || o
	}
	b.WriteByte('}')
	return outside, nil
}
