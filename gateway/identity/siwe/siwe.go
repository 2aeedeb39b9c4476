// Package siwe reads and writes sign-in messages (EIP-4361) by their ABNF, to the
// byte: what it reads, wallets showed to their owners in the same words.
//
// It judges nothing but the form: whom the message is for, and when, its caller does.
// It is stricter than the ABNF in two points: a chain id has no leading zeros, and
// nothing but printable ASCII stands anywhere. Start with [Parse].
package siwe

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Message is a sign-in message. Zero: the field is absent.
type Message struct {
	Scheme    string // of the place that asks, such as https
	Domain    string // authority (RFC 3986) of the place that asks
	Address   string // 0x and 40 hexadecimal digits
	Statement string // for the owner of the wallet to read
	URI       string
	ChainID   uint64
	Nonce     string // 8 or more letters and digits
	IssuedAt  time.Time
	ExpiresAt time.Time
	NotBefore time.Time
	RequestID string
	Resources []string // URIs
}

// maxSize is the longest message that is read, in bytes.
const maxSize = 2 << 10

const asks = " wants you to sign in with your Ethereum account:"

// String is the message as a wallet signs it. Times are written in seconds.
func (m Message) String() string {
	var b strings.Builder
	if m.Scheme != "" {
		b.WriteString(m.Scheme + "://")
	}
	b.WriteString(m.Domain + asks + "\n" + m.Address + "\n\n")
	if m.Statement != "" {
		b.WriteString(m.Statement + "\n")
	}
	b.WriteString("\nURI: " + m.URI + "\nVersion: 1\nChain ID: " + strconv.FormatUint(m.ChainID, 10) + "\nNonce: " + m.Nonce)
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"Issued At", m.IssuedAt}, {"Expiration Time", m.ExpiresAt}, {"Not Before", m.NotBefore}} {
		if !t.at.IsZero() {
			b.WriteString("\n" + t.name + ": " + t.at.UTC().Format(time.RFC3339))
		}
	}
	if m.RequestID != "" {
		b.WriteString("\nRequest ID: " + m.RequestID)
	}
	if len(m.Resources) > 0 {
		b.WriteString("\nResources:\n- " + strings.Join(m.Resources, "\n- "))
	}
	return b.String()
}

// Parse reads a message line by line: every line has its place, and nothing may stand
// before, between or after. Its errors name the line.
func Parse(text string) (Message, error) {
	if len(text) > maxSize {
		return Message{}, fmt.Errorf("the message is longer than %d bytes", maxSize)
	}
	for _, c := range []byte(text) {
		if c != '\n' && (c < ' ' || c > '~') {
			return Message{}, fmt.Errorf("the message holds the byte %#x; only printable ASCII is allowed", c)
		}
	}
	l := lines{rest: strings.Split(text, "\n")}
	m := l.head()
	m.URI = l.value("URI", isURI, "a URI with a scheme")
	l.exact("Version: 1")
	m.ChainID = l.number("Chain ID")
	m.Nonce = l.value("Nonce", isNonce, "at least 8 letters and digits")
	m.IssuedAt = l.time("Issued At")
	if l.at("Expiration Time: ") {
		m.ExpiresAt = l.time("Expiration Time")
	}
	if l.at("Not Before: ") {
		m.NotBefore = l.time("Not Before")
	}
	if l.at("Request ID: ") {
		m.RequestID = l.value("Request ID", isPath, "characters of a path")
	}
	if l.at("Resources:") {
		m.Resources = l.resources()
	}
	if l.err == nil && len(l.rest) > 0 {
		l.next()
		l.fail("the end")
	}
	return m, l.err
}

// head reads up to the empty line before the URI.
func (l *lines) head() (m Message) {
	who, ok := strings.CutSuffix(l.next(), asks)
	if scheme, domain, found := strings.Cut(who, "://"); found {
		m.Scheme, who = scheme, domain
		ok = ok && isScheme(scheme)
	}
	if !ok || !isAuthority(who) {
		l.fail("<domain>" + asks)
	}
	m.Domain = who
	if m.Address = l.next(); !isAddress(m.Address) {
		l.fail("0x and 40 hexadecimal digits")
	}
	l.exact("")
	if len(l.rest) > 0 && l.rest[0] != "" {
		if m.Statement = l.next(); !all(m.Statement, inURI+" ") {
			l.fail("a statement of the characters of URIs and spaces, or none")
		}
	}
	l.exact("")
	return m
}

func (l *lines) resources() (uris []string) {
	l.exact("Resources:")
	for len(l.rest) > 0 {
		uri, ok := strings.CutPrefix(l.next(), "- ")
		if !ok || !isURI(uri) {
			l.fail("- <URI>")
		}
		uris = append(uris, uri)
	}
	return uris
}

// lines reads a message's lines in order and keeps the first error.
type lines struct {
	rest []string
	read int
	err  error
}

func (l *lines) fail(want string) {
	if l.err == nil {
		l.err = fmt.Errorf("line %d of the message: expected %s", l.read, want)
	}
}

// at reports whether the next line begins so.
func (l *lines) at(prefix string) bool {
	return len(l.rest) > 0 && strings.HasPrefix(l.rest[0], prefix)
}

func (l *lines) next() string {
	l.read++
	if len(l.rest) == 0 {
		l.fail("another line")
		return ""
	}
	line := l.rest[0]
	l.rest = l.rest[1:]
	return line
}

func (l *lines) exact(want string) {
	if l.next() != want {
		l.fail(strconv.Quote(want))
	}
}

func (l *lines) value(name string, ok func(string) bool, want string) string {
	value, found := strings.CutPrefix(l.next(), name+": ")
	if !found || !ok(value) {
		l.fail(name + ": <" + want + ">")
	}
	return value
}

func (l *lines) number(name string) uint64 {
	var n uint64
	l.value(name, func(text string) bool {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		return err == nil && strconv.FormatUint(n, 10) == text
	}, "decimal number")
	return n
}

func (l *lines) time(name string) (t time.Time) {
	l.value(name, func(text string) bool {
		var err error
		t, err = time.Parse(time.RFC3339, text)
		return err == nil && dateTime.MatchString(text) && !t.IsZero()
	}, "RFC 3339 time")
	return t
}

// dateTime is RFC 3339's form; package time reads a comma for the dot, hours of one
// digit and zones of a day as well.
var dateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// The characters of RFC 3986. A '%' starts a percent-encoded byte.
const (
	letters    = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits     = "0123456789"
	unreserved = letters + digits + "-._~"
	subDelims  = "!$&'()*+,;="
	inURI      = unreserved + subDelims + ":/?#[]@"
)

func all(text, of string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(of, r) })
}

// encoded reports whether the text holds nothing but these characters and right
// percent-encodings.
func encoded(text, of string) bool {
	_, err := url.PathUnescape(text)
	return err == nil && all(text, of+"%")
}

func isScheme(s string) bool {
	return s != "" && all(s[:1], letters) && all(s, letters+digits+"+-.")
}

func isAuthority(s string) bool {
	u, err := url.Parse("//" + s)
	return err == nil && s != "" && u.Host != "" && u.Path == "" && encoded(s, unreserved+subDelims+":@[]")
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isScheme(u.Scheme) && len(s) > len(u.Scheme)+1 && encoded(s, inURI)
}

func isPath(s string) bool { return encoded(s, unreserved+subDelims+":@") }

func isNonce(s string) bool { return len(s) >= 8 && all(s, letters+digits) }

func isAddress(s string) bool {
	hex, ok := strings.CutPrefix(s, "0x")
	return ok && len(hex) == 40 && all(hex, "abcdefABCDEF"+digits)
}
