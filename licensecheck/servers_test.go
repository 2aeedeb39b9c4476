package licensecheck

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
)

// testChain is a running chain that tests can kill.
type testChain struct {
	http, ws string
	accounts []*wallet.Key // with money
	kill     func()        // at once; may be called again
}

// need finds a program, or skips the test; in CI nothing is skipped.
func need(t *testing.T, path, install string) {
	t.Helper()
	if _, err := exec.LookPath(path); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; %s", path, install)
	}
	t.Skipf("%s is missing; %s", path, install)
}

func startEmbedded(t *testing.T) *testChain {
	t.Helper()
	chain, err := devnet.StartChain(devnet.ChainConfig{})
	if err != nil {
		t.Fatal(err)
	}
	kill := func() { chain.Close() }
	t.Cleanup(kill)
	return &testChain{http: chain.HTTP(), ws: chain.WS(), accounts: chain.Accounts(), kill: kill}
}

func anvilPath() string {
	arch := map[string]string{"amd64": "amd64", "arm64": "arm64"}[runtime.GOARCH]
	return filepath.Join("..", "node_modules", "@foundry-rs", "anvil-"+runtime.GOOS+"-"+arch, "bin", "anvil")
}

// The first keys that every anvil gives money to.
var anvilKeys = []string{
	"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
	"59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
	"5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
}

// TestMain puts the keys where package wallet reads keys from.
func TestMain(m *testing.M) {
	for i, hex := range anvilKeys {
		os.Setenv(fmt.Sprintf("FEALTY_TEST_ANVIL_%d", i), hex)
	}
	os.Exit(m.Run())
}

func startAnvil(t *testing.T) *testChain { return startAnvilAt(t, 0) }

func startAnvilAt(t *testing.T, port int) *testChain {
	t.Helper()
	need(t, anvilPath(), "run `npm install` in the project's root (make test does)")
	cmd := exec.Command(anvilPath(), "--port", fmt.Sprint(port), "--block-time", "1", "--host", "127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := killer(cmd)
	t.Cleanup(kill)
	addr := ""
	lines := bufio.NewScanner(out)
	for addr == "" && lines.Scan() {
		_, addr, _ = strings.Cut(lines.Text(), "Listening on ")
	}
	if addr == "" {
		t.Fatal("anvil ended without listening")
	}
	go func() { // it blocks when nobody reads what it says
		for lines.Scan() {
		}
	}()
	c := &testChain{http: "http://" + addr, ws: "ws://" + addr, kill: kill}
	for i := range anvilKeys {
		name := fmt.Sprintf("FEALTY_TEST_ANVIL_%d", i)
		key, err := wallet.Load(wallet.Source{Env: name})
		if err != nil {
			t.Fatal(err)
		}
		c.accounts = append(c.accounts, key)
	}
	return c
}

// killer ends the process and waits for it, once.
func killer(cmd *exec.Cmd) func() {
	done := false
	return func() {
		if !done {
			done = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
}

// testRedis is a running Redis that tests can kill and start again.
type testRedis struct {
	url  string
	kill func()
}

func startMiniredis(t *testing.T) *testRedis {
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

func startRealRedis(t *testing.T) *testRedis { return startRealRedisAt(t, freePort(t)) }

func startRealRedisAt(t *testing.T, port string) *testRedis {
	t.Helper()
	need(t, "redis-server", "install it (Debian: apt-get install redis-server; make test does)")
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := killer(cmd)
	t.Cleanup(kill)
	r := &testRedis{url: "redis://127.0.0.1:" + port, kill: kill}
	client := r.client(t)
	eventually(t, 10*time.Second, "redis-server answers", func() bool { return client.Ping(t.Context()).Err() == nil })
	return r
}

func (r *testRedis) port() string {
	u, _ := url.Parse(r.url)
	return u.Port()
}

func (r *testRedis) client(t *testing.T) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(r.url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// eventually waits for something that another process or goroutine brings about.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(2 * time.Millisecond) // polling another process
	}
}
