package jinja

import "strconv"

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch {
	case t.kind == text:
		return p.literal(t), nil
	case t.kind == integer:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return nil, p.fail(t, "the number %s is too large", t.text)
		}
		return constant(n), nil
	case t.kind == float:
		f, err := strconv.ParseFloat(t.text, 64)
		return constant(f), err
	case t.kind == name:
		return p.named(t)
	case t.kind == operator && t.text == "(":
		return p.parenthesised()
	case t.kind == operator && t.text == "[":
		return p.listLiteral("]", nil)
	case t.kind == operator && t.text == "{":
		return p.dictLiteral()
	}
	return nil, p.fail(t, "expected a value, found %v", t)
}

// literal joins adjacent text literals.
func (p *parser) literal(t token) expr {
	s := t.text
	for p.peek().kind == text {
		s += p.next().text
	}
	return constant(Plain(s))
}

var constants = map[string]any{
	"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil,
}

// named is a constant, a variable, or a call of one of the functions.
func (p *parser) named(t token) (expr, error) {
	if v, ok := constants[t.text]; ok {
		return constant(v), nil
	}
	if !p.accept("(") {
		return func(r *run) (any, error) { return r.lookup(t.text), r.charge(1) }, nil
	}
	f, ok := functions[t.text]
	if !ok {
		return nil, p.fail(t, "the function %q is not supported", t.text)
	}
	args, err := p.arguments()
	return func(r *run) (any, error) {
		given, err := args.eval(r)
		if err != nil {
			return nil, err
		}
		return f(r, given)
	}, err
}

// parenthesised is (a), or the tuple (a, b), which is a list here.
func (p *parser) parenthesised() (expr, error) {
	if p.is(")") {
		return p.listLiteral(")", nil)
	}
	first, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.accept(",") {
		return p.listLiteral(")", []expr{first})
	}
	return first, p.expect(")")
}

func (p *parser) listLiteral(end string, items []expr) (expr, error) {
	for !p.accept(end) {
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, e)
		if !p.accept(",") && !p.is(end) {
			return nil, p.expect(end)
		}
	}
	return func(r *run) (any, error) {
		list := make(List, 0, len(items))
		for _, e := range items {
			v, err := e(r)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, r.charge(16 * len(items))
	}, nil
}

func (p *parser) dictLiteral() (expr, error) {
	var keys, values []expr
	for !p.accept("}") {
		key, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expect(":"); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		keys, values = append(keys, key), append(values, value)
		if !p.accept(",") && !p.is("}") {
			return nil, p.expect("}")
		}
	}
	return func(r *run) (any, error) { return r.dict(keys, values) }, nil
}
