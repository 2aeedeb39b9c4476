package limit_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/policy"
)

// stores are the state stores that every test here runs on.
func stores(t *testing.T) map[string]redis.UniversalClient {
	t.Helper()
	embedded, err := devnet.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { embedded.Close() })
	out := map[string]redis.UniversalClient{"embedded": redis.NewClient(&redis.Options{Addr: embedded.Addr()})}
	if addr := realRedis(t); addr != "" {
		out["redis-server"] = redis.NewClient(&redis.Options{Addr: addr})
	}
	for _, c := range out {
		t.Cleanup(func() { c.Close() })
	}
	return out
}

// realRedis starts redis-server; "" where it is not installed, which CI refuses.
func realRedis(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed; with CI=true nothing is skipped")
		}
		t.Log("redis-server is not installed (Debian: apt-get install redis-server); testing on the embedded one alone")
		return ""
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	server.Dir = t.TempDir()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, MaxRetries: 100, MaxRetryBackoff: 50 * time.Millisecond})
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal("redis-server does not answer: ", err)
	}
	return "127.0.0.1:" + port
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
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			run := int64(0)
			rapid.Check(t, func(t *rapid.T) {
				run++
				l := limit.New(store, "prop"+time.Unix(run, 0).UTC().Format("150405"))
				twin := naive{map[[2]int64]uint32{}, map[[2]int64]uint64{}}
				now := noon
				for range rapid.IntRange(1, 20).Draw(t, "steps") {
					now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
					if rapid.IntRange(0, 9).Draw(t, "sleep") == 0 {
						now = now.Add(13 * time.Hour)
					}
					key := int64(rapid.IntRange(0, 1).Draw(t, "key"))
					b := limit.Budget{
						Model: "m", KeyID: string(rune('a' + key)),
						Plan: policy.Plan{RPM: uint32(rapid.IntRange(0, 4).Draw(t, "rpm")), TokensPerDay: uint64(rapid.IntRange(0, 60).Draw(t, "tpd"))},
						Key:  policy.Plan{RPM: uint32(rapid.IntRange(0, 3).Draw(t, "key rpm")), TokensPerDay: uint64(rapid.IntRange(0, 40).Draw(t, "key tpd"))},
					}
					tokens := uint64(rapid.IntRange(0, 20).Draw(t, "tokens"))
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
						if err := r.Settle(context.Background(), used); err != nil {
							t.Fatal(err)
						}
						twin.settle(now, key, int64(used)-int64(tokens))
					}
				}
			})
		})
	}
}

// 200 requests at once, over three gateways, on a budget of ten: ten are served.
func TestNeverOverTheBudget(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			for what, plan := range map[string]policy.Plan{"requests": {RPM: 10}, "tokens": {TokensPerDay: 50}} {
				var served, refused atomic.Int32
				var all sync.WaitGroup
				for i := range 200 {
					l := []*limit.Limiter{limit.New(store, what), limit.New(store, what), limit.New(store, what)}[i%3]
					all.Go(func() {
						_, err := l.Reserve(context.Background(), noon, limit.Budget{Model: "m", KeyID: "k", Plan: plan}, 5)
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
				if served.Load() != 10 || refused.Load() != 190 {
					t.Errorf("%s: served %d, refused %d, want 10 and 190", what, served.Load(), refused.Load())
				}
			}
		})
	}
}

func TestBudgetsAreSeparate(t *testing.T) {
	for name, store := range stores(t) {
		one := limit.Budget{Model: "m", Subject: [32]byte{1}, KeyID: "k", Plan: policy.Plan{RPM: 1}}
		l := limit.New(store, "separate")
		if _, err := l.Reserve(t.Context(), noon, one, 1); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again := func(what string, l *limit.Limiter, b limit.Budget, fits bool) {
			if _, err := l.Reserve(t.Context(), noon, b, 1); (err == nil) != fits {
				t.Errorf("%s: %s: got %v, want it to fit: %v", name, what, err, fits)
			}
		}
		again("another key", l, limit.Budget{Model: "m", Subject: [32]byte{1}, KeyID: "j", Plan: one.Plan}, false)
		again("another subject", l, limit.Budget{Model: "m", Subject: [32]byte{2}, KeyID: "k", Plan: one.Plan}, true)
		again("another model", l, limit.Budget{Model: "n", Subject: [32]byte{1}, KeyID: "k", Plan: one.Plan}, true)
		again("another deployment", limit.New(store, "other"), one, true)
	}
}

func TestNoStore(t *testing.T) {
	dead := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer dead.Close()
	_, err := limit.New(dead, "d").Reserve(t.Context(), noon, limit.Budget{}, 1)
	if !errors.Is(err, limit.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
