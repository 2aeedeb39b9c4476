package licensecheck

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"golang.org/x/time/rate"

	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// What one record costs in memory, when there are a million of them and as many were evicted; it takes
// seconds, so -benchtime 1x.
func BenchmarkMemory(b *testing.B) {
	const most = 1_000_000
	for b.Loop() {
		before := heap()
		c := &Checker{book: newBook(most)}
		c.options.Now = time.Now
		c.book.begin([]node.Block{{Number: 1, Hash: [32]byte{1}}}, nil, mark{1, [32]byte{1}}, time.Now())
		fill(c, [32]byte{1}, 2*most)
		if n := c.book.len(); n != most {
			b.Fatalf("%d records in memory, want %d", n, most)
		}
		b.ReportMetric(float64(heap()-before)/most, "B/record")
		runtime.KeepAlive(c)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// How long an answer takes that memory does not have and Redis, or the chain, has.
func BenchmarkBeyondMemory(b *testing.B) {
	s := newStage(b, startEmbedded(b), startRealRedis(b), nil)
	who := s.somebody()
	s.covered(s.grant(who).Block)
	s.soon(who, policy.Allowed)
	s.inRedis(who)
	b.Run("Redis", func(b *testing.B) {
		before := s.checker.Stats().CacheHits
		s.measure(b, who, policy.Allowed)
		if hits := s.checker.Stats().CacheHits - before; hits < uint64(b.N)*99/100 {
			b.Errorf("%d of %d answers came from Redis", hits, b.N)
		}
	})
	stranger := s.somebody()
	b.Run("chain", func(b *testing.B) {
		s.checker.unknown.budget = rate.NewLimiter(rate.Inf, 0)
		s.measure(b, stranger, policy.NoLicense)
	})
}

func (s *stage) measure(b *testing.B, who [32]byte, want policy.Reason) {
	took := make([]time.Duration, 0, 10_000)
	ctx := s.context()
	for b.Loop() {
		s.checker.book.forgetRecord(key{s.model, who})
		started := time.Now()
		g, err := s.checker.Check(ctx, s.model, who)
		took = append(took, time.Since(started))
		if got := policy.Standing(s.clock.now(), g, policy.ScopeChat).Reason; err != nil || got != want {
			b.Fatalf("%v, %v", got, err)
		}
	}
	report(b, took, time.Microsecond, "us")
}

func report(b *testing.B, took []time.Duration, unit time.Duration, name string) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/float64(unit), "p50-"+name)
	b.ReportMetric(float64(took[len(took)*99/100])/float64(unit), "p99-"+name)
}

// From the moment that another subscriber hears of a block to the first refusal of whom a
// revocation in it is about; forty in each block.
func BenchmarkRevocation(b *testing.B) {
	s := newStage(b, startAnvil(b), nil, nil)
	s.byHand()
	const people = 40
	heads := make(chan node.Block, 16)
	other, err := node.Dial(s.context(), s.chain.ws)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(other.Close)
	if _, err := other.Client().EthSubscribe(s.context(), heads, "newHeads"); err != nil {
		b.Fatal(err)
	}
	var seq uint64
	all := func(want policy.Reason, data func(who [32]byte) []byte) (took []time.Duration) {
		for i := range people {
			s.write(data(numbered(i)))
		}
		seq++
		var heard atomic.Int64
		go func() { <-heads; heard.Store(time.Now().UnixNano()) }()
		var count hexutil.Uint64
		s.block()
		s.rpc(&count, "eth_getBlockTransactionCountByNumber", "latest")
		if count != people {
			b.Fatalf("%d transactions in the block, want %d", count, people)
		}
		deadline := time.Now().Add(10 * time.Second)
		for waiting := people; waiting > 0; {
			for i := people - waiting; i < people; i++ {
				if got, err := s.says(numbered(i)); err != nil || got != want {
					break
				}
				took = append(took, time.Duration(time.Now().UnixNano()-heard.Load()))
				waiting--
			}
			if time.Now().After(deadline) {
				b.Fatal("not within 10 s")
			}
		}
		return took
	}
	all(policy.Allowed, func(who [32]byte) []byte { return bindings.PackGrant(s.model, who, s.encoded(time.Hour), 0) })
	var took []time.Duration
	for b.Loop() {
		took = append(took, all(policy.LicenseRevoked, func(who [32]byte) []byte { return bindings.PackRevoke(s.model, who, seq) })...)
		all(policy.Allowed, func(who [32]byte) []byte { return bindings.PackReinstate(s.model, who, seq) })
	}
	report(b, took, time.Millisecond, "ms")
}
