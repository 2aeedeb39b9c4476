package servertest

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

const firstPort, ports = 20_000, 10_000

// handedOut counts the ports that this process was given. Processes that run side by side
// begin at different ones.
var handedOut atomic.Uint32

func init() { handedOut.Store(uint32(os.Getpid()) * 97) }

// Port is free, given to nobody else in this process, nor until the test's end in another,
// and below those that outgoing connections take: nobody has it before the server does, or
// while the server is away and clients try to reach it. (A client that dials a port of its own range over and over can
// end up connected to itself, and hold the port.)
func Port(t testing.TB) string {
	t.Helper()
	for range ports {
		port := strconv.Itoa(firstPort + int(handedOut.Add(1)%ports))
		mine, err := net.ListenPacket("udp", "127.0.0.1:"+port) // nobody speaks UDP here: it is the sign that the port is taken
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			t.Cleanup(func() { mine.Close() })
			return port
		}
		mine.Close()
	}
	t.Fatalf("no free port between %d and %d", firstPort, firstPort+ports)
	return ""
}
