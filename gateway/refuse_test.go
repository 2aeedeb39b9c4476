package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/rules"
	"github.com/fealty/fealty/policy"
)

// refusal is what a client can match in an error.
type refusal struct {
	status      int
	code, param string
	retry       string
}

func (r reply) refusal() refusal {
	r.t.Helper()
	var body struct {
		Error struct {
			Message, Type, Code string
			Param               *string
		}
	}
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || body.Error.Message == "" || body.Error.Type == "" {
		r.t.Fatalf("status %d: no OpenAI error body: %q (%v)", r.status, r.body, err)
	}
	if !strings.HasPrefix(r.header.Get("x-request-id"), "req_") || r.header.Get("openai-processing-ms") == "" {
		r.t.Errorf("status %d: headers %v lack x-request-id or openai-processing-ms", r.status, r.header)
	}
	out := refusal{status: r.status, code: body.Error.Code, retry: r.header.Get("x-should-retry")}
	if body.Error.Param != nil {
		out.param = *body.Error.Param
	}
	return out
}

func chatBody(extra string) string {
	return `{"model":"echo","messages":[{"role":"user","content":"hi"}]` + extra + `}`
}

func TestRefusedRequests(t *testing.T) {
	r := newRig(t)
	const chat = "/v1/chat/completions"
	for _, c := range []struct {
		method, path, body string
		want               refusal
	}{
		{"POST", chat, `{"model":`, refusal{400, "invalid_json", "model", "false"}},
		{"POST", chat, `[]`, refusal{400, "invalid_json", "", "false"}},
		{"POST", chat, ``, refusal{400, "invalid_json", "", "false"}},
		{"POST", chat, chatBody(`,"temperature":NaN`), refusal{400, "invalid_json", "temperature", "false"}},
		{"POST", chat, chatBody(`,"temperature":-1`), refusal{400, "invalid_value", "temperature", "false"}},
		{"POST", chat, chatBody(`,"top_p":1e999`), refusal{400, "invalid_value", "top_p", "false"}},
		{"POST", chat, chatBody(`,"model":"other"`), refusal{400, "duplicate_parameter", "model", "false"}},
		{"POST", chat, chatBody(`,"mod\u0065l":"other"`), refusal{400, "duplicate_parameter", "model", "false"}},
		{"POST", chat, chatBody(`,"Model":"other"`), refusal{400, "unknown_parameter", "Model", "false"}},
		{"POST", chat, chatBody(",\"user\":\"\xff\""), refusal{400, "invalid_json", "user", "false"}},
		{"POST", chat, chatBody(`,"x":` + strings.Repeat("[", 2000)), refusal{400, "invalid_json", "x", "false"}},
		{"POST", chat, chatBody(`,"tools":[{"type":"function"}]`), refusal{400, "unsupported_parameter", "tools", "false"}},
		{"POST", chat, chatBody(`,"response_format":{"type":"json_object"}`), refusal{400, "unsupported_parameter", "response_format", "false"}},
		{"POST", chat, chatBody(`,"audio":{}`), refusal{400, "unsupported_parameter", "audio", "false"}},
		{"POST", chat, chatBody(`,"top_logprobs":2`), refusal{400, "invalid_value", "top_logprobs", "false"}},
		{"POST", "/v1/completions", `{"model":"echo","prompt":[1,2],"best_of":2}`, refusal{400, "unsupported_parameter", "best_of", "false"}},
		{"POST", "/v1/completions", `{"model":"echo","prompt":"x","max_tokens":0}`, refusal{400, "invalid_value", "max_tokens", "false"}},
		{"POST", "/v1/embeddings", `{"model":"echo","input":"x"}`, refusal{404, "unsupported_endpoint", "model", "false"}},
		{"POST", "/v1/embeddings", `{"model":"echo"}`, refusal{400, "invalid_value", "input", "false"}},
		{"POST", "/v1/responses", `{"model":"echo","input":"x"}`, refusal{404, "unsupported_endpoint", "model", "false"}},
		{"POST", chat, chatBody(`,"max_tokens":2049`), refusal{400, "invalid_value", "max_tokens", "false"}},
		{"POST", chat, strings.Replace(chatBody(""), "hi", strings.Repeat("x", 5000), 1), refusal{400, "context_length_exceeded", "messages", "false"}},
		{"POST", chat, `{"model":"nope","messages":[{"role":"user","content":"hi"}]}`, refusal{404, "model_not_found", "model", "false"}},
		{"POST", chat, strings.Replace(chatBody(""), "hi", "busy", 1), refusal{503, "overloaded", "", "true"}},
		{"POST", chat, strings.Replace(chatBody(""), "hi", "break", 1), refusal{500, "internal_error", "", "false"}},
		{"GET", "/v1/models/nope", "", refusal{404, "model_not_found", "model", "false"}},
		{"GET", chat, "", refusal{405, "method_not_allowed", "", "false"}},
		{"POST", "/v1/chat/completions/", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"POST", "/v1/chat%2Fcompletions", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"POST", "/v1/chat%252Fcompletions", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"POST", "/v1/x/../chat/completions", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"POST", "/v1/x/%2e%2e/chat/completions", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"POST", "/v1/chat/completions;x=1", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"GET", "/v1/models/echo%252F", "", refusal{404, "model_not_found", "model", "false"}},
		{"POST", "/v1//chat/completions", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"POST", "/V1/chat/completions", chatBody(""), refusal{404, "unknown_url", "", "false"}},
		{"GET", "/metrics-of-the-public-listener", "", refusal{404, "unknown_url", "", "false"}},
		{"GET", "/v1/keys", "", refusal{403, "token_required", "", "false"}},
		{"GET", "/v1/usage?from=yesterday", "", refusal{400, "invalid_value", "from", "false"}},
		{"GET", "/v1/usage?from=2020-01-01", "", refusal{400, "invalid_value", "from", "false"}},
		{"POST", "/auth/challenge", `{"address":"0x12"}`, refusal{400, "invalid_value", "address", "false"}},
		{"POST", "/auth/challenge", `{"address":"0x12","x":1}`, refusal{400, "invalid_value", "", "false"}},
		{"POST", "/auth/token", `{"message":"hello","signature":"00"}`, refusal{401, "sign_in_refused", "", "false"}},
	} {
		got := r.do(c.method, c.path, r.key, c.body)
		if got.refusal() != c.want {
			t.Errorf("%s %s %.80s\n got %+v: %s\nwant %+v", c.method, c.path, c.body, got.refusal(), got.body, c.want)
		}
	}
	if strings.Contains(r.log.String(), "hi\"") {
		t.Error("the log holds a prompt")
	}
	if got := r.metric(`fealty_requests_total{code="unsupported_parameter"}`); got != "4" {
		t.Errorf("counted %q refusals as unsupported_parameter, want 4", got)
	}
	if r.post(chat, r.key, chatBody("")).status != 200 {
		t.Error("after all that the gateway no longer serves")
	}
}

func TestRefusedLicenses(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name   string
		change func(*policy.Grant)
		want   refusal
	}{
		{"none", func(g *policy.Grant) { *g = policy.Grant{} }, refusal{402, "no_license", "", "false"}},
		{"expired", func(g *policy.Grant) { g.Final.NotAfter = 2 }, refusal{402, "license_expired", "", "false"}},
		{"too early", func(g *policy.Grant) { g.Final.NotBefore = 1 << 39 }, refusal{403, "license_not_yet_valid", "", "false"}},
		{"revoked", func(g *policy.Grant) { g.Latest.Status = policy.Revoked }, refusal{403, "license_revoked", "", "false"}},
		{"suspended", func(g *policy.Grant) { g.Latest.Status = policy.Suspended }, refusal{403, "license_suspended", "", "false"}},
		{"no chat", func(g *policy.Grant) { g.Final.Scope = policy.ScopeCompletions }, refusal{403, "scope_missing", "", "false"}},
	} {
		r.chain.set(r.subject, func(g *policy.Grant) { *g = license(everything); c.change(g) })
		got := r.post("/v1/chat/completions", r.key, chatBody(""))
		if got.refusal() != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got.refusal(), c.want)
		}
		if c.want.status == 402 {
			for _, how := range []string{"registry 0x", "model 0x", "chain base", "eip155:1337:0x"} {
				if !strings.Contains(got.field("error.message"), how) {
					t.Errorf("%s: the message does not say how to buy (%s): %s", c.name, how, got.body)
				}
			}
		}
	}
	r.chain.set(r.subject, func(g *policy.Grant) { *g = license(everything) })
	r.chain.fail(errors.New("the node is gone"))
	got := r.post("/v1/chat/completions", r.key, chatBody(""))
	if want := (refusal{503, "license_unavailable", "", "true"}); got.refusal() != want || got.header.Get("retry-after") != "2" {
		t.Errorf("no chain: got %+v, want %+v and retry-after 2", got.refusal(), want)
	}
	if strings.Contains(got.body, "node is gone") || !strings.Contains(r.log.String(), "node is gone") {
		t.Error("the cause belongs in the log, not in the reply")
	}
}

func TestHostGrant(t *testing.T) {
	r := newRig(t)
	r.chain.set(r.host, func(g *policy.Grant) { g.Latest.Status = policy.Revoked })
	got := r.post("/v1/chat/completions", r.key, chatBody("")).refusal()
	if want := (refusal{403, "host_unlicensed", "model", "false"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	models, err := r.client().Models(t.Context())
	must(t, err)
	if len(models) != 0 {
		t.Errorf("the model is still listed: %+v", models)
	}
	if ready := r.do("GET", "/readyz", "", ""); ready.status != 503 || !strings.HasPrefix(ready.body, "echo: host_unlicensed: This host may not serve") {
		t.Errorf("readyz: %d %q", ready.status, ready.body)
	}
	r.chain.set(r.host, func(g *policy.Grant) { *g = license(policy.ScopeHost) })
	if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != 200 {
		t.Errorf("after the grant came back: %d %s", got.status, got.body)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	r.chain.set(r.subject, func(g *policy.Grant) { g.Plan = policy.Plan{TokensPerDay: 200} })
	ask := chatBody(`,"max_tokens":100`)
	for i := range 2 { // 9 tokens of prompt and 2 of answer each: settled, not as reserved
		if got := r.post("/v1/chat/completions", r.key, ask); got.status != 200 {
			t.Fatalf("request %d: %d %s", i, got.status, got.body)
		}
	}
	got := r.post("/v1/chat/completions", r.key, chatBody(`,"max_tokens":190`))
	if want := (refusal{429, "insufficient_quota", "", "false"}); got.refusal() != want {
		t.Errorf("over the day's tokens: got %+v, want %+v", got.refusal(), want)
	}
	r.chain.set(r.subject, func(g *policy.Grant) { g.Plan = policy.Plan{RPM: 1} })
	got = r.post("/v1/chat/completions", r.key, ask)
	if want := (refusal{429, "rate_limit_exceeded", "", "true"}); got.refusal() != want || got.header.Get("retry-after") == "" {
		t.Errorf("over the minute's requests: got %+v, retry-after %q, want %+v", got.refusal(), got.header.Get("retry-after"), want)
	}
}

func TestCapsOfTheOperator(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Models[0].Caps = gateway.CapsConfig{RPM: 2} })
	r.chain.set(r.subject, func(g *policy.Grant) { g.Plan = policy.Plan{RPM: 100} })
	for i, want := range []int{200, 200, 429} {
		if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != want {
			t.Errorf("request %d: %d %s, want %d", i, got.status, got.body, want)
		}
	}
}

func TestRulesOfTheOperator(t *testing.T) {
	own, err := rules.Parse("own", []byte(`permit (principal, action, resource);
forbid (principal, action == Action::"chat", resource == Model::"echo") when { context.max_tokens > 100 && !context.stream };
forbid (principal, action == Action::"completions", resource) when { context.nothing == 1 };`))
	must(t, err)
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) { d.Rules = own })
	for name, c := range map[string]struct {
		path, body string
		want       refusal
	}{
		"permitted":     {"/v1/chat/completions", chatBody(`,"max_tokens":100`), refusal{status: 200}},
		"forbidden":     {"/v1/chat/completions", chatBody(`,"max_tokens":101`), refusal{403, "operator_rule", "", "false"}},
		"a broken rule": {"/v1/completions", `{"model":"echo","prompt":"hi"}`, refusal{503, "rules_unavailable", "", "false"}},
	} {
		got := r.post(c.path, r.key, c.body)
		if got.status != c.want.status || got.status != 200 && got.refusal() != c.want {
			t.Errorf("%s: %d %s, want %+v", name, got.status, got.body, c.want)
		}
	}
	if !strings.Contains(r.log.String(), "nothing") {
		t.Error("the log does not say which rule failed")
	}
}

func TestStateLost(t *testing.T) {
	r := newRig(t)
	other, _ := newWallet(t)
	key := r.apiKey(other) // never used: nothing of it is cached
	want := refusal{503, "state_unavailable", "", "true"}
	r.redis.Flush()
	if got := r.post("/v1/chat/completions", key, chatBody("")).refusal(); got != want {
		t.Errorf("flushed state: got %+v, want %+v", got, want)
	}
	r.redis.Close()
	for name, credential := range map[string]string{"unknown to the cache": key, "cached": r.key} {
		if got := r.post("/v1/chat/completions", credential, chatBody("")).refusal(); got != want {
			t.Errorf("state gone, key %s: got %+v, want %+v", name, got, want)
		}
	}
}

// raw sends bytes and reads one response.
func (r *rig) raw(text string) reply {
	r.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(r.t, err)
	defer c.Close()
	must(r.t, c.SetDeadline(time.Now().Add(patience)))
	go func() { _, _ = io.WriteString(c, text) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(r.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(r.t, err)
	return reply{t: r.t, status: resp.StatusCode, header: resp.Header, body: string(body)}
}

func TestRefusedByTheTransport(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) {
		c.Limits.Body = 1 << 20
		c.Timeouts.Read = 6 * time.Second // all but the slow one are to be read within it
	})
	const post = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	big := strings.Repeat("x", 3<<20)
	for name, c := range map[string]struct {
		text string
		want refusal
	}{
		"not HTTP":         {"hello\r\n\r\n", refusal{400, "invalid_http", "", "false"}},
		"two lengths":      {post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", refusal{400, "invalid_http", "", "false"}},
		"huge header":      {post + "X-A: " + big[:20<<10] + "\r\n\r\n", refusal{431, "headers_too_large", "", "false"}},
		"huge body":        {post + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(big), big), refusal{413, "request_too_large", "", "false"}},
		"huge chunked":     {post + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big), refusal{413, "request_too_large", "", "false"}},
		"slow":             {post + "Content-Length: 100\r\n\r\n{", refusal{408, "request_timeout", "", "true"}},
		"no credential":    {post + "Content-Length: 2\r\n\r\n{}", refusal{401, "missing_credential", "", "false"}},
		"two credentials":  {post + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: 2\r\n\r\n{}", refusal{401, "missing_credential", "", "false"}},
		"other scheme":     {post + "Authorization: Basic YTpi\r\nContent-Length: 2\r\n\r\n{}", refusal{401, "missing_credential", "", "false"}},
		"encoded body":     {post + "Authorization: Bearer " + r.key + "\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", refusal{415, "unsupported_encoding", "", "false"}},
		"absolute request": {"GET http://evil/v1/models HTTP/1.1\r\nHost: x\r\n\r\n", refusal{404, "unknown_url", "", "false"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.raw(c.text); got.refusal() != c.want {
				t.Errorf("got %+v: %s\nwant %+v", got.refusal(), got.body, c.want)
			}
		})
	}
}

func TestOtherMediaTypes(t *testing.T) {
	r := newRig(t)
	for kind, want := range map[string]int{"text/plain": 415, "application/x-www-form-urlencoded": 415, "Application/JSON; charset=utf-8": 200, "multipart/form-data; boundary=x": 415} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/v1/chat/completions", strings.NewReader(chatBody("")))
		must(t, err)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+r.key)
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", kind, resp.StatusCode, want)
		}
	}
}

func TestPanic(t *testing.T) {
	r := newRig(t)
	got := r.post("/v1/chat/completions", r.key, strings.Replace(chatBody(""), "hi", "panic", 1))
	if want := (refusal{500, "internal_error", "", "false"}); got.refusal() != want {
		t.Errorf("got %+v, want %+v", got.refusal(), want)
	}
	if n := strings.Count(r.log.String(), `"msg":"panic"`); n != 1 || r.metric("fealty_panics_total") != "1" {
		t.Errorf("%d log lines and a count of %s, want one of each", n, r.metric("fealty_panics_total"))
	}
	if got := r.metric("fealty_answers_running"); got != "0" {
		t.Errorf("%s answers still hold a slot", got)
	}
}

func TestOverload(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Limits.Concurrent = 1 })
	held := r.send("POST", "/v1/chat/completions", r.key, strings.Replace(chatBody(`,"stream":true`), "hi", "hold", 1))
	defer held.Body.Close()
	got := r.post("/v1/chat/completions", r.key, chatBody(""))
	if want := (refusal{503, "overloaded", "", "true"}); got.refusal() != want {
		t.Errorf("got %+v, want %+v", got.refusal(), want)
	}
}

// A client may send the next request before it has read the answer: what the
// watcher for hang-ups read belongs to that request.
func TestPipelining(t *testing.T) {
	r := newRig(t)
	body := chatBody("")
	one := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", r.key, len(body), body)
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	const requests = 20
	go func() {
		for piece := range bytes.SplitAfterSeq([]byte(strings.Repeat(one, requests)), []byte("e")) {
			_, _ = c.Write(piece) // in many small writes, so that they arrive at odd times
		}
	}()
	in := bufio.NewReader(c)
	for i := range requests {
		resp, err := http.ReadResponse(in, nil)
		must(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, err)
		if resp.StatusCode != 200 {
			t.Fatalf("answer %d: status %d", i, resp.StatusCode)
		}
	}
}

// An answer that is not there after timeouts.request is given up, and its engine freed.
func TestRequestTimeout(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Request = 100 * time.Millisecond })
	got := r.post("/v1/chat/completions", r.key, strings.Replace(chatBody(""), "hi", "hold on", 1))
	if want := (refusal{503, "request_timeout", "", "false"}); got.refusal() != want || !strings.Contains(got.body, "timeouts.request") {
		t.Errorf("%d %s, want %+v", got.status, got.body, want)
	}
	r.settled()
	if n := r.metric(`fealty_requests_total{code="request_timeout"}`); n != "1" {
		t.Errorf("counted %q times, want 1", n)
	}
}
