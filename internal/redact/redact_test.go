package redact_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/redact"
)

func TestSecretsAreTakenOut(t *testing.T) {
	const node = "https://user:swordfish@node.example/v3/0123456789abcdef?key=fedcba98765"
	err := fmt.Errorf("401: key 0123456789abcdef (fedcba98765) of user:swordfish, or swordfish alone, at %s: %w", node, io.EOF)
	got := redact.Error(err, node, "")
	for _, secret := range []string{"0123456789abcdef", "fedcba98765", "swordfish"} {
		if strings.Contains(got.Error(), secret) {
			t.Errorf("%q is still in it: %s", secret, got)
		}
	}
	if !errors.Is(got, io.EOF) {
		t.Error("it is another error now")
	}
	if plain := errors.New("no such host"); redact.Error(plain, node) != plain || redact.Error(nil, node) != nil {
		t.Error("an error without secrets was changed")
	}
}
