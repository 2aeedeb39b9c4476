package devnet

import (
	"context"
	"net"
	"net/url"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

func TestChain(t *testing.T) {
	stderr := quiet(t)
	chain, err := StartChain(ChainConfig{ChainID: 4242, Accounts: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, at := range []string{chain.HTTP(), chain.WS()} {
		client, err := ethclient.DialContext(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if id, err := client.ChainID(ctx); err != nil || id.Uint64() != 4242 {
			t.Errorf("%s: chain %v, %v; want 4242", at, id, err)
		}
		for _, key := range chain.Accounts() {
			if wei, err := client.BalanceAt(ctx, key.Address(), nil); err != nil || wei.Sign() <= 0 {
				t.Errorf("%s holds %v, %v; want some", key, wei, err)
			}
		}
	}
	makesBlocks(ctx, t, chain.WS())
	if err := chain.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, at := range []string{chain.HTTP(), chain.WS()} {
		u, _ := url.Parse(at)
		if listens(u.Host) {
			t.Errorf("%s still answers after Close", at)
		}
	}
	if said := stderr(); said != "" {
		t.Errorf("the node wrote to stderr: %.300s", said)
	}
}

// listens reports whether anybody takes connections at an address. A port that nobody has
// can be given to the very connection that dials it, which is then one to itself.
func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	return conn.LocalAddr().String() != conn.RemoteAddr().String()
}

// makesBlocks waits for two heads and wants them to differ in number by one and in randomness.
func makesBlocks(ctx context.Context, t *testing.T, ws string) {
	t.Helper()
	client, err := ethclient.DialContext(ctx, ws)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	heads := make(chan *types.Header, 4)
	sub, err := client.SubscribeNewHead(ctx, heads)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	var got [2]*types.Header
	for i := range got {
		select {
		case got[i] = <-heads:
		case <-ctx.Done():
			t.Fatal("no new heads")
		}
	}
	if got[1].Number.Uint64() != got[0].Number.Uint64()+1 || got[1].ParentHash != got[0].Hash() {
		t.Errorf("head %d does not follow %d", got[1].Number, got[0].Number)
	}
	if got[0].MixDigest == got[1].MixDigest {
		t.Error("two blocks have the same randomness")
	}
}

// quiet catches what the process writes to stderr.
func quiet(t *testing.T) (said func() string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = f
	t.Cleanup(func() { os.Stderr = old; f.Close() })
	return func() string {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// Two chains in one process, as tests that run in parallel need them.
func TestTwoChains(t *testing.T) {
	a, err := StartChain(ChainConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := StartChain(ChainConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if a.HTTP() == b.HTTP() || a.WS() == b.WS() {
		t.Errorf("both listen at %s, %s", a.HTTP(), a.WS())
	}
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	start, err := StartChain(ChainConfig{}) // go-ethereum starts some for good with the first node
	if err != nil {
		t.Fatal(err)
	}
	if err := start.Close(); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	chain, err := StartChain(ChainConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond) // they are on their way out
	}
	if after := runtime.NumGoroutine(); after > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines after, %d before\n%s", after, before, stacks[:runtime.Stack(stacks, true)])
	}
}

func TestRedisExpiresByTheClock(t *testing.T) {
	redis, err := StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	if err := redis.server.Set("k", "v"); err != nil {
		t.Fatal(err)
	}
	redis.server.SetTTL("k", 50*time.Millisecond)
	deadline := time.Now().Add(time.Minute)
	for redis.server.Exists("k") {
		if time.Now().After(deadline) {
			t.Fatal("a key of 50 ms is still there after a minute")
		}
		time.Sleep(time.Millisecond)
	}
	addr := redis.Addr()
	if err := redis.Close(); err != nil {
		t.Fatal(err)
	}
	if listens(addr) {
		t.Error("the server still answers after Close")
	}
}
