package jinja

// expr is a compiled expression.
type expr func(*run) (any, error)

func constant(v any) expr { return func(*run) (any, error) { return v, nil } }

// expression is the grammar's loosest level: a if c else b.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	value, err := p.or()
	if err != nil || !p.accept("if") {
		return value, err
	}
	condition, err := p.or()
	if err != nil {
		return nil, err
	}
	otherwise := constant(undefined{"the value of an if without else"})
	if p.accept("else") {
		if otherwise, err = p.expression(); err != nil {
			return nil, err
		}
	}
	return func(r *run) (any, error) {
		c, err := condition(r)
		if err != nil {
			return nil, err
		}
		if truthy(c) {
			return value(r)
		}
		return otherwise(r)
	}, nil
}

// or and and return one of their operands, as in Python.
func (p *parser) or() (expr, error) {
	left, err := p.and()
	for err == nil && p.accept("or") {
		var right expr
		right, err = p.and()
		left = choose(left, right, false)
	}
	return left, err
}

func (p *parser) and() (expr, error) {
	left, err := p.not()
	for err == nil && p.accept("and") {
		var right expr
		right, err = p.not()
		left = choose(left, right, true)
	}
	return left, err
}

// choose gives right when left's truth is goOn, else left.
func choose(left, right expr, goOn bool) expr {
	return func(r *run) (any, error) {
		v, err := left(r)
		if err != nil || truthy(v) != goOn {
			return v, err
		}
		return right(r)
	}
}

func (p *parser) not() (expr, error) {
	if !p.accept("not") {
		return p.comparison()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	inner, err := p.not()
	return negate(inner), err
}

func negate(e expr) expr {
	return func(r *run) (any, error) {
		v, err := e(r)
		return !truthy(v), err
	}
}

// comparison joins chains as Python does: a < b < c is a < b and b < c.
func (p *parser) comparison() (expr, error) {
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	var chain expr
	for {
		op := p.comparator()
		if op == "" {
			break
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		link := binary(op, left, right)
		if chain == nil {
			chain = link
		} else {
			chain = choose(chain, link, true)
		}
		left = right
	}
	if chain == nil {
		return left, nil
	}
	return chain, nil
}

func (p *parser) comparator() string {
	if p.is("==", "!=", "<", ">", "<=", ">=", "in") {
		return p.next().text
	}
	if p.is("not") && p.at+1 < len(p.tokens) && p.tokens[p.at+1].text == "in" {
		p.at += 2
		return "not in"
	}
	return ""
}

// level compiles left-associative operators of one precedence.
func (p *parser) level(inner func() (expr, error), ops ...string) (expr, error) {
	left, err := inner()
	for err == nil && p.peek().kind == operator && p.is(ops...) {
		op := p.next().text
		var right expr
		right, err = inner()
		left = binary(op, left, right)
	}
	return left, err
}

func (p *parser) sum() (expr, error)     { return p.level(p.concat, "+", "-") }
func (p *parser) concat() (expr, error)  { return p.level(p.product, "~") }
func (p *parser) product() (expr, error) { return p.level(p.unary, "*", "/", "//", "%") }

func binary(op string, left, right expr) expr {
	return func(r *run) (any, error) {
		a, err := left(r)
		if err != nil {
			return nil, err
		}
		b, err := right(r)
		if err != nil {
			return nil, err
		}
		return r.operate(op, a, b)
	}
}

func (p *parser) unary() (expr, error) {
	if !p.is("-", "+") || p.peek().kind != operator {
		return p.filtered()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	op := p.next().text
	inner, err := p.unary()
	return binary(op, constant(int64(0)), inner), err
}

// filtered is a primary with its filters and tests.
func (p *parser) filtered() (expr, error) {
	value, err := p.postfix()
	for err == nil {
		switch {
		case p.accept("|"):
			value, err = p.filter(value)
		case p.accept("is"):
			value, err = p.test(value)
		default:
			return value, nil
		}
	}
	return nil, err
}

func (p *parser) filter(value expr) (expr, error) {
	at := p.peek()
	word, err := p.name()
	if err != nil {
		return nil, err
	}
	f, ok := filters[word]
	if !ok {
		return nil, p.fail(at, "the filter %q is not supported", word)
	}
	args := arguments{}
	if p.accept("(") {
		if args, err = p.arguments(); err != nil {
			return nil, err
		}
	}
	return func(r *run) (any, error) {
		v, err := value(r)
		if err != nil {
			return nil, err
		}
		given, err := args.eval(r)
		if err != nil {
			return nil, err
		}
		return f(r, v, given)
	}, nil
}

func (p *parser) test(value expr) (expr, error) {
	not := p.accept("not")
	at := p.peek()
	word, err := p.name()
	if err != nil {
		return nil, err
	}
	f, ok := tests[word]
	if !ok {
		return nil, p.fail(at, "the test %q is not supported", word)
	}
	return func(r *run) (any, error) {
		v, err := value(r)
		return f(v) != not, err
	}, nil
}

// arguments are those of a call: in order, then by name.
type arguments struct {
	list  []expr
	named map[string]expr
}

type given struct {
	list  []any
	named map[string]any
}

// get returns the argument at place i or under name.
func (g given) get(i int, name string) (any, bool) {
	if i < len(g.list) {
		return g.list[i], true
	}
	v, ok := g.named[name]
	return v, ok
}

func (a arguments) eval(r *run) (g given, err error) {
	for _, e := range a.list {
		v, err := e(r)
		if err != nil {
			return g, err
		}
		g.list = append(g.list, v)
	}
	g.named = make(map[string]any, len(a.named))
	for name, e := range a.named {
		if g.named[name], err = e(r); err != nil {
			return g, err
		}
	}
	return g, nil
}

// arguments reads up to the closing parenthesis.
func (p *parser) arguments() (arguments, error) {
	a := arguments{named: map[string]expr{}}
	for !p.accept(")") {
		word := ""
		if p.peek().kind == name && p.tokens[p.at+1].kind == operator && p.tokens[p.at+1].text == "=" {
			word = p.next().text
			p.at++
		}
		value, err := p.expression()
		if err != nil {
			return a, err
		}
		if word != "" {
			a.named[word] = value
		} else {
			a.list = append(a.list, value)
		}
		if !p.accept(",") && !p.is(")") {
			return a, p.expect(")")
		}
	}
	return a, nil
}

func (p *parser) postfix() (expr, error) {
	value, err := p.primary()
	for err == nil {
		switch {
		case p.accept("."):
			value, err = p.attribute(value)
		case p.accept("["):
			value, err = p.subscript(value)
		case p.is("(") && p.peek().kind == operator:
			return nil, p.fail(p.peek(), "only functions and methods can be called")
		default:
			return value, nil
		}
	}
	return nil, err
}

// attribute is a.b, or a method call a.b(...).
func (p *parser) attribute(value expr) (expr, error) {
	at := p.peek()
	word, err := p.name()
	if err != nil {
		return nil, err
	}
	if !p.accept("(") {
		return func(r *run) (any, error) {
			v, err := value(r)
			if err != nil {
				return nil, err
			}
			return item(v, Plain(word))
		}, nil
	}
	m, ok := methods[word]
	if !ok {
		return nil, p.fail(at, "the method %q is not supported", word)
	}
	args, err := p.arguments()
	return func(r *run) (any, error) {
		v, err := value(r)
		if err != nil {
			return nil, err
		}
		given, err := args.eval(r)
		if err != nil {
			return nil, err
		}
		return m(r, v, given)
	}, err
}

// subscript is a[i] or a slice a[i:j:k].
func (p *parser) subscript(value expr) (expr, error) {
	var parts [3]expr
	colons := 0
	for !p.accept("]") {
		if p.accept(":") {
			colons++
			if colons > 2 {
				return nil, p.fail(p.peek(), "a slice has too many colons")
			}
			continue
		}
		if parts[colons] != nil {
			return nil, p.expect("]")
		}
		var err error
		if parts[colons], err = p.expression(); err != nil {
			return nil, err
		}
	}
	if colons == 0 && parts[0] == nil {
		return nil, p.fail(p.peek(), "a subscript is empty")
	}
	return subscripted(value, parts, colons > 0), nil
}

func subscripted(value expr, parts [3]expr, sliced bool) expr {
	return func(r *run) (any, error) {
		v, err := value(r)
		if err != nil {
			return nil, err
		}
		var at [3]any
		for i, e := range parts {
			if e != nil {
				if at[i], err = e(r); err != nil {
					return nil, err
				}
			}
		}
		if sliced {
			return r.slice(v, at)
		}
		return item(v, at[0])
	}
}
