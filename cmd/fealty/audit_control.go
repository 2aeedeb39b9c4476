package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fealty/fealty/internal/wallet"
)

// startControl lets scripts do what a creator does and what fails by itself. It
// listens on loopback, under a path that nobody guesses, for this chain and this
// Redis alone.
func (s *stage) startControl(ctx context.Context) (url string, err error) {
	guest := wallet.Subject(s.wallets["guest"].Address())
	routes := map[string]func(context.Context) error{
		"revoke":     func(ctx context.Context) error { _, err := s.registry.Revoke(ctx, s.model, guest); return err },
		"reinstate":  func(ctx context.Context) error { _, err := s.registry.Reinstate(ctx, s.model, guest); return err },
		"redis/down": func(context.Context) error { s.redis.set(false); return nil },
		"redis/up":   func(context.Context) error { s.redis.set(true); return nil },
		"rpc/down":   func(context.Context) error { s.rpc.set(false); s.ws.set(false); return nil },
		"rpc/up":     func(context.Context) error { s.rpc.set(true); s.ws.set(true); return nil },
	}
	secret, mux := rand.Text(), http.NewServeMux()
	for path, do := range routes {
		mux.HandleFunc("POST /"+secret+"/"+path, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends with Close
	s.onClose(func() error { err := server.Close(); serving.Wait(); return err })
	return "http://" + l.Addr().String() + "/" + secret, nil
}

// A relay passes TCP connections on until it is switched off. Then it ends those
// there are and refuses new ones, as a server does that has died.
type relay struct {
	address string
	to      string
	l       net.Listener
	running sync.WaitGroup

	mu    sync.Mutex
	up    bool
	conns map[net.Conn]bool
}

func startRelay(ctx context.Context, to string) (*relay, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{address: l.Addr().String(), to: to, l: l, up: true, conns: map[net.Conn]bool{}}
	r.running.Go(r.accept)
	return r, nil
}

func (r *relay) accept() {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return // closed
		}
		r.running.Go(func() { r.pass(in) })
	}
}

func (r *relay) pass(in net.Conn) {
	defer in.Close()
	if !r.hold(in) {
		return
	}
	defer r.drop(in)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
	if err != nil {
		return
	}
	defer out.Close()
	if !r.hold(out) {
		return
	}
	defer r.drop(out)
	back := make(chan struct{})
	go func() {
		_, _ = io.Copy(in, out) // either end may go first
		in.Close()
		close(back)
	}()
	_, _ = io.Copy(out, in)
	out.Close()
	<-back
}

func (r *relay) hold(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up {
		r.conns[c] = true
	}
	return r.up
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) set(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = up
	if !up {
		for c := range r.conns {
			c.Close()
		}
	}
}

func (r *relay) close() error {
	r.set(false)
	err := r.l.Close()
	r.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
