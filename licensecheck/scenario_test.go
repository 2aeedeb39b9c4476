package licensecheck

import (
	"context"
	"errors"
	"log/slog"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// clock is the real one, moved ahead and stopped at will.
type clock struct {
	ahead   atomic.Int64
	stopped atomic.Pointer[time.Time]
}

func (c *clock) now() time.Time {
	now := time.Now()
	if at := c.stopped.Load(); at != nil {
		now = *at
	}
	return now.Add(time.Duration(c.ahead.Load()))
}

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// stop makes advance alone move it, however long the machine takes for what follows.
func (c *clock) stop() (goOn func()) {
	now := time.Now()
	c.stopped.Store(&now)
	return func() { c.stopped.Store(nil) }
}

// wallClock is the real clock, set anew at will: what its times say of the day changes and
// what they say of the time between them does not, as when an operator sets a machine's clock.
type wallClock struct{ ahead, more atomic.Int64 }

func (w *wallClock) step(d time.Duration) { w.ahead.Add(int64(d)) }

// pass lets time go by, of the day and between.
func (w *wallClock) pass(d time.Duration) { w.more.Add(int64(d)) }

// gone is how much time was let go by.
func (w *wallClock) gone() time.Duration { return time.Duration(w.more.Load()) }

// now moves the wall reading of a time alone, for which package time has no function: its
// first word holds the seconds since 1885 from bit 30 on, when there is a monotonic reading.
func (w *wallClock) now() time.Time {
	t := time.Now().Add(w.gone())
	words := (*[2]uint64)(unsafe.Pointer(&t))
	words[0] += uint64(w.ahead.Load()/int64(time.Second)) << 30
	return t
}

func TestWallClockSteps(t *testing.T) {
	var w wallClock
	before := w.now()
	w.step(-3 * time.Hour)
	after := w.now()
	if apart := after.Sub(before); apart < 0 || apart > time.Minute {
		t.Errorf("%v apart by the monotonic clock", apart)
	}
	if apart := after.Unix() - before.Unix(); apart < -3*3600 || apart > -3*3600+60 {
		t.Errorf("%d s apart by the wall clock, want -3 h", apart)
	}
}

// stage is a chain with a registry and a model on it, and a checker that follows it.
type stage struct {
	t       testing.TB
	chain   *testChain
	redis   *testRedis
	owner   *registry.Registry // the model's owner
	buyer   *registry.Registry // another wallet with money
	model   [32]byte
	clock   clock
	now     func() time.Time // of the decisions; nil: clock.now
	checker *Checker
	raw     *rpc.Client // see stage.rpc
	second  int64       // of the newest block made by hand
}

func newStage(t testing.TB, chain *testChain, redis *testRedis, with func(*Options)) *stage {
	t.Helper()
	s := &stage{t: t, chain: chain, redis: redis}
	s.deploy()
	s.checker = s.open(with)
	return s
}

func (s *stage) deploy() {
	s.t.Helper()
	ctx := s.context()
	owner, _, err := registry.Deploy(ctx, registry.Options{RPC: s.chain.http, Key: s.chain.accounts[0]}, 2)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(owner.Close)
	s.owner, s.buyer = owner, owner.As(s.chain.accounts[1])
	if s.model, _, err = owner.Register(ctx, [32]byte{1}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) open(with func(*Options)) *Checker {
	s.t.Helper()
	c, err := s.tryOpen(with)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *stage) tryOpen(with func(*Options)) (*Checker, error) {
	s.t.Helper()
	o := Options{
		RPC: []string{s.chain.http}, WS: s.chain.ws, ChainID: s.owner.ChainID(), Registry: s.owner.Address(),
		// A good node and a good Redis have time to answer on a machine that stands still for a while.
		ReadTimeout: generous / 2, redisWait: generous / 2,
		Finality: "latest", Now: s.clock.now, Log: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	}
	if s.redis != nil {
		o.Cache = s.redis.url
	}
	if with != nil {
		with(&o)
	}
	c, err := Open(s.context(), o)
	if err == nil {
		s.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func (s *stage) context() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*generous)
	s.t.Cleanup(cancel)
	return ctx
}

// somebody is a wallet that the chain never heard of.
func (s *stage) somebody() [32]byte {
	s.t.Helper()
	key, err := wallet.Generate()
	if err != nil {
		s.t.Fatal(err)
	}
	return wallet.Subject(key.Address())
}

func (s *stage) terms(d time.Duration) registry.Terms {
	return registry.Terms{NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(d), Scope: policy.ScopeChat}
}

func (s *stage) did(r registry.Receipt, err error) registry.Receipt {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *stage) grant(who [32]byte) registry.Receipt {
	s.t.Helper()
	return s.did(s.owner.Grant(s.context(), s.model, who, s.terms(time.Hour)))
}

// says is the decision on a chat request, or the error.
func (s *stage) says(who [32]byte) (policy.Reason, error) {
	g, err := s.checker.Check(s.context(), s.model, who)
	now := s.clock.now()
	if s.now != nil {
		now = s.now()
	}
	return policy.Standing(now, g, policy.ScopeChat).Reason, err
}

func (s *stage) wants(who [32]byte, want policy.Reason) {
	s.t.Helper()
	if got, err := s.says(who); err != nil || got != want {
		s.t.Fatalf("the checker says %v (%v), want %v", got, err, want)
	}
}

// soon wants a decision that does not wait for finality; how soon, fealty bench auth measures.
func (s *stage) soon(who [32]byte, want policy.Reason) {
	s.t.Helper()
	eventually(s.t, generous, "the decision is "+want.String(), func() bool {
		got, err := s.says(who)
		return err == nil && got == want
	})
}

func (s *stage) wantsUnavailable(who [32]byte) {
	s.t.Helper()
	if got, err := s.says(who); !errors.Is(err, ErrUnavailable) {
		s.t.Fatalf("the checker says %v (%v), want ErrUnavailable", got, err)
	}
}

// covered waits until the checker follows the chain at this block or above.
func (s *stage) covered(block uint64) {
	s.t.Helper()
	eventually(s.t, generous, "the checker follows the chain", func() bool {
		head, _ := s.checker.Head()
		return head >= block
	})
}

// heard waits until whoever listens was told of all changes up to this block: the watcher
// tells of each block before it follows the next.
func (s *stage) heard(block uint64) {
	s.t.Helper()
	s.covered(block)
	head, _ := s.checker.Head()
	s.covered(head + 1)
}

// stages are the surroundings that each scenario must hold in.
var stages = []struct {
	name  string
	chain func(testing.TB) *testChain
	redis func(testing.TB) *testRedis
	with  func(*Options)
}{
	{"embedded chain, miniredis", startEmbedded, startMiniredis, nil},
	{"embedded chain, redis-server, polling", startEmbedded, startRealRedis, func(o *Options) { o.WS, o.PollHeads = "", 200*time.Millisecond }},
	{"anvil, redis-server", startAnvil, startRealRedis, nil},
	{"anvil, memory only, two blocks to finality", startAnvil, func(testing.TB) *testRedis { return nil }, func(o *Options) { o.Finality = "2 blocks" }},
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, st := range stages {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, st.chain(t), st.redis(t), st.with)
			for _, one := range scenarios {
				t.Run(one.name, func(t *testing.T) {
					s.t = t
					one.play(s)
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

var scenarios = []struct {
	name string
	play func(*stage)
}{
	{"no grant", func(s *stage) { s.wants(s.somebody(), policy.NoLicense) }},
	{"grant", func(s *stage) {
		who := s.somebody()
		s.wants(who, policy.NoLicense) // now the checker holds a no
		s.grant(who)
		s.finally(who, policy.Allowed)
	}},
	{"buy", func(s *stage) {
		plan, _, err := s.owner.SetPlan(s.context(), s.model, registry.Plan{
			Price: big.NewInt(1e15), Duration: time.Hour, Scope: policy.ScopeChat, RPM: 7, TokensPerDay: 1000, OnSale: true,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.did(s.buyer.Buy(s.context(), s.model, plan))
		who := wallet.Subject(s.chain.accounts[1].Address())
		s.finally(who, policy.Allowed)
		g, err := s.checker.Check(s.context(), s.model, who)
		if err != nil || g.Plan != (policy.Plan{RPM: 7, TokensPerDay: 1000}) || g.Final.PlanVersion != plan {
			s.t.Fatalf("the grant is %+v (%v)", g, err)
		}
	}},
	{"revoke", func(s *stage) {
		who := s.somebody()
		s.grant(who)
		s.finally(who, policy.Allowed)
		s.did(s.owner.Revoke(s.context(), s.model, who))
		s.soon(who, policy.LicenseRevoked) // not waiting for finality
		s.did(s.owner.Reinstate(s.context(), s.model, who))
		s.finally(who, policy.Allowed)
	}},
	{"suspend and reinstate", func(s *stage) {
		who := s.somebody()
		s.grant(who)
		s.did(s.owner.Suspend(s.context(), s.model, who))
		s.soon(who, policy.LicenseSuspended)
		s.did(s.owner.Reinstate(s.context(), s.model, who))
		s.finally(who, policy.Allowed)
	}},
	{"window", func(s *stage) {
		who, early := s.somebody(), s.somebody()
		s.did(s.owner.Grant(s.context(), s.model, who, s.terms(10*time.Minute)))
		s.did(s.owner.Grant(s.context(), s.model, early, registry.Terms{
			NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour), Scope: policy.ScopeChat,
		}))
		s.finally(who, policy.Allowed)
		s.finally(early, policy.LicenseNotYetValid)
		g, err := s.checker.Check(s.context(), s.model, who)
		later := time.Now().Add(20 * time.Minute)
		if d := policy.Standing(later, g, policy.ScopeChat); err != nil || d.Reason != policy.LicenseExpired {
			s.t.Fatalf("twenty minutes later the same record says %v (%v), want expired", d.Reason, err)
		}
	}},
	{"host, lost and regained", func(s *stage) {
		who, err := wallet.HostSubject("api.example.com")
		if err != nil {
			s.t.Fatal(err)
		}
		hosts := func(want policy.Reason) {
			s.t.Helper()
			eventually(s.t, generous, "the host's standing is "+want.String(), func() bool {
				g, err := s.checker.Check(s.context(), s.model, who)
				return err == nil && policy.Standing(s.clock.now(), g, policy.ScopeHost).Reason == want
			})
		}
		hosts(policy.NoLicense)
		controller := s.chain.accounts[2].Address()
		s.did(s.owner.GrantHost(s.context(), s.model, "API.example.com", controller, s.terms(time.Hour)))
		hosts(policy.Allowed)
		s.did(s.owner.Suspend(s.context(), s.model, who))
		hosts(policy.LicenseSuspended)
		s.did(s.owner.Reinstate(s.context(), s.model, who))
		hosts(policy.Allowed)
		s.did(s.owner.Revoke(s.context(), s.model, who))
		hosts(policy.LicenseRevoked)
		s.did(s.owner.Reinstate(s.context(), s.model, who))
		hosts(policy.Allowed)
	}},
	{"change is told", func(s *stage) {
		who := s.somebody()
		told := make(chan [32]byte, 16)
		remove := s.checker.OnChange(func(model, subject [32]byte) {
			if model == s.model {
				told <- subject
			}
		})
		defer remove()
		s.grant(who)
		eventually(s.t, generous, "the change is told", func() bool {
			select {
			case got := <-told: // earlier changes may be told late
				return got == who
			default:
				return false
			}
		})
	}},
	{"version", func(s *stage) {
		if _, err := s.checker.Version(s.context(), s.model, 0); !errors.Is(err, ErrNoVersion) {
			s.t.Fatalf("before the first version: %v, want ErrNoVersion", err)
		}
		for n := range uint32(2) {
			if got, _, err := s.owner.Publish(s.context(), s.model, [32]byte{byte(n + 1)}); err != nil || got != n+1 {
				s.t.Fatalf("published %d (%v), want %d", got, err, n+1)
			}
		}
		for number, want := range map[uint32]Version{0: {2, [32]byte{2}}, 1: {1, [32]byte{1}}, 2: {2, [32]byte{2}}} {
			if got, err := s.checker.Version(s.context(), s.model, number); err != nil || got != want {
				s.t.Fatalf("version %d is %+v (%v), want %+v", number, got, err, want)
			}
		}
	}},
	{"draw", func(s *stage) {
		c, receipt, err := s.owner.CommitKeys(s.context(), s.model, [32]byte{5})
		if err != nil || c.CommitBlock != receipt.Block || c.DrawBlock != receipt.Block+s.owner.DrawDelay() {
			s.t.Fatalf("commitment %+v in block %d (%v)", c, receipt.Block, err)
		}
		d, err := s.owner.DrawRandomness(s.context(), s.model, c.Index)
		if err != nil || d.Randomness == [32]byte{} || d.Block != c.DrawBlock {
			s.t.Fatalf("draw %+v (%v)", d, err)
		}
		if d.Header == nil {
			s.t.Fatal("the draw has no header to prove it")
		}
		again, err := s.owner.DrawRandomness(s.context(), s.model, c.Index)
		if err != nil || again.Randomness != d.Randomness {
			s.t.Fatalf("the second look at the draw gave %x (%v)", again.Randomness, err)
		}
	}},
	{"healthy chain is read once", func(s *stage) {
		who := s.somebody()
		s.covered(s.grant(who).Block)
		s.finally(who, policy.Allowed)
		before := s.checker.Stats().ChainReads
		head, _ := s.checker.Head()
		s.covered(head + 3)
		s.wants(who, policy.Allowed)
		if after := s.checker.Stats().ChainReads; after != before {
			s.t.Fatalf("%d reads of the chain for a record that coverage confirms", after-before)
		}
	}},
}

// finally wants a decision once the blocks that cause it are final.
func (s *stage) finally(who [32]byte, want policy.Reason) {
	s.t.Helper()
	eventually(s.t, generous, "the decision is "+want.String(), func() bool {
		got, err := s.says(who)
		return err == nil && got == want
	})
}
