package identity

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// signIn is an EIP-4361 message, in the form that we issue: no scheme, no request
// id, no resources, one known statement.
type signIn struct {
	Domain, Address, URI, Nonce string
	ChainID                     uint64
	IssuedAt, ExpiresAt         time.Time
}

const (
	statement  = "Sign in to use the models licensed to this wallet. This costs nothing and moves nothing."
	maxMessage = 2 << 10 // bytes
)

func (m signIn) String() string {
	return m.Domain + " wants you to sign in with your Ethereum account:\n" + m.Address +
		"\n\n" + statement +
		"\n\nURI: " + m.URI + "\nVersion: 1\nChain ID: " + strconv.FormatUint(m.ChainID, 10) +
		"\nNonce: " + m.Nonce + "\nIssued At: " + m.IssuedAt.UTC().Format(time.RFC3339) +
		"\nExpiration Time: " + m.ExpiresAt.UTC().Format(time.RFC3339)
}

// parseSignIn reads a message by the ABNF of EIP-4361, line by line: every line
// has its place, and nothing may stand before, between or after. Wallets sign
// messages of other makers too, so that the optional parts are read here and
// judged by the caller.
func parseSignIn(text string) (signIn, error) {
	var m signIn
	if len(text) > maxMessage {
		return m, fmt.Errorf("the message is longer than %d bytes", maxMessage)
	}
	for i := range len(text) {
		if c := text[i]; c != '\n' && (c < ' ' || c > '~') {
			return m, fmt.Errorf("the message holds the byte %#x; only printable ASCII is allowed", c)
		}
	}
	l := lines{rest: strings.Split(text, "\n")}
	m.Domain = l.suffix(" wants you to sign in with your Ethereum account:")
	m.Address = l.next()
	l.blank()
	if l.peek() != "" {
		l.next() // the statement binds nobody but the reader
	}
	l.blank()
	m.URI = l.field("URI")
	l.exact("Version: 1")
	m.ChainID = l.number("Chain ID")
	m.Nonce = l.field("Nonce")
	m.IssuedAt = l.time("Issued At")
	if strings.HasPrefix(l.peek(), "Expiration Time: ") {
		m.ExpiresAt = l.time("Expiration Time")
	}
	return m, l.end()
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

func (l *lines) peek() string {
	if len(l.rest) == 0 {
		return ""
	}
	return l.rest[0]
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

func (l *lines) blank() { l.exact("") }

func (l *lines) exact(want string) {
	if l.next() != want {
		l.fail(strconv.Quote(want))
	}
}

func (l *lines) suffix(suffix string) string {
	value, ok := strings.CutSuffix(l.next(), suffix)
	if !ok || value == "" {
		l.fail("<domain>" + suffix)
	}
	return value
}

func (l *lines) field(name string) string {
	value, ok := strings.CutPrefix(l.next(), name+": ")
	if !ok || value == "" {
		l.fail(name + ": <value>")
	}
	return value
}

func (l *lines) number(name string) uint64 {
	text := l.field(name)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		l.fail(name + ": <decimal number>")
	}
	return n
}

func (l *lines) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339, l.field(name))
	if err != nil {
		l.fail(name + ": <RFC 3339 time>")
	}
	return t
}

func (l *lines) end() error {
	if l.err == nil && len(l.rest) > 0 {
		return errors.New("the message holds lines that this gateway does not issue (Not Before, Request ID, Resources); ask it for a challenge and sign that")
	}
	return l.err
}
