package gateway_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

// A user of another issuer is served under a license of their own, learns how to get
// one, and gets a 503 rather than a 401 when the issuer cannot be asked.
func TestAnotherIssuersUser(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	must(t, err)
	var down atomic.Bool
	down.Store(true)
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Write(set)
	}))
	t.Cleanup(idp.Close)
	const issuer, sub = "https://login.test", "auth0|7"
	store, err := devnet.StartRedis()
	must(t, err)
	t.Cleanup(func() { store.Close() })
	guarded := statetest.Open(t, statetest.Client(t, store.Addr()), 0)
	ids, err := identity.New(identity.Options{
		State: guarded, Secret: bytes.Repeat([]byte("s"), 32), Keys: []token.Key{signingKey()}, Wallets: &wallet.Verifier{},
		Issuer: "https://gw.test", Domain: "gw.test", ChainID: 1337,
		Now: func() time.Time { return today },
		Others: []identity.Other{{RemoteOptions: token.RemoteOptions{
			Name: issuer, URL: idp.URL, Audience: "gw", Algorithms: []string{"EdDSA"}, Again: time.Millisecond, Timeout: patience,
		}}},
	})
	must(t, err)
	t.Cleanup(func() { ids.Close() })
	r := newRigOn(t, store, func(_ *gateway.Config, d *gateway.Deps) { d.Identities = ids })
	made := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": issuer, "sub": sub, "aud": "gw", "iat": today.Unix(), "exp": today.Unix() + 60,
	})
	made.Header["kid"] = "k"
	text, err := made.SignedString(private)
	must(t, err)
	if got := r.post("/v1/chat/completions", text, chatBody("")).refusal(); got != (refusal{503, "issuer_unavailable", "", "true"}) {
		t.Errorf("the issuer is down: %+v", got)
	}
	down.Store(false)
	got := r.post("/v1/chat/completions", text, chatBody(""))
	for end := time.Now().Add(patience); got.status == 503 && time.Now().Before(end); { // its keys come in the background
		got = r.post("/v1/chat/completions", text, chatBody(""))
	}
	if got.refusal().code != "no_license" || !strings.Contains(got.body, "oidc:"+issuer+"|"+sub) || !strings.Contains(got.body, "fealty license grant") {
		t.Errorf("without a license: %d %s", got.status, got.body)
	}
	r.chain.set(wallet.OIDCSubject(issuer, sub), func(g *policy.Grant) { *g = license(everything) })
	if got := r.post("/v1/chat/completions", text, chatBody("")); got.status != 200 {
		t.Errorf("with a license: %d %s", got.status, got.body)
	}
	if got := r.post("/v1/keys", text, `{"name":"mine"}`); got.status != 200 {
		t.Errorf("a key of their own: %d %s", got.status, got.body)
	}
}
