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
// model, and kills one under load: no request is lost before its first byte, and
// every stream that is cut says so.
func (s *stack) llamacppDies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q8_0.gguf")
	cli(t, "model", "export", testmodel.Get(t).Dir, "--gguf", "q8_0", "--output", path)
	first, kill := llamaCPP(t, path)
	_, origin, err := s.serve(t.Context(), "127.0.0.1:0", gateway.BackendConfig{
		Upstreams: []gateway.UpstreamConfig{{URL: first, Model: "base"}, {URL: startLlamaCPP(t, path), Model: "base"}},
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
	for deadline := time.Now().Add(2 * time.Minute); whole.Load() < 6 && !t.Failed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("6 answers take more than 2 minutes")
			break
		}
	}
	kill()
	close(dead)
	clients.Wait()
	t.Logf("%d answers whole, %d cut", whole.Load(), cut.Load())
	if cut.Load() > 6 {
		t.Errorf("%d streams were cut, more than were running", cut.Load())
	}
}
