package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
)

// idp is another issuer, with one key.
type idp struct {
	name, url string
	private   ed25519.PrivateKey
	down      atomic.Bool
}

func newIDP(t *testing.T, name string) *idp {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	i := &idp{name: name, private: private}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		w.Write(set)
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func (i *idp) other(wallets ...string) Other {
	return Other{Wallets: wallets, RemoteOptions: token.RemoteOptions{Name: i.name, URL: i.url, Audience: "gw", Algorithms: []string{"EdDSA"}, Timeout: time.Minute}}
}

func (i *idp) token(t *testing.T, sub, jti string, now time.Time) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": i.name, "sub": sub, "aud": "gw", "iat": now.Unix(), "exp": now.Unix() + 600}
	if jti != "" {
		claims["jti"] = jti
	}
	made := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	made.Header["kid"] = "k"
	text, err := made.SignedString(i.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// trusting is a gateway that accepts others' tokens too.
func (f *fixture) trusting(others ...Other) *Service {
	f.t.Helper()
	o := f.o
	o.Others = others
	s, err := New(o)
	f.ok(err)
	f.t.Cleanup(func() { s.Close() })
	return s
}

func TestOtherIssuers(t *testing.T) {
	f := newFixture(t)
	a, b, c := newIDP(t, "https://a.test"), newIDP(t, "https://b.test"), newIDP(t, "https://c.test")
	account := "eip155:1337:" + f.address()
	s := f.trusting(a.other(), b.other(account), c.other("*"))
	own := wallet.Subject(f.key.Address())
	for name, x := range map[string]struct {
		from *idp
		sub  string
		want [32]byte
	}{
		"a user":                           {a, "auth0|7", wallet.OIDCSubject("https://a.test", "auth0|7")},
		"the same user elsewhere":          {b, "auth0|7", wallet.OIDCSubject("https://b.test", "auth0|7")},
		"a wallet, without leave":          {a, account, wallet.OIDCSubject("https://a.test", account)},
		"a wallet on the list":             {b, account, own},
		"a wallet, all are":                {c, account, own},
		"a wallet in another spelling":     {c, strings.ToLower(account), wallet.OIDCSubject("https://c.test", strings.ToLower(account))},
		"the wallet's address on chain 10": {c, strings.Replace(account, "1337", "10", 1), wallet.OIDCSubject("https://c.test", strings.Replace(account, "1337", "10", 1))},
	} {
		got, err := s.Identify(t.Context(), []byte(x.from.token(t, x.sub, "", f.clock)), f.clock)
		if err != nil || got.Subject != x.want || got.KeyID != "" {
			t.Errorf("%s: %+v, %v, want subject %x", name, got, err, x.want)
		}
	}
	if _, err := f.Identify(t.Context(), []byte(a.token(t, "u", "", f.clock)), f.clock); !errors.Is(err, ErrInvalid) {
		t.Errorf("an issuer that this gateway does not know: %v", err)
	}
	ours := &idp{name: f.o.Issuer, private: a.private}
	if _, err := s.Identify(t.Context(), []byte(ours.token(t, account, "x", f.clock)), f.clock); !errors.Is(err, ErrInvalid) {
		t.Errorf("another's key for a token in our name: %v", err)
	}
	late := newIDP(t, "https://late.test")
	late.down.Store(true)
	if _, err := f.trusting(late.other()).Identify(t.Context(), []byte(late.token(t, "u", "", f.clock)), f.clock); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Errorf("an issuer that is down: %v", err)
	}
	for _, twice := range [][]Other{{a.other(), a.other()}, {{RemoteOptions: token.RemoteOptions{Name: f.o.Issuer}}}} {
		o := f.o
		o.Others = twice
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "stands twice") {
			t.Errorf("an issuer twice: %v", err)
		}
	}
}

// Their users make API keys, as wallets do.
func TestOtherIssuersUserMakesAKey(t *testing.T) {
	f := newFixture(t)
	a := newIDP(t, "https://a.test")
	s := f.trusting(a.other())
	c, err := s.Identify(t.Context(), []byte(a.token(t, "u", "", f.clock)), f.clock)
	f.ok(err)
	_, text, err := s.CreateKey(t.Context(), c, KeyRequest{Name: "x"})
	f.ok(err)
	got, err := f.Identify(t.Context(), []byte(text), f.clock)
	if err != nil || got.Subject != wallet.OIDCSubject("https://a.test", "u") || got.Account != "oidc:https://a.test|u" {
		t.Errorf("the key speaks for %+v, %v", got, err)
	}
}

// A token that was revoked at one gateway ends at the others: at once by the hint,
// and by the end of CacheTTL without it.
func TestRevokedTokens(t *testing.T) {
	f := newFixture(t)
	a := newIDP(t, "https://a.test")
	one, two := f.trusting(a.other()), f.trusting(a.other())
	two.hints.close() // it hears no hints: only time helps
	two.hints = listen(f.redis, func(string) {})
	f.o.CacheTTL = time.Hour
	hears := f.trusting(a.other())
	statetest.Hears(t, f.redis, 4) // the fixture's own, one, two's other ears, and this one
	for name, text := range map[string]string{
		"ours": f.token(), "another's": a.token(t, "u", "id", f.clock), "another's without jti": a.token(t, "u", "", f.clock),
	} {
		t.Run(name, func(t *testing.T) {
			var c *Caller
			var err error
			for _, s := range []*Service{one, two, hears} {
				c, err = s.Identify(t.Context(), []byte(text), f.clock)
				f.ok(err)
			}
			f.ok(one.RevokeToken(t.Context(), c))
			if _, err := one.Identify(t.Context(), []byte(text), f.clock); !errors.Is(err, ErrRevoked) {
				t.Errorf("where it was revoked: %v", err)
			}
			if _, err := two.Identify(t.Context(), []byte(text), f.clock.Add(two.o.CacheTTL)); !errors.Is(err, ErrRevoked) {
				t.Errorf("elsewhere, after CacheTTL: %v", err)
			}
			for end := time.Now().Add(time.Minute); !errors.Is(err, ErrRevoked); {
				if time.Now().After(end) {
					t.Fatalf("elsewhere, a minute after the hint: %v", err)
				}
				_, err = hears.Identify(t.Context(), []byte(text), f.clock)
			}
			left, err := f.redis.TTL(t.Context(), tokenName(c.TokenID)).Result()
			if err != nil || left <= 0 || left > c.Expires.Sub(f.clock)+clockSkew {
				t.Errorf("it is remembered for %v, %v", left, err)
			}
		})
	}
	if _, err := one.Identify(t.Context(), []byte(f.token()), f.clock); err != nil {
		t.Errorf("the next token of the same wallet: %v", err)
	}
	if err := one.RevokeToken(t.Context(), &Caller{KeyID: "x"}); !errors.Is(err, ErrNoToken) {
		t.Errorf("an API key: %v", err)
	}
}

// A key set that changed ends what was verified by the old one.
func TestEpochEndsCachedTokens(t *testing.T) {
	f := newFixture(t)
	text := []byte(f.token())
	_, err := f.Identify(t.Context(), text, f.clock)
	f.ok(err)
	f.tokens, err = token.NewIssuer(f.o.Issuer, f.o.Audience, f.o.TokenTTL, []token.Key{f.signing()})
	f.ok(err)
	if _, err := f.Identify(t.Context(), text, f.clock); err != nil {
		t.Errorf("still held: %v", err)
	}
	f.cache.turn()
	if _, err := f.Identify(t.Context(), text, f.clock); !errors.Is(err, ErrInvalid) {
		t.Errorf("after the epoch: %v", err)
	}
}

// What a real Redis can do to a gateway that holds verified credentials: everything
// is refused as unavailable, nothing as unknown or revoked, and nothing passes.
func TestLostState(t *testing.T) {
	for name, lose := range map[string]func(f *fixture, s servertest.Server, dir string){
		"FLUSHALL": func(f *fixture, _ servertest.Server, _ string) { f.ok(f.redis.FlushAll(f.t.Context()).Err()) },
		"the generation deleted": func(f *fixture, _ servertest.Server, _ string) {
			f.ok(f.redis.Del(f.t.Context(), "fealty:1:state").Err())
		},
		"an empty one takes over": func(f *fixture, s servertest.Server, _ string) { restart(f.t, s, f.t.TempDir()) },
		"an old copy is restored": func(f *fixture, s servertest.Server, dir string) { restart(f.t, s, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			dir := t.TempDir()
			server := servertest.Redis(t, servertest.Port(t), "--dir", dir)
			f.useRedis(server.Addr)
			text := f.token()
			c, err := f.Identify(t.Context(), []byte(text), f.clock)
			f.ok(err)
			k, key, err := f.CreateKey(t.Context(), c, KeyRequest{Name: "x"})
			f.ok(err)
			f.ok(f.redis.Save(t.Context()).Err()) // the old copy: the key is valid in it
			f.ok(f.RevokeKey(t.Context(), c.Subject, k.ID))
			lose(f, server, dir)
			for what, credential := range map[string]string{"a cached token": text, "a revoked key": key, "an unknown key": key[:len(key)-1] + "z"} {
				var err error
				for end := time.Now().Add(time.Minute); !errors.Is(err, state.ErrLost) && time.Now().Before(end); {
					_, err = f.Identify(t.Context(), []byte(credential), f.clock.Add(time.Second))
					if err == nil && what != "a cached token" || err != nil && !errors.Is(err, ErrUnavailable) {
						t.Fatalf("%s: %v", what, err)
					}
				}
				if !errors.Is(err, state.ErrLost) {
					t.Errorf("%s: %v after a minute, want that state was lost", what, err)
				}
			}
		})
	}
}

func restart(t *testing.T, s servertest.Server, dir string) {
	t.Helper()
	s.Kill()
	_, port, _ := net.SplitHostPort(s.Addr)
	servertest.Redis(t, port, "--dir", dir)
}

// useRedis moves the fixture to a real Redis.
func (f *fixture) useRedis(addr string) {
	f.t.Helper()
	f.useStore(addr, 10*time.Millisecond)
	f.Service = f.gateway(f.chain, f.o.Keys...)
}

func TestKeysOfOneAccount(t *testing.T) {
	f := newFixture(t)
	c := &Caller{Subject: [32]byte{7}, Account: "x"}
	for i := range 3 {
		_, _, err := f.CreateKey(t.Context(), c, KeyRequest{Name: fmt.Sprint(i)})
		f.ok(err)
		f.clock = f.clock.Add(time.Second)
	}
	f.ok(f.redis.SAdd(t.Context(), listName(c.Subject), strings.Repeat("a", 16)).Err()) // listed, never written
	keys, err := f.ListKeys(t.Context(), c.Subject)
	if err != nil || len(keys) != 3 || keys[0].Name != "0" || keys[2].Name != "2" {
		t.Errorf("listed %+v, %v", keys, err)
	}
	for i := range maxKeys {
		f.ok(f.redis.SAdd(t.Context(), listName(c.Subject), i).Err())
	}
	if _, _, err := f.CreateKey(t.Context(), c, KeyRequest{Name: "one too many"}); !errors.Is(err, ErrKeyRequest) {
		t.Errorf("one too many: %v", err)
	}
}

// Keys change while two gateways serve: the one that has not heard of the new order
// yet and the one that has take each other's tokens.
func TestRotationAcrossGateways(t *testing.T) {
	f := newFixture(t)
	old, fresh := f.signing(), f.signing()
	before, after := f.gateway(f.chain, old, fresh), f.gateway(f.chain, fresh, old)
	signIn := func(s *Service) []byte {
		m, err := s.Challenge(f.address())
		f.ok(err)
		made, err := s.Redeem(t.Context(), m, f.sign(m))
		f.ok(err)
		return []byte(made.Text)
	}
	byOld, byNew := signIn(before), signIn(after)
	for _, s := range []*Service{before, after} {
		for _, text := range [][]byte{byOld, byNew} {
			if _, err := s.Identify(t.Context(), text, f.clock); err != nil {
				t.Error(err)
			}
		}
	}
	last := f.gateway(f.chain, fresh)
	if _, err := last.Identify(t.Context(), byOld, f.clock); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token of the key that was taken away: %v", err)
	}
	if _, err := last.Identify(t.Context(), byNew, f.clock); err != nil {
		t.Error(err)
	}
}
