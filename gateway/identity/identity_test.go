package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
)

// noContracts is a chain on which every account is a plain one.
type noContracts struct {
	err   error
	asked int
}

func (n *noContracts) CodeAt(context.Context, common.Address, *big.Int) ([]byte, error) {
	n.asked++
	return nil, n.err
}

func (n *noContracts) CallContract(context.Context, ethereum.CallMsg, *big.Int) ([]byte, error) {
	n.asked++
	return nil, n.err
}

type fixture struct {
	*Service
	t     *testing.T
	store *devnet.Redis
	redis redis.UniversalClient
	state *state.Store
	clock time.Time
	chain *noContracts
	key   *wallet.Key
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: time.Unix(1_800_000_000, 0), chain: &noContracts{}}
	var err error
	f.store, err = devnet.StartRedisAt("127.0.0.1:" + servertest.Port(t)) // nobody else's when it is closed
	f.ok(err)
	t.Cleanup(func() { f.store.Close() })
	f.useStore(f.store.Addr(), 0)
	f.Service = f.gateway(f.chain, f.signing(), f.signing())
	for f.key == nil || f.address() == strings.ToLower(f.address()) { // one in some 4000 has no letter in capitals
		f.key, err = wallet.Generate()
		f.ok(err)
	}
	return f
}

// useStore moves to the state store at an address.
func (f *fixture) useStore(addr string, every time.Duration) {
	f.t.Helper()
	f.redis = statetest.Client(f.t, addr)
	f.state = statetest.Open(f.t, f.redis, every)
}

// address is the wallet's, with its checksum: in two cases, so that there is another form.
func (f *fixture) address() string { return wallet.AddressText(f.key.Address()) }

func (f *fixture) signing() token.Key {
	k, text, err := token.NewKey()
	f.ok(err)
	parsed, err := token.ParseKey(text)
	f.ok(err)
	if parsed.ID() != k.ID() {
		f.t.Fatal("a signing key does not survive its file")
	}
	return parsed
}

func (f *fixture) gateway(chain wallet.Caller, keys ...token.Key) *Service {
	f.t.Helper()
	s, err := New(Options{
		State: f.state, Secret: bytes.Repeat([]byte("s"), 32), Keys: keys, Wallets: &wallet.Verifier{Chain: chain, Timeout: 30 * time.Second},
		Issuer: "https://gw.test", Domain: "gw.test", ChainID: 1337, Now: func() time.Time { return f.clock },
	})
	f.ok(err)
	f.t.Cleanup(func() { s.Close() })
	return s
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) sign(message string) string {
	f.t.Helper()
	sig, err := f.key.SignPersonal(message)
	f.ok(err)
	return fmt.Sprintf("0x%x", sig)
}

func (f *fixture) challenge() string {
	f.t.Helper()
	m, err := f.Challenge(f.address())
	f.ok(err)
	return m
}

func (f *fixture) token() string {
	f.t.Helper()
	m := f.challenge()
	token, err := f.Redeem(f.t.Context(), m, f.sign(m))
	f.ok(err)
	return token.Text
}

func TestTokenSpeaksForTheWallet(t *testing.T) {
	f := newFixture(t)
	token := f.token()
	c, err := f.Identify(t.Context(), []byte(token), f.clock)
	f.ok(err)
	if c.Subject != wallet.Subject(f.key.Address()) || c.Account != "eip155:1337:"+f.address() || c.KeyID != "" {
		t.Errorf("the token speaks for %+v", c)
	}
	if _, err := f.Identify(t.Context(), []byte(token), f.clock.Add(15*time.Minute)); !errors.Is(err, ErrExpired) {
		t.Errorf("15 minutes later: %v", err)
	}
}

// forge makes a token from raw JSON, signed by the gateway's own key: what must be
// refused for what it says, not for who signed it.
func (f *fixture) forge(header, payload string) string {
	body := part(header) + "." + part(payload)
	return body + "." + base64.RawURLEncoding.EncodeToString(f.o.Keys[0].Sign(body))
}

// expiry is how a forgery must be refused: all but one as invalid. That one is
// signed by us and has expired, whatever an EXP beside its exp says.
func expiry(name string) error {
	if name == "exp and EXP" {
		return ErrExpired
	}
	return ErrInvalid
}

func part(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestForgedTokens(t *testing.T) {
	f := newFixture(t)
	kid := f.o.Keys[0].ID()
	account := "eip155:1337:" + f.address()
	header := `{"alg":"EdDSA","typ":"at+jwt","kid":"` + kid + `"}`
	now := f.clock.Unix()
	payload := fmt.Sprintf(`{"iss":"https://gw.test","sub":"%s","aud":["https://gw.test"],"iat":%d,"exp":%d,"jti":"a"}`, account, now, now+900)
	if _, err := f.Identify(t.Context(), []byte(f.forge(header, payload)), f.clock); err != nil {
		t.Fatalf("the token that the forgeries start from: %v", err)
	}
	swap := func(in, old, new string) string {
		if !strings.Contains(in, old) {
			t.Fatalf("nothing to swap: %s in %s", old, in)
		}
		return strings.Replace(in, old, new, 1)
	}
	h := func(old, new string) string { return f.forge(swap(header, old, new), payload) }
	p := func(old, new string) string { return f.forge(header, swap(payload, old, new)) }
	good := f.forge(header, payload)
	dot := strings.LastIndexByte(good, '.')
	other := f.signing()
	jwk := string(f.JWKS())
	x := jwk[strings.Index(jwk, `"x":"`)+5:][:43]
	public, err := base64.RawURLEncoding.DecodeString(x)
	f.ok(err)
	hmacBy := func(secret []byte) string {
		text := part(swap(header, "EdDSA", "HS256")) + "." + part(payload)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(public))
	f.ok(err)
	nums := fmt.Sprint(now)

	for name, forged := range map[string]string{
		"alg none":              h("EdDSA", "none"),
		"alg none, unsigned":    part(swap(header, "EdDSA", "none")) + "." + part(payload) + ".",
		"alg None":              h("EdDSA", "None"),
		"HS256 by public key":   hmacBy(public),
		"HS256 by its base64":   hmacBy([]byte(x)),
		"HS256 by its PEM":      hmacBy(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 by nothing":      hmacBy(nil),
		"alg an array":          h(`"EdDSA"`, `["EdDSA"]`),
		"alg in lower case":     h("EdDSA", "eddsa"),
		"alg of another name":   h(`"alg"`, `"Alg"`),
		"alg twice, escaped":    h(`"alg":"EdDSA"`, `"alg":"EdDSA","\u0061lg":"none"`),
		"kid an array":          h(`"`+kid+`"`, `["`+kid+`"]`),
		"kid a URL":             h(kid, "https://evil.test/key"),
		"kid with a NUL":        h(kid, kid+`\u0000`),
		"kid empty":             h(kid, ""),
		"x5c":                   h(`"kid"`, `"x5c":["MII"],"kid"`),
		"nested token":          f.forge(swap(header, `"kid"`, `"cty":"JWT","kid"`), good),
		"token as the payload":  f.forge(header, good),
		"encrypted (JWE)":       part(`{"alg":"dir","enc":"A256GCM"}`) + "..AAAA.AAAA.AAAA",
		"JSON serialization":    `{"payload":"` + part(payload) + `","protected":"` + part(header) + `","signature":"AAAA"}`,
		"header with a BOM":     f.forge("\ufeff"+header, payload),
		"NUL after the header":  f.forge(header+"\x00", payload),
		"header of 100 kB":      f.forge(`{"kid":"`+strings.Repeat("a", 100_000)+`"}`, payload),
		"deep header":           f.forge(strings.Repeat("[", 3000), payload),
		"EXP for exp":           p(`"exp"`, `"EXP"`),
		"exp and EXP":           p(fmt.Sprintf(`"exp":%d`, now+900), fmt.Sprintf(`"exp":%d,"EXP":%d`, now-1, now+900)),
		"exp negative":          p(fmt.Sprintf(`"exp":%d`, now+900), `"exp":-1`),
		"exp zero":              p(fmt.Sprintf(`"exp":%d`, now+900), `"exp":0`),
		"exp a fraction":        p(fmt.Sprintf(`"exp":%d`, now+900), fmt.Sprintf(`"exp":%d.5`, now+900)),
		"exp 2^64":              p(fmt.Sprintf(`"exp":%d`, now+900), `"exp":18446744073709551616`),
		"iat null":              p(`"iat":`+nums, `"iat":null`),
		"nbf a string":          p(`"jti"`, `"nbf":"0","jti"`),
		"aud null":              p(`"aud":["https://gw.test"]`, `"aud":null`),
		"aud an object":         p(`"aud":["https://gw.test"]`, `"aud":{"a":"https://gw.test"}`),
		"aud nested":            p(`"aud":["https://gw.test"]`, `"aud":[["https://gw.test"]]`),
		"sub a number":          p(`"`+account+`"`, "7"),
		"sub empty":             p(account, ""),
		"sub with a NUL":        p(account, account+`\u0000`),
		"ES256":                 h("EdDSA", "ES256"),
		"Ed25519 for EdDSA":     h("EdDSA", "Ed25519"),
		"no alg":                h(`"alg":"EdDSA",`, ""),
		"alg twice":             h(`"alg":"EdDSA"`, `"alg":"EdDSA","alg":"EdDSA"`),
		"typ JWT":               h("at+jwt", "JWT"),
		"typ AT+JWT":            h("at+jwt", "AT+JWT"),
		"no typ":                h(`"typ":"at+jwt",`, ""),
		"typ a number":          h(`"at+jwt"`, `7`),
		"crit":                  h(`"kid"`, `"crit":["x"],"x":1,"kid"`),
		"crit empty":            h(`"kid"`, `"crit":[],"kid"`),
		"jwk inside":            h(`"kid"`, `"jwk":{},"kid"`),
		"jku":                   h(`"kid"`, `"jku":"https://evil","kid"`),
		"x5u":                   h(`"kid"`, `"x5u":"https://evil","kid"`),
		"zip":                   h(`"kid"`, `"zip":"DEF","kid"`),
		"b64":                   h(`"kid"`, `"b64":false,"kid"`),
		"cty":                   h(`"kid"`, `"cty":"JWT","kid"`),
		"unknown kid":           h(kid, "x"),
		"kid a path":            h(kid, "../../dev/null"),
		"kid SQL":               h(kid, "' OR 1=1"),
		"kid a number":          h(`"`+kid+`"`, "1"),
		"kid null":              h(`"`+kid+`"`, "null"),
		"no kid":                h(`,"kid":"`+kid+`"`, ""),
		"kid of the other key":  h(kid, f.o.Keys[1].ID()),
		"another's signature":   good[:dot+1] + base64.RawURLEncoding.EncodeToString(other.Sign(good[:dot])),
		"no signature":          good[:dot+1],
		"signature cut":         good[:len(good)-4],
		"signature padded":      good + "==",
		"signature bits":        good[:len(good)-1] + "_",
		"four parts":            good + ".x",
		"two parts":             good[:dot],
		"empty parts":           "..",
		"white space":           " " + good,
		"newline":               good + "\n",
		"header not JSON":       f.forge("{", payload),
		"header an array":       f.forge("[]", payload),
		"payload an array":      f.forge(header, "[]"),
		"payload not JSON":      f.forge(header, payload[:len(payload)-1]),
		"payload with a tail":   f.forge(header, payload+"{}"),
		"payload swapped":       swap(good, part(payload), part(swap(payload, `"jti":"a"`, `"jti":"b"`))),
		"no exp":                p(fmt.Sprintf(`"exp":%d,`, now+900), ""),
		"exp null":              p(fmt.Sprintf(`"exp":%d`, now+900), `"exp":null`),
		"exp a string":          p(fmt.Sprintf(`"exp":%d`, now+900), `"exp":"9999999999"`),
		"exp huge":              p(fmt.Sprintf(`"exp":%d`, now+900), `"exp":1e300`),
		"exp in ten years":      p(fmt.Sprintf(`"exp":%d`, now+900), fmt.Sprintf(`"exp":%d`, now+315360000)),
		"exp twice":             p(`"jti"`, fmt.Sprintf(`"exp":%d,"jti"`, now+900)),
		"exp twice, escaped":    p(`"jti"`, fmt.Sprintf(`"\u0065xp":%d,"jti"`, now+900)),
		"no iat":                p(`"iat":`+nums+",", ""),
		"iat tomorrow":          p(`"iat":`+nums, fmt.Sprintf(`"iat":%d`, now+86400)),
		"iat a string":          p(`"iat":`+nums, `"iat":"x"`),
		"nbf tomorrow":          p(`"jti"`, fmt.Sprintf(`"nbf":%d,"jti"`, now+86400)),
		"no jti":                p(`,"jti":"a"`, ""),
		"jti empty":             p(`"jti":"a"`, `"jti":""`),
		"jti a number":          p(`"jti":"a"`, `"jti":1`),
		"no iss":                p(`"iss":"https://gw.test",`, ""),
		"other iss":             p(`"iss":"https://gw.test"`, `"iss":"https://gw.test/"`),
		"iss twice":             p(`"iss":"https://gw.test"`, `"iss":"https://evil","iss":"https://gw.test"`),
		"no aud":                p(`"aud":["https://gw.test"],`, ""),
		"other aud":             p(`"aud":["https://gw.test"]`, `"aud":["https://other.test"]`),
		"several aud":           p(`"aud":["https://gw.test"]`, `"aud":["https://gw.test","https://other.test"]`),
		"aud empty":             p(`"aud":["https://gw.test"]`, `"aud":[]`),
		"aud a number":          p(`"aud":["https://gw.test"]`, `"aud":7`),
		"no sub":                p(`"sub":"`+account+`",`, ""),
		"sub on another chain":  p("eip155:1337:", "eip155:1:"),
		"sub not checksummed":   p(account, "eip155:1337:"+strings.ToLower(f.address())),
		"sub a bare address":    p("eip155:1337:", ""),
		"sub of another family": p("eip155:", "cosmos:"),
		"sub with a tail":       p(account, account+":x"),
		"invalid UTF-8":         p(`"jti":"a"`, "\"jti\":\"\xff\""),
		"huge":                  p(`"jti":"a"`, `"jti":"`+strings.Repeat("a", 9000)+`"`),
		"an API key's shape":    "fk_" + strings.Repeat("a", 16) + "_" + strings.Repeat("a", 52),
		"a key with a tail":     "fk_" + strings.Repeat("a", 16) + "_" + strings.Repeat("a", 53),
		"a key in capitals":     "fk_" + strings.Repeat("A", 16) + "_" + strings.Repeat("a", 52),
		"a key without secret":  "fk_" + strings.Repeat("a", 16) + "_",
		"a key for redis":       "fk_*\r\nFLUSHALL\r\n_x",
		"only the prefix":       "fk_",
		"OpenAI's key":          "sk-proj-abcdef",
		"nothing":               "",
		"a NUL":                 "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := f.Identify(t.Context(), []byte(forged), f.clock)
			if want := expiry(name); c != nil || !errors.Is(err, want) {
				t.Errorf("got %+v, %v, want %v", c, err, want)
			}
		})
	}
	if f.chain.asked != 0 {
		t.Errorf("forged credentials cost %d questions to the chain", f.chain.asked)
	}
	expired := p(fmt.Sprintf(`"exp":%d`, now+900), fmt.Sprintf(`"exp":%d`, now))
	if _, err := f.Identify(t.Context(), []byte(expired), f.clock); !errors.Is(err, ErrExpired) {
		t.Errorf("expired this second: %v", err)
	}
	forgedAndExpired := expired[:len(expired)-6] + "AAAAAA"
	if _, err := f.Identify(t.Context(), []byte(forgedAndExpired), f.clock); !errors.Is(err, ErrInvalid) {
		t.Errorf("forged and expired: %v, want that it is forged", err)
	}
}

func TestRefusedSignIns(t *testing.T) {
	f := newFixture(t)
	good := f.challenge()
	address := f.address()
	nonce := good[strings.Index(good, "Nonce: ")+7:][:nonceHex]
	later := f.clock.Add(10 * time.Minute).UTC().Format(time.RFC3339)
	other, err := wallet.Generate()
	f.ok(err)
	elsewhere := newFixture(t)
	elsewhere.o.Secret = bytes.Repeat([]byte("x"), 32)
	for name, c := range map[string]struct{ old, new string }{
		"other domain":       {"gw.test wants", "evil.test wants"},
		"other scheme":       {"gw.test wants", "http://gw.test wants"},
		"no scheme":          {"gw.test wants", "://gw.test wants"},
		"user before":        {"gw.test wants", "gw.test@evil.test wants"},
		"port behind":        {"gw.test wants", "gw.test:8443 wants"},
		"domain in capitals": {"gw.test wants", "GW.TEST wants"},
		"final dot":          {"gw.test wants", "gw.test. wants"},
		"not before later":   {"Z", "Z\nNot Before: " + later},
		"time with a comma":  {"Z\nExp", ",5Z\nExp"},
		"no domain":          {"gw.test wants", " wants"},
		"lower-case address": {address, strings.ToLower(address)},
		"another's address":  {address, wallet.AddressText(other.Address())},
		"short address":      {address, address[:41]},
		"other URI":          {"URI: https://gw.test", "URI: https://evil.test"},
		"version 2":          {"Version: 1", "Version: 2"},
		"chain 1":            {"Chain ID: 1337", "Chain ID: 1"},
		"chain in hex":       {"Chain ID: 1337", "Chain ID: 0x539"},
		"chain with zero":    {"Chain ID: 1337", "Chain ID: 01337"},
		"chain huge":         {"Chain ID: 1337", "Chain ID: 99999999999999999999999"},
		"made-up nonce":      {nonce, strings.Repeat("0", nonceHex)},
		"short nonce":        {nonce, "abcdefgh"},
		"nonce in capitals":  {nonce, strings.ToUpper(nonce)},
		"another's nonce":    {nonce, elsewhere.nonce(f.clock)},
		"stale nonce":        {nonce, f.nonce(f.clock.Add(-6 * time.Minute))},
		"early nonce":        {nonce, f.nonce(f.clock.Add(time.Hour))},
		"issued later":       {"Issued At: " + f.clock.UTC().Format(time.RFC3339), "Issued At: " + later},
		"issued never":       {"Issued At: ", "Issued At: never "},
		"expired":            {"Expiration Time: ", "Expiration Time: 2001-01-01T00:00:00Z\nX: "},
		"field order":        {"Version: 1\nChain ID: 1337", "Chain ID: 1337\nVersion: 1"},
		"field twice":        {"Version: 1", "Version: 1\nVersion: 1"},
		"field missing":      {"Version: 1\n", ""},
		"resources":          {"Z", "Z\nResources:\n- https://evil"},
		"carriage returns":   {"\n", "\r\n"},
		"control character":  {"Sign in", "Sign\x00in"},
		"not ASCII":          {"Sign in", "Sign\u202ein"},
		"huge":               {"Sign in", strings.Repeat("x", 3000)},
		"two statements":     {"Sign in", "One\nSign in"},
		"blank at the end":   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			message := strings.Replace(good, c.old, c.new, 1)
			if c.old == "" {
				message = good + "\n"
			}
			if message == good {
				t.Fatal("the forgery changes nothing")
			}
			if token, err := f.Redeem(t.Context(), message, f.sign(message)); !errors.Is(err, ErrSignIn) {
				t.Errorf("got %+v, %v", token, err)
			}
		})
	}
	if f.chain.asked > 1 { // only another's address, rightly written, could be a contract's
		t.Errorf("refused messages cost %d questions to the chain", f.chain.asked)
	}
	sig := f.sign(good)
	for name, forged := range map[string]string{
		"empty": "", "not hex": "0xzz", "odd": sig[:131], "short": sig[:100], "long": sig + "00", "zeros": "0x" + strings.Repeat("0", 130),
		"of another message": f.sign("hello"), "v 99": sig[:130] + "63", "high s": highS(f, sig),
	} {
		t.Run("signature "+name, func(t *testing.T) {
			if token, err := f.Redeem(t.Context(), good, forged); !errors.Is(err, ErrSignIn) {
				t.Errorf("got %+v, %v", token, err)
			}
		})
	}
	if _, err := f.Redeem(t.Context(), good, sig); err != nil {
		t.Errorf("after all forgeries the challenge itself: %v", err)
	}
	if _, err := f.Redeem(t.Context(), good, sig); !errors.Is(err, ErrSignIn) {
		t.Errorf("the challenge a second time: %v", err)
	}
	f.clock = f.clock.Add(challengeTTL + time.Second)
	if _, err := f.Redeem(t.Context(), good, sig); !errors.Is(err, ErrSignIn) {
		t.Errorf("the challenge too late: %v", err)
	}
}

const nonceHex = 2 * (nonceBody + sha256.Size)

// highS is the other form of the same signature.
func highS(f *fixture, sig string) string {
	raw := common.FromHex(sig)
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	s := new(big.Int).Sub(order, new(big.Int).SetBytes(raw[32:64]))
	s.FillBytes(raw[32:64])
	raw[64] ^= 1
	return fmt.Sprintf("%x", raw)
}

// A chain that does not answer is no refusal, and a state store that does not is
// no unknown key.
func TestUnavailable(t *testing.T) {
	f := newFixture(t)
	m := f.challenge()
	s := f.gateway(&noContracts{err: errors.New("no node")}, f.o.Keys...)
	if _, err := s.Redeem(t.Context(), m, "00"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no chain: %v", err)
	}
	c, err := f.Identify(t.Context(), []byte(f.token()), f.clock)
	f.ok(err)
	_, key, err := f.CreateKey(t.Context(), c, KeyRequest{Name: "x"})
	f.ok(err)
	sig, unknown := f.sign(m), "fk_"+strings.Repeat("a", 16)+"_"+strings.Repeat("a", 52)
	checks := func(what string) {
		t.Helper()
		for name, err := range map[string]error{
			"a key":          func() error { _, err := f.Identify(t.Context(), []byte(key), f.clock); return err }(),
			"an unknown key": func() error { _, err := f.Identify(t.Context(), []byte(unknown), f.clock); return err }(),
			"a sign-in":      func() error { _, err := f.Redeem(t.Context(), m, sig); return err }(),
			"a new key":      func() error { _, _, err := f.CreateKey(t.Context(), c, KeyRequest{Name: "x"}); return err }(),
			"the list":       func() error { _, err := f.ListKeys(t.Context(), c.Subject); return err }(),
			"a revocation":   f.RevokeKey(t.Context(), c.Subject, strings.Repeat("a", 16)),
		} {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
	f.store.Flush()
	checks("flushed")
	f.store.Close()
	checks("gone")
}

func TestKeyLifetime(t *testing.T) {
	f := newFixture(t)
	c, err := f.Identify(t.Context(), []byte(f.token()), f.clock)
	f.ok(err)
	want := KeyRequest{Name: "ci", Models: []string{"m"}, RPM: 3, TokensPerDay: 4, Expires: f.clock.Add(time.Hour).UTC()}
	k, text, err := f.CreateKey(t.Context(), c, want)
	f.ok(err)
	got, err := f.Identify(t.Context(), []byte(text), f.clock)
	f.ok(err)
	if got.Subject != c.Subject || got.Account != c.Account || got.KeyID != k.ID || got.RPM != 3 || got.TokensPerDay != 4 || got.May("n") || !got.May("m") {
		t.Errorf("the key speaks for %+v", got)
	}
	almost := text[:len(text)-1] + map[bool]string{true: "b", false: "a"}[text[len(text)-1] == 'a']
	if _, err := f.Identify(t.Context(), []byte(almost), f.clock); !errors.Is(err, ErrInvalid) {
		t.Errorf("another secret under the same id: %v", err)
	}
	if _, err := f.Identify(t.Context(), []byte(text), f.clock.Add(time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("after its end: %v", err)
	}
	second := f.gateway(&noContracts{}, f.o.Keys...)
	_, err = second.Identify(t.Context(), []byte(text), f.clock)
	f.ok(err)
	f.ok(f.RevokeKey(t.Context(), c.Subject, k.ID))
	if _, err := f.Identify(t.Context(), []byte(text), f.clock); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked: %v", err)
	}
	// The other gateway may have missed the hint; its cache ends by itself.
	if _, err := second.Identify(t.Context(), []byte(text), f.clock.Add(2*time.Second)); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked elsewhere, cache over: %v", err)
	}
	if err := f.RevokeKey(t.Context(), [32]byte{9}, k.ID); !errors.Is(err, ErrNoKey) {
		t.Errorf("someone else's key: %v", err)
	}
	keys, err := f.ListKeys(t.Context(), c.Subject)
	if err != nil || len(keys) != 1 || !keys[0].Revoked || keys[0].Name != "ci" || !keys[0].Expires.Equal(want.Expires) {
		t.Errorf("listed %+v, %v", keys, err)
	}
	raw, err := f.redis.Get(t.Context(), keyName(k.ID)).Result()
	if err != nil || strings.Contains(raw, text[len(text)-keySecret:]) {
		t.Errorf("the store holds the key itself: %s, %v", raw, err)
	}
	f.ok(f.redis.Set(t.Context(), keyName(k.ID), "{", 0).Err())
	if _, err := second.Identify(t.Context(), []byte(text), f.clock.Add(time.Minute)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a damaged record: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(100)
	now := time.Unix(1000, 0)
	for i := range 1000 {
		c.put([32]byte{byte(i), byte(i >> 8)}, &Caller{KeyID: fmt.Sprint(i)}, now.Add(time.Second), 0)
	}
	if len(c.held) != 100 {
		t.Errorf("the cache holds %d, want 100", len(c.held))
	}
	last := [32]byte{byte(999 & 255), byte(999 >> 8)}
	get := func(now time.Time) *Caller { caller, _ := c.get(last, now); return caller }
	if get(now) == nil || get(now.Add(time.Second)) != nil {
		t.Error("an entry lives from its making to its end, not longer")
	}
	c.drop("999")
	if get(now) != nil {
		t.Error("a dropped key is still held")
	}
	_, epoch := c.get(last, now)
	c.turn() // while a credential is verified under the old keys
	if c.put(last, &Caller{}, now.Add(time.Second), epoch); get(now) != nil || len(c.held) != 0 {
		t.Error("what was verified in an earlier epoch is held")
	}
}
