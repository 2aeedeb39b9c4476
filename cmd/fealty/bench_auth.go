package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// benchAuth measures the control path on a chain, a Redis and a gateway of its own.
type benchAuth struct {
	licensees, revocations int
	asJSON                 bool

	p       *progress
	dir     string
	figures []figure
	machine machine

	chain    *devnet.Chain
	redis    string
	registry *registry.Registry
	model    [32]byte
	subjects [][32]byte
	wallet   *wallet.Key // the first subject
	node     *node
	origin   string
	closers  []func() error
}

func newBenchAuth() *cobra.Command {
	var b benchAuth
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Measure the way from a credential to a decision",
		Long: `Auth starts a chain, a Redis (redis-server if it is installed, else one in this process)
and a gateway on loopback, licenses wallets on-chain, and measures: a known caller's way to a
decision, its parts, a caller seen for the first time, a revocation's way to refusal on three
gateways, what a healthy chain is asked while licensees are idle, and memory. Nothing of it
leaves this machine, and nothing is left behind.`,
		Example: "  fealty bench auth --json | jq '.figures[] | {name, value, unit, target, held}'",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&b.licensees, "licensees", 2000, "wallets to license on-chain (each takes some milliseconds)")
	f.IntVar(&b.revocations, "revocations", 100, "licenses to revoke while three gateways watch")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (b *benchAuth) run(cmd *cobra.Command) (err error) {
	if b.licensees < 400 || b.licensees > 1_000_000 {
		return usagef("--licensees: %d; need 400 to 1000000", b.licensees)
	}
	if b.revocations < 1 || b.revocations > b.licensees/4 {
		return usagef("--revocations: %d; need 1 to a quarter of the licensees", b.revocations)
	}
	b.p = newProgress(cmd.ErrOrStderr())
	defer func() { err = errors.Join(err, b.close()) }()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"starting a chain, a Redis and a gateway", b.start},
		{"licensing wallets", b.license},
		{"known callers", b.known},
		{"new tokens", b.tokens},
		{"new licensees", b.fresh},
		{"idle licensees", b.idle},
		{"revocations, by subscription", func(ctx context.Context) error {
			return b.revoke(ctx, "subscribed", b.chain.WS(), 0, b.subjects[len(b.subjects)-b.revocations:])
		}},
		{"revocations, by polling", func(ctx context.Context) error {
			last := len(b.subjects) - b.revocations
			return b.revoke(ctx, "polled every 0.5 s", "", 500*time.Millisecond, b.subjects[last-b.revocations:last])
		}},
		{"memory", b.memory},
	} {
		b.p.say("%s", step.name)
		if err := step.run(cmd.Context()); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if b.asJSON {
		return printJSON(cmd, map[string]any{"machine": b.machine, "licensees": b.licensees, "figures": b.figures})
	}
	m := b.machine
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d cores, %s, %s, simd %v, %s; %d licensees\n", m.CPU, m.Cores, m.OS, m.Go, m.SIMD, m.Redis, b.licensees)
	printFigures(cmd, b.figures)
	return nil
}

func (b *benchAuth) add(f ...figure) { b.figures = append(b.figures, f...) }

func (b *benchAuth) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	return errors.Join(errs...)
}

func (b *benchAuth) onClose(f func() error) { b.closers = append(b.closers, f) }

// benchModel is never asked for an answer: only whether it may be.
const benchModel, benchHost = "bench", "bench.fealty.test"

func (b *benchAuth) start(ctx context.Context) (err error) {
	b.machine = thisMachine()
	if b.dir, err = os.MkdirTemp("", "fealty-bench-"); err != nil {
		return err
	}
	b.onClose(func() error { return os.RemoveAll(b.dir) })
	if b.chain, err = devnet.StartChain(devnet.ChainConfig{}); err != nil {
		return err
	}
	b.onClose(b.chain.Close)
	if err := b.startRedis(ctx); err != nil {
		return err
	}
	owner := b.chain.Accounts()[0]
	if b.registry, _, err = registry.Deploy(ctx, registry.Options{RPC: b.chain.HTTP(), Key: owner}, 1); err != nil {
		return err
	}
	b.onClose(func() error { b.registry.Close(); return nil })
	if b.model, _, err = b.registry.Register(ctx, [32]byte{1}); err != nil {
		return err
	}
	if _, err = b.registry.GrantHost(ctx, b.model, benchHost, owner.Address(), b.terms()); err != nil {
		return err
	}
	return b.serve(ctx)
}

func (b *benchAuth) terms() registry.Terms {
	now := time.Now()
	return registry.Terms{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), Scope: policy.ScopeChat}
}

// startRedis prefers a real server.
func (b *benchAuth) startRedis(ctx context.Context) error {
	if path, err := exec.LookPath("redis-server"); err == nil {
		if err := b.spawnRedis(ctx, path); err != nil {
			return err
		}
	} else {
		r, err := devnet.StartRedis()
		if err != nil {
			return err
		}
		b.onClose(r.Close)
		b.redis, b.machine.Redis = r.Addr(), "Redis in this process"
	}
	client, err := state.Open("redis://" + b.redis + "/0")
	if err != nil {
		return err
	}
	defer client.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // the server comes up
		if _, err = state.Init(ctx, client); err == nil || time.Since(began) > 5*time.Second {
			return err
		}
	}
}

func (b *benchAuth) spawnRedis(ctx context.Context, path string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := exec.CommandContext(context.WithoutCancel(ctx), path, "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction")
	if err := server.Start(); err != nil {
		return err
	}
	b.onClose(func() error {
		err := server.Process.Kill()
		_ = server.Wait() // it says that it was killed
		return err
	})
	b.redis, b.machine.Redis = "127.0.0.1:"+port, "redis-server"
	return nil
}

// serve starts one gateway, wired as 'fealty serve' wires it.
func (b *benchAuth) serve(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.origin = "http://" + l.Addr().String()
	nobody := gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: "http://127.0.0.1:9/v1"}}}
	cfg, err := site{
		dir: b.dir, redis: b.redis, chain: b.chain, registry: b.registry.Address(), model: b.model, name: benchModel, host: benchHost,
	}.config(b.origin, nobody)
	if err != nil {
		return err
	}
	if b.node, err = assemble(ctx, cfg, slog.New(slog.NewTextHandler(b.p, &slog.HandlerOptions{Level: slog.LevelError}))); err != nil {
		return err
	}
	b.node.serveOn(l)
	b.onClose(func() error { return errors.Join(b.node.Shutdown(), b.node.Close()) })
	return nil
}

func (b *benchAuth) license(ctx context.Context) (err error) {
	if b.wallet, err = wallet.Generate(); err != nil {
		return err
	}
	b.subjects = [][32]byte{wallet.Subject(b.wallet.Address())}
	for i := 1; i < b.licensees; i++ {
		b.subjects = append(b.subjects, wallet.Subject([20]byte{1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	b.p.step("licensing")
	const some = 1000
	for done := 0; done < len(b.subjects); done += some {
		if _, err := b.registry.GrantAll(ctx, b.model, b.subjects[done:min(done+some, len(b.subjects))], b.terms()); err != nil {
			return err
		}
		b.p.update(min(done+some, len(b.subjects)), len(b.subjects))
	}
	return nil
}

// known measures a caller whose credential and license are in memory.
func (b *benchAuth) known(ctx context.Context) error {
	a, err := newAccount(b.origin)
	if err != nil {
		return err
	}
	if err := a.signIn(ctx, b.wallet); err != nil {
		return err
	}
	made, err := a.createKey(ctx, keyRequest{Name: "bench"})
	if err != nil {
		return err
	}
	checker := b.checker()
	grant, err := checker.Check(ctx, b.model, b.subjects[0])
	if err != nil {
		return err
	}
	var failed error
	authorise := func(credential []byte) func() {
		return func() {
			if err := b.node.server.Authorise(ctx, time.Now(), credential, benchModel, policy.ScopeChat); err != nil {
				failed = err
			}
		}
	}
	now := time.Now()
	costs := interleaved(9, 200*time.Millisecond,
		authorise([]byte(made.Key)),
		authorise([]byte(a.token)),
		func() {
			if _, err := checker.Check(ctx, b.model, b.subjects[0]); err != nil {
				failed = err
			}
		},
		func() { policy.Decide(now, grant, policy.Usage{}, policy.Request{Scope: policy.ScopeChat}) },
	)
	b.add(
		atMost("API key to decision, all cached", costs[0].nanoseconds, "ns", 1000),
		atMost("  allocations", costs[0].allocations, "per request", 0.01), // those of other goroutines are in it
		atMost("token to decision, all cached", costs[1].nanoseconds, "ns", 1000),
		plain("  of both, a license from memory", costs[2].nanoseconds, "ns"),
		plain("  of both, the decision", costs[3].nanoseconds, "ns"),
	)
	return failed
}

func (b *benchAuth) checker() *licensecheck.Checker {
	for _, c := range b.node.checkers {
		return c // there is one chain and one registry
	}
	return nil
}

// tokens measures tokens that the gateway has not seen.
func (b *benchAuth) tokens(ctx context.Context) error {
	const n = 200
	a, err := newAccount(b.origin)
	if err != nil {
		return err
	}
	var texts [][]byte
	for range n {
		if err := a.signIn(ctx, b.wallet); err != nil {
			return err
		}
		texts = append(texts, []byte(a.token))
	}
	var times []time.Duration
	for _, text := range texts {
		began := time.Now()
		if err := b.node.server.Authorise(ctx, began, text, benchModel, policy.ScopeChat); err != nil {
			return err
		}
		times = append(times, time.Since(began))
	}
	b.add(
		atMost("token seen for the first time, p50", percentile(times, 0.5, time.Microsecond), "us", 80),
		plain("  p99", percentile(times, 0.99, time.Microsecond), "us"),
	)
	return nil
}

// open starts a checker of its own, as another gateway has one.
func (b *benchAuth) open(ctx context.Context, change func(*licensecheck.Options)) (*licensecheck.Checker, error) {
	o := licensecheck.Options{
		RPC: []string{b.chain.HTTP()}, WS: b.chain.WS(), Registry: b.registry.Address(), Finality: "latest",
		Cache: "redis://" + b.redis + "/1", Records: 2*b.licensees + 1000,
	}
	change(&o)
	return licensecheck.Open(ctx, o)
}

// each asks for every subject and returns the times.
func (b *benchAuth) each(ctx context.Context, c *licensecheck.Checker, subjects [][32]byte) ([]time.Duration, error) {
	var times []time.Duration
	for _, s := range subjects {
		began := time.Now()
		g, err := c.Check(ctx, b.model, s)
		times = append(times, time.Since(began))
		if err != nil {
			return nil, err
		}
		if g.Final.Status != policy.Active {
			return nil, errors.New("a licensed wallet is said not to be licensed")
		}
	}
	return times, nil
}

// fresh measures licensees whom a gateway's memory does not hold: who come from
// Redis, and who come from the chain, alone and all at once.
func (b *benchAuth) fresh(ctx context.Context) error {
	some := b.subjects[:400]
	first, err := b.open(ctx, func(*licensecheck.Options) {})
	if err != nil {
		return err
	}
	defer first.Close()
	chain, err := b.each(ctx, first, some)
	if err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond) // what was read goes to Redis behind the answers
	second, err := b.open(ctx, func(*licensecheck.Options) {})
	if err != nil {
		return err
	}
	defer second.Close()
	redis, err := b.each(ctx, second, some)
	if err != nil {
		return err
	}
	hits := second.Stats().CacheHits
	third, err := b.open(ctx, func(o *licensecheck.Options) { o.Cache = "" })
	if err != nil {
		return err
	}
	defer third.Close()
	var all sync.WaitGroup
	for _, s := range some {
		all.Go(func() { _, _ = third.Check(ctx, b.model, s) }) // an error shows in the number of calls
	}
	all.Wait()
	b.add(
		atMost("license from Redis, p50", percentile(redis, 0.5, time.Microsecond), "us", 150),
		plain("  p99", percentile(redis, 0.99, time.Microsecond), "us"),
		plain("  share that was there", float64(hits)/float64(len(some)), ""),
		plain("license from the chain, one at a time, p50", percentile(chain, 0.5, time.Microsecond), "us"),
		plain("  400 at once, calls to the node", float64(third.Stats().ChainReads), "calls"),
	)
	return nil
}

// counted passes requests on to a node and counts them.
func counted(to string) (address string, count *atomic.Int64, closer func() error, err error) {
	target, err := url.Parse(to)
	if err != nil {
		return "", nil, nil, err
	}
	count = new(atomic.Int64)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		r.Host = target.Host
		proxy.ServeHTTP(w, r)
	}))
	return server.URL, count, func() error { server.Close(); return nil }, nil
}

// idle counts what a healthy chain is asked while known licensees send requests: few
// licensees, then all.
func (b *benchAuth) idle(ctx context.Context) error {
	for _, n := range []int{b.licensees / 20, b.licensees} {
		rate, err := b.idleRate(ctx, n)
		if err != nil {
			return err
		}
		b.add(plain(fmt.Sprintf("questions to the node, %d licensees", n), rate, "per second"))
	}
	return nil
}

func (b *benchAuth) idleRate(ctx context.Context, n int) (float64, error) {
	node, asked, closer, err := counted(b.chain.HTTP())
	if err != nil {
		return 0, err
	}
	defer func() { _ = closer() }()
	c, err := b.open(ctx, func(o *licensecheck.Options) { o.RPC, o.Cache = []string{node}, "" })
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for from := 0; from < n; from += 512 {
		var all sync.WaitGroup
		for _, s := range b.subjects[from:min(from+512, n)] {
			all.Go(func() { _, _ = c.Check(ctx, b.model, s) }) // asked again below
		}
		all.Wait()
	}
	const watch = 10 * time.Second
	before, began := asked.Load(), time.Now()
	for time.Since(began) < watch {
		if _, err := b.each(ctx, c, b.subjects[:n]); err != nil {
			return 0, err
		}
		time.Sleep(time.Second)
	}
	return float64(asked.Load()-before) / time.Since(began).Seconds(), nil
}

// watch is three gateways that note when they first refuse whom.
type watch struct {
	mu      sync.Mutex
	arrived map[uint64]time.Time     // blocks
	blocks  map[[32]byte]uint64      // of the revocations
	refused []map[[32]byte]time.Time // by each gateway
}

// revoke measures how long after its block a revocation is refused, by each of three
// gateways.
func (b *benchAuth) revoke(ctx context.Context, how, ws string, poll time.Duration, subjects [][32]byte) error {
	w := &watch{arrived: map[uint64]time.Time{}, blocks: map[[32]byte]uint64{}}
	defer b.chain.Blocks(func(number uint64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.arrived[number] = time.Now()
	})()
	for range 3 {
		c, err := b.open(ctx, func(o *licensecheck.Options) { o.WS, o.PollHeads = ws, poll })
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := b.each(ctx, c, subjects); err != nil {
			return err
		}
		defer w.follow(ctx, c)()
	}
	const some = 10 // revocations in a block
	for from := 0; from < len(subjects); from += some {
		part := subjects[from:min(from+some, len(subjects))]
		receipts, err := b.registry.RevokeAll(ctx, b.model, part)
		if err != nil {
			return err
		}
		for i, s := range part {
			w.blocks[s] = receipts[i].Block
		}
		b.p.update(from+len(part), len(subjects))
	}
	times, err := w.times()
	if err != nil {
		return err
	}
	name := "revocation in a block to refusal, " + how
	target := 100.0
	if poll > 0 {
		target = 100 + float64(poll/time.Millisecond)
	}
	b.add(
		plain(name+", p50", percentile(times, 0.5, time.Millisecond), "ms"),
		atMost("  p99", percentile(times, 0.99, time.Millisecond), "ms", target),
	)
	return nil
}

// follow notes what a checker answers once it has told of a change, as a gateway
// would ask it.
func (w *watch) follow(ctx context.Context, c *licensecheck.Checker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	refused, changes := map[[32]byte]time.Time{}, make(chan [2][32]byte, 1024)
	w.refused = append(w.refused, refused)
	remove := c.OnChange(func(model, subject [32]byte) {
		select {
		case changes <- [2][32]byte{model, subject}:
		case <-ctx.Done():
		}
	})
	go func() {
		for {
			select {
			case change := <-changes:
				g, err := c.Check(ctx, change[0], change[1])
				if err == nil && !policy.Standing(time.Now(), g, policy.ScopeChat).Allowed() {
					w.note(refused, change[1])
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { remove(); cancel() }
}

func (w *watch) note(refused map[[32]byte]time.Time, subject [32]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if refused[subject].IsZero() {
		refused[subject] = time.Now()
	}
}

// times waits until all gateways refuse all that were revoked.
func (w *watch) times() ([]time.Duration, error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var times []time.Duration
		w.mu.Lock()
		for _, refused := range w.refused {
			for s, block := range w.blocks {
				if !refused[s].IsZero() && !w.arrived[block].IsZero() {
					times = append(times, refused[s].Sub(w.arrived[block]))
				}
			}
		}
		w.mu.Unlock()
		if len(times) == len(w.refused)*len(w.blocks) {
			return times, nil
		}
		if time.Since(began) > 30*time.Second {
			return nil, fmt.Errorf("%d of %d refusals were seen within 30 s", len(times), len(w.refused)*len(w.blocks))
		}
	}
}

// memory fills a checker with records of wallets that hold nothing: as large as any
// other, and cheap to ask for. They may fill a tenth of it.
func (b *benchAuth) memory(ctx context.Context) error {
	const most, asked = 300_000, 40_000
	c, err := b.open(ctx, func(o *licensecheck.Options) { o.Cache, o.Records, o.Pending = "", most, 4096 })
	if err != nil {
		return err
	}
	defer c.Close()
	before := heap()
	b.p.step("asking")
	for from := 0; from < asked; from += 2000 {
		var all sync.WaitGroup
		for i := from; i < from+2000; i++ {
			subject := wallet.Subject([20]byte{2, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
			all.Go(func() { _, _ = c.Check(ctx, b.model, subject) }) // what failed is not counted below
		}
		all.Wait()
		b.p.update(from+2000, asked)
	}
	held := c.Stats().Records
	size := float64(heap()-before) / float64(held)
	b.add(
		plain("memory per million licenses", size*1e6/(1<<20), "MiB"),
		atMost(fmt.Sprintf("  records held, after %d strangers asked", asked), float64(held), "records", most/10),
	)
	return nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
