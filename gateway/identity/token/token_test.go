package token

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var noon = time.Unix(1_800_000_000, 0)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func signingKey(t testing.TB) Key {
	t.Helper()
	key, text, err := NewKey()
	ok(t, err)
	parsed, err := ParseKey(text)
	ok(t, err)
	if parsed.ID() != key.ID() {
		t.Fatal("a signing key does not survive its file")
	}
	return parsed
}

func replica(t testing.TB, keys ...Key) *Issuer {
	t.Helper()
	i, err := NewIssuer("https://gw.test", "https://gw.test", 15*time.Minute, keys)
	ok(t, err)
	return i
}

func issued(t testing.TB, i *Issuer) string {
	t.Helper()
	text, err := i.Issue("someone", noon)
	ok(t, err)
	return text
}

func (i *Issuer) check(t testing.TB, text string) error {
	t.Helper()
	parsed, err := Parse(text)
	ok(t, err)
	return i.Verify(parsed, noon)
}

// Keys change by restarting replicas one by one, thrice; at no moment does one refuse
// a token that another made. When the old key is gone, so are its tokens.
func TestRotation(t *testing.T) {
	before, after := signingKey(t), signingKey(t)
	steps := [][]Key{{before}, {before, after}, {after, before}, {after}}
	for n := range len(steps) - 1 {
		// In the midst of a step, some replicas have taken it and others have not.
		for _, a := range []*Issuer{replica(t, steps[n]...), replica(t, steps[n+1]...)} {
			for _, b := range []*Issuer{replica(t, steps[n]...), replica(t, steps[n+1]...)} {
				if n == 2 && a.signs.id != after.id {
					t.Fatal("by the last step nobody signs with the old key")
				}
				if err := b.check(t, issued(t, a)); err != nil {
					t.Errorf("step %d: %v", n+1, err)
				}
			}
		}
	}
	if err := replica(t, after).check(t, issued(t, replica(t, before))); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token of a key that was taken away: %v", err)
	}
	jwks := string(replica(t, after, before).JWKS())
	if !strings.Contains(jwks, before.id) || !strings.Contains(jwks, after.id) || strings.Contains(jwks, `"d"`) {
		t.Errorf("jwks %s", jwks)
	}
}

// A replica whose clock is behind takes a token that was just made, and no clock
// makes it live longer.
func TestClocks(t *testing.T) {
	i := replica(t, signingKey(t))
	parsed, err := Parse(issued(t, i))
	ok(t, err)
	for after, want := range map[time.Duration]error{
		-skew: nil, -skew - time.Second: ErrInvalid, 0: nil, 15*time.Minute - time.Second: nil, 15 * time.Minute: ErrExpired,
	} {
		if err := i.Verify(parsed, noon.Add(after)); !errors.Is(err, want) {
			t.Errorf("%v after it was made: %v, want %v", after, err, want)
		}
	}
}

func TestKeyNeverPrints(t *testing.T) {
	key, text, err := NewKey()
	ok(t, err)
	secret := strings.Split(string(text), "\n")[1]
	for _, shown := range []string{key.String(), key.GoString()} {
		if strings.Contains(shown, secret[20:]) || !strings.Contains(shown, key.ID()) {
			t.Errorf("shown as %s", shown)
		}
	}
	for _, bad := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := ParseKey([]byte(bad)); err == nil || !strings.Contains(err.Error(), "openssl genpkey") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzToken(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	f.Add(part([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"x"}`)) + "." + part([]byte(`{"exp":1,"aud":["a"]}`)) + ".AAAA")
	i := replica(f, signingKey(f))
	f.Add(issued(f, i))
	genuine := replica(f, signingKey(f))
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if err := genuine.Verify(parsed, noon); err == nil {
			t.Fatalf("%q is taken for a token of a key that never signed", text)
		}
	})
}
