package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// List is a list or tuple.
type List []any

// Pair is an entry of a [Dict].
type Pair struct {
	Key   string
	Value any
}

// Dict is a mapping in order of insertion. Templates hold few keys, so it is searched from the start.
type Dict []Pair

// Get returns the value under key.
func (d Dict) Get(key string) (any, bool) {
	for _, p := range d {
		if p.Key == key {
			return p.Value, true
		}
	}
	return nil, false
}

// namespace is what namespace() makes: the only thing that can be changed across scopes.
type namespace map[string]any

// undefined is a name or entry that does not exist: false, printed as nothing, an error in most other uses.
type undefined struct{ what string }

func truthy(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case Text:
		return v.s != ""
	case List:
		return len(v) > 0
	case Dict:
		return len(v) > 0
	}
	return true
}

// describe names a value's type for errors.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return strconv.Quote(v.what) + ", which is undefined"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case Text:
		return "a text"
	case List:
		return "a list"
	case Dict:
		return "a mapping"
	}
	return "a namespace"
}

// printed is a value as {{ }} shows it. Lists and mappings would need Python's repr, which no template should rely on.
func printed(v any) (Text, error) {
	switch v := v.(type) {
	case undefined:
		return Text{}, nil
	case nil:
		return Plain("None"), nil
	case bool:
		if v {
			return Plain("True"), nil
		}
		return Plain("False"), nil
	case int64:
		return Plain(strconv.FormatInt(v, 10)), nil
	case float64:
		return Plain(pythonFloat(v)), nil
	case Text:
		return v, nil
	}
	return Text{}, fmt.Errorf("jinja: cannot print %s; use the tojson filter", describe(v))
}

// pythonFloat is Python's repr: the shortest form, with ".0" where it looks whole and an exponent from 1e16 on.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(fmt.Sprint(f)), "+")
	}
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// item is a[b] or a.b. What is not there is undefined; looking into what cannot be looked into is an error.
func item(v, key any) (any, error) {
	switch v := v.(type) {
	case Dict:
		if k, ok := key.(Text); ok {
			if found, ok := v.Get(k.s); ok {
				return found, nil
			}
			return undefined{k.s}, nil
		}
	case namespace:
		if k, ok := key.(Text); ok {
			if found, ok := v[k.s]; ok {
				return found, nil
			}
			return undefined{k.s}, nil
		}
	case List:
		if i, ok := index(key, len(v)); ok {
			return v[i], nil
		}
		return undefined{"the list's entry"}, nil
	case Text:
		at := v.runes()
		if i, ok := index(key, len(at)-1); ok {
			return v.slice(at[i], at[i+1]), nil
		}
		return undefined{"the text's character"}, nil
	case undefined, nil:
		return nil, fmt.Errorf("jinja: cannot look into %s", describe(v))
	}
	return undefined{"the entry"}, nil
}

// index resolves a Python index, negative from the end.
func index(key any, n int) (int, bool) {
	i, ok := key.(int64)
	if i < 0 {
		i += int64(n)
	}
	return int(i), ok && i >= 0 && i < int64(n)
}

// list is what a loop iterates over.
func (r *run) list(v any) (List, error) {
	switch v := v.(type) {
	case List:
		return v, r.charge(len(v))
	case undefined:
		return nil, nil
	case Dict:
		keys := make(List, len(v))
		for i, p := range v {
			keys[i] = Plain(p.Key)
		}
		return keys, r.charge(32 * len(v))
	case Text:
		if err := r.charge(64 * len(v.s)); err != nil {
			return nil, err
		}
		at := v.runes()
		list := make(List, len(at)-1)
		for i := range list {
			list[i] = v.slice(at[i], at[i+1])
		}
		return list, nil
	}
	return nil, fmt.Errorf("jinja: cannot iterate over %s", describe(v))
}

func (r *run) dict(keys, values []expr) (any, error) {
	d := make(Dict, 0, len(keys))
	for i, key := range keys {
		k, err := key(r)
		if err != nil {
			return nil, err
		}
		t, ok := k.(Text)
		if !ok {
			return nil, fmt.Errorf("jinja: a mapping's key must be a text, not %s", describe(k))
		}
		v, err := values[i](r)
		if err != nil {
			return nil, err
		}
		d = append(d, Pair{t.s, v})
	}
	return d, r.charge(32 * len(keys))
}

// slice is a[i:j:k] with Python's rules; texts take a step of 1 only.
func (r *run) slice(v any, at [3]any) (any, error) {
	var n int
	var offsets []int
	switch v := v.(type) {
	case List:
		n = len(v)
	case Text:
		offsets = v.runes()
		n = len(offsets) - 1
	default:
		return nil, fmt.Errorf("jinja: cannot slice %s", describe(v))
	}
	if err := r.charge(16 * n); err != nil {
		return nil, err
	}
	start, stop, step, err := bounds(at, n)
	if err != nil {
		return nil, err
	}
	if t, ok := v.(Text); ok {
		if step != 1 {
			return nil, fmt.Errorf("jinja: texts can only be sliced with a step of 1")
		}
		return t.slice(offsets[start], offsets[max(start, stop)]), nil
	}
	var out List
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, v.(List)[i])
	}
	return out, nil
}

// bounds resolves a slice's start, stop and step as Python's slice.indices does.
func bounds(at [3]any, n int) (start, stop, step int, err error) {
	var given [3]int
	for i, v := range at {
		if v == nil {
			continue
		}
		k, ok := v.(int64)
		if !ok {
			return 0, 0, 0, fmt.Errorf("jinja: a slice's bounds must be whole numbers, not %s", describe(v))
		}
		given[i] = int(max(-1<<31, min(1<<31, k)))
	}
	step = 1
	if at[2] != nil {
		step = given[2]
	}
	if step == 0 {
		return 0, 0, 0, fmt.Errorf("jinja: a slice's step must not be 0")
	}
	low, high := 0, n
	start, stop = 0, n
	if step < 0 {
		low, high = -1, n-1
		start, stop = n-1, -1
	}
	if at[0] != nil {
		start = within(given[0], n, low, high)
	}
	if at[1] != nil {
		stop = within(given[1], n, low, high)
	}
	return start, stop, step, nil
}

func within(i, n, low, high int) int {
	if i < 0 {
		i += n
	}
	return max(low, min(high, i))
}
