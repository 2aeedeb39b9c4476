// Package token makes and verifies signed tokens (JWT, RFC 7519): those of this
// gateway, and those of other issuers whose keys are published as a JWKS.
//
// It is strict where readers of tokens differ (RFC 8725): who issued a token decides
// which keys and algorithms are tried, nothing in the token's header does; a member
// that stands twice, is not expected or is written in another letter case is refused.
// It knows no accounts and no store. Start with [Parse].
package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fealty/fealty/internal/openai"
)

// Errors that callers match.
var (
	ErrInvalid     = errors.New("the credential is malformed, forged or unknown")
	ErrExpired     = errors.New("the credential has expired")
	ErrUnavailable = errors.New("the token's issuer cannot be asked for its keys")
)

// MaxSize is the longest token that is read, in bytes.
const MaxSize = 8 << 10

// skew forgives issuers and replicas whose clocks are ahead of this one. It does not
// lengthen a token's life.
const skew = 5 * time.Second

// Token is a token as written. Nothing in it may be believed before one of the
// Verify methods says so.
type Token struct {
	Claims
	algorithm, keyID, kind string
	members                []string // of the header, in order
	signed                 string   // what the signature is over
	signature              []byte
}

// Claims are what a token says that matters here. Zero: absent.
type Claims struct {
	Issuer, Subject, ID        string
	Audience                   []string
	Issued, Expires, NotBefore time.Time
}

// Signed is the part of the token that its issuer signed: unlike the signature,
// nobody else can write it in another way.
func (t *Token) Signed() string { return t.signed }

// Parse reads a token. Its errors wrap ErrInvalid.
func Parse(text string) (*Token, error) {
	t, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return t, nil
}

func parse(text string) (*Token, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", MaxSize)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("neither an API key nor a token")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") { // the decoder skips line ends
			return nil, errors.New("not base64url")
		}
	}
	t := &Token{signed: text[:len(parts[0])+1+len(parts[1])], signature: raw[2]}
	if err := t.readHeader(raw[0]); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := t.readClaims(raw[1]); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	return t, nil
}

func (t *Token) readHeader(text []byte) error {
	members, err := openai.Members(text)
	if err != nil {
		return err
	}
	for _, m := range members {
		switch m.Name {
		case "alg":
			t.algorithm, err = openai.Text(m.Value)
		case "kid":
			t.keyID, err = openai.Text(m.Value)
		case "typ":
			t.kind, err = openai.Text(m.Value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		t.members = append(t.members, m.Name)
	}
	return nil
}

// readClaims reads exact names: encoding/json would take "EXP" for exp.
func (t *Token) readClaims(text []byte) error {
	members, err := openai.Members(text)
	if err != nil {
		return err
	}
	for _, m := range members {
		switch m.Name {
		case "iss":
			t.Issuer, err = openai.Text(m.Value)
		case "sub":
			t.Subject, err = openai.Text(m.Value)
		case "jti":
			t.ID, err = openai.Text(m.Value)
		case "aud":
			t.Audience, err = audience(m.Value)
		case "exp":
			t.Expires, err = seconds(m.Value)
		case "iat":
			t.Issued, err = seconds(m.Value)
		case "nbf":
			t.NotBefore, err = seconds(m.Value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// audience is a string or an array of strings.
func audience(raw []byte) (out []string, err error) {
	if raw[0] == '"' {
		one, err := openai.Text(raw)
		return []string{one}, err
	}
	if raw[0] != '[' {
		return nil, errors.New("neither a string nor an array")
	}
	err = json.Unmarshal(raw, &out)
	return out, err
}

// seconds refuses what JSON allows and a clock does not: fractions, exponents and
// numbers that overflow.
func seconds(raw []byte) (time.Time, error) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n <= 0 || n > 1<<40 || strconv.FormatInt(n, 10) != string(raw) {
		return time.Time{}, errors.New("no whole number of seconds since 1970")
	}
	return time.Unix(n, 0), nil
}

// inTime checks the times of a token whose signature is right. It may live for most.
func (c *Claims) inTime(now time.Time, most time.Duration) error {
	switch {
	case c.Expires.IsZero() || c.Issued.IsZero():
		return fmt.Errorf("%w: exp and iat are required", ErrInvalid)
	case c.Issued.After(now.Add(skew)) || c.NotBefore.After(now.Add(skew)):
		return fmt.Errorf("%w: it is not valid yet", ErrInvalid)
	case c.Expires.Sub(c.Issued) > most:
		return fmt.Errorf("%w: it lives longer than %s", ErrInvalid, most)
	case !now.Before(c.Expires):
		return ErrExpired
	}
	return nil
}
