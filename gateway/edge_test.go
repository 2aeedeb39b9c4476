package gateway_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/policy"
)

// pair writes a certificate and its key, and returns them.
func pair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	plan := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &plan, &plan, &key.PublicKey, key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

// A reload takes new certificates; connections that stand stay, and a pair that does not
// fit changes nothing.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pair(t, dir, "one")
	secret, err := gateway.ParseSecret("file:" + filepath.Join(dir, "key.pem"))
	must(t, err)
	with := func(c *gateway.Config, _ *gateway.Deps) {
		c.TLS = gateway.TLSConfig{Certificate: filepath.Join(dir, "cert.pem"), Key: secret}
	}
	r := newRig(t)
	over := newRigOn(t, r.redis, with)
	over.key = r.key
	over.chain.set(r.subject, func(g *policy.Grant) { *g = license(everything) })
	address := strings.TrimPrefix(over.url, "http://")
	hello := func() string {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		must(t, err)
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := hello(); got != "one" {
		t.Errorf("the certificate is of %q", got)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ask := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+address+"/v1/chat/completions", strings.NewReader(chatBody(`,"stream":true`)))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+over.key)
		resp, err := client.Do(req)
		must(t, err)
		defer resp.Body.Close()
		if got := rest(t, resp.Body); !strings.Contains(got, "[DONE]") {
			t.Errorf("over TLS: %s", got)
		}
		return resp.StatusCode
	}
	if got := ask(); got != 200 {
		t.Errorf("over TLS: %d", got)
	}
	pair(t, dir, "two")
	must(t, over.reload(with, func() {}))
	if got := hello(); got != "two" {
		t.Errorf("after the reload the certificate is of %q", got)
	}
	if got := ask(); got != 200 { // on the connection from before
		t.Errorf("after the reload: %d", got)
	}
	pair(t, dir, "three") // renewed by what tells nobody
	over.server.RenewNow()
	if got := hello(); got != "three" {
		t.Errorf("after the files changed the certificate is of %q", got)
	}
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), []byte("nothing"), 0o600))
	over.server.RenewNow()
	if err := over.reload(with, func() {}); err == nil || !strings.Contains(err.Error(), "do not make a pair") {
		t.Errorf("a broken pair: %v", err)
	}
	if got := hello(); got != "three" {
		t.Errorf("after a reload that failed the certificate is of %q", got)
	}
}

// A client that leaves is noticed through TLS too.
func TestHangUpOverTLS(t *testing.T) {
	dir := t.TempDir()
	pair(t, dir, "one")
	secret, err := gateway.ParseSecret("file:" + filepath.Join(dir, "key.pem"))
	must(t, err)
	r := newRig(t)
	over := newRigOn(t, r.redis, func(c *gateway.Config, _ *gateway.Deps) {
		c.TLS = gateway.TLSConfig{Certificate: filepath.Join(dir, "cert.pem"), Key: secret}
	})
	over.chain.set(r.subject, func(g *policy.Grant) { *g = license(everything) })
	over.key = r.key
	c, err := tls.Dial("tcp", strings.TrimPrefix(over.url, "http://"), &tls.Config{InsecureSkipVerify: true})
	must(t, err)
	_, err = c.Write([]byte(over.request(holdStream)))
	must(t, err)
	over.runs(1)
	c.Close()
	over.freed()
	over.settled()
}

func TestCORS(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) {
		c.CORS = gateway.CORSConfig{Origins: []string{"https://app.example.com"}}
	})
	ask := func(method, origin string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), method, r.url+"/v1/models", http.NoBody)
		must(t, err)
		req.Header.Set("Origin", origin)
		req.Header.Set("Authorization", "Bearer "+r.key)
		if method == "OPTIONS" {
			req.Header.Set("Access-Control-Request-Method", "POST")
			req.Header.Set("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os")
			req.Header.Del("Authorization")
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		resp.Body.Close()
		return resp
	}
	preflight := ask("OPTIONS", "https://app.example.com")
	if h := preflight.Header; preflight.StatusCode != 204 || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		h.Get("Access-Control-Allow-Headers") != "authorization,content-type,x-stainless-os" || h.Get("Access-Control-Max-Age") != "3600" ||
		h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", preflight.StatusCode, h)
	}
	if got := ask("GET", "https://app.example.com"); got.StatusCode != 200 || got.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		!strings.Contains(got.Header.Get("Access-Control-Expose-Headers"), "x-request-id") {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
	if got := ask("OPTIONS", "https://evil.example.com"); got.StatusCode != 405 || got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin's preflight: %d %v", got.StatusCode, got.Header)
	}
	if got := ask("GET", "null"); got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("origin null: %v", got.Header)
	}
}

// What is left of a minute's requests and a day's tokens stands in headers, of the
// license or of the key, whichever is nearer.
func TestRateHeaders(t *testing.T) {
	r := newRig(t)
	if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.header.Get("x-ratelimit-limit-requests") != "" {
		t.Errorf("without a bound: %v", got.header)
	}
	r.chain.set(r.subject, func(g *policy.Grant) { g.Plan = policy.Plan{RPM: 100, TokensPerDay: 100_000} })
	key := r.post("/v1/keys", r.signIn(r.wallet), `{"name":"ci","tokens_per_day":1000}`).field("key")
	for _, want := range []map[string]string{
		{"limit-requests": "100", "remaining-requests": "98", "limit-tokens": "1000", "remaining-tokens": "891"}, // one went before, with another key
		{"limit-requests": "100", "remaining-requests": "97", "limit-tokens": "1000", "remaining-tokens": "880"}, // the first used 11 of its 109
	} {
		got := r.post("/v1/chat/completions", key, chatBody(`,"max_tokens":98`))
		for name, value := range want {
			if h := got.header.Get("x-ratelimit-" + name); h != value {
				t.Errorf("%s: %s, want %s", name, h, value)
			}
		}
		if d, err := time.ParseDuration(got.header.Get("x-ratelimit-reset-requests")); err != nil || d <= 0 || d > time.Minute {
			t.Errorf("reset of the minute: %s, %v", d, err)
		}
	}
}

// Profiles are behind the admin listener's token.
func TestProfiles(t *testing.T) {
	t.Setenv("FEALTY_TEST_ADMIN", "the admin token")
	token, err := gateway.ParseSecret("env:FEALTY_TEST_ADMIN")
	must(t, err)
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Admin.Token = token })
	for _, path := range []string{"/debug/pprof/heap?debug=1", "/debug/pprof/goroutine?debug=1", "/metrics"} {
		if got := r.do("GET", path, "", ""); got.refusal() != (refusal{401, "invalid_admin_token", "", "false"}) {
			t.Errorf("%s without the token: %d", path, got.status)
		}
		if got := r.do("GET", path, "the admin token", ""); got.status != 200 || len(got.body) < 100 {
			t.Errorf("%s: %d %.100s", path, got.status, got.body)
		}
	}
	if got := r.do("POST", "/reload", "", "").refusal(); got.status != 401 {
		t.Errorf("reload without the token: %+v", got)
	}
	if got := r.do("GET", "/v1/models/../../debug/pprof/", r.key, ""); got.status != 404 {
		t.Errorf("on the public listener: %d", got.status)
	}
}

// With log.requests there is one line for each answer: what the ledger has, and nothing
// that was said.
func TestLogOfRequests(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Log.Requests = true })
	for _, extra := range []string{"", `,"stream":true`} {
		got := r.post("/v1/chat/completions", r.key, strings.Replace(chatBody(extra), "hi", "a private matter", 1))
		id := got.header.Get("x-request-id")
		until(t, "the line is there", func() bool { return strings.Contains(r.log.String(), `"msg":"answered","request":"`+id+`"`) })
	}
	log := r.log.String()
	for _, want := range []string{`"model":"echo"`, `"status":200,"code":"ok"`, `"completion_tokens":16`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in %s", want, log)
		}
	}
	if strings.Contains(strings.ToLower(log), "private") || strings.Contains(log, r.key) {
		t.Errorf("the log holds what was said, or a key: %s", log)
	}
}

// Connections beyond the bound are told so, and make room again when they go.
func TestTooManyConnections(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Limits.Connections = 3 })
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // those that made the rig's key
	ask := func(c net.Conn) (int, string) {
		_, _ = io.WriteString(c, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	var held []net.Conn
	until(t, "three connections are held", func() bool {
		c := r.dial()
		status, _ := ask(c)
		if status == 200 {
			held = append(held, c)
		} else {
			c.Close()
		}
		return len(held) == 3
	})
	counted := func() int {
		n, _ := strconv.Atoi(r.metric(`fealty_requests_total{code="overloaded"}`)) // none so far: no line
		return n
	}
	before := counted()
	resp, err := http.ReadResponse(bufio.NewReader(r.dial()), nil) // it is told before it asks
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	id := resp.Header.Get("x-request-id")
	if resp.StatusCode != 503 || !strings.Contains(string(body), `"code":"overloaded"`) || len(id) != len("req_")+32 {
		t.Errorf("the fourth: %d %v %s", resp.StatusCode, resp.Header, body)
	}
	if n := counted() - before; n != 1 || !strings.Contains(r.log.String(), id) {
		t.Errorf("it is counted %d times, want once, and logged as %s: %s", n, id, r.log)
	}
	held[0].Close()
	until(t, "there is room again", func() bool { status, _ := ask(r.dial()); return status == 200 })
}

// A client of HTTP/1.0 knows no chunks: it is told so, and gets whole answers.
func TestHTTP10(t *testing.T) {
	r := newRig(t)
	for body, want := range map[string]int{chatBody(""): 200, chatBody(`,"stream":true`): 505} {
		got := r.raw(strings.Replace(r.request(body), "HTTP/1.1", "HTTP/1.0", 1))
		if got.status != want || got.header.Get("Transfer-Encoding") != "" || want == 505 && !strings.Contains(got.body, "proxy_http_version") {
			t.Errorf("%s: %d %v %s", body, got.status, got.header, got.body)
		}
	}
}

// exhausted is a listener of a process without file descriptors, for some tries.
type exhausted struct {
	net.Listener
	tries atomic.Int32
}

func (e *exhausted) Accept() (net.Conn, error) {
	if e.tries.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return e.Listener.Accept()
}

// Too many open files is no reason to stop serving: connections wait until some are closed.
func TestOutOfFileDescriptors(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	e := &exhausted{Listener: l}
	e.tries.Store(2)
	go func() { _ = r.server.Serve(e) }() // whether it goes on is seen below
	r.url = "http://" + l.Addr().String()
	if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != 200 {
		t.Errorf("afterwards: %d %s", got.status, got.body)
	}
	if n := strings.Count(r.log.String(), "too many open files"); n != 2 {
		t.Errorf("%d log lines say so, want 2", n)
	}
}
