package siwe

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const whole = `https://example.com:8080 wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

I accept the terms: https://example.com/tos?a=b#c

URI: https://example.com/login
Version: 1
Chain ID: 10
Nonce: 3289aB57
Issued At: 2021-09-30T16:25:24Z
Expiration Time: 2021-09-30T17:25:24Z
Not Before: 2021-09-30T16:25:20Z
Request ID: some-id_1!$&'()*+,;=:@%20
Resources:
- ipfs://Qme7ss3ARVgxv6rXqVPiikMJ8u2NLgmgszg13pYrDKEoiu
- urn:example:a`

func TestWholeMessage(t *testing.T) {
	at := time.Date(2021, 9, 30, 16, 25, 24, 0, time.UTC)
	want := Message{
		Scheme: "https", Domain: "example.com:8080", Address: "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
		Statement: "I accept the terms: https://example.com/tos?a=b#c", URI: "https://example.com/login",
		ChainID: 10, Nonce: "3289aB57", IssuedAt: at, ExpiresAt: at.Add(time.Hour), NotBefore: at.Add(-4 * time.Second),
		RequestID: "some-id_1!$&'()*+,;=:@%20", Resources: []string{"ipfs://Qme7ss3ARVgxv6rXqVPiikMJ8u2NLgmgszg13pYrDKEoiu", "urn:example:a"},
	}
	got, err := Parse(whole)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v\nwant %+v", got, err, want)
	}
	if text := want.String(); text != whole {
		t.Errorf("written %s", text)
	}
}

// What the ABNF leaves to the writer.
func TestOptionalParts(t *testing.T) {
	for name, change := range map[string][2]string{
		"no scheme":              {"https://example.com:8080 wants", "example.com:8080 wants"},
		"an IP address":          {"example.com:8080 wants", "127.0.0.1 wants"},
		"an IPv6 address":        {"example.com:8080 wants", "[::1]:80 wants"},
		"userinfo":               {"example.com:8080 wants", "me@example.com wants"},
		"no statement":           {"\nI accept the terms: https://example.com/tos?a=b#c\n", "\n"},
		"a statement like URI":   {"I accept the terms: https://example.com/tos?a=b#c", "URI: https://evil"},
		"fractions of a second":  {"24Z\nExp", "24.123Z\nExp"},
		"another time zone":      {"24Z\nExp", "24+02:00\nExp"},
		"no expiry":              {"Expiration Time: 2021-09-30T17:25:24Z\n", ""},
		"no start":               {"Not Before: 2021-09-30T16:25:20Z\n", ""},
		"no request id":          {"Request ID: some-id_1!$&'()*+,;=:@%20\n", ""},
		"an empty request id":    {"some-id_1!$&'()*+,;=:@%20", ""},
		"resources, none listed": {"\n- ipfs://Qme7ss3ARVgxv6rXqVPiikMJ8u2NLgmgszg13pYrDKEoiu\n- urn:example:a", ""},
	} {
		text := strings.Replace(whole, change[0], change[1], 1)
		if _, err := Parse(text); err != nil || text == whole {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherFormsAreRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"no domain":                {"https://example.com:8080 wants", " wants"},
		"no domain but a scheme":   {"example.com:8080 wants", " wants"},
		"a scheme that is none":    {"https://", "1https://"},
		"a path in the domain":     {"example.com:8080 wants", "example.com/x wants"},
		"a space in the domain":    {"example.com:8080 wants", "example.com x wants"},
		"a port that is none":      {":8080 wants", ":x wants"},
		"a question in the domain": {"example.com:8080 wants", "example.com?x wants"},
		"another request":          {"wants you to sign in", "wants you to log in"},
		"a final space":            {"account:", "account: "},
		"no address":               {"0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", ""},
		"a short address":          {"0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc"},
		"0X":                       {"0xC02", "0XC02"},
		"an address not hex":       {"0xC02", "0xG02"},
		"no empty line":            {"Cc2\n\nI", "Cc2\nI"},
		"three empty lines":        {"Cc2\n\nI", "Cc2\n\n\nI"},
		"a statement of two lines": {"terms: ", "terms:\n"},
		"a quote in the statement": {"terms: ", "terms\" "},
		"a percent sign there":     {"terms: ", "terms% "},
		"no URI":                   {"URI: https://example.com/login\n", ""},
		"a URI without scheme":     {"URI: https://example.com/login", "URI: example.com/login"},
		"a URI of a scheme alone":  {"URI: https://example.com/login", "URI: https:"},
		"a URI with a space":       {"URI: https://example.com/login", "URI: https://example.com/ login"},
		"a wrong percent-encoding": {"URI: https://example.com/login", "URI: https://example.com/%zz"},
		"version 2":                {"Version: 1", "Version: 2"},
		"version 1.0":              {"Version: 1", "Version: 1.0"},
		"version before URI":       {"URI: https://example.com/login\nVersion: 1", "Version: 1\nURI: https://example.com/login"},
		"chain without digits":     {"Chain ID: 10", "Chain ID: "},
		"chain in hex":             {"Chain ID: 10", "Chain ID: 0x0a"},
		"chain with a zero":        {"Chain ID: 10", "Chain ID: 010"},
		"chain signed":             {"Chain ID: 10", "Chain ID: +10"},
		"chain beyond 64 bits":     {"Chain ID: 10", "Chain ID: 18446744073709551626"},
		"a nonce of 7":             {"3289aB57", "3289aB5"},
		"a nonce with a dash":      {"3289aB57", "3289-aB57"},
		"a nonce with a space":     {"3289aB57", "3289aB57 "},
		"no issued at":             {"Issued At: 2021-09-30T16:25:24Z\n", ""},
		"a time in words":          {"2021-09-30T16:25:24Z\nExp", "Wed Oct 05 2011\nExp"},
		"a time without zone":      {"24Z\nExp", "24\nExp"},
		"an hour of one digit":     {"T16:25:24Z\nExp", "T6:25:24Z\nExp"},
		"a comma for a dot":        {"24Z\nExp", "24,5Z\nExp"},
		"hour 24":                  {"T16:25:24Z\nExp", "T24:25:24Z\nExp"},
		"a zone of a day":          {"24Z\nExp", "24+24:00\nExp"},
		"a space for T":            {"2021-09-30T16:25:24Z\nExp", "2021-09-30 16:25:24Z\nExp"},
		"start before expiry":      {"Expiration Time: 2021-09-30T17:25:24Z\nNot Before: 2021-09-30T16:25:20Z", "Not Before: 2021-09-30T16:25:20Z\nExpiration Time: 2021-09-30T17:25:24Z"},
		"expiry twice":             {"Expiration", "Expiration Time: 2021-09-30T17:25:24Z\nExpiration"},
		"a slash in the id":        {"some-id", "some/id"},
		"resources before the id":  {"Request ID: some-id_1!$&'()*+,;=:@%20\nResources:", "Resources:\nRequest ID: x"},
		"a resource without dash":  {"- urn:example:a", "urn:example:a"},
		"a resource without URI":   {"- urn:example:a", "- "},
		"two resources in a line":  {"- urn:example:a", "- urn:example:a - urn:example:b"},
		"a line behind":            {"- urn:example:a", "- urn:example:a\n"},
		"carriage returns":         {"\n", "\r\n"},
		"a NUL":                    {"terms", "te\x00rms"},
		"a tab":                    {"terms", "te\trms"},
		"not ASCII":                {"terms", "tërms"},
		"text direction":           {"terms", "\u202eterms"},
		"not UTF-8":                {"terms", "\xff"},
		"huge":                     {"terms", strings.Repeat("x", maxSize)},
	} {
		text := strings.Replace(whole, change[0], change[1], 1)
		if text == whole {
			t.Fatalf("%s: nothing to change", name)
		}
		if m, err := Parse(text); err == nil {
			t.Errorf("%s: read as %#v", name, m)
		}
	}
	for _, text := range []string{"", "\n", whole[:40], strings.ReplaceAll(whole, "\n", ""), strings.Repeat("\n", 100)} {
		if m, err := Parse(text); err == nil {
			t.Errorf("%q: read as %+v", text, m)
		}
	}
}

// Every beginning of a message is another message, or none: none is read as the whole.
func TestPrefixes(t *testing.T) {
	for n := range len(whole) {
		if m, err := Parse(whole[:n]); err == nil && len(m.Resources) == 2 && m.Resources[1] == "urn:example:a" {
			t.Errorf("%q is read as the whole", whole[:n])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("a wants you to sign in with your Ethereum account:\n0x0000000000000000000000000000000000000000\n\n\nURI: a:b\nVersion: 1\nChain ID: 0\nNonce: aaaaaaaa\nIssued At: 2021-09-30T16:25:24Z")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		// What was read says all that the text says: written again and read, it is the
		// same message, up to fractions of seconds and how zones are written.
		again, err := Parse(m.String())
		for _, x := range []*Message{&m, &again} {
			for _, at := range []*time.Time{&x.IssuedAt, &x.ExpiresAt, &x.NotBefore} {
				*at = at.UTC().Truncate(time.Second)
			}
		}
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%q read as %+v, again as %+v, %v", text, m, again, err)
		}
	})
}
