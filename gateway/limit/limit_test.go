package limit_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/internal/devnet"
	_ "github.com/fealty/fealty/internal/sameseed"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/policy"
)

// stores are the state stores that every test here runs on.
func stores(t *testing.T) map[string]string {
	t.Helper()
	embedded, err := devnet.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { embedded.Close() })
	return map[string]string{"embedded": embedded.Addr(), "redis-server": servertest.Redis(t, "0").Addr}
}

// gateway is one limiter with its own connection, which counts its questions.
type gateway struct {
	*limit.Limiter
	client redis.UniversalClient
	state  *state.Store
	asked  atomic.Int64
}

func connect(t testing.TB, addr string) *gateway {
	c := statetest.Client(t, addr)
	g := &gateway{client: c, state: statetest.Open(t, c, 0)}
	c.AddHook(g)
	g.Limiter = limit.NewPatient(g.state, "test")
	t.Cleanup(func() { g.Limiter.Close() })
	return g
}

func (g *gateway) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *gateway) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.asked.Add(1)
		return next(ctx, cmd)
	}
}

func (g *gateway) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.asked.Add(1)
		return next(ctx, cmds)
	}
}

// stored is what the store counts as consumed: of the minute or the day of noon.
func (g *gateway) stored(t *testing.T, window string) int64 {
	t.Helper()
	names, err := g.client.Keys(t.Context(), "fealty:1:used:*}:"+window+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, name := range names {
		n, err := g.client.Get(t.Context(), name).Int64()
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

var noon = time.Date(2026, 1, 31, 12, 0, 30, 0, time.UTC)

// naive is what the limiter must do, one request at a time.
type naive struct {
	requests map[[2]int64]uint32 // (who, minute)
	tokens   map[[2]int64]uint64 // (who, day)
}

func (n *naive) reserve(now time.Time, b limit.Budget, key int64, tokens uint64) bool {
	minute, day := now.Unix()/60, now.Unix()/86400
	fits := func(who int64, p policy.Plan) bool {
		return (p.RPM == 0 || n.requests[[2]int64{who, minute}]+1 <= p.RPM) &&
			(p.TokensPerDay == 0 || n.tokens[[2]int64{who, day}]+tokens <= p.TokensPerDay)
	}
	if !fits(-1, b.Plan) || !fits(key, b.Key) {
		return false
	}
	for _, who := range []int64{-1, key} {
		n.requests[[2]int64{who, minute}]++
		n.tokens[[2]int64{who, day}] += tokens
	}
	return true
}

func (n *naive) settle(reserved time.Time, key int64, change int64) {
	for _, who := range []int64{-1, key} {
		n.tokens[[2]int64{who, reserved.Unix() / 86400}] += uint64(change)
	}
}

func TestCountsAsTheNaiveTwin(t *testing.T) {
	for name, addr := range stores(t) {
		t.Run(name, func(t *testing.T) {
			run, l := byte(0), connect(t, addr)
			rapid.Check(t, func(t *rapid.T) {
				run++
				twin := naive{map[[2]int64]uint32{}, map[[2]int64]uint64{}}
				now := noon.AddDate(0, 0, int(run)) // nothing is left from the run before
				most := rapid.SampledFrom([]int{4, 60, 2000}).Draw(t, "scale")
				plan := func(of string) policy.Plan {
					return policy.Plan{
						RPM:          uint32(rapid.IntRange(0, most).Draw(t, of+" rpm")),
						TokensPerDay: uint64(rapid.IntRange(0, 15*most).Draw(t, of+" tokens per day")),
					}
				}
				own, keys := plan("license"), []policy.Plan{plan("first key"), plan("second key")}
				for range rapid.IntRange(1, 60).Draw(t, "steps") {
					switch rapid.IntRange(0, 29).Draw(t, "what") {
					case 0:
						now = now.Add(13 * time.Hour)
					case 1:
						now = now.Add(40 * time.Second)
					case 2:
						own = plan("another")
					}
					key := int64(rapid.IntRange(0, 1).Draw(t, "key"))
					b := limit.Budget{Model: "m", Subject: [32]byte{run}, KeyID: string(rune('a' + key)), Plan: own, Key: keys[key]}
					tokens := uint64(rapid.IntRange(1, 20).Draw(t, "tokens"))
					r, err := l.Reserve(context.Background(), now, b, tokens)
					var over *limit.Exceeded
					if err != nil && !errors.As(err, &over) {
						t.Fatal(err)
					}
					if want := twin.reserve(now, b, key, tokens); (err == nil) != want {
						t.Fatalf("%+v, %d tokens at %s: got %v, want it to fit: %v", b, tokens, now, err, want)
					}
					if err == nil && rapid.Bool().Draw(t, "settle") {
						used := uint64(rapid.IntRange(0, 25).Draw(t, "used"))
						r.Settle(used)
						twin.settle(now, key, int64(used)-int64(tokens))
					}
				}
			})
		})
	}
}

// 200 requests at once, over three gateways, on a budget of ten: ten are served.
func TestNeverOverTheBudget(t *testing.T) {
	for name, addr := range stores(t) {
		t.Run(name, func(t *testing.T) {
			gateways := []*gateway{connect(t, addr), connect(t, addr), connect(t, addr)}
			for i, c := range []struct {
				plan           policy.Plan
				asking, served int32
			}{
				{policy.Plan{RPM: 10}, 200, 10},
				{policy.Plan{TokensPerDay: 50}, 200, 10},
				{policy.Plan{RPM: 700}, 3000, 700}, // leases are larger than one request
				{policy.Plan{TokensPerDay: 3500}, 3000, 700},
			} {
				var served, refused atomic.Int32
				var all sync.WaitGroup
				for n := range c.asking {
					all.Go(func() {
						b := limit.Budget{Model: "m", Subject: [32]byte{byte(i)}, KeyID: "k", Plan: c.plan}
						_, err := gateways[n%3].Reserve(context.Background(), noon, b, 5)
						var over *limit.Exceeded
						switch {
						case err == nil:
							served.Add(1)
						case errors.As(err, &over):
							refused.Add(1)
						}
					})
				}
				all.Wait()
				if served.Load() != c.served || refused.Load() != c.asking-c.served {
					t.Errorf("%+v: served %d, refused %d; want %d of %d", c.plan, served.Load(), refused.Load(), c.served, c.asking)
				}
			}
		})
	}
}

// What the store counts in the end is what was used, whatever was reserved.
func TestSettledIsWhatCounts(t *testing.T) {
	for name, addr := range stores(t) {
		t.Run(name, func(t *testing.T) {
			gateways := []*gateway{connect(t, addr), connect(t, addr), connect(t, addr)}
			var used, requests atomic.Int64
			var all sync.WaitGroup
			for n := range 600 {
				all.Go(func() {
					b := limit.Budget{Model: "m", Subject: [32]byte{byte(n % 2)}, KeyID: "k", Plan: policy.Plan{TokensPerDay: uint64(n%2) * 4000}}
					r, err := gateways[n%3].Reserve(context.Background(), noon, b, 20)
					if err != nil {
						return
					}
					requests.Add(1)
					if got := uint64(n % 23); n%7 != 0 { // the others are never settled
						r.Settle(got)
						used.Add(int64(got))
					} else {
						used.Add(20)
					}
				})
			}
			all.Wait()
			for _, g := range gateways {
				g.Limiter.Close()
				g.Limiter = limit.New(g.state, "test") // for the test's end to close
			}
			if got := gateways[0].stored(t, "d"); got != used.Load() || got > 4000+300*20 {
				t.Errorf("the store counts %d tokens, %d were used", got, used.Load())
			}
			if got := gateways[0].stored(t, "m"); got != requests.Load() {
				t.Errorf("the store counts %d requests, %d were made", got, requests.Load())
			}
		})
	}
}

// A gateway that dies takes no more with it than it had leased ahead.
func TestKilledGatewayStrandsItsLease(t *testing.T) {
	addr := servertest.Redis(t, "0").Addr
	killed, heir := connect(t, addr), connect(t, addr)
	const budget = 6400
	b := limit.Budget{Model: "m", Plan: policy.Plan{TokensPerDay: budget}}
	if _, err := killed.Reserve(t.Context(), noon, b, 10); err != nil {
		t.Fatal(err)
	}
	killed.client.Close() // it gives nothing back any more
	var served uint64
	for {
		if _, err := heir.Reserve(t.Context(), noon, b, 10); err != nil {
			break
		}
		served += 10
	}
	if most, least := uint64(budget-10), uint64(budget-10-budget/limit.Share); served > most || served < least-10 {
		t.Errorf("the other gateway served %d tokens; want %d to %d", served, least, most)
	}
}

// Without the store a gateway serves what it has leased, then nothing.
func TestStoreDies(t *testing.T) {
	server := servertest.Redis(t, "0")
	g := connect(t, server.Addr)
	b := limit.Budget{Model: "m", Plan: policy.Plan{RPM: 6400}}
	if _, err := g.Reserve(t.Context(), noon, b, 1); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	served := 0
	var err error
	for ; err == nil && served < 6400; served++ {
		_, err = g.Reserve(t.Context(), noon, b, 1)
	}
	if !errors.Is(err, limit.ErrUnavailable) || served > 6400/limit.Share+1 || served < 2 {
		t.Errorf("served %d without a store, then %v", served, err)
	}
	asked := g.asked.Load()
	for range 100 {
		if _, err := g.Reserve(t.Context(), noon, b, 1); !errors.Is(err, limit.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if more := g.asked.Load() - asked; more > 10 {
		t.Errorf("a dead store was asked %d times by 100 requests", more)
	}

	// What comes back without persistence is empty, which is not "nothing spent".
	_, port, _ := net.SplitHostPort(server.Addr)
	servertest.Redis(t, port)
	eventually := func(what string, held func(error) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			_, err := g.Reserve(t.Context(), noon, b, 1)
			if held(err) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	eventually("the emptied store is lost", func(err error) bool { return errors.Is(err, limit.ErrUnavailable) && errors.Is(err, state.ErrLost) })
	if _, err := state.Init(t.Context(), g.client); err != nil {
		t.Fatal(err)
	}
	eventually("an operator accepted it", func(err error) bool { return err == nil })
}

// A store that accepts and is silent costs a bounded wait, then none.
func TestStoreIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := redis.NewClient(&redis.Options{Addr: l.Addr().String(), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer c.Close()
	g := &gateway{}
	c.AddHook(g)
	guarded, err := state.Watch(t.Context(), state.Options{Client: c, Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer guarded.Close()
	limiter := limit.New(guarded, "d")
	defer limiter.Close()
	g.asked.Store(0)
	for range 50 { // each question takes its time: without a bound this would not end
		if _, err := limiter.Reserve(t.Context(), noon, limit.Budget{Plan: policy.Plan{RPM: 1}}, 1); !errors.Is(err, limit.ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
	}
	if n := g.asked.Load(); n > 10 { // one, and one more each time that this machine stood still
		t.Errorf("a silent store was asked %d times by 50 requests", n)
	}
}

// Most requests ask nobody, and neither do the refused ones of a flood.
func TestTheStoreIsSeldomAsked(t *testing.T) {
	g := connect(t, servertest.Redis(t, "0").Addr)
	b := limit.Budget{Model: "m", Plan: policy.Plan{RPM: 20_000}}
	if _, err := g.Reserve(t.Context(), noon, b, 1); err != nil {
		t.Fatal(err)
	}
	g.asked.Store(0)
	for range 10_000 {
		if _, err := g.Reserve(t.Context(), noon, b, 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.asked.Load(); n > 200 {
		t.Errorf("10,000 requests asked the store %d times", n)
	}
	small := limit.Budget{Model: "n", Plan: policy.Plan{RPM: 1}}
	began := time.Now()
	g.asked.Store(0)
	for range 10_000 {
		_, _ = g.Reserve(t.Context(), noon, small, 1)
	}
	if n, most := g.asked.Load(), 10+int64(time.Since(began)/(50*time.Millisecond)); n > most {
		t.Errorf("10,000 refused requests asked the store %d times, want at most %d", n, most)
	}
}

func TestIdleLeasesGoBack(t *testing.T) {
	addr := servertest.Redis(t, "0").Addr
	one, two := connect(t, addr), connect(t, addr)
	generous := limit.NewGenerous(one.state, "test")
	defer generous.Close()
	b := limit.Budget{Model: "m", Plan: policy.Plan{TokensPerDay: 6400}}
	r, err := generous.Reserve(t.Context(), noon, b, 10)
	if err != nil {
		t.Fatal(err)
	}
	r.Settle(7)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got := one.stored(t, "d")
		if got == 7 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store counts %d tokens, 7 were used", got)
		}
	}
	if _, err := two.Reserve(t.Context(), noon, b, 6393); err != nil {
		t.Errorf("all that is left, on another gateway: %v", err)
	}
}

// TestTheSilentAreForgotten: who asked once costs nothing any more, and what they used
// stays counted.
func TestTheSilentAreForgotten(t *testing.T) {
	g := connect(t, servertest.Redis(t, "0").Addr)
	generous := limit.NewGenerous(g.state, "test")
	defer generous.Close()
	const licensees = 200
	budget := func(i int) limit.Budget {
		return limit.Budget{Model: "m", Subject: [32]byte{byte(i), byte(i >> 8)}, KeyID: "k", Plan: policy.Plan{RPM: 2, TokensPerDay: 6400}}
	}
	open, err := generous.Reserve(t.Context(), noon, budget(licensees), 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range licensees {
		r, err := generous.Reserve(t.Context(), noon, budget(i), 10)
		if err != nil {
			t.Fatal(err)
		}
		r.Settle(7)
	}
	for deadline := time.Now().Add(time.Minute); generous.Accounts() != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d accounts in memory, 1 has a request that runs", generous.Accounts())
		}
	}
	open.Settle(7)
	for i := range licensees + 1 { // the license allows one more in this minute, and no second
		if _, err := generous.Reserve(t.Context(), noon, budget(i), 1); err != nil {
			t.Fatalf("the second request of licensee %d: %v", i, err)
		}
		var over *limit.Exceeded
		if _, err := generous.Reserve(t.Context(), noon, budget(i), 1); !errors.As(err, &over) {
			t.Fatalf("the third request of licensee %d, two a minute are allowed: %v", i, err)
		}
	}
}

// TestManyLeasesGoBack: more than one report holds.
func TestManyLeasesGoBack(t *testing.T) {
	g := connect(t, servertest.Redis(t, "0").Addr)
	many := limit.NewPatient(g.state, "test")
	const licensees = 1200 // two counters of the license each: 2,400 changes
	for i := range licensees {
		b := limit.Budget{Model: "m", Subject: [32]byte{byte(i), byte(i >> 8)}, Plan: policy.Plan{RPM: 640, TokensPerDay: 6400}}
		r, err := many.Reserve(t.Context(), noon, b, 10)
		if err != nil {
			t.Fatal(err)
		}
		r.Settle(7)
	}
	if err := many.Close(); err != nil {
		t.Fatal(err)
	}
	if requests, tokens := g.stored(t, "m"), g.stored(t, "d"); requests != licensees || tokens != 7*licensees {
		t.Errorf("the store counts %d requests and %d tokens, want %d and %d", requests, tokens, licensees, 7*licensees)
	}
}

func TestBudgetsAreSeparate(t *testing.T) {
	for name, addr := range stores(t) {
		one := limit.Budget{Model: "m", Subject: [32]byte{1}, KeyID: "k", Plan: policy.Plan{RPM: 1}}
		l := connect(t, addr)
		if _, err := l.Reserve(t.Context(), noon, one, 1); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again := func(what string, l *limit.Limiter, b limit.Budget, fits bool) {
			if _, err := l.Reserve(t.Context(), noon, b, 1); (err == nil) != fits {
				t.Errorf("%s: %s: got %v, want it to fit: %v", name, what, err, fits)
			}
		}
		again("another key", l.Limiter, limit.Budget{Model: "m", Subject: [32]byte{1}, KeyID: "j", Plan: one.Plan}, false)
		again("another subject", l.Limiter, limit.Budget{Model: "m", Subject: [32]byte{2}, KeyID: "k", Plan: one.Plan}, true)
		again("another model", l.Limiter, limit.Budget{Model: "n", Subject: [32]byte{1}, KeyID: "k", Plan: one.Plan}, true)
		other := limit.NewPatient(l.state, "other")
		defer other.Close()
		again("another deployment", other, one, true)
	}
}

func BenchmarkReserve(b *testing.B) {
	embedded, err := devnet.StartRedis()
	if err != nil {
		b.Fatal(err)
	}
	defer embedded.Close()
	g := connect(b, embedded.Addr())
	budget := limit.Budget{Model: "m", KeyID: "k", Plan: policy.Plan{TokensPerDay: 1 << 50}}
	b.ReportAllocs()
	for b.Loop() {
		r, err := g.Reserve(b.Context(), noon, budget, 100)
		if err != nil {
			b.Fatal(err)
		}
		r.Settle(100)
	}
}

// What is no count is not taken for nothing spent, and is left as it is.
func TestCounterThatIsNoNumber(t *testing.T) {
	for name, addr := range stores(t) {
		l := connect(t, addr)
		b := limit.Budget{Model: "m", Subject: [32]byte{1}, Plan: policy.Plan{TokensPerDay: 100}}
		counter := "fealty:1:used:{test:m:01" + strings.Repeat("00", 31) + "}:d" + strconv.FormatInt(noon.Unix()/86400, 10)
		if err := l.client.Set(t.Context(), counter, "2;spent=90", 0).Err(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // also when it is asked again
			if _, err := l.Reserve(t.Context(), noon, b, 1); !errors.Is(err, limit.ErrUnavailable) {
				t.Errorf("%s: got %v, want ErrUnavailable", name, err)
			}
		}
		if got := l.client.Get(t.Context(), counter).Val(); got != "2;spent=90" {
			t.Errorf("%s: it became %q", name, got)
		}
		l.client.Del(t.Context(), counter)
	}
}
