package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fealty/fealty/internal/servertest"
)

// provider is another issuer: a real server whose answer tests change.
type provider struct {
	t    *testing.T
	http *httptest.Server
	asks atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newProvider(t *testing.T) *provider {
	p := &provider{t: t}
	p.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asks.Add(1)
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		answer(w, r)
	}))
	p.http.Listener.Close()
	var err error
	p.http.Listener, err = net.Listen("tcp", "127.0.0.1:"+servertest.Port(t)) // nobody else's when it is closed
	ok(t, err)
	p.http.Start()
	t.Cleanup(p.http.Close)
	return p
}

func (p *provider) does(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *provider) publishes(keys ...map[string]any) {
	text, err := json.Marshal(map[string]any{"keys": keys})
	ok(p.t, err)
	p.does(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
}

func (p *provider) fails() {
	p.does(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
}

// patience is for a machine that does much else, or stands still for a while.
const patience = time.Minute

// trusted is a gateway's view of the provider. Its waits are short: again 1 ms means
// that an unknown kid always fetches. It returns when the first fetch, which the gateway
// makes by itself, has ended: one under way would answer with what was published before.
func (p *provider) trusted(change func(*RemoteOptions)) *Remote {
	p.t.Helper()
	o := RemoteOptions{
		Name: "https://idp.test", URL: p.http.URL, Audience: "gw", Algorithms: []string{"RS256", "ES256", "EdDSA"},
		Refresh: time.Hour, MaxAge: time.Hour, Timeout: patience, Again: time.Nanosecond,
	}
	if change != nil {
		change(&o)
	}
	r, err := NewRemote(o)
	ok(p.t, err)
	p.t.Cleanup(func() { r.Close() })
	for fetched := false; !fetched; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		fetched = !r.tried.IsZero()
		r.mu.Unlock()
	}
	return r
}

// signer is one of a provider's keys.
type signer struct {
	id, algorithm string
	private       crypto.Signer
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newSigner(t *testing.T, id, algorithm string) signer {
	t.Helper()
	s := signer{id: id, algorithm: algorithm}
	var err error
	switch algorithm {
	case "ES256":
		s.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, s.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		s.private = rsaKey()
	}
	ok(t, err)
	return s
}

func (s signer) jwk() map[string]any {
	text := base64.RawURLEncoding.EncodeToString
	k := map[string]any{"kid": s.id, "use": "sig", "alg": s.algorithm}
	switch public := s.private.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		k["kty"], k["crv"], k["x"], k["y"] = "EC", public.Params().Name, text(point[1:1+half]), text(point[1+half:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", text(public)
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", text(public.N.Bytes()), "AQAB"
	}
	return k
}

// token makes a good token, changed.
func (s signer) token(t *testing.T, change func(header, claims map[string]any)) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": "https://idp.test", "sub": "u|1", "aud": "gw", "iat": noon.Unix(), "exp": noon.Unix() + 60}
	made := jwt.NewWithClaims(jwt.GetSigningMethod(s.algorithm), claims)
	made.Header["kid"] = s.id
	if change != nil {
		change(made.Header, claims)
	}
	text, err := made.SignedString(s.private)
	ok(t, err)
	return text
}

func (r *Remote) check(t testing.TB, text string) error {
	t.Helper()
	parsed, err := Parse(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.Verify(ctx, parsed, noon)
}

func TestRemoteAlgorithms(t *testing.T) {
	p := newProvider(t)
	p.publishes(newSigner(t, "before", "ES256").jwk())
	r := p.trusted(func(o *RemoteOptions) { o.Algorithms = Algorithms })
	for _, algorithm := range []string{"RS256", "PS512", "ES256", "ES384", "EdDSA"} {
		s := newSigner(t, "k"+algorithm, algorithm)
		p.publishes(s.jwk())
		if err := r.check(t, s.token(t, nil)); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestRemoteForgeries(t *testing.T) {
	p := newProvider(t)
	s, second := newSigner(t, "one", "ES256"), newSigner(t, "two", "RS256")
	wide := newSigner(t, "wide", "ES384")
	unnamed := second.jwk()
	unnamed["kid"] = "unnamed"
	delete(unnamed, "alg")
	hidden := newSigner(t, "hidden", "ES256")
	encrypts := hidden.jwk()
	encrypts["use"] = "enc"
	oct := map[string]any{"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}
	p.publishes(s.jwk(), second.jwk(), wide.jwk(), unnamed, encrypts, oct)
	r := p.trusted(nil)
	ok(t, r.check(t, s.token(t, nil)))
	ok(t, r.check(t, second.token(t, func(h, _ map[string]any) { h["kid"] = "unnamed" })))
	claim := func(name string, value any) string {
		return s.token(t, func(_, c map[string]any) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		})
	}
	head := func(name string, value any) string {
		return s.token(t, func(h, _ map[string]any) {
			if h[name] = value; value == nil {
				delete(h, name)
			}
		})
	}
	mac := func(kid string, secret []byte) string {
		part := base64.RawURLEncoding.EncodeToString
		text := part([]byte(`{"alg":"HS256","kid":"`+kid+`"}`)) + "." + strings.Split(s.token(t, nil), ".")[1]
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(text))
		return text + "." + part(m.Sum(nil))
	}
	modulus, err := base64.RawURLEncoding.DecodeString(second.jwk()["n"].(string))
	ok(t, err)
	for name, text := range map[string]string{
		"another issuer":         claim("iss", "https://idp.test/"),
		"this gateway as issuer": claim("iss", "https://gw.test"),
		"for another":            claim("aud", []string{"a", "b"}),
		"for nobody":             claim("aud", nil),
		"no exp":                 claim("exp", nil),
		"no iat":                 claim("iat", nil),
		"exp in a week":          claim("exp", noon.Unix()+7*86400),
		"iat in an hour":         claim("iat", noon.Unix()+3600),
		"nbf in an hour":         claim("nbf", noon.Unix()+3600),
		"no sub":                 claim("sub", nil),
		"sub of control bytes":   claim("sub", "a\nb"),
		"sub not ASCII":          claim("sub", "ü"),
		"sub too long":           claim("sub", strings.Repeat("a", 256)),
		"no kid":                 head("kid", nil),
		"unknown kid":            head("kid", "three"),
		"kid of another key":     head("kid", "two"),
		"kid a path":             head("kid", "../one"),
		"a logout token":         head("typ", "logout+jwt"),
		"a proof of possession":  head("typ", "dpop+jwt"),
		"crit":                   head("crit", []string{"exp"}),
		"its own key":            head("jwk", s.jwk()),
		"a key's URL":            head("jku", p.http.URL),
		"a certificate":          head("x5c", []string{"AAAA"}),
		"encryption":             head("enc", "A256GCM"),
		"none":                   unsigned(t, s),
		"HMAC by the modulus":    mac("two", modulus),
		"HMAC by a shared key":   mac("oct", []byte("secret")),
		"algorithm not allowed":  newSigner(t, "two", "RS512").token(t, nil),
		"curve of another size":  wide.token(t, nil),
		"PS256 by an RS256 key":  newSigner(t, "two", "PS256").token(t, nil),
		"a key for encryption":   hidden.token(t, nil),
	} {
		if err := r.check(t, text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if err := r.check(t, claim("exp", noon.Unix())); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	for _, good := range []string{claim("aud", []string{"x", "gw"}), head("typ", "at+jwt"), head("typ", nil), head("x5t", "abc"), claim("nbf", noon.Unix())} {
		ok(t, r.check(t, good))
	}
}

func unsigned(t *testing.T, s signer) string {
	parts := strings.Split(s.token(t, nil), ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"one"}`)) + "." + parts[1] + "."
}

// Two issuers call their keys alike; each speaks only for itself.
func TestIssuersAreNotConfused(t *testing.T) {
	a, b := newProvider(t), newProvider(t)
	ofA, ofB := newSigner(t, "same", "ES256"), newSigner(t, "same", "ES256")
	a.publishes(ofA.jwk())
	b.publishes(ofB.jwk())
	atA := a.trusted(nil)
	atB := b.trusted(func(o *RemoteOptions) { o.Name = "https://other.test" })
	nameB := func(_, c map[string]any) { c["iss"] = "https://other.test" }
	ok(t, atA.check(t, ofA.token(t, nil)))
	ok(t, atB.check(t, ofB.token(t, nameB)))
	for name, err := range map[string]error{
		"A's key signs for B": atB.check(t, ofA.token(t, nameB)),
		"B's key signs for A": atA.check(t, ofB.token(t, nil)),
		"A's token at B":      atB.check(t, ofA.token(t, nil)),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRemoteRotation(t *testing.T) {
	p := newProvider(t)
	before, after := newSigner(t, "before", "ES256"), newSigner(t, "after", "ES256")
	p.publishes(before.jwk())
	var changes atomic.Int64
	r := p.trusted(func(o *RemoteOptions) { o.Changed = func() { changes.Add(1) } })
	ok(t, r.check(t, before.token(t, nil)))
	p.publishes(before.jwk(), after.jwk())
	if err := r.check(t, after.token(t, nil)); err != nil { // an unknown kid fetches
		t.Errorf("the new key: %v", err)
	}
	p.publishes(after.jwk())
	if err := r.check(t, newSigner(t, "none", "ES256").token(t, nil)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a key that never was: %v", err)
	}
	if err := r.check(t, before.token(t, nil)); !errors.Is(err, ErrInvalid) {
		t.Errorf("the key that was taken away: %v", err)
	}
	for end := time.Now().Add(patience); changes.Load() < 3 && time.Now().Before(end); { // the last is told once the keys are there
		time.Sleep(time.Millisecond)
	}
	if changes.Load() != 3 {
		t.Errorf("%d changes were told, want 3", changes.Load())
	}
}

func TestRemoteRefreshesInTheBackground(t *testing.T) {
	p := newProvider(t)
	before, after := newSigner(t, "k", "ES256"), newSigner(t, "k", "ES256")
	p.publishes(before.jwk())
	r := p.trusted(func(o *RemoteOptions) { o.Refresh = 5 * time.Millisecond })
	ok(t, r.check(t, before.token(t, nil)))
	p.publishes(after.jwk()) // under the same kid: only time tells
	for end := time.Now().Add(patience); r.check(t, after.token(t, nil)) != nil; {
		if time.Now().After(end) {
			t.Fatalf("%v later the old key is still the one", patience)
		}
	}
}

// Forged tokens with made-up kids do not make us a nuisance to the issuer.
func TestUnknownKidsFetchSeldom(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "one", "ES256")
	p.publishes(s.jwk())
	r := p.trusted(func(o *RemoteOptions) { o.Again = time.Hour })
	ok(t, r.check(t, s.token(t, nil)))
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			text := s.token(t, func(h, _ map[string]any) { h["kid"] = fmt.Sprint(i) })
			if err := r.check(t, text); !errors.Is(err, ErrInvalid) {
				t.Errorf("unknown kid: %v", err)
			}
		})
	}
	all.Wait()
	if n := p.asks.Load(); n != 1 {
		t.Errorf("%d fetches for 100 forged tokens, want the first one alone", n)
	}
}

// Whatever happens to the issuer, the last good keys serve until max_age; a key that
// is not among them cannot be judged. Then nothing can: and that is never a refusal.
func TestRemoteOutages(t *testing.T) {
	for name, breaks := range map[string]func(p *provider){
		"down": func(p *provider) { p.fails() },
		"gone": func(p *provider) { p.http.CloseClientConnections(); p.http.Listener.Close() },
		"garbage": func(p *provider) {
			p.does(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
		},
		"no keys":    func(p *provider) { p.publishes() },
		"null":       func(p *provider) { p.does(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "null") }) },
		"twins":      func(p *provider) { s := newSigner(p.t, "two", "ES256"); p.publishes(s.jwk(), s.jwk()) },
		"redirected": func(p *provider) { p.does(http.RedirectHandler("/elsewhere", http.StatusFound).ServeHTTP) },
		"huge": func(p *provider) {
			p.does(func(w http.ResponseWriter, _ *http.Request) {
				for range 1000 {
					if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
						return
					}
				}
			})
		},
		"hanging": func(p *provider) {
			p.does(func(w http.ResponseWriter, r *http.Request) {
				w.Write([]byte("{"))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			s, unknown := newSigner(t, "one", "ES256"), newSigner(t, "two", "ES256")
			p.publishes(s.jwk())
			var log bytes.Buffer
			r := p.trusted(func(o *RemoteOptions) {
				if name == "hanging" {
					o.Timeout = 6 * time.Second // the good answer before has to come within it too
				}
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			ok(t, r.check(t, s.token(t, nil)))
			breaks(p)
			if err := r.check(t, unknown.token(t, nil)); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
				t.Errorf("a key that may be new: %v", err)
			}
			ok(t, r.check(t, s.token(t, nil)))
			r.mu.Lock()
			r.read = r.read.Add(-2 * time.Hour) // an hour beyond max_age
			r.mu.Unlock()
			if err := r.check(t, s.token(t, nil)); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
				t.Errorf("beyond max_age: %v", err)
			}
			r.Close()
			if n := strings.Count(log.String(), "level=WARN"); n != 1 {
				t.Errorf("the outage was said %d times, want once: %s", n, log.String())
			}
		})
	}
}

// A gateway starts while the issuer is down, and serves its tokens when it is up.
func TestRemoteStartsDown(t *testing.T) {
	p := newProvider(t)
	p.fails()
	r := p.trusted(nil)
	s := newSigner(t, "one", "ES256")
	if err := r.check(t, s.token(t, nil)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("before: %v", err)
	}
	p.publishes(s.jwk())
	err := r.check(t, s.token(t, nil))
	for end := time.Now().Add(patience); errors.Is(err, ErrUnavailable) && time.Now().Before(end); {
		err = r.check(t, s.token(t, nil)) // a fetch was under way that failed yet
	}
	ok(t, err)
}

func TestRemoteOverTLS(t *testing.T) {
	s := newSigner(t, "one", "EdDSA")
	text, err := json.Marshal(map[string]any{"keys": []any{s.jwk()}})
	ok(t, err)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(server.Close)
	p := &provider{t: t, http: server}
	ok(t, p.trusted(func(o *RemoteOptions) { o.Transport = server.Client().Transport }).check(t, s.token(t, nil)))
	if err := p.trusted(nil).check(t, s.token(t, nil)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a certificate that nobody trusts: %v", err)
	}
}

func TestRemoteOptionsRefuse(t *testing.T) {
	good := RemoteOptions{Name: "https://idp.test", URL: "https://idp.test/jwks", Audience: "gw", Algorithms: []string{"RS256"}}
	for name, change := range map[string]func(*RemoteOptions){
		"no name": func(o *RemoteOptions) { o.Name = "" }, "a bar in the name": func(o *RemoteOptions) { o.Name = "a|b" },
		"no URL": func(o *RemoteOptions) { o.URL = "" }, "plain http": func(o *RemoteOptions) { o.URL = "http://idp.test/jwks" },
		"a password": func(o *RemoteOptions) { o.URL = "https://a:b@idp.test/" }, "a file": func(o *RemoteOptions) { o.URL = "file:///etc/passwd" },
		"no audience": func(o *RemoteOptions) { o.Audience = "" }, "no algorithm": func(o *RemoteOptions) { o.Algorithms = nil },
		"HMAC": func(o *RemoteOptions) { o.Algorithms = []string{"HS256"} }, "none": func(o *RemoteOptions) { o.Algorithms = []string{"none"} },
		"max age below refresh": func(o *RemoteOptions) { o.MaxAge = time.Minute }, "negative": func(o *RemoteOptions) { o.Again = -1 },
	} {
		o := good
		change(&o)
		if r, err := NewRemote(o); err == nil {
			r.Close()
			t.Errorf("%s: taken", name)
		}
	}
}

func TestParseSetLeavesOut(t *testing.T) {
	good := newSigner(t, "good", "ES256").jwk()
	for name, change := range map[string]func(k map[string]any){
		"no kid": func(k map[string]any) { delete(k, "kid") }, "a point off the curve": func(k map[string]any) { k["x"] = k["y"] },
		"an unknown curve": func(k map[string]any) { k["crv"] = "secp256k1" }, "for wrapping": func(k map[string]any) { k["key_ops"] = []string{"wrapKey"} },
		"not base64": func(k map[string]any) { k["x"] = "!" }, "a number": func(k map[string]any) { k["x"] = 7 },
		"weak RSA":            func(k map[string]any) { k["kty"], k["n"], k["e"] = "RSA", strings.Repeat("A", 100)+"E", "AQAB" },
		"RSA of a megabit":    func(k map[string]any) { k["kty"], k["n"], k["e"] = "RSA", strings.Repeat("_", 100_000), "AQAB" },
		"RSA with exponent 1": func(k map[string]any) { k["kty"], k["n"], k["e"] = "RSA", strings.Repeat("_", 342), "AQ" },
		"a short Ed25519 key": func(k map[string]any) { k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", "AAAA" },
	} {
		bad := newSigner(t, "bad", "ES256").jwk()
		change(bad)
		text, err := json.Marshal(map[string]any{"keys": []any{bad, good, 7}})
		ok(t, err)
		if keys, err := parseSet(text); err != nil || len(keys) != 1 || keys["good"].key == nil {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"","y":""},{"kty":"RSA","kid":"b","n":"AQ","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseSet(text)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys and %v", len(keys), err)
		}
	})
}
