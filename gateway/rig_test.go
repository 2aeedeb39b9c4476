package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/embedded"
	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

// bytesTokenizer has a token for each byte and one for the end. Its chat template
// is the roles and contents, a line each.
type bytesTokenizer struct{}

const endToken = 256

func (bytesTokenizer) EncodeChat(messages []tokenizer.Message) ([]int32, error) {
	var text strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&text, "%s: %s\n", m.Role, m.Content)
	}
	return bytesTokenizer{}.Encode(text.String(), false), nil
}

func (bytesTokenizer) Encode(text string, _ bool) []int32 {
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i])
	}
	return ids
}

func (bytesTokenizer) Bytes(id int32) []byte {
	if id == endToken {
		return nil
	}
	return []byte{byte(id)}
}

func (bytesTokenizer) EOS() []int32 { return []int32{endToken} }

// echoEngine answers with the last line of the prompt, in capitals. A prompt with
// "hold" in it stops after two tokens until its context ends; one with "panic"
// panics, one with "break" fails after two tokens, one with "busy" is refused.
type echoEngine struct {
	mu      sync.Mutex
	started int
	freed   chan struct{} // one receive per closed generation
	resume  chan struct{} // closed: nothing holds any more
}

func newEchoEngine() *echoEngine {
	return &echoEngine{freed: make(chan struct{}, 1024), resume: make(chan struct{})}
}

func (e *echoEngine) Generate(_ context.Context, r engine.Request) (embedded.Generation, error) {
	var text strings.Builder
	for _, id := range r.Prompt {
		text.WriteByte(byte(id))
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	last := strings.TrimPrefix(lines[len(lines)-1], "user: ")
	if strings.Contains(last, "panic") {
		panic("the engine was told to")
	}
	if strings.Contains(last, "busy") {
		return nil, fmt.Errorf("wrapped: %w", engine.ErrBusy)
	}
	e.mu.Lock()
	e.started++
	e.mu.Unlock()
	return &echo{engine: e, rest: []byte(strings.ToUpper(last)), left: r.MaxTokens, ask: last, choose: r.Choose}, nil
}

func (e *echoEngine) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.started
}

type echo struct {
	engine *echoEngine
	rest   []byte
	left   int
	sent   int
	ask    string
	finish string
	choose engine.Chooser
	made   []int32
}

func (g *echo) Next(ctx context.Context) (int32, error) {
	if g.sent == 2 && strings.Contains(g.ask, "hold") {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-g.engine.resume:
		}
	}
	if g.sent == 2 && strings.Contains(g.ask, "break") {
		return 0, fmt.Errorf("a secret cause")
	}
	if len(g.rest) == 0 {
		g.finish = "stop"
		return 0, io.EOF
	}
	if g.left == 0 {
		g.finish = "length"
		return 0, io.EOF
	}
	logits := make([]float32, endToken+1)
	logits[g.rest[0]] = 50 // sure of it, but the Chooser may be told otherwise
	id := g.choose.Choose(logits, g.made)
	if id == int32(g.rest[0]) {
		g.rest = g.rest[1:]
	}
	g.made, g.left, g.sent = append(g.made, id), g.left-1, g.sent+1
	return id, nil
}

func (g *echo) Finish() string { return g.finish }

func (g *echo) Close() {
	select {
	case g.engine.freed <- struct{}{}:
	default: // a thousand were freed, and nobody asks
	}
}

// ledger is the chain, as far as the gateway can tell.
type grants struct {
	mu   sync.Mutex
	held map[[32]byte]policy.Grant
	err  error
}

func (g *grants) Check(_ context.Context, _, subject [32]byte) (policy.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held[subject], g.err
}

func (g *grants) set(subject [32]byte, change func(*policy.Grant)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grant := g.held[subject]
	change(&grant)
	g.held[subject] = grant
}

func (g *grants) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

func license(scope policy.Scope) policy.Grant {
	l := policy.License{Status: policy.Active, NotBefore: 1, NotAfter: 1 << 40, Scope: scope, PlanVersion: 1, Seq: 1}
	return policy.Grant{Final: l, Latest: l}
}

const everything = policy.ScopeChat | policy.ScopeCompletions | policy.ScopeEmbeddings

// rig is a whole gateway on loopback. Its chain, engine and tokenizer are the
// test's; identity, limits and ledger are real, on an embedded Redis. Its
// clock stands.
type rig struct {
	t       testing.TB
	server  *gateway.Server
	deps    gateway.Deps
	url     string // without /v1
	admin   string
	redis   *devnet.Redis
	ledger  *usage.Ledger
	ids     *identity.Service
	chain   *grants
	engine  *echoEngine
	wallet  *wallet.Key
	subject [32]byte
	host    [32]byte
	key     string // an API key of wallet, which is licensed
	log     *lockedBuffer
	served  chan error
	down    atomic.Bool
	later   atomic.Int64 // nanoseconds by which its clock was moved on
}

// today is when all rigs' clocks stand: no minute and no day ends within a test, and with
// it a budget or a sum, but when the test says so.
var today = time.Now()

func (r *rig) now() time.Time { return today.Add(time.Duration(r.later.Load())) }

// patience is for a machine that does much else, or stands still for a while.
const patience = time.Minute

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type option func(*gateway.Config, *gateway.Deps)

// withBackend replaces the embedded backend.
func withBackend(b gateway.Backend) option {
	return func(_ *gateway.Config, d *gateway.Deps) {
		m := d.Models["echo"]
		m.Backend = b
		d.Models["echo"] = m
	}
}

func newRig(t testing.TB, options ...option) *rig {
	t.Helper()
	store, err := devnet.StartRedisAt("127.0.0.1:" + servertest.Port(t)) // nobody else's when it is closed
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return newRigOn(t, store, options...)
}

func newRigOn(t testing.TB, store *devnet.Redis, options ...option) *rig {
	t.Helper()
	r := &rig{t: t, redis: store, engine: newEchoEngine(), host: [32]byte{1}, log: &lockedBuffer{}, served: make(chan error, 2)}
	r.chain = &grants{held: map[[32]byte]policy.Grant{r.host: license(policy.ScopeHost)}}
	client := statetest.Client(t, store.Addr())
	guarded := statetest.Open(t, client, 0)
	listening, err := client.PubSubNumSub(t.Context(), "fealty:1:revoked").Result()
	must(t, err)
	r.ids, err = identity.New(identity.Options{
		State: guarded, Secret: bytes.Repeat([]byte("s"), 32), Keys: []token.Key{signingKey()},
		Wallets: &wallet.Verifier{}, Issuer: "https://gw.test", Domain: "gw.test", ChainID: 1337,
		CacheTTL: time.Minute, Now: r.now, // so that only the hint can be what ends a cached key
	})
	must(t, err)
	t.Cleanup(func() { r.ids.Close() })
	statetest.Hears(t, client, listening["fealty:1:revoked"]+1)

	backend, err := embedded.New(embedded.Options{Engine: r.engine, Tokenizer: bytesTokenizer{}, Context: 4096})
	must(t, err)
	cfg := testConfig(t)
	limits := limit.New(statetest.Patient{Store: guarded}, "test")
	t.Cleanup(func() { limits.Close() })
	ledger := usage.New(statetest.Patient{Store: guarded}, nil)
	t.Cleanup(func() { ledger.Close() })
	r.ledger = ledger
	deps := gateway.Deps{
		Identities: r.ids, Limits: limits, Ledger: ledger, Host: r.host,
		Models: map[string]gateway.Model{"echo": {Backend: backend, Licenses: r.chain}},
		Log:    slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    r.now,
	}
	for _, o := range options {
		o(&cfg, &deps)
	}
	r.deps = deps
	r.server, err = gateway.New(deps, cfg)
	must(t, err)
	r.url = r.serve(r.server.Serve)
	r.admin = r.serve(r.server.ServeAdmin)
	t.Cleanup(func() { r.shutdown(patience) })
	r.wallet, r.subject = newWallet(t)
	r.chain.set(r.subject, func(g *policy.Grant) { *g = license(everything) })
	if !cfg.TLS.On() {
		r.key = r.apiKey(r.wallet)
	}
	return r
}

func (r *rig) serve(on func(net.Listener) error) string {
	l, err := net.Listen("tcp", "127.0.0.1:"+servertest.Port(r.t)) // nobody else's when it is closed
	must(r.t, err)
	go func() { r.served <- on(l) }()
	return "http://" + l.Addr().String()
}

// shutdown may be called again.
func (r *rig) shutdown(within time.Duration) {
	if r.down.Swap(true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown: %v", err)
	}
}

func newWallet(t testing.TB) (*wallet.Key, [32]byte) {
	t.Helper()
	key, err := wallet.Generate()
	must(t, err)
	return key, wallet.Subject(key.Address())
}

// signingKey is one that all gateways share, as replicas do.
var signingKey = sync.OnceValue(func() token.Key {
	key, _, err := token.NewKey()
	if err != nil {
		panic(err)
	}
	return key
})

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testConfig(t testing.TB) gateway.Config {
	t.Helper()
	cfg, err := gateway.LoadConfig("../configs/serve.yaml")
	must(t, err)
	cfg.Models = cfg.Models[:1]
	cfg.Models[0].Name, cfg.Models[0].Aliases = "echo", []string{"gpt-4o", "org/echo"}
	cfg.Models[0].DefaultTokens, cfg.Models[0].MaxTokens = 64, 2048
	cfg.Models[0].Admission, cfg.Models[0].Caps = gateway.AdmissionConfig{}, gateway.CapsConfig{}
	cfg.Timeouts = gateway.TimeoutsConfig{Recheck: 20 * time.Millisecond}
	return cfg
}

// signIn is what a wallet does to get a token.
func (r *rig) signIn(key *wallet.Key) string {
	r.t.Helper()
	challenge := r.post("/auth/challenge", "", map[string]string{"address": wallet.AddressText(key.Address())})
	message := challenge.field("message")
	signature, err := key.SignPersonal(message)
	must(r.t, err)
	return r.post("/auth/token", "", map[string]string{"message": message, "signature": fmt.Sprintf("%x", signature)}).field("access_token")
}

func (r *rig) apiKey(key *wallet.Key) string {
	r.t.Helper()
	return r.post("/v1/keys", r.signIn(key), map[string]string{"name": "test"}).field("key")
}

// reply is an HTTP answer, read to its end.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// field is a string of the reply's JSON; names are separated by dots.
func (r reply) field(path string) string {
	r.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		r.t.Fatalf("status %d, body %q: %v", r.status, r.body, err)
	}
	for _, name := range strings.Split(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	text, ok := v.(string)
	if !ok {
		r.t.Fatalf("status %d: no string %s in %s", r.status, path, r.body)
	}
	return text
}

func (r *rig) post(path, credential string, body any) reply {
	r.t.Helper()
	raw, isText := body.(string)
	if !isText {
		text, err := json.Marshal(body)
		must(r.t, err)
		raw = string(text)
	}
	return r.do("POST", path, credential, raw)
}

func (r *rig) do(method, path, credential, body string) reply {
	r.t.Helper()
	resp := r.send(method, path, credential, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(r.t, err)
	return reply{t: r.t, status: resp.StatusCode, header: resp.Header, body: string(text)}
}

func (r *rig) send(method, path, credential, body string) *http.Response {
	r.t.Helper()
	base := r.url
	if strings.HasPrefix(path, "/metrics") || strings.HasPrefix(path, "/readyz") || strings.HasPrefix(path, "/healthz") || strings.HasPrefix(path, "/reload") || strings.HasPrefix(path, "/debug/") {
		base = r.admin
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	must(r.t, err)
	req.Header.Set("Content-Type", "application/json")
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(r.t, err)
	return resp
}

func (r *rig) client() *openai.Client { return &openai.Client{BaseURL: r.url + "/v1", Key: r.key} }

// metric is the value of one line of /metrics.
func (r *rig) metric(name string) string {
	r.t.Helper()
	for _, line := range strings.Split(r.do("GET", "/metrics", "", "").body, "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return ""
}

// golden compares with a file; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("UPDATE") == "1" {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if string(want) != got {
		t.Errorf("%s differs (UPDATE=1 rewrites it):\n got: %s\nwant: %s", path, got, want)
	}
}
