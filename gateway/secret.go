package gateway

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret is a value kept outside the config, named "file:PATH" or "env:NAME". It
// shows its name, never its value.
type Secret struct{ source string }

// maxSecret bounds a secret file, in bytes.
const maxSecret = 64 << 10

// ParseSecret reads a reference. A value written inline is refused.
func ParseSecret(source string) (Secret, error) {
	kind, name, ok := strings.Cut(source, ":")
	if !ok || name == "" || kind != "file" && kind != "env" {
		return Secret{}, errors.New(`a secret must not stand in the config; write "file:PATH" or "env:NAME"`)
	}
	return Secret{source: source}, nil
}

// UnmarshalYAML reads a reference.
func (s *Secret) UnmarshalYAML(unmarshal func(any) error) error {
	var source string
	if err := unmarshal(&source); err != nil {
		return errors.New(`a secret is written "file:PATH" or "env:NAME"`)
	}
	parsed, err := ParseSecret(source)
	*s = parsed
	return err
}

// MarshalYAML writes the reference.
func (s Secret) MarshalYAML() (any, error) { return s.source, nil }

// String is where the secret is kept.
func (s Secret) String() string { return s.source }

// Set reports whether the config names this secret.
func (s Secret) Set() bool { return s.source != "" }

// IsZero lets a secret that is not set be left out of a config that is written.
func (s Secret) IsZero() bool { return !s.Set() }

// Resolve reads the secret. White space around it is not part of it.
func (s Secret) Resolve() ([]byte, error) {
	kind, name, _ := strings.Cut(s.source, ":")
	var value string
	switch kind {
	case "env":
		value = os.Getenv(name)
	case "file":
		if info, err := os.Stat(name); err == nil && info.Size() > maxSecret {
			return nil, fmt.Errorf("secret %s: larger than %d bytes", s, maxSecret)
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", s, err)
		}
		value = string(raw)
	default:
		return nil, errors.New("the secret is not set")
	}
	value = strings.TrimSpace(value)
	if value == "" {
		return nil, fmt.Errorf("secret %s is empty", s)
	}
	return []byte(value), nil
}
