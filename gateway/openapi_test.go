package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// described checks exchanges against the document that the gateway serves.
type described struct {
	*rig
	router routers.Router
}

func describe(t *testing.T, r *rig) *described {
	t.Helper()
	openapi3filter.RegisterBodyDecoder("text/event-stream", func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		text, err := io.ReadAll(body)
		return string(text), err
	})
	doc, err := openapi3.NewLoader().LoadFromData([]byte(r.do("GET", "/openapi.json", "", "").body))
	must(t, err)
	must(t, doc.Validate(t.Context()))
	router, err := gorillamux.NewRouter(doc)
	must(t, err)
	return &described{rig: r, router: router}
}

// check sends the request; valid says whether the document allows it. The answer
// must be one that the document describes either way.
func (d *described) check(t *testing.T, method, path, key, body string, valid bool) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	route, params, err := d.router.FindRoute(req)
	if err != nil {
		t.Fatalf("%s %s is not described: %v", method, path, err)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	err = openapi3filter.ValidateRequest(t.Context(), input)
	if (err == nil) != valid {
		t.Errorf("%s %s %.200s: the document says %v, want it to be valid: %v", method, path, body, err, valid)
	}
	got := d.do(method, path, key, body)
	if (got.status == 200) != valid {
		t.Errorf("%s %s %.200s: status %d: %s", method, path, body, got.status, got.body)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options}
	if err := openapi3filter.ValidateResponse(t.Context(), out.SetBodyBytes([]byte(got.body))); err != nil {
		t.Errorf("%s %s %.200s: status %d: %v\n%s", method, path, body, got.status, err, got.body)
	}
	return got
}

// What the gateway takes and answers is what its document says.
func TestOpenAPI(t *testing.T) {
	d := describe(t, newRig(t))
	for _, c := range wire {
		d.check(t, "POST", c.path, d.key, c.body, true)
	}
	for _, extra := range []string{
		`,"temperature":2.1`, `,"temperature":"1"`, `,"top_p":-0.1`, `,"min_p":2`, `,"top_k":-2`, `,"frequency_penalty":3`, `,"presence_penalty":-3`,
		`,"repetition_penalty":0`, `,"seed":1.5`, `,"n":0`, `,"n":129`, `,"stop":["a","b","c","d","e"]`, `,"stop":7`, `,"stop":""`, `,"max_tokens":0`,
		`,"max_completion_tokens":-1`, `,"stream":1`, `,"stream_options":[]`, `,"logprobs":1`, `,"top_logprobs":21`, `,"logit_bias":{"1":101}`,
	} {
		d.check(t, "POST", "/v1/chat/completions", d.key, chatBody(extra), false)
	}
	for _, extra := range []string{
		`,"temperature":null,"top_p":0.5,"min_p":0,"top_k":-1,"seed":-9,"stop":["x"],"logit_bias":{"5":-100},"user":"u","vendor":[1]`,
		`,"frequency_penalty":-2,"presence_penalty":2,"repetition_penalty":10,"max_tokens":1,"tools":[],"response_format":{"type":"text"}`,
	} {
		d.check(t, "POST", "/v1/chat/completions", d.key, chatBody(extra), true)
	}
	d.check(t, "POST", "/v1/completions", d.key, `{"model":"echo","prompt":{}}`, false)
	d.check(t, "POST", "/v1/completions", d.key, `{"model":"echo"}`, false)
	for _, path := range []string{"/v1/models", "/v1/models/echo", "/v1/usage", "/v1/usage?from=2026-01-01&to=2026-01-02", "/.well-known/jwks.json", "/openapi.json"} {
		d.check(t, "GET", path, d.key, "", true)
	}
	token := d.signIn(d.wallet)
	made := d.check(t, "POST", "/v1/keys", token, `{"name":"a","models":["echo"],"rpm":5,"expires":"2099-01-01T00:00:00Z"}`, true)
	d.check(t, "PATCH", "/v1/keys/"+made.field("id"), token, `{"rpm":4}`, true)
	d.check(t, "POST", "/v1/keys", token, `{"name":"a","admin":true}`, false)
	d.check(t, "GET", "/v1/keys", token, "", true)
	d.check(t, "DELETE", "/v1/keys/"+made.field("id"), token, "", true)
	d.check(t, "POST", "/auth/challenge", "", `{"address":"0x0000000000000000000000000000000000000001"}`, true)
	d.check(t, "POST", "/auth/challenge", "", `{}`, false)
	d.check(t, "POST", "/auth/revoke", token, "", true)
}
