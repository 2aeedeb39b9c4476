package upstream_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/internal/openai"
)

// mute is a server that takes connections and never sends a byte, not even of a TLS
// handshake. left is closed when its first client has hung up.
func mute(t *testing.T) (address string, left chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	left = make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
		close(left)
	}()
	return l.Addr().String(), left
}

// fails is how a request ends that the pool's only server never answers; it must end by
// the deadline that is short.
func fails(t *testing.T, o upstream.Options) (code string) {
	t.Helper()
	o.Attempts, o.Check = 1, -1
	p, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r, err := openai.Parse(openai.Chat, []byte(streamAsk))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := p.Generate(ctx, gateway.Call{Request: r, Model: "ours", MaxTokens: 16})
	if err == nil {
		a.Close()
		t.Fatal("it is answered")
	}
	if ctx.Err() != nil {
		t.Fatalf("not within %v: %v", patience, err)
	}
	if s := p.Stats(); s[0].InFlight != 0 || s[0].Failures != 1 {
		t.Errorf("stats: %+v; want one failure and nothing in hand", s[0])
	}
	return codeOf(err)
}

// Each deadline ends the request by itself, with the others an hour away, and the
// connection is closed. Until then the request has to reach the server.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	t.Run("headers", func(t *testing.T) {
		t.Parallel()
		left := make(chan struct{})
		s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); close(left) })
		if code := fails(t, upstream.Options{
			Servers: []upstream.Server{{URL: s.URL + "/v1"}}, Connect: time.Hour, Headers: long, Silent: time.Hour,
		}); code != "upstream_silent" {
			t.Errorf("got %s, want upstream_silent", code)
		}
		wait(t, left)
	})
	t.Run("connect, in the TLS handshake", func(t *testing.T) {
		t.Parallel()
		address, left := mute(t)
		if code := fails(t, upstream.Options{
			Servers: []upstream.Server{{URL: "https://" + address + "/v1"}}, Connect: long, Headers: time.Hour, Silent: time.Hour,
		}); code != "upstream_error" {
			t.Errorf("got %s, want upstream_error", code)
		}
		wait(t, left)
	})
}
