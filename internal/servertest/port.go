package servertest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Port is free, and below those that outgoing connections take: for a server that
// goes and comes back while clients try to reach it. (A client that dials a port of
// its own range over and over can end up connected to itself, and hold the port.)
func Port(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port between 20000 and 30000")
	return ""
}
