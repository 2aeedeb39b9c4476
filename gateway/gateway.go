// Package gateway serves licensed models over the OpenAI API.
//
// It decides nothing by itself: identity says who calls, licenses what the chain
// grants, policy whether that suffices, limits what is left, and a [Backend]
// generates. It has no list of fingerprints, no response cache, no rewriting of
// answers. An unclear case never allows. Start with [New]; a request's way is in
// authorise.go and answer.go.
package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/gateway/rules"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/policy"
)

// Identities says who is calling; *identity.Service.
type Identities interface {
	Identify(ctx context.Context, credential []byte, now time.Time) (*identity.Caller, error)
	Challenge(address string) (string, error)
	Redeem(ctx context.Context, message, signature string) (identity.Token, error)
	JWKS() []byte
	Err() error // the state store is known to have lost data
	Away() bool // the state store does not answer at present
	CreateKey(ctx context.Context, c *identity.Caller, r identity.KeyRequest) (identity.Key, string, error)
	ListKeys(ctx context.Context, subject [32]byte) ([]identity.Key, error)
	NarrowKey(ctx context.Context, subject [32]byte, id string, to identity.KeyRequest) (identity.Key, error)
	RevokeKey(ctx context.Context, subject [32]byte, id string) error
	RevokeToken(ctx context.Context, c *identity.Caller) error
}

// Licenses says what the chain grants; *licensecheck.Checker. An error means that
// it could not be found out.
type Licenses interface {
	Check(ctx context.Context, model, subject [32]byte) (policy.Grant, error)
}

// Limits counts what is consumed; *limit.Limiter.
type Limits interface {
	Reserve(ctx context.Context, now time.Time, b limit.Budget, tokens uint64) (*limit.Reservation, error)
}

// Ledger records what was used; *usage.Ledger.
type Ledger interface {
	Begin(e usage.Entry) (*usage.Record, error)
	Flush(ctx context.Context) error
	Waiting() int
	Totals(ctx context.Context, subject [32]byte, from, to time.Time) ([]usage.Total, error)
}

// Collector is metrics of another part; *metrics.Set of VictoriaMetrics.
type Collector interface{ WritePrometheus(w io.Writer) }

// Deps is what the server asks. All are required but Rules, Collectors, Tracer, Log
// and Now.
type Deps struct {
	Identities Identities
	Limits     Limits
	Ledger     Ledger
	Host       [32]byte         // the subject of this host's own grants
	Proof      HostProof        // with what the host shows that these are its own
	Models     map[string]Model // by ModelConfig.Name
	Rules      *rules.Rules     // the operator's own; nil: none
	Collectors []Collector      // what else /metrics shows
	Tracer     trace.Tracer     // nil: no traces
	Log        *slog.Logger     // nil: discards
	Now        func() time.Time // nil: time.Now
}

// Model is what serves one model of the config.
type Model struct {
	Backend  Backend
	Licenses Licenses // of the chain and registry that the config names for it
}

// Server is one gateway. Serve it on as many listeners as needed, then shut it
// down once.
type Server struct {
	current atomic.Pointer[service] // what Reload replaces
	log     *slog.Logger
	clock   func() time.Time
	started time.Time
	metrics *counters
	running running
	held    atomic.Int64  // answers that run or wait
	changed chan struct{} // full: running answers are to be looked at
	http    *fasthttp.Server
	admin   *fasthttp.Server

	certificates certificates

	reload    func() error // of the admin listener; nil: it cannot
	reloading sync.Mutex   // of the next
	lanes     map[string]lane

	unready atomic.Bool
	stop    context.CancelFunc
	wait    sync.WaitGroup
}

// lane is what outlives a reload of a model: its queue and its counters.
type lane struct {
	queue   *queue
	metrics *modelMetrics
}

// model is one served model.
type model struct {
	Model
	lane
	cfg ModelConfig
	id  [32]byte
}

// New checks that config and dependencies fit. It listens to nothing yet.
func New(deps Deps, cfg Config) (*Server, error) {
	def(&deps.Log, slog.New(slog.DiscardHandler))
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Server{log: deps.Log, clock: deps.Now, started: deps.Now(), changed: make(chan struct{}, 1), lanes: map[string]lane{}}
	svc, err := s.service(deps, cfg)
	if err != nil {
		return nil, err
	}
	s.metrics = newCounters(s)
	s.install(svc)
	s.http, s.admin = s.newHTTP(s.handle), s.newHTTP(s.handleAdmin)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wait.Go(func() { s.recheck(ctx) })
	s.wait.Go(func() { s.recheckCallers(ctx) })
	s.wait.Go(func() { s.beat(ctx) })
	s.wait.Go(func() { s.renew(ctx) })
	return s, nil
}

func orMax(n int) int {
	if n == 0 {
		return 1 << 20
	}
	return n
}

// newHTTP is a listener's server. What fasthttp refuses by itself is worded by
// refuseTransport, and panics stop in guard.
func (s *Server) newHTTP(handler fasthttp.RequestHandler) *fasthttp.Server {
	t, l := s.timeouts(), s.current.Load().cfg.Limits
	return &fasthttp.Server{
		Handler: s.guard(handler), ErrorHandler: s.refuseTransport,
		ReadBufferSize:        16 << 10, // JWTs do not fit fasthttp's 4 KiB
		ReduceMemoryUsage:     true,     // and a stream that runs for minutes needs none of it
		MaxRequestBodySize:    l.Body,
		Concurrency:           1 << 20, // requests are bounded by slots, which answer properly
		ReadTimeout:           t.Read,
		IdleTimeout:           t.Idle, // writes are bounded one by one, in conn
		NoDefaultServerHeader: true, NoDefaultContentType: true, CloseOnShutdown: true,
		DisablePreParseMultipartForm: true, SecureErrorLogMessage: true,
		Logger: quiet{},
	}
}

// quiet drops fasthttp's own log: it prints what clients sent.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// Serve answers the public API on the listener until Shutdown, over TLS if the config
// names a certificate.
func (s *Server) Serve(l net.Listener) error {
	own := s.listener(l)
	if s.current.Load().cfg.TLS.On() {
		own.tls = s.certificates.config()
	}
	return s.http.Serve(own)
}

// ServeAdmin answers metrics and health on the listener until Shutdown.
func (s *Server) ServeAdmin(l net.Listener) error {
	return s.admin.Serve(s.listener(l))
}

func (s *Server) listener(l net.Listener) *listener {
	return &listener{
		Listener: l, write: s.timeouts().Write, most: s.current.Load().cfg.Limits.Connections, log: s.log,
		turned: s.turned,
	}
}

// turned counts a connection beyond limits.connections as a request that was refused.
func (s *Server) turned() string {
	id := newRequestID()
	s.metrics.request(errOverloaded.Code)
	s.log.Debug("refused", "request", id, "status", errOverloaded.Status, "code", errOverloaded.Code, "cause", "limits.connections")
	return id
}

// cutShare is the end of Shutdown's time that is kept for telling the answers that
// are still running that they are cut.
const cutShare = time.Second

// Shutdown says that it is not ready, goes on for timeouts.unready so that balancers
// notice, and takes no more connections. It lets running answers finish for
// timeouts.drain at most, or until a second before ctx ends; then it cuts them with a
// terminal error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.unready.Store(true)
	select {
	case <-time.After(s.timeouts().Unready):
	case <-ctx.Done():
	}
	wait := s.timeouts().Drain
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)-cutShare)
	}
	cut := time.AfterFunc(max(wait, 0), func() { s.running.cutAll(errDraining) })
	defer cut.Stop()
	err := s.http.ShutdownWithContext(ctx)
	s.running.cutAll(errDraining)
	err = errors.Join(err, s.admin.ShutdownWithContext(ctx))
	s.stop()
	s.wait.Wait()
	return err
}
