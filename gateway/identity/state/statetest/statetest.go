// Package statetest opens state stores for tests. The deadlines of the product are short,
// as its clients want them; a machine that runs tests may stand still for longer, and a
// store that is well must not seem away then. Start with [Open].
package statetest

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/redisurl"
)

// patience is for one answer of a store.
const patience = time.Minute

// Client is as [state.Open] makes them, but for its patience. It is closed with the test.
func Client(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	client, err := redisurl.Open("redis://"+addr, patience, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// Open marks the store behind the client, unless it is marked, and guards it until the
// test's end.
func Open(t testing.TB, client redis.UniversalClient, every time.Duration) *state.Store {
	t.Helper()
	if _, err := state.Init(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	s, err := state.Watch(t.Context(), state.Options{Client: client, Every: every})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Patient is a store whose questions have no deadline but the client's: for parts that
// bring deadlines of their own.
type Patient struct{ *state.Store }

// Read is the store's.
func (p Patient) Read(ctx context.Context, commands func(redis.Pipeliner)) error {
	return p.Store.Read(context.WithoutCancel(ctx), commands)
}

// Write is the store's.
func (p Patient) Write(ctx context.Context, commands func(redis.Pipeliner)) error {
	return p.Store.Write(context.WithoutCancel(ctx), commands)
}

// Hears waits until so many gateways listen for revocations: one that is published earlier
// reaches them only when their caches end.
func Hears(t testing.TB, client redis.UniversalClient, gateways int64) {
	t.Helper()
	const channel = "fealty:1:revoked"
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		heard, err := client.PubSubNumSub(t.Context(), channel).Result()
		if err == nil && heard[channel] >= gateways {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d gateways listen after %v, want %d: %v", heard[channel], patience, gateways, err)
		}
	}
}
