// Package jinja renders chat templates: the part of Jinja 2 that they are written in, with the settings that
// transformers uses (trim_blocks, lstrip_blocks, break and continue, undefined names print as nothing).
//
// It is not a general Jinja. What it does not know is an error when the template is parsed, never a silent difference:
// no macros, no inheritance, no include or import, no regular expressions. There is no clock, no file and no network
// to reach. A template cannot run away: there is no recursion, nesting is bounded, and each step and each byte it makes
// counts against a budget; beyond it rendering ends with [ErrBudget].
//
// Every string remembers which bytes came from outside ([Text]), through joining, cutting, trimming and replacing. A
// caller can therefore tell the template's own <|im_end|> from one that a user typed.
//
// Start with [Parse].
package jinja

import (
	"errors"
	"fmt"
)

// ErrBudget says that a template did more work than any chat template needs.
var ErrBudget = errors.New("jinja: the template exceeds its budget of work")

var (
	errBreak    = errors.New("jinja: break")
	errContinue = errors.New("jinja: continue")
)

// budget is counted in steps and bytes together. A conversation of a megabyte takes a few million.
const budget = 1 << 27

// maxSource bounds a template's length in bytes, and so how deep a chain of operators can go. Real ones have some ten
// thousand.
const maxSource = 1 << 20

// Template is a parsed template, safe for concurrent use.
type Template struct{ body body }

// Parse compiles a template.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("jinja: the template has %d bytes; at most %d are accepted", len(source), maxSource)
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, fmt.Errorf("jinja: %w", err)
	}
	p := &parser{tokens: tokens}
	b, err := p.body()
	if err != nil {
		return nil, fmt.Errorf("jinja: %w", err)
	}
	return &Template{b}, nil
}

// Render runs the template. The values are nil, bool, int64, float64, [Text], [List] and [Dict].
func (t *Template) Render(values Dict) (Text, error) {
	r := &run{out: &builder{}, left: budget, scopes: []map[string]any{{}}}
	for _, v := range values {
		r.scopes[0][v.Key] = v.Value
	}
	if err := t.body(r); err != nil {
		return Text{}, err
	}
	return r.out.text(), nil
}

// run is the state of one rendering.
type run struct {
	out    *builder
	left   int              // of the budget
	scopes []map[string]any // innermost last; a loop opens one
}

func (r *run) charge(n int) error {
	if n < 0 || n >= r.left {
		r.left = 0
		return ErrBudget
	}
	r.left -= n + 1
	return nil
}

func (r *run) lookup(name string) any {
	for i := len(r.scopes) - 1; i >= 0; i-- {
		if v, ok := r.scopes[i][name]; ok {
			return v
		}
	}
	return undefined{name}
}

// assign sets a variable of the innermost scope, or an attribute of a namespace.
func (r *run) assign(target, attribute string, v any) error {
	if attribute == "" {
		r.scopes[len(r.scopes)-1][target] = v
		return r.charge(1)
	}
	ns, ok := r.lookup(target).(namespace)
	if !ok {
		return fmt.Errorf("jinja: cannot set %s.%s: %s is not a namespace", target, attribute, target)
	}
	ns[attribute] = v
	return r.charge(1)
}

func (l *loop) run(r *run) error {
	items, err := l.items(r)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return l.empty(r)
	}
	defer func(n int) { r.scopes = r.scopes[:n] }(len(r.scopes))
	for i, item := range items {
		if err := r.charge(256); err != nil { // a scope and its loop variable
			return err
		}
		scope := map[string]any{"loop": loopState(items, i)}
		if err := l.bind(scope, item); err != nil {
			return err
		}
		r.scopes = append(r.scopes, scope)
		err := l.body(r)
		r.scopes = r.scopes[:len(r.scopes)-1]
		if errors.Is(err, errBreak) {
			break
		}
		if err != nil && !errors.Is(err, errContinue) {
			return err
		}
	}
	return nil
}

// items evaluates what is iterated over and filters it.
func (l *loop) items(r *run) (List, error) {
	v, err := l.over(r)
	if err != nil {
		return nil, err
	}
	items, err := r.list(v)
	if err != nil || l.keep == nil {
		return items, err
	}
	var kept List
	defer func(n int) { r.scopes = r.scopes[:n] }(len(r.scopes))
	for _, item := range items {
		scope := map[string]any{}
		if err := l.bind(scope, item); err != nil {
			return nil, err
		}
		r.scopes = append(r.scopes, scope)
		v, err := l.keep(r)
		r.scopes = r.scopes[:len(r.scopes)-1]
		if err != nil {
			return nil, err
		}
		if truthy(v) {
			kept = append(kept, item)
		}
	}
	return kept, r.charge(16 * len(items))
}

func (l *loop) bind(scope map[string]any, item any) error {
	if len(l.names) == 1 {
		scope[l.names[0]] = item
		return nil
	}
	parts, ok := item.(List)
	if !ok || len(parts) != len(l.names) {
		return fmt.Errorf("jinja: a loop over %d names needs lists of %d", len(l.names), len(l.names))
	}
	for i, n := range l.names {
		scope[n] = parts[i]
	}
	return nil
}

func loopState(items List, i int) Dict {
	n := len(items)
	state := Dict{
		{"index", int64(i + 1)}, {"index0", int64(i)}, {"revindex", int64(n - i)}, {"revindex0", int64(n - i - 1)},
		{"first", i == 0}, {"last", i == n-1}, {"length", int64(n)},
	}
	if i > 0 {
		state = append(state, Pair{"previtem", items[i-1]})
	}
	if i+1 < n {
		state = append(state, Pair{"nextitem", items[i+1]})
	}
	return state
}
