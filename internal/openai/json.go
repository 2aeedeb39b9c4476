package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxDepth bounds how deep a document may nest.
const MaxDepth = 64

// SyntaxError says where a document stops being strict JSON.
type SyntaxError struct {
	Offset  int    // in bytes, from the start of what was given
	Problem string // for the one who wrote the document
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s (at byte %d)", e.Problem, e.Offset)
}

// DuplicateError names a member that an object holds twice. Readers disagree on
// which one counts, so that nobody can check what the next reader will see.
type DuplicateError struct{ Name string }

func (e *DuplicateError) Error() string { return fmt.Sprintf("member %q stands twice", e.Name) }

// Member is one name and value of an object. Value is raw JSON, and Start is its
// offset in the object's text.
type Member struct {
	Name  string
	Value []byte
	Start int
}

// End is the offset after the value.
func (m Member) End() int { return m.Start + len(m.Value) }

// Null reports whether the value is null, which every optional field takes for
// absent.
func (m Member) Null() bool { return string(m.Value) == "null" }

// Members reads text as exactly one JSON object and returns its members in order.
// It is stricter than encoding/json: names are compared after unescaping and must
// differ, text must be UTF-8, nesting is bounded, nothing may follow. On an error
// the members read so far are returned too; the last one may lack its value.
func Members(text []byte) ([]Member, error) {
	s := scanner{text: text}
	s.space()
	if !s.eat('{') {
		return nil, s.fail("expected a JSON object")
	}
	members, err := s.members()
	if err != nil {
		return members, err
	}
	s.space()
	if s.at != len(text) {
		return members, s.fail("unexpected text after the JSON object")
	}
	return members, nil
}

// Elements reads text as exactly one JSON array and returns its raw elements.
func Elements(text []byte) ([][]byte, error) {
	s := scanner{text: text}
	if !s.eat('[') {
		return nil, s.fail("expected a JSON array")
	}
	var out [][]byte
	for s.space(); !s.eat(']'); s.space() {
		if len(out) > 0 && !s.eat(',') {
			return nil, s.fail("expected ',' or ']' in an array")
		}
		s.space()
		start := s.at
		if err := s.value(1); err != nil {
			return nil, err
		}
		out = append(out, text[start:s.at])
	}
	return out, nil
}

// Text decodes a raw JSON string.
func Text(raw []byte) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errors.New("expected a string")
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var out string
	err := json.Unmarshal(raw, &out)
	return out, err
}

type scanner struct {
	text []byte
	at   int
}

func (s *scanner) fail(problem string) error {
	if s.at >= len(s.text) {
		problem = "the JSON text ends too early"
	}
	return &SyntaxError{Offset: s.at, Problem: problem}
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) eat(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// members reads what follows the opening brace.
func (s *scanner) members() ([]Member, error) {
	var out []Member
	var seen names
	for s.space(); !s.eat('}'); s.space() {
		if len(out) > 0 && !s.eat(',') {
			return out, s.fail("expected ',' or '}' in an object")
		}
		name, err := s.name()
		if err != nil {
			return out, err
		}
		out = append(out, Member{Name: name, Start: s.at})
		if seen.twice(out) {
			return out, &DuplicateError{Name: name}
		}
		if err := s.value(1); err != nil {
			return out, err
		}
		last := &out[len(out)-1]
		last.Value = s.text[last.Start:s.at]
	}
	return out, nil
}

// names finds a name that stands twice: by comparing while there are few, which makes
// no garbage, then in a map.
type names struct{ many map[string]struct{} }

// twice reports whether the last member's name stands before it too.
func (n *names) twice(members []Member) bool {
	const few = 16
	last := len(members) - 1
	if last < few {
		return slices.ContainsFunc(members[:last], func(m Member) bool { return m.Name == members[last].Name })
	}
	if n.many == nil {
		n.many = make(map[string]struct{}, 4*few)
		for _, m := range members[:last] {
			n.many[m.Name] = struct{}{}
		}
	}
	_, held := n.many[members[last].Name]
	n.many[members[last].Name] = struct{}{}
	return held
}

// name reads a member's name, the colon and the space around it.
func (s *scanner) name() (string, error) {
	s.space()
	start := s.at
	if err := s.str(); err != nil {
		return "", err
	}
	name, err := Text(s.text[start:s.at])
	if err != nil {
		return "", s.fail("unreadable member name")
	}
	s.space()
	if !s.eat(':') {
		return "", s.fail("expected ':' after a member name")
	}
	s.space()
	return name, nil
}

// value checks one value and steps over it.
func (s *scanner) value(depth int) error {
	if depth > MaxDepth {
		return s.fail("nested deeper than " + strconv.Itoa(MaxDepth) + " levels")
	}
	switch c := s.peek(); {
	case c == '{':
		return s.compound(depth, '}')
	case c == '[':
		return s.compound(depth, ']')
	case c == '"':
		return s.str()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	return s.literal()
}

func (s *scanner) compound(depth int, end byte) error {
	s.at++
	s.space()
	for first := true; !s.eat(end); first = false {
		if !first && !s.eat(',') {
			return s.fail("expected ',' or '" + string(end) + "'")
		}
		s.space()
		if end == '}' {
			if err := s.pair(); err != nil {
				return err
			}
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.space()
	}
	return nil
}

func (s *scanner) pair() error {
	if err := s.str(); err != nil {
		return err
	}
	s.space()
	if !s.eat(':') {
		return s.fail("expected ':' after a member name")
	}
	s.space()
	return nil
}

func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	for _, word := range [...]string{"NaN", "Infinity"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(word)) {
			return s.fail(word + " is not JSON")
		}
	}
	return s.fail("expected a JSON value")
}

func (s *scanner) number() error {
	s.eat('-')
	if bytes.HasPrefix(s.text[s.at:], []byte("Infinity")) {
		return s.fail("Infinity is not JSON")
	}
	if s.eat('0') {
		if s.digits() {
			return s.fail("a number must not begin with 0")
		}
	} else if !s.digits() {
		return s.fail("expected a digit")
	}
	if s.eat('.') && !s.digits() {
		return s.fail("expected a digit after '.'")
	}
	if s.eat('e') || s.eat('E') {
		if !s.eat('+') {
			s.eat('-')
		}
		if !s.digits() {
			return s.fail("expected a digit in the exponent")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

func (s *scanner) str() error {
	if !s.eat('"') {
		return s.fail("expected a string")
	}
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return s.fail("control character inside a string; escape it")
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRune(s.text[s.at:])
			if r == utf8.RuneError && n == 1 {
				return s.fail("invalid UTF-8")
			}
			s.at += n
		}
	}
	return s.fail("unterminated string")
}

func (s *scanner) escape() error {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return nil
	case 'u':
		s.at++
		for range 4 {
			if !hexDigit(s.peek()) {
				return s.fail("expected four hexadecimal digits after \\u")
			}
			s.at++
		}
		return nil
	}
	return s.fail("unknown escape in a string")
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// AppendText appends s as a JSON string. Unlike encoding/json it leaves <, > and
// & alone: replies are not HTML.
func AppendText(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r) // invalid bytes become U+FFFD
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
