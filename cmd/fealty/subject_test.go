package main

import (
	"testing"

	"github.com/fealty/fealty/internal/wallet"
)

func TestParseSubject(t *testing.T) {
	host, err := wallet.HostSubject("a.example")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][32]byte{
		"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266": wallet.Subject([20]byte{0xf3, 0x9f, 0xd6, 0xe5, 0x1a, 0xad, 0x88, 0xf6, 0xf4, 0xce, 0x6a, 0xb8, 0x82, 0x72, 0x79, 0xcf, 0xff, 0xb9, 0x22, 0x66}),
		"host:A.example":                  host,
		"oidc:https://login.test|auth0|7": wallet.OIDCSubject("https://login.test", "auth0|7"),
	} {
		if got, err := parseSubject(text); err != nil || got != want {
			t.Errorf("%s: %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0x1", "oidc:", "oidc:https://login.test", "oidc:|x", "oidc:x|", "host:a b", "mailto:x"} {
		if got, err := parseSubject(text); err == nil {
			t.Errorf("%q was read as %x", text, got)
		}
	}
}
