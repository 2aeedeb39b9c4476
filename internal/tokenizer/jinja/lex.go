package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	endOfFile  kind = iota
	data            // text between tags
	openOutput      // {{
	openBlock       // {%
	closeTag        // }} or %}
	name
	text
	integer
	float
	operator
)

type token struct {
	kind kind
	text string
	line int
}

func (t token) String() string {
	switch t.kind {
	case endOfFile:
		return "the end of the template"
	case data:
		return "text"
	}
	return strconv.Quote(t.text)
}

// lexer cuts a template into tokens, with the white space rules that transformers sets: trim_blocks and lstrip_blocks.
type lexer struct {
	src       string
	at, line  int
	tokens    []token
	trimLeft  bool // the next text loses its leading white space
	trimBreak bool // the next text loses its first line break
}

func lex(src string) ([]token, error) {
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(src)
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1}
	for l.at < len(l.src) {
		if err := l.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line, err)
		}
	}
	l.emit(endOfFile, "")
	return l.tokens, nil
}

func (l *lexer) emit(k kind, s string) { l.tokens = append(l.tokens, token{k, s, l.line}) }

func (l *lexer) rest() string { return l.src[l.at:] }

// skip moves on by n bytes and counts lines.
func (l *lexer) skip(n int) string {
	s := l.src[l.at : l.at+n]
	l.line += strings.Count(s, "\n")
	l.at += n
	return s
}

// next reads the text up to the next tag, then the tag.
func (l *lexer) next() error {
	n := tagStart(l.rest())
	raw := l.skip(n)
	tag := l.rest()
	l.text(raw, tag)
	switch {
	case tag == "":
		return nil
	case strings.HasPrefix(tag, "{#"):
		return l.comment()
	case strings.HasPrefix(tag, "{{"):
		return l.tag(openOutput, "}}")
	}
	return l.tag(openBlock, "%}")
}

// tagStart returns where the first tag begins, or the length.
func tagStart(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return len(s)
}

// text emits raw, trimmed as the tags around it ask.
func (l *lexer) text(raw, tag string) {
	atLineStart := l.at == len(raw)
	if l.trimLeft {
		raw = strings.TrimLeftFunc(raw, unicode.IsSpace)
	} else if l.trimBreak && strings.HasPrefix(raw, "\n") {
		raw, atLineStart = raw[1:], true
	}
	l.trimLeft, l.trimBreak = false, false
	switch sign := tagSign(tag); {
	case sign == '-':
		raw = strings.TrimRightFunc(raw, unicode.IsSpace)
	case sign != '+' && tag != "" && !strings.HasPrefix(tag, "{{"):
		raw = trimIndent(raw, atLineStart)
	}
	if raw != "" {
		l.emit(data, raw)
	}
}

// trimIndent removes white space between the last line break and the end (lstrip_blocks).
func trimIndent(raw string, atLineStart bool) string {
	i := strings.LastIndexByte(raw, '\n')
	if i < 0 && !atLineStart {
		return raw
	}
	if strings.TrimFunc(raw[i+1:], unicode.IsSpace) == "" {
		return raw[:i+1]
	}
	return raw
}

func tagSign(tag string) byte {
	if len(tag) < 3 {
		return 0
	}
	return tag[2]
}

func (l *lexer) comment() error {
	end := strings.Index(l.rest(), "#}")
	if end < 0 {
		return fmt.Errorf("a comment is not closed")
	}
	l.trimLeft = l.src[l.at+end-1] == '-'
	l.trimBreak = true
	l.skip(end + 2)
	return nil
}

func (l *lexer) tag(open kind, close string) error {
	l.emit(open, l.skip(2))
	if s := l.rest(); s != "" && (s[0] == '-' || s[0] == '+') {
		l.skip(1)
	}
	for depth := 0; ; {
		l.skip(len(l.rest()) - len(strings.TrimLeftFunc(l.rest(), unicode.IsSpace)))
		s := l.rest()
		if depth == 0 && (strings.HasPrefix(s, close) || len(s) > 2 && (s[0] == '-' || s[0] == '+') && s[1:3] == close) {
			l.closeTag(s[0], close)
			return nil
		}
		if s == "" {
			return fmt.Errorf("a tag is not closed with %s", close)
		}
		if err := l.token(s, &depth); err != nil {
			return err
		}
	}
}

func (l *lexer) closeTag(sign byte, close string) {
	if sign == '-' || sign == '+' {
		l.skip(1)
	}
	l.emit(closeTag, l.skip(2))
	l.trimLeft = sign == '-'
	l.trimBreak = close == "%}" && sign != '+'
}

// token reads one token inside a tag.
func (l *lexer) token(s string, depth *int) error {
	r, _ := utf8.DecodeRuneInString(s)
	switch {
	case r == '\'' || r == '"':
		return l.quoted(s)
	case r >= '0' && r <= '9':
		return l.number(s)
	case r == '_' || unicode.IsLetter(r):
		end := strings.IndexFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if end < 0 {
			end = len(s)
		}
		l.emit(name, l.skip(end))
		return nil
	}
	return l.operator(s, depth)
}

func (l *lexer) operator(s string, depth *int) error {
	for _, op := range [...]string{"==", "!=", "<=", ">=", "//", "**"} {
		if strings.HasPrefix(s, op) {
			l.emit(operator, l.skip(2))
			return nil
		}
	}
	if !strings.ContainsRune("+-*/%~<>=.,:|()[]{}", rune(s[0])) {
		r, _ := utf8.DecodeRuneInString(s)
		return fmt.Errorf("unexpected character %q", r)
	}
	switch s[0] {
	case '(', '[', '{':
		*depth++
	case ')', ']', '}':
		*depth--
	}
	l.emit(operator, l.skip(1))
	return nil
}

func (l *lexer) number(s string) error {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	if end+1 < len(s) && s[end] == '.' && s[end+1] >= '0' && s[end+1] <= '9' {
		for end++; end < len(s) && s[end] >= '0' && s[end] <= '9'; end++ {
		}
		l.emit(float, l.skip(end))
		return nil
	}
	l.emit(integer, l.skip(end))
	return nil
}

// quoted reads a literal with Python's common escapes; an unknown escape stays as it is, as in Python.
func (l *lexer) quoted(s string) error {
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case s[0]:
			l.emit(text, out.String())
			l.skip(i + 1)
			return nil
		case '\\':
			r, n, err := unescape(s[i:])
			if err != nil {
				return err
			}
			out.WriteString(r)
			i += n - 1
		default:
			out.WriteByte(s[i])
		}
	}
	return fmt.Errorf("a text literal is not closed")
}

var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"", '0': "\x00", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': "",
}

// unescape returns what the escape at the start of s stands for, and its length.
func unescape(s string) (string, int, error) {
	if len(s) < 2 {
		return s, len(s), nil
	}
	if out, ok := escapes[s[1]]; ok {
		return out, 2, nil
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits == 0 {
		return s[:2], 2, nil
	}
	if len(s) < 2+digits {
		return "", 0, fmt.Errorf("the escape %s is cut short", s[:2])
	}
	code, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || !utf8.ValidRune(rune(code)) {
		return "", 0, fmt.Errorf("the escape %s is not a character", s[:2+digits])
	}
	return string(rune(code)), 2 + digits, nil
}
