package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/licensecheck"
	"github.com/fealty/fealty/policy"
)

// known measures a caller whose credential and license are in memory.
func (b *benchAuth) known(ctx context.Context) error {
	a, err := openAccount(ctx, b.origin, b.wallet)
	if err != nil {
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
		atMost("  allocations", costs[0].allocations, "per request", 0.05), // those of other goroutines are in it
		atMost("token to decision, all cached", costs[1].nanoseconds, "ns", 1000),
		plain("  of both, a license from memory", costs[2].nanoseconds, "ns"),
		plain("  of both, the decision", costs[3].nanoseconds, "ns"),
	)
	return failed
}

func (b *benchAuth) checker() *licensecheck.Checker {
	for _, c := range b.node.checkers() {
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
	ping, stop, err := b.pinger(ctx)
	if err != nil {
		return err
	}
	defer stop()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signature := ed25519.Sign(private, texts[0])
	var whole, signatures, pings []time.Duration
	for _, text := range texts {
		took, err := timed(func() error {
			return b.node.server.Authorise(ctx, time.Now(), text, benchModel, policy.ScopeChat)
		})
		if err != nil {
			return err
		}
		bare, err := timed(ping)
		if err != nil {
			return err
		}
		verify, _ := timed(func() error { ed25519.Verify(public, texts[0], signature); return nil })
		whole, pings, signatures = append(whole, took), append(pings, bare), append(signatures, verify)
	}
	b.add(
		atMost("token seen for the first time, p50", percentile(whole, 0.5, time.Microsecond), "us", 80),
		plain("  p99", percentile(whole, 0.99, time.Microsecond), "us"),
		plain("  beside it: an Ed25519 signature, p50", percentile(signatures, 0.5, time.Microsecond), "us"),
		plain("  beside it: a bare question to Redis, p50", percentile(pings, 0.5, time.Microsecond), "us"),
	)
	return nil
}

func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// pinger asks Redis the least that one can: what its answers cost on this machine.
func (b *benchAuth) pinger(ctx context.Context) (ping func() error, stop func(), err error) {
	client, err := state.Open("redis://" + b.redis + "/0")
	if err != nil {
		return nil, nil, err
	}
	return func() error { return client.Ping(ctx).Err() }, func() { _ = client.Close() }, nil
}

// follower is a checker of its own, as another gateway has one.
func (b *benchAuth) follower(ctx context.Context, change func(*licensecheck.Options)) (*licensecheck.Checker, error) {
	o := licensecheck.Options{
		RPC: []string{b.chain.HTTP()}, WS: b.chain.WS(), Registry: b.registry.Address(), Finality: "latest",
		Cache: "redis://" + b.redis + "/1", Records: 2*b.licensees + 1000,
	}
	change(&o)
	return licensecheck.Open(ctx, o)
}

// each asks for every subject, with something else between them, and returns the times.
func (b *benchAuth) each(ctx context.Context, c *licensecheck.Checker, subjects [][32]byte, between func()) ([]time.Duration, error) {
	var times []time.Duration
	for _, s := range subjects {
		between()
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
	first, err := b.follower(ctx, func(*licensecheck.Options) {})
	if err != nil {
		return err
	}
	defer first.Close()
	// As many as come through at once: more would wait for the pace of strangers.
	chain, err := b.each(ctx, first, some[:8], func() {})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, s := range some {
		all.Go(func() { _, _ = first.Check(ctx, b.model, s) }) // for Redis; what failed is no hit below
	}
	all.Wait()
	time.Sleep(200 * time.Millisecond) // what was read goes to Redis behind the answers
	second, err := b.follower(ctx, func(*licensecheck.Options) {})
	if err != nil {
		return err
	}
	defer second.Close()
	ping, stop, err := b.pinger(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var pings []time.Duration
	redis, err := b.each(ctx, second, some, func() {
		if took, err := timed(ping); err == nil {
			pings = append(pings, took)
		}
	})
	if err != nil {
		return err
	}
	hits := second.Stats().CacheHits
	third, err := b.follower(ctx, func(o *licensecheck.Options) { o.Cache = "" })
	if err != nil {
		return err
	}
	defer third.Close()
	for _, s := range some {
		all.Go(func() { _, _ = third.Check(ctx, b.model, s) }) // an error shows in the number of calls
	}
	all.Wait()
	b.add(
		atMost("license from Redis, p50", percentile(redis, 0.5, time.Microsecond), "us", 150),
		plain("  p99", percentile(redis, 0.99, time.Microsecond), "us"),
		plain("  beside it: a bare question to Redis, p50", percentile(pings, 0.5, time.Microsecond), "us"),
		plain("  share that was there", float64(hits)/float64(len(some)), ""),
		plain("license from the chain, p50 of 8", percentile(chain, 0.5, time.Microsecond), "us"),
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
	c, err := b.follower(ctx, func(o *licensecheck.Options) { o.RPC, o.Cache = []string{node}, "" })
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
		if _, err := b.each(ctx, c, b.subjects[:n], func() {}); err != nil {
			return 0, err
		}
		time.Sleep(time.Second)
	}
	return float64(asked.Load()-before) / time.Since(began).Seconds(), nil
}

// memory fills a checker with records of wallets that hold nothing: as large as any
// other, and cheap to ask for. They may fill a tenth of it. What is measured is what
// is free again without it.
func (b *benchAuth) memory(ctx context.Context) error {
	const most, asked = 300_000, 40_000
	c, err := b.follower(ctx, func(o *licensecheck.Options) { o.Cache, o.Records, o.Pending = "", most, 4096 })
	if err != nil {
		return err
	}
	b.p.step("asking")
	for from := 0; from < asked; from += 2000 {
		var all sync.WaitGroup
		for i := from; i < from+2000; i++ {
			subject := numbered(2, i)
			all.Go(func() { _, _ = c.Check(ctx, b.model, subject) }) // what failed is not counted below
		}
		all.Wait()
		b.p.update(from+2000, asked)
	}
	held, full := c.Stats().Records, heap()
	err = c.Close()
	c = nil // for the collector
	size := (float64(full) - float64(heap())) / float64(held)
	b.add(
		plain("memory per million licenses", size*1e6/(1<<20), "MiB"),
		atMost(fmt.Sprintf("  records held, after %d strangers asked", asked), float64(held), "records", most/10),
	)
	return err
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
