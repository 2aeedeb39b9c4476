package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/servertest"
)

// An operator marks a new store once, and accepts a lost one knowingly.
func TestStateInit(t *testing.T) {
	server := servertest.Redis(t, "0")
	path, _ := writeConfig(t, served{
		dir: "unused", rpc: "http://127.0.0.1:9", ws: "ws://127.0.0.1:9", redis: server.Addr,
		registry: "0x" + strings.Repeat("1", 40), model: "0x" + strings.Repeat("1", 64),
	})
	says := func(want string, args ...string) {
		t.Helper()
		if got := cli(t, append([]string{"state", "init", "--config", path}, args...)...); !strings.Contains(got, want) {
			t.Errorf("state init says %q, want %q", got, want)
		}
	}
	says("the state store is ready")
	says("nothing changed")
	client, err := state.Open("redis://" + server.Addr + "/0")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	gateway, err := state.Watch(t.Context(), state.Options{Client: client, Every: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	for range 2 {
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, "the loss is noticed", func() bool { return gateway.Err() != nil })
		eventually(t, time.Minute, "the loss is marked", func() bool { return client.HExists(t.Context(), "fealty:1:state", "lost").Val() })
		says("it was emptied). What it holds now counts")
		eventually(t, time.Minute, "the gateway goes on", func() bool { return gateway.Err() == nil })
	}
	says(`"fresh": false`, "--json")
}
