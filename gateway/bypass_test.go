package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/fealty/fealty/gateway/upstream"
)

// sent is what an upstream was asked.
type sent struct {
	count  int // times since it was last taken
	uri    string
	header http.Header
	body   string
}

// asked is an upstream that tells what it was sent.
type asked struct {
	mu   sync.Mutex
	last sent
}

func (a *asked) handle(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.last = sent{a.last.count + 1, r.RequestURI, r.Header, string(body)}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"object":"x","choices":[{}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
}

func (a *asked) take() sent {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.last
	a.last = sent{}
	return out
}

// behindUpstream is a gateway before a server that tells what it was asked.
func behindUpstream(t *testing.T, s upstream.Server) (*rig, *asked) {
	t.Helper()
	a := &asked{}
	server := httptest.NewServer(http.HandlerFunc(a.handle))
	t.Cleanup(server.Close)
	s.URL, s.Model, s.Key = server.URL+"/v1", "theirs", []byte("our-key")
	pool, err := upstream.New(upstream.Options{Servers: []upstream.Server{s}, Check: -1, Connect: patience})
	must(t, err)
	t.Cleanup(pool.Close)
	return newRig(t, withBackend(pool)), a
}

// Whatever a caller writes, the upstream reads the model, the bound and the stream
// options that the gateway checked; what could mean something else never gets there.
func TestBypass(t *testing.T) {
	r, up := behindUpstream(t, upstream.Server{Deny: []string{"Logprobs"}, Allow: []string{"chat_template_kwargs"}})
	refusedAs := map[string][]string{
		"duplicate_parameter": {
			`,"model":"other"`, `,"mod\u0065l":"other"`, `,"\u006dodel":"other"`, `,"messages":[]`, `,"max_tokens":1,"max_tokens":9`, `,"stream":false,"stre\u0061m":true`,
			`,"vendor":1,"vendor":2`,
		},
		"unknown_parameter": {
			`,"Model":"other"`, `,"MODEL":"other"`, `,"mOdel":"other"`, `,"Max_Tokens":9`, `,"max_toKens":9`, `,"ſtream":true`, `,"meſſages":[]`, `,"max_to\u212aens":9`,
			`,"Stream_Options":{}`, `,"N":9`,
		},
		"unsupported_parameter": {
			`,"n_predict":-1`, `,"N_Predict":-1`, `,"n_predi\u0063t":-1`, `,"max_new_tokens":9`, `,"ignore_eos":true`, `,"min_tokens":9`, `,"chat_template":"x"`, `,"add_generation_prompt":false`,
			`,"lora":[{"id":0}]`, `,"lora_path":"x"`, `,"adapter_id":"x"`, `,"models":["other"]`, `,"route":"fallback"`, `,"extra_body":{"model":"other"}`,
			`,"prompt_logprobs":1`, `,"n_probs":9`, `,"return_hidden_states":true`, `,"id_slot":0`, `,"ſession_id":1`, `,"priority":-9`, `,"kv_transfer_params":{}`, `,"api_base":"http://evil"`,
			`,"logprobs":true`, // by this server's own list
			`,"continue_final_message":true`, `,"documents":[]`, `,"bootstrap_host":"evil"`, `,"previous_response_id":"x"`,
		},
		"invalid_value": {
			`,"max_tokens":-1`, `,"max_tokens":1e9`, `,"max_tokens":"9"`, `,"max_tokens":2049`, `,"max_completion_tokens":2049`, `,"max_tokens":1,"max_completion_tokens":2`,
			`,"stream":"true"`, `,"stream":1`, `,"stream_options":[]`, `,"n":129`, `,"n":-1`,
		},
		"invalid_json": {`}{"model":"other"`, `,"x":NaN`, ",\"x\":\"\xff\"", `,"x":"\ud8"`, `,'model':"other"`, `/**/`},
	}
	for code, list := range refusedAs {
		for _, extra := range list {
			got := r.post("/v1/chat/completions", r.key, chatBody(extra))
			if got.status != 400 || got.field("error.code") != code || up.take().count != 0 {
				t.Errorf("%s: %d %s, want %s and nothing sent", extra, got.status, got.body, code)
			}
		}
	}
	for _, extra := range []string{
		``, `,"max_tokens":7`, `,"metadata":{"model":"other","max_tokens":1e9}`, `,"user":"model","vendor":{"a":[{"model":"other"}], "b" : "\u0041"}`,
		`,"\uff4dodel":"other"`, `,"model\u200b":"other"`, `,"model ":"other"`, `,"chat_template_kwargs":{"enable_thinking":false}`, `,"tools":[{"type":"function"}]`,
		`,"response_format":{"type":"json_object"}`, `,"n":4`, `,"stream_options":null`, `,"stream":null`, `,"max_tokens":null`,
	} {
		body := chatBody(extra)
		want := strings.Replace(body, `"echo"`, `"theirs"`, 1)
		switch extra {
		case `,"max_tokens":7`:
		case `,"max_tokens":null`:
			want = strings.Replace(want, "null", "64", 1)
		default:
			want = `{"max_tokens":64,` + want[1:]
		}
		if got, sent := r.post("/v1/chat/completions", r.key, body), up.take(); got.status != 200 || sent.body != want {
			t.Errorf("%s: %d %s; sent %s, want %s", extra, got.status, got.body, sent.body, want)
		}
	}
}

// What stands beside the body reaches no upstream either.
func TestBypassByHeaders(t *testing.T) {
	r, up := behindUpstream(t, upstream.Server{})
	do := func(path string, body string, header map[string][]string) (int, sent) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+r.key)
		req.Header.Set("Content-Type", "application/json")
		for name, values := range header {
			req.Header[name] = values
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		defer resp.Body.Close()
		return resp.StatusCode, up.take()
	}
	status, sent := do("/v1/chat/completions?model=other&api-version=1", chatBody(""), map[string][]string{
		"Cookie": {"session=x"}, "Proxy-Authorization": {"Basic x"}, "X-Api-Key": {"x"}, "Api-Key": {"x"}, "Openai-Organization": {"x"}, "Openai-Project": {"x"},
		"X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=x"}, "X-Http-Method-Override": {"DELETE"}, "X-Model": {"other"}, "X-Original-Url": {"/v1/models"},
		"Te": {"trailers"}, "Connection": {"x-secret"}, "X-Secret": {"x"}, "X-Request-Id": {"theirs"}, "Accept": {"text/html"}, "Accept-Encoding": {"gzip"},
	})
	if status != 200 || sent.uri != "/v1/chat/completions" {
		t.Errorf("status %d; the upstream was asked for %s", status, sent.uri)
	}
	for name, values := range sent.header {
		switch name {
		case "Content-Type", "Content-Length", "User-Agent":
		case "Authorization":
			if len(values) != 1 || values[0] != "Bearer our-key" {
				t.Errorf("authorised by %q", values)
			}
		case "X-Request-Id":
			if len(values) != 1 || len(values[0]) != 32 {
				t.Errorf("the request's id is the caller's: %q", values)
			}
		default:
			t.Errorf("the upstream was sent %s: %q", name, values)
		}
	}
	utf16 := func(s string) string {
		var out strings.Builder
		for _, c := range []byte(s) {
			out.WriteByte(c)
			out.WriteByte(0)
		}
		return out.String()
	}
	for name, c := range map[string]struct {
		body   string
		header map[string][]string
		want   int
	}{
		"charset":             {chatBody(""), map[string][]string{"Content-Type": {"application/json; charset=utf-8"}}, 200},
		"no type":             {chatBody(""), map[string][]string{"Content-Type": {}}, 200},
		"text":                {chatBody(""), map[string][]string{"Content-Type": {"text/plain"}}, 415},
		"form":                {"model=echo", map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}, 415},
		"multipart":           {chatBody(""), map[string][]string{"Content-Type": {"multipart/form-data; boundary=x"}}, 415},
		"two types in one":    {chatBody(""), map[string][]string{"Content-Type": {"application/json, text/plain"}}, 415},
		"another JSON":        {chatBody(""), map[string][]string{"Content-Type": {"application/json-seq"}}, 415},
		"gzip":                {chatBody(""), map[string][]string{"Content-Encoding": {"gzip"}}, 415},
		"identity":            {chatBody(""), map[string][]string{"Content-Encoding": {"identity"}}, 200},
		"a list of encodings": {chatBody(""), map[string][]string{"Content-Encoding": {"identity, br"}}, 415},
		"UTF-16":              {utf16(chatBody("")), nil, 400},
		"byte order mark":     {"\xef\xbb\xbf" + chatBody(""), nil, 400},
		"UTF-16 mark":         {"\xff\xfe" + utf16(chatBody("")), nil, 400},
		"NUL":                 {chatBody("") + "\x00", nil, 400},
		"overlong":            {strings.Replace(chatBody(""), "hi", "\xc0\xaf", 1), nil, 400},
		"newline-delimited":   {chatBody("") + "\n" + chatBody(""), nil, 400},
	} {
		status, sent := do("/v1/chat/completions", c.body, c.header)
		if status != c.want || (sent.count > 0) != (c.want == 200) {
			t.Errorf("%s: status %d and %d requests sent, want %d", name, status, sent.count, c.want)
		}
	}
}

// Embeddings and responses go through, and are bounded and kept by our word.
func TestOtherEndpointsGoThrough(t *testing.T) {
	r, up := behindUpstream(t, upstream.Server{})
	for _, c := range []struct{ path, body, want string }{
		{"/v1/embeddings", `{"model":"echo","input":["a","b"],"dimensions":3}`, `{"model":"theirs","input":["a","b"],"dimensions":3}`},
		{"/v1/responses", `{"model":"echo","input":"a","store":true}`, `{"max_output_tokens":64,"model":"theirs","input":"a","store":false}`},
	} {
		got := r.post(c.path, r.key, c.body)
		sent := up.take()
		if got.status != 200 || sent.uri != c.path || sent.body != c.want {
			t.Errorf("%s: %d %s; sent %s to %s, want %s", c.path, got.status, got.body, sent.body, sent.uri, c.want)
		}
	}
	if got := r.post("/v1/responses", r.key, `{"model":"echo","input":"a","previous_response_id":"resp_1"}`); got.status != 400 {
		t.Errorf("another conversation: %d %s", got.status, got.body)
	}
}
