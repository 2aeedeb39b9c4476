package servertest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const redisRemedy = "install it (Debian: apt-get install redis-server; 'make test' does)"

// Redis starts redis-server at a port; "0" is a free one. more are arguments of its own.
func Redis(t testing.TB, port string, more ...string) Server {
	t.Helper()
	Need(t, "redis-server", redisRemedy)
	if port == "0" {
		port = Port(t)
	}
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir()}, more...)
	s := start(t, exec.Command("redis-server", args...))
	s.Addr = "127.0.0.1:" + port
	waitFor(t, s.Addr, "PING", "+PONG")
	return s
}

// RedisCluster starts a cluster of three masters without replicas.
func RedisCluster(t testing.TB) []Server {
	t.Helper()
	const nodes, slots = 3, 16384
	all := make([]Server, nodes)
	for i := range all {
		bus := Port(t)
		// A machine that stands still for a while must not make the nodes take each other for dead.
		all[i] = Redis(t, "0", "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "30000")
		ask(t, all[i].Addr, fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/nodes, (i+1)*slots/nodes-1))
		if i > 0 {
			_, port, _ := net.SplitHostPort(all[i].Addr)
			ask(t, all[0].Addr, "CLUSTER MEET 127.0.0.1 "+port+" "+bus)
		}
	}
	for _, s := range all {
		waitFor(t, s.Addr, "CLUSTER INFO", "cluster_state:ok")
	}
	return all
}

// SentinelMaster is the name of the master that RedisSentinel's Sentinel watches.
const SentinelMaster = "themaster"

// RedisSentinel starts a master, a replica of it, and a Sentinel that makes the replica the
// master when the master has been away for three seconds. (Of a shorter absence a machine
// that stands still looks guilty; a Sentinel that stood still itself, for two seconds or
// more, does nothing for the next thirty.)
func RedisSentinel(t testing.TB) (sentinel, master, replica Server) {
	t.Helper()
	master = Redis(t, "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	replica = Redis(t, "0", "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	waitFor(t, replica.Addr, "INFO replication", "master_link_status:up") // a Sentinel asks for replicas every 10 s
	own := Port(t)
	conf := filepath.Join(t.TempDir(), "sentinel.conf") // it writes there what it learns
	text := strings.NewReplacer("$port", own, "$name", SentinelMaster, "$master", host+" "+port).Replace(`port $port
bind 127.0.0.1
sentinel monitor $name $master 1
sentinel down-after-milliseconds $name 3000
sentinel failover-timeout $name 2000
`)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel = start(t, exec.Command("redis-server", conf, "--sentinel"))
	sentinel.Addr = "127.0.0.1:" + own
	waitFor(t, sentinel.Addr, "SENTINEL MASTER "+SentinelMaster, "num-slaves\n$1\n1")
	return sentinel, master, replica
}

// waiting is how long a server may take to come up, and answering what one question may.
const waiting, answering = 2 * time.Minute, 10 * time.Second

// waitFor asks until the answer holds the text.
func waitFor(t testing.TB, addr, command, text string) {
	t.Helper()
	deadline := time.Now().Add(waiting)
	for {
		answer, err := say(addr, command)
		if err == nil && strings.Contains(answer, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s at %s does not answer %q within %v: %q, %v", command, addr, text, waiting, answer, err)
		}
		time.Sleep(5 * time.Millisecond) // another process comes up
	}
}

func ask(t testing.TB, addr, command string) {
	t.Helper()
	if answer, err := say(addr, command); err != nil || !strings.HasPrefix(answer, "+OK") {
		t.Fatalf("%s at %s: %q, %v", command, addr, answer, err)
	}
}

// say sends a command, and returns all that comes back before the answer to a PING after it.
func say(addr, command string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, answering)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answering)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\nPING\r\n", command); err != nil {
		return "", err
	}
	var all strings.Builder
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		if lines.Text() == "+PONG" || strings.HasPrefix(lines.Text(), "-LOADING") {
			break
		}
	}
	return all.String(), lines.Err()
}
