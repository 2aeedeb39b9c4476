package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDelegation(t *testing.T) {
	controller, server := example(t), fresh(t)
	now := time.Unix(1_800_000_000, 0)
	signed, err := controller.Delegate("API.example.com", server.Address(), now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	v := Verifier{Chain: &chainOf{}}
	check := func(s Signed, by *Key, domain string, key *Key, now time.Time) error {
		_, err := v.CheckDelegation(context.Background(), s, by.Address(), domain, key.Address(), now)
		return err
	}
	until, err := v.CheckDelegation(t.Context(), signed, controller.Address(), "api.example.com", server.Address(), now)
	if err != nil || !until.Equal(now.Add(time.Hour)) {
		t.Fatalf("until %v, %v", until, err)
	}
	changed := func(old, new string) Signed {
		return Signed{Statement: strings.Replace(signed.Statement, old, new, 1), Signature: signed.Signature}
	}
	statement, err := server.Sign(signed.Statement)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another controller":     check(signed, server, "api.example.com", server, now),
		"another key":            check(signed, controller, "api.example.com", controller, now),
		"another domain":         check(signed, controller, "evil.example.com", server, now),
		"too early":              check(signed, controller, "api.example.com", server, now.Add(-time.Second)),
		"too late":               check(signed, controller, "api.example.com", server, now.Add(time.Hour)),
		"signed by the server":   check(statement, controller, "api.example.com", server, now),
		"a space more":           check(changed("{", "{ "), controller, "api.example.com", server, now),
		"a field more":           check(changed("{", `{"x":1,`), controller, "api.example.com", server, now),
		"another type":           check(changed("delegation 1", "statement 1"), controller, "api.example.com", server, now),
		"text behind":            check(changed("}", "}{}"), controller, "api.example.com", server, now),
		"no signature":           check(Signed{Statement: signed.Statement}, controller, "api.example.com", server, now),
		"a signature not hex":    check(Signed{signed.Statement, "0xzz"}, controller, "api.example.com", server, now),
		"no statement":           check(Signed{}, controller, "api.example.com", server, now),
		"a later end than given": check(changed("2027-01-15T09", "2028-01-15T09"), controller, "api.example.com", server, now),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(signed.Statement, "2027-01-15T09") {
		t.Fatalf("the forged end changes nothing: %s", signed.Statement)
	}
	if _, err := controller.Delegate("a_b", server.Address(), now, now.Add(1)); err == nil {
		t.Error("delegated for what is no domain")
	}
	if _, err := controller.Delegate("a.example", server.Address(), now, now); err == nil {
		t.Error("delegated for no time")
	}
}

func fresh(t *testing.T) *Key {
	t.Helper()
	key, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseKey(t *testing.T) {
	key := example(t)
	path := filepath.Join(t.TempDir(), "key.json")
	if err := key.save(path, "correct horse", 2); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(path)
	if err != nil || !json.Valid(sealed) {
		t.Fatal(err)
	}
	for _, given := range [][2]string{{exampleKey, ""}, {"0x" + exampleKey + "\n", ""}, {string(sealed), "correct horse"}} {
		if got, err := Parse(given[0], given[1]); err != nil || got.Address() != key.Address() {
			t.Errorf("%.10s: %v, %v", given[0], got, err)
		}
	}
	for _, given := range [][2]string{{"", ""}, {exampleKey[1:], ""}, {exampleKey[1:] + "z", ""}, {string(sealed), "wrong"}, {"{}", ""}} {
		if _, err := Parse(given[0], given[1]); err == nil || strings.Contains(err.Error(), exampleKey[2:12]) {
			t.Errorf("%.10s: %v", given[0], err)
		}
	}
}
