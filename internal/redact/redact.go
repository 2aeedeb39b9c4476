// Package redact keeps the secrets of URLs out of errors: nodes and proxies quote in
// their answers what they were asked with. Start with [Error].
package redact

import (
	"errors"
	"net/url"
	"strings"
)

// Error is err in words without the URLs' secrets: their user, password, and the parts
// of path and query that are long enough to be a key. It is still the error that it was.
func Error(err error, urls ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, u := range urls {
		for _, secret := range secrets(u) {
			text = strings.ReplaceAll(text, secret, "[secret of the URL]")
		}
	}
	if text == err.Error() {
		return err
	}
	return redacted{text, err}
}

type redacted struct {
	text string
	is   error
}

func (r redacted) Error() string        { return r.text }
func (r redacted) Is(target error) bool { return errors.Is(r.is, target) }
func (r redacted) As(target any) bool   { return errors.As(r.is, target) }

// keyLength is from how many characters on a part of a URL may be a key.
const keyLength = 8

func secrets(text string) []string {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return []string{text}
	}
	out := []string{text}
	if u.User != nil {
		out = append(out, u.User.String())
		if password, ok := u.User.Password(); ok && password != "" {
			out = append(out, password)
		}
	}
	parts := strings.Split(u.Path, "/")
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	for _, part := range parts {
		if len(part) >= keyLength {
			out = append(out, part)
		}
	}
	return out
}
