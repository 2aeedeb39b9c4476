package gateway_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

func TestKeys(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	made := r.post("/v1/keys", token, `{"name":"ci","models":["gpt-4o"],"rpm":2,"tokens_per_day":500,"expires":"2999-01-01T00:00:00Z"}`)
	key, id := made.field("key"), made.field("id")
	if got := r.post("/v1/chat/completions", key, chatBody("")); got.status != 200 {
		t.Fatalf("a key made for an alias of the model: %d %s", got.status, got.body)
	}
	list := r.do("GET", "/v1/keys", token, "").body
	var keys struct {
		Data []struct {
			ID, Name, Key string
			Models        []string
		}
	}
	must(t, json.Unmarshal([]byte(list), &keys))
	if len(keys.Data) != 2 || keys.Data[1].ID != id && keys.Data[0].ID != id {
		t.Errorf("keys: %s", list)
	}
	if strings.Contains(list, key) || strings.Contains(r.log.String(), key) {
		t.Error("the key's text is shown again")
	}
	if got := r.do("DELETE", "/v1/keys/"+id, r.signIn(otherWallet(t)), "").refusal(); got != (refusal{404, "key_not_found", "", "false"}) {
		t.Errorf("another wallet revokes it: %+v", got)
	}
	if got := r.do("DELETE", "/v1/keys/"+id, token, ""); got.status != 200 {
		t.Errorf("revoke: %d %s", got.status, got.body)
	}
	if got := r.post("/v1/chat/completions", key, chatBody("")).refusal(); got != (refusal{401, "credential_revoked", "", "false"}) {
		t.Errorf("a revoked key: %+v", got)
	}
	for body, param := range map[string]string{
		`{"name":""}`: "", `{"name":"x","models":["nope"]}`: "models", `{"name":"x","expires":"2001-01-01T00:00:00Z"}`: "",
		`{"name":"x","rpm":-1}`: "", `{"name":"x","color":1}`: "", `{"name":"x","name":"y"}`: "",
	} {
		if got := r.post("/v1/keys", token, body).refusal(); got != (refusal{400, "invalid_value", param, "false"}) {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

func otherWallet(t *testing.T) *wallet.Key {
	key, _ := newWallet(t)
	return key
}

// A key's own bounds narrow the license, whose budget all keys share.
func TestKeyNarrows(t *testing.T) {
	r := newRig(t)
	key := r.post("/v1/keys", r.signIn(r.wallet), `{"name":"ci","rpm":1}`).field("key")
	if got := r.post("/v1/chat/completions", key, chatBody("")); got.status != 200 {
		t.Fatalf("first: %d %s", got.status, got.body)
	}
	if got := r.post("/v1/chat/completions", key, chatBody("")).refusal(); got.code != "rate_limit_exceeded" {
		t.Errorf("second with rpm 1: %+v", got)
	}
	if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != 200 {
		t.Errorf("another key of the same wallet: %d %s", got.status, got.body)
	}
	r.chain.set(r.subject, func(g *policy.Grant) { g.Plan = policy.Plan{RPM: 2} })
	if got := r.post("/v1/chat/completions", r.key, chatBody("")).refusal(); got.code != "rate_limit_exceeded" {
		t.Errorf("the license allows 2, both keys used one: %+v", got)
	}
}

// An existing key can be narrowed, never widened, and its cached form ends with that.
func TestNarrowKey(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	made := r.post("/v1/keys", token, `{"name":"ci","rpm":100}`)
	key, path := made.field("key"), "/v1/keys/"+made.field("id")
	for range 3 {
		if got := r.post("/v1/chat/completions", key, chatBody("")); got.status != 200 {
			t.Fatalf("before: %d %s", got.status, got.body)
		}
	}
	got := r.do("PATCH", path, token, `{"rpm":3,"expires":"2999-01-01T00:00:00Z","models":["gpt-4o"]}`)
	if got.status != 200 || !strings.Contains(got.body, `"rpm":3,`) || !strings.Contains(got.body, `"models":["echo"]`) || strings.Contains(got.body, key) {
		t.Errorf("narrowing: %d %s", got.status, got.body)
	}
	if got := r.post("/v1/chat/completions", key, chatBody("")).refusal(); got.code != "rate_limit_exceeded" {
		t.Errorf("the fourth request of three: %+v", got)
	}
	for body, want := range map[string]string{
		`{"rpm":4}`:                          "rpm would rise from 3 to 4",
		`{"expires":"2999-01-02T00:00:00Z"}`: "expires would come later",
		`{"name":"other"}`:                   "name cannot be changed",
		`{"expires":"2001-01-01T00:00:00Z"}`: "lies in the past",
	} {
		if got := r.do("PATCH", path, token, body); got.status != 400 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s, want %q", body, got.status, got.body, want)
		}
	}
	if got := r.do("PATCH", path, r.signIn(otherWallet(t)), `{"rpm":1}`).refusal(); got.code != "key_not_found" {
		t.Errorf("another wallet narrows it: %+v", got)
	}
	// Narrowed and revoked at once, it is revoked.
	var both sync.WaitGroup
	for range 20 {
		both.Go(func() { r.do("PATCH", path, token, `{"tokens_per_day":100000}`) })
	}
	both.Go(func() { r.do("DELETE", path, token, "") })
	both.Wait()
	if got := r.post("/v1/chat/completions", key, chatBody("")).refusal(); got.code != "credential_revoked" {
		t.Errorf("narrowed while it was revoked: %+v", got)
	}
}

// A key revoked through one gateway ends at another, whose cache would hold it for
// a minute yet.
func TestRevocationReachesOtherGateways(t *testing.T) {
	one := newRig(t)
	two := newRigOn(t, one.redis)
	two.chain.set(one.subject, func(g *policy.Grant) { *g = license(everything) })
	made := one.post("/v1/keys", one.signIn(one.wallet), `{"name":"shared"}`)
	key := made.field("key")
	if got := two.post("/v1/chat/completions", key, chatBody("")); got.status != 200 {
		t.Fatalf("the key at the other gateway: %d %s", got.status, got.body)
	}
	one.do("DELETE", "/v1/keys/"+made.field("id"), one.signIn(one.wallet), "")
	for end := time.Now().Add(patience); ; {
		got := two.post("/v1/chat/completions", key, chatBody(""))
		if got.status == 401 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v after its revocation the key still gets %d", patience, got.status)
		}
	}
}

func TestSignInOnce(t *testing.T) {
	r := newRig(t)
	key, _ := newWallet(t)
	message := r.post("/auth/challenge", "", map[string]string{"address": wallet.AddressText(key.Address())}).field("message")
	signature, err := key.SignPersonal(message)
	must(t, err)
	ask := map[string]string{"message": message, "signature": hexOf(signature)}
	if got := r.post("/auth/token", "", ask); got.status != 200 || !strings.Contains(got.body, `"expires_in":900`) {
		t.Fatalf("sign-in: %d %s", got.status, got.body)
	}
	if got := r.post("/auth/token", "", ask).refusal(); got.code != "sign_in_refused" {
		t.Errorf("the same challenge again: %+v", got)
	}
	if got := r.do("GET", "/.well-known/jwks.json", "", ""); !strings.Contains(got.body, `"alg":"EdDSA"`) || strings.Contains(got.body, `"d":`) {
		t.Errorf("jwks: %s", got.body)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := []byte("0x")
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}
