//go:build interop

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/testmodel"
)

// llamacppDies puts the gateway before two llama.cpp servers with the exported
// model, and kills one under load, the moment a stream of it has begun: no request is lost
// before its first byte, and every stream that is cut says so.
func (s *stack) llamacppDies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q8_0.gguf")
	cli(t, "model", "export", testmodel.Get(t).Dir, "--gguf", "q8_0", "--output", path)
	first, kill := llamaCPP(t, path, "--alias", "first")
	_, origin, err := s.serve(t.Context(), "127.0.0.1:0", gateway.BackendConfig{
		Upstreams: []gateway.UpstreamConfig{{URL: first, Model: "first"}, {URL: startLlamaCPP(t, path, "--alias", "second"), Model: "second"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := *s.demo
	front.gateway = origin
	c := front.client(s.keys["licensee"])
	var whole, cut atomic.Int32
	var clients sync.WaitGroup
	dead := make(chan struct{})
	for i := range 6 {
		clients.Go(func() {
			for after := 0; after < 3 && !t.Failed(); {
				chunks := 0
				err := c.Stream(t.Context(), ask(fmt.Sprintf("Tell me about the number %d.", i), 48), func(openai.Reply) error { chunks++; return nil })
				var e *openai.Error
				switch {
				case err == nil:
					whole.Add(1)
				case chunks > 0 && errors.As(err, &e) && e.Code == "upstream_error":
					cut.Add(1)
				default:
					t.Errorf("after %d chunks: %v", chunks, err)
				}
				select {
				case <-dead:
					after++
				default:
				}
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Minute); whole.Load() < 6 && !t.Failed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("6 answers take more than 10 minutes")
			break
		}
	}
	if !t.Failed() {
		cutInHand(t, c, kill)
	}
	close(dead)
	clients.Wait()
	t.Logf("%d answers whole, %d cut", whole.Load(), cut.Load())
	if cut.Load() > 6 {
		t.Errorf("%d streams were cut, more than were running", cut.Load())
	}
}

var errElsewhere = errors.New("the other server answers")

// cutInHand kills the first server as soon as it has begun to answer one stream, which has
// hundreds of tokens to come and must end with an error event.
func cutInHand(t *testing.T, c *openai.Client, kill func()) {
	for n := range 60 { // each of another beginning, which is what chooses among servers
		killed := false
		err := c.Stream(t.Context(), ask(fmt.Sprintf("%d. Write a long story about a lighthouse, chapter by chapter.", n), 800), func(r openai.Reply) error {
			if r.Model != "first" {
				return errElsewhere
			}
			killed = true
			kill()
			return nil
		})
		if killed {
			var e *openai.Error
			if !errors.As(err, &e) || e.Code != "upstream_error" {
				t.Errorf("a stream whose server was killed after its first bytes ended with %v, want an upstream_error event", err)
			}
			return
		}
		if !errors.Is(err, errElsewhere) {
			t.Errorf("a stream that nobody cut: %v", err)
			return
		}
	}
	t.Error("60 streams, and none of the first server")
}
