package jinja

import (
	"fmt"
	"math"
	"strings"
)

// operate applies a binary operator.
func (r *run) operate(op string, a, b any) (any, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(a, b)
		return same == (op == "=="), err
	case "in", "not in":
		found, err := r.contains(b, a)
		return found == (op == "in"), err
	case "~":
		return r.concat(a, b)
	}
	if x, ok := a.(Text); ok {
		if y, ok := b.(Text); ok {
			return r.texts(op, x, y)
		}
	}
	if op == "*" {
		if t, n, ok := repetition(a, b); ok {
			return r.repeat(t, n)
		}
	}
	if x, ok := a.(List); ok && op == "+" {
		if y, ok := b.(List); ok {
			return append(x[:len(x):len(x)], y...), r.charge(16 * (len(x) + len(y)))
		}
	}
	v, err := arithmetic(op, a, b)
	if err != nil {
		return nil, err
	}
	return v, r.charge(1)
}

// texts applies + and the orders; Python compares by code point, and so does UTF-8.
func (r *run) texts(op string, a, b Text) (any, error) {
	if op == "+" {
		return join(a, b), r.charge(a.size() + b.size())
	}
	if v, ok := ordered(op, strings.Compare(a.s, b.s)); ok {
		return v, r.charge(min(len(a.s), len(b.s)))
	}
	return nil, fmt.Errorf("jinja: texts have no operator %s", op)
}

func ordered(op string, sign int) (v, ok bool) {
	switch op {
	case "<":
		return sign < 0, true
	case "<=":
		return sign <= 0, true
	case ">":
		return sign > 0, true
	case ">=":
		return sign >= 0, true
	}
	return false, false
}

func (r *run) concat(a, b any) (any, error) {
	x, err := printed(a)
	if err != nil {
		return nil, err
	}
	y, err := printed(b)
	if err != nil {
		return nil, err
	}
	return join(x, y), r.charge(x.size() + y.size())
}

func repetition(a, b any) (Text, int64, bool) {
	if t, ok := a.(Text); ok {
		n, ok := b.(int64)
		return t, n, ok
	}
	t, isText := b.(Text)
	n, isInt := a.(int64)
	return t, n, isText && isInt
}

func (r *run) repeat(t Text, n int64) (any, error) {
	n = max(n, 0)
	if n > budget {
		return nil, ErrBudget
	}
	if err := r.charge(int(n) * (t.size() + 1)); err != nil {
		return nil, err
	}
	var b builder
	for range n {
		b.add(t)
	}
	return b.text(), nil
}

// arithmetic works on numbers; whole ones stay whole except under /.
func arithmetic(op string, a, b any) (any, error) {
	x, xInt := whole(a)
	y, yInt := whole(b)
	if xInt && yInt && op != "/" {
		return integers(op, x, y)
	}
	f, okF := asFloat(a)
	g, okG := asFloat(b)
	if !okF || !okG {
		return nil, fmt.Errorf("jinja: the operator %s does not work on %s and %s", op, describe(a), describe(b))
	}
	return floats(op, f, g)
}

func whole(v any) (int64, bool) {
	if b, ok := v.(bool); ok {
		if b {
			return 1, true
		}
		return 0, true
	}
	n, ok := v.(int64)
	return n, ok
}

func asFloat(v any) (float64, bool) {
	if n, ok := whole(v); ok {
		return float64(n), true
	}
	f, ok := v.(float64)
	return f, ok
}

func compare[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// integers rounds divisions down, as Python does.
func integers(op string, a, b int64) (any, error) {
	if v, ok := ordered(op, compare(a, b)); ok {
		return v, nil
	}
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	}
	if b == 0 {
		return nil, fmt.Errorf("jinja: division by zero")
	}
	q, m := a/b, a%b
	if m != 0 && (m < 0) != (b < 0) {
		q, m = q-1, m+b
	}
	if op == "//" {
		return q, nil
	}
	return m, nil
}

func floats(op string, a, b float64) (any, error) {
	if v, ok := ordered(op, compare(a, b)); ok {
		return v, nil
	}
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	}
	if b == 0 {
		return nil, fmt.Errorf("jinja: division by zero")
	}
	switch op {
	case "/":
		return a / b, nil
	case "//":
		return math.Floor(a / b), nil
	}
	return a - b*math.Floor(a/b), nil
}

// equal compares by value, entry by entry; what shares parts many times over runs out of budget instead of time.
func (r *run) equal(a, b any) (bool, error) {
	if err := r.charge(1); err != nil {
		return false, err
	}
	switch x := a.(type) {
	case Text:
		y, ok := b.(Text)
		return ok && x.s == y.s, nil
	case List:
		y, ok := b.(List)
		return r.equalLists(x, y, ok)
	case Dict:
		y, ok := b.(Dict)
		return r.equalDicts(x, y, ok)
	case nil:
		return b == nil, nil
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case namespace:
		return false, fmt.Errorf("jinja: namespaces cannot be compared")
	}
	f, okF := asFloat(a)
	g, okG := asFloat(b)
	return okF && okG && f == g, nil
}

func (r *run) equalLists(a, b List, ok bool) (bool, error) {
	if !ok || len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if same, err := r.equal(a[i], b[i]); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (r *run) equalDicts(a, b Dict, ok bool) (bool, error) {
	if !ok || len(a) != len(b) {
		return false, nil
	}
	for _, p := range a {
		v, found := b.Get(p.Key)
		if !found {
			return false, nil
		}
		if same, err := r.equal(p.Value, v); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// contains is x in v.
func (r *run) contains(v, x any) (bool, error) {
	switch v := v.(type) {
	case Text:
		part, ok := x.(Text)
		if !ok {
			return false, fmt.Errorf("jinja: %s cannot be in a text", describe(x))
		}
		return strings.Contains(v.s, part.s), r.charge(len(v.s))
	case Dict:
		key, ok := x.(Text)
		_, found := v.Get(key.s)
		return ok && found, r.charge(len(v))
	case List:
		for _, e := range v {
			if same, err := r.equal(e, x); err != nil || same {
				return same, err
			}
		}
		return false, nil
	case undefined:
		return false, nil
	}
	return false, fmt.Errorf("jinja: cannot look for something in %s", describe(v))
}
