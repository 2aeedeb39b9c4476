package jinja

import (
	"fmt"
	"slices"
)

// maxDepth bounds nesting, and with it the recursion of both parser and evaluation.
const maxDepth = 64

// parser compiles tokens into closures.
type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int // for statements around this point
}

// body is a compiled sequence of statements.
type body func(*run) error

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endOfFile {
		p.at++
	}
	return t
}

func (p *parser) fail(t token, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", t.line, fmt.Sprintf(format, args...))
}

// is tells whether the next token is this operator or word.
func (p *parser) is(words ...string) bool {
	t := p.peek()
	return (t.kind == operator || t.kind == name) && slices.Contains(words, t.text)
}

// accept takes the next token if it is this operator or word.
func (p *parser) accept(word string) bool {
	if p.is(word) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(word string) error {
	if !p.accept(word) {
		return p.fail(p.peek(), "expected %q, found %v", word, p.peek())
	}
	return nil
}

func (p *parser) name() (string, error) {
	t := p.next()
	if t.kind != name {
		return "", p.fail(t, "expected a name, found %v", t)
	}
	return t.text, nil
}

func (p *parser) close() error {
	if t := p.next(); t.kind != closeTag {
		return p.fail(t, "expected the end of the tag, found %v", t)
	}
	return nil
}

func (p *parser) enter() error {
	p.depth++
	if p.depth > maxDepth {
		return p.fail(p.peek(), "nested deeper than %d levels", maxDepth)
	}
	return nil
}

// body compiles statements up to one of the closing words (left unread after its "{%"), or to the end if there are none.
func (p *parser) body(until ...string) (body, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var parts []body
	for {
		t := p.next()
		var part body
		var err error
		switch {
		case t.kind == endOfFile && len(until) == 0:
			return sequence(parts), nil
		case t.kind == endOfFile:
			return nil, p.fail(t, "%q is missing", until[len(until)-1])
		case t.kind == data:
			part = emit(Plain(t.text))
		case t.kind == openOutput:
			part, err = p.output()
		case p.is(until...):
			return sequence(parts), nil
		default:
			part, err = p.statement()
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
}

func sequence(parts []body) body {
	return func(r *run) error {
		for _, part := range parts {
			if err := part(r); err != nil {
				return err
			}
		}
		return nil
	}
}

func emit(t Text) body {
	return func(r *run) error {
		if err := r.charge(t.size()); err != nil {
			return err
		}
		r.out.add(t)
		return nil
	}
}

func (p *parser) output() (body, error) {
	value, err := p.expression()
	if err != nil {
		return nil, err
	}
	return func(r *run) error {
		v, err := value(r)
		if err != nil {
			return err
		}
		t, err := printed(v)
		if err != nil {
			return err
		}
		return emit(t)(r)
	}, p.close()
}

func (p *parser) statement() (body, error) {
	t := p.next()
	switch t.text {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement()
	case "set":
		return p.setStatement()
	case "generation": // transformers' mark for training masks: renders its body
		return p.generation()
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.fail(t, "%q outside a loop", t.text)
		}
		stop := map[string]error{"break": errBreak, "continue": errContinue}[t.text]
		return func(*run) error { return stop }, p.close()
	}
	return nil, p.fail(t, "the statement %v is not supported; this renderer knows if, for, set, break, continue and generation", t)
}

func (p *parser) generation() (body, error) {
	if err := p.close(); err != nil {
		return nil, err
	}
	inner, err := p.body("endgeneration")
	if err != nil {
		return nil, err
	}
	p.at++
	return inner, p.close()
}

// ifStatement reads the condition after if or elif, the body, and what follows.
func (p *parser) ifStatement() (body, error) {
	condition, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	then, err := p.body("elif", "else", "endif")
	if err != nil {
		return nil, err
	}
	otherwise, err := p.ifRest()
	return func(r *run) error {
		v, err := condition(r)
		if err != nil {
			return err
		}
		if truthy(v) {
			return then(r)
		}
		return otherwise(r)
	}, err
}

func (p *parser) ifRest() (body, error) {
	switch word := p.next(); word.text {
	case "elif":
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		return p.ifStatement()
	case "else":
		return p.elseBody("endif")
	}
	return sequence(nil), p.close()
}

func (p *parser) elseBody(end string) (body, error) {
	if err := p.close(); err != nil {
		return nil, err
	}
	inner, err := p.body(end)
	if err != nil {
		return nil, err
	}
	p.at++
	return inner, p.close()
}

// loop is a compiled for statement.
type loop struct {
	names []string
	over  expr
	keep  expr // nil: all
	body  body
	empty body
}

func (p *parser) forStatement() (body, error) {
	l := &loop{empty: sequence(nil)}
	for {
		n, err := p.name()
		if err != nil {
			return nil, err
		}
		l.names = append(l.names, n)
		if !p.accept(",") {
			break
		}
	}
	if err := p.expect("in"); err != nil {
		return nil, err
	}
	var err error
	if l.over, err = p.or(); err != nil {
		return nil, err
	}
	if p.accept("if") {
		if l.keep, err = p.expression(); err != nil {
			return nil, err
		}
	}
	return l.run, p.forBody(l)
}

func (p *parser) forBody(l *loop) (err error) {
	if err := p.close(); err != nil {
		return err
	}
	p.loops++
	l.body, err = p.body("else", "endfor")
	p.loops--
	if err != nil {
		return err
	}
	if p.next().text == "else" {
		l.empty, err = p.elseBody("endfor")
		return err
	}
	return p.close()
}

func (p *parser) setStatement() (body, error) {
	target, err := p.name()
	if err != nil {
		return nil, err
	}
	attribute := ""
	if p.accept(".") {
		if attribute, err = p.name(); err != nil {
			return nil, err
		}
	}
	if !p.accept("=") {
		return p.setBlock(target, attribute)
	}
	value, err := p.expression()
	if err != nil {
		return nil, err
	}
	return func(r *run) error {
		v, err := value(r)
		if err != nil {
			return err
		}
		return r.assign(target, attribute, v)
	}, p.close()
}

// setBlock is {% set x %}...{% endset %}: what the body renders becomes the value.
func (p *parser) setBlock(target, attribute string) (body, error) {
	inner, err := p.elseBody("endset")
	return func(r *run) error {
		outer := r.out
		r.out = &builder{}
		err := inner(r)
		made := r.out.text()
		r.out = outer
		if err != nil {
			return err
		}
		return r.assign(target, attribute, made)
	}, err
}
