package devnet

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a running embedded Redis.
type Redis struct{ server *miniredis.Miniredis }

// StartRedis is StartRedisAt a free loopback port.
func StartRedis() (*Redis, error) { return StartRedisAt("127.0.0.1:0") }

// StartRedisAt starts a Redis at an address, whose keys expire by the clock as a real
// one's do. Close it.
func StartRedisAt(addr string) (*Redis, error) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	if err := server.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("devnet: redis: %w", err)
	}
	return &Redis{server: server}, nil
}

// Addr is host:port.
func (r *Redis) Addr() string { return r.server.Addr() }

// Close stops the server and drops what it holds.
func (r *Redis) Close() error {
	r.server.Close()
	return nil
}

// Flush drops what it holds, as a Redis without persistence does at a restart.
func (r *Redis) Flush() { r.server.FlushAll() }
