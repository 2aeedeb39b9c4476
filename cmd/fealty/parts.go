package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/licensecheck"
)

// part is something that a gateway holds open. A reload keeps it if it would be made
// from the same again.
type part struct {
	name    string
	recipe  any // what it was made from, secrets included
	value   any
	closers []func() error
}

func (p *part) close() error {
	var errs []error
	for _, f := range slices.Backward(p.closers) {
		errs = append(errs, f())
	}
	p.closers = nil
	return errors.Join(errs...)
}

func closeParts(all []*part) error {
	var errs []error
	for _, p := range slices.Backward(all) {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// without are those of all that are not in others.
func without(all, others []*part) (out []*part) {
	for _, p := range all {
		if !slices.Contains(others, p) {
			out = append(out, p)
		}
	}
	return out
}

// hold is the part of that name: of the wiring under way, else the running one if its
// recipe is the same, else a new one. What open hands to onClose belongs to it.
func hold[T any](n *node, name string, recipe any, open func() (T, error)) (T, error) {
	for _, p := range n.opening {
		if p.name == name {
			return p.value.(T), nil //nolint:forcetypeassert // names are of one type each
		}
	}
	for _, p := range n.parts {
		if p.name == name && reflect.DeepEqual(p.recipe, recipe) {
			n.opening = append(n.opening, p)
			return p.value.(T), nil //nolint:forcetypeassert // names are of one type each
		}
	}
	p := &part{name: name, recipe: recipe}
	n.making = p
	value, err := open()
	n.making = nil
	if err != nil {
		return value, errors.Join(err, p.close())
	}
	p.value = value
	n.opening = append(n.opening, p)
	return value, nil
}

// onClose is for what hold opens.
func (n *node) onClose(f func() error) { n.making.closers = append(n.making.closers, f) }

// reload makes the gateway what the config says now, key files and rules included, or
// leaves it as it is. Parts that nothing uses any more are closed once their last answer
// has ended.
func (n *node) reload(ctx context.Context, cfg gateway.Config) error {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	deps, err := n.wire(ctx, cfg)
	if err != nil {
		return errors.Join(err, closeParts(without(n.opening, n.parts)))
	}
	retired, made := without(n.parts, n.opening), without(n.opening, n.parts)
	err = n.server.Reload(deps, cfg, func() {
		n.closing.Go(func() {
			if err := closeParts(retired); err != nil {
				n.log.Warn("closing what a reload replaced", "cause", err)
			}
		})
	})
	if err != nil {
		return errors.Join(err, closeParts(made))
	}
	n.adopt(made)
	n.log.Info("parts of the gateway", "kept", len(n.opening)-len(made), "new", len(made), "retired", len(retired))
	return nil
}

// adopt makes the wiring under way the running one.
func (n *node) adopt(made []*part) {
	n.parts = n.opening
	for _, p := range made {
		if c, ok := p.value.(*licensecheck.Checker); ok {
			stop := c.OnChange(func(_, _ [32]byte) { n.server.LicenseChanged() })
			p.closers = append(p.closers, func() error { stop(); return nil })
		}
	}
}

// checkers are the chains that the gateway follows, by their parts' names.
func (n *node) checkers() map[string]*licensecheck.Checker {
	out := map[string]*licensecheck.Checker{}
	for _, p := range n.parts {
		if c, ok := p.value.(*licensecheck.Checker); ok {
			out[p.name] = c
		}
	}
	return out
}

// backendRecipe is what a model's backend is made from, the files behind weights aside.
type backendRecipe struct {
	model   gateway.ModelConfig
	checker string // its address: another one means another registry
	keys    []string
	waits   [3]any
	secret  string
}

func recipeOf(m gateway.ModelConfig, c *licensecheck.Checker, secret []byte, t gateway.TimeoutsConfig) (backendRecipe, error) {
	r := backendRecipe{
		model:   gateway.ModelConfig{Name: m.Name, License: m.License, Backend: m.Backend, InverseNucleus: m.InverseNucleus},
		checker: fmt.Sprintf("%p", c), waits: [3]any{t.Connect, t.Headers, t.Silent}, secret: string(secret),
	}
	for _, u := range slices.Concat(m.Backend.Upstreams, m.Backend.Fallback) {
		key, err := optional(u.Key)
		if err != nil {
			return r, err
		}
		r.keys = append(r.keys, key)
	}
	return r, nil
}
