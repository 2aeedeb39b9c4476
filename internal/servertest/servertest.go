// Package servertest starts the real servers that tests run against: redis-server
// and anvil, each on a free loopback port ([Port]), ended with the test.
//
// A server that is not installed skips the test and says how to get it; with
// CI=true it fails the test, since CI skips nothing.
package servertest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Server is a running process that a test may kill before its end.
type Server struct {
	Addr   string // host:port
	Kill   func() // at once; may be called again
	Freeze func() // stops it without a word to whoever is connected
	Thaw   func() // lets it go on
}

// AnvilKeys are the keys, in hexadecimal, that every anvil gives money to. They are
// in its manual: whatever they hold on a public chain is anybody's.
var AnvilKeys = []string{
	"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
	"59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
	"5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
}

// Need finds a program, or skips the test.
func Need(t testing.TB, program, remedy string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing and CI skips nothing: %s", program, remedy)
	}
	t.Skipf("%s is missing: %s", program, remedy)
}

// Anvil starts an Ethereum node that makes a block a second, at a port; "0" is a
// free one of its own choice. Its URL is http:// or ws:// and the address.
func Anvil(t testing.TB, port string) Server {
	t.Helper()
	path := anvilPath()
	Need(t, path, "run 'npm install' in the project's root ('make test' does)")
	cmd := exec.Command(path, "--port", port, "--block-time", "1", "--host", "127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cmd)
	lines := bufio.NewScanner(out)
	for s.Addr == "" && lines.Scan() {
		_, s.Addr, _ = strings.Cut(lines.Text(), "Listening on ")
	}
	if s.Addr == "" {
		t.Fatal("anvil ended without listening")
	}
	go func() { // it blocks when nobody reads what it says; ends with the process
		for lines.Scan() {
		}
	}()
	return s
}

func anvilPath() string {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	return filepath.Join(root, "node_modules", "@foundry-rs", "anvil-"+runtime.GOOS+"-"+runtime.GOARCH, "bin", "anvil")
}

func start(t testing.TB, cmd *exec.Cmd) Server {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // a killed process has no other outcome
	})
	t.Cleanup(kill)
	tell := func(s syscall.Signal) func() {
		return func() {
			if err := cmd.Process.Signal(s); err != nil {
				t.Errorf("%v to %s: %v", s, cmd.Path, err)
			}
		}
	}
	return Server{Kill: kill, Freeze: tell(syscall.SIGSTOP), Thaw: tell(syscall.SIGCONT)}
}
