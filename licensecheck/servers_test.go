package licensecheck

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
)

// generous is how long tests wait for what must come: a busy machine may stand still for seconds.
const generous = time.Minute

// testChain is a running chain that tests can kill.
type testChain struct {
	http, ws string
	accounts []*wallet.Key // with money
	kill     func()        // at once; may be called again
}

func startEmbedded(t testing.TB) *testChain {
	t.Helper()
	chain, err := devnet.StartChain(devnet.ChainConfig{})
	if err != nil {
		t.Fatal(err)
	}
	kill := func() { chain.Close() }
	t.Cleanup(kill)
	return &testChain{http: chain.HTTP(), ws: chain.WS(), accounts: chain.Accounts(), kill: kill}
}

// TestMain puts the keys where package wallet reads keys from.
func TestMain(m *testing.M) {
	for i, hex := range servertest.AnvilKeys {
		os.Setenv(fmt.Sprintf("FEALTY_TEST_ANVIL_%d", i), hex)
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "10") // they wait more than they work; the flag exists
	os.Exit(m.Run())
}

func startAnvil(t testing.TB) *testChain { return startAnvilAt(t, "0") }

func startAnvilAt(t testing.TB, port string) *testChain {
	t.Helper()
	anvil := servertest.Anvil(t, port)
	c := &testChain{http: "http://" + anvil.Addr, ws: "ws://" + anvil.Addr, kill: anvil.Kill}
	for i := range servertest.AnvilKeys {
		name := fmt.Sprintf("FEALTY_TEST_ANVIL_%d", i)
		key, err := wallet.Load(wallet.Source{Env: name})
		if err != nil {
			t.Fatal(err)
		}
		c.accounts = append(c.accounts, key)
	}
	return c
}

// testRedis is a running Redis that tests can kill and start again.
type testRedis struct {
	url  string
	kill func()
}

func startMiniredis(t testing.TB) *testRedis {
	t.Helper()
	r, err := devnet.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	kill := func() {
		if !closed {
			closed = true
			r.Close()
		}
	}
	t.Cleanup(kill)
	return &testRedis{url: "redis://" + r.Addr(), kill: kill}
}

func startRealRedis(t testing.TB) *testRedis { return startRealRedisAt(t, "0") }

func startRealRedisAt(t testing.TB, port string) *testRedis {
	t.Helper()
	r := servertest.Redis(t, port)
	return &testRedis{url: "redis://" + r.Addr, kill: r.Kill}
}

func (r *testRedis) port() string {
	u, _ := url.Parse(r.url)
	return u.Port()
}

func (r *testRedis) client(t testing.TB) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(r.url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

// eventually waits for something that another process or goroutine brings about.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(2 * time.Millisecond) // polling another process
	}
}
