package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// listener hands out connections that bound each write and can be watched.
type listener struct {
	net.Listener
	write  time.Duration
	tls    *tls.Config // nil: plain HTTP
	most   int         // connections at once
	log    *slog.Logger
	turned func() string // counts a connection that is turned away, and names it
	open   atomic.Int64
}

// Accept turns away the connections that are too many: each costs memory, also one that
// never sends a request.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if passing(err) { // fasthttp would stop serving for good
			l.log.Warn("connections cannot be accepted for a moment", "cause", err)
			time.Sleep(acceptPause)
			continue
		}
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > int64(l.most) {
			l.open.Add(-1)
			l.turnAway(c)
			continue
		}
		if l.tls != nil {
			c = tls.Server(c, l.tls) // the handshake comes with the first read, within its time
		}
		return &conn{Conn: c, write: l.write, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
	}
}

// acceptPause is how long nothing is accepted when the system lacks what a connection needs.
const acceptPause = 200 * time.Millisecond

// passing tells a lack of file descriptors or memory from the end of a listener.
func passing(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM},
		func(e syscall.Errno) bool { return errors.Is(err, e) })
}

// turnAway says why, if that can be said at once: a few bytes fit into any new
// connection's buffer. Over TLS there would be a handshake first.
func (l *listener) turnAway(c net.Conn) {
	id := l.turned()
	if l.tls == nil {
		body := errOverloaded.AppendBody(nil)
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n"+
			"Retry-After: 1\r\nX-Should-Retry: true\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body)
	}
	_ = c.Close()
}

// conn is a client's connection. fasthttp reads a request, then only writes until
// the answer is out, and so never sees a client leave; meanwhile watch reads. What
// it reads belongs to the next request and is handed to the next Read.
type conn struct {
	net.Conn
	write  time.Duration
	linger bool // the client may still be sending: let it read our answer
	closed func()

	writing sync.Mutex // of what follows, and of writes
	wrote   time.Time  // when the last one began
	quiet   bool       // a stream's next bytes are waited for: all before them are out

	ahead   [256]byte
	unread  []byte        // in ahead
	watcher *time.Timer   // starts it
	watched chan struct{} // closed when the watcher has ended; nil: there is none
}

// Read hands out what the watcher read, then what the client sends.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write gives each write its own time: a stream may be long, a stall may not.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.put(p)
}

func (c *conn) put(p []byte) (int, error) {
	c.wrote = time.Now()
	if err := c.Conn.SetWriteDeadline(c.wrote.Add(c.write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// silent says whether a stream now waits for its backend, having sent all it had.
func (c *conn) silent(yes bool) {
	if c == nil {
		return
	}
	c.writing.Lock()
	c.quiet = yes
	c.writing.Unlock()
}

// heartbeat is an SSE comment in a chunk of its own, without the blank line that would
// end an event.
const heartbeat = "2\r\n:\n\r\n"

// beat sends a heartbeat if the stream has been silent for so long. It does not wait:
// lost is called should the client be gone.
func (c *conn) beat(after time.Duration, lost func()) {
	if !c.writing.TryLock() {
		return // it is being written to
	}
	if !c.quiet || time.Since(c.wrote) < after {
		c.writing.Unlock()
		return
	}
	go func() {
		defer c.writing.Unlock()
		if _, err := c.put([]byte(heartbeat)); err != nil {
			lost()
		}
	}()
}

// lingerTime bounds how long a client that still sends may take to read why it is refused.
var lingerTime = 2 * time.Second

// Close lets a client that still sends see the answer before the connection goes:
// closing with unread bytes would reset it.
func (c *conn) Close() error {
	defer c.closed()
	if c.linger {
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_ = c.SetReadDeadline(time.Now().Add(lingerTime))
			_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 64<<20))
		}
	}
	return c.Conn.Close()
}

// watchAfter is how long an answer may take before its client is watched: what is over
// sooner would cost more to watch than to finish.
const watchAfter = 20 * time.Millisecond

// watch calls gone, once, should the client leave before unwatch.
func (c *conn) watch(gone func()) {
	if c.watched != nil || len(c.unread) > 0 {
		return // something of the next request is here: it has not left
	}
	done := make(chan struct{})
	c.watched = done
	_ = c.SetReadDeadline(time.Time{})
	c.watcher = time.AfterFunc(watchAfter, func() {
		defer close(done)
		n := 0
		for n < len(c.ahead) {
			got, err := c.Conn.Read(c.ahead[n:])
			n += got
			if err != nil {
				if !timedOut(err) {
					gone()
				}
				break
			}
		}
		c.unread = c.ahead[:n]
	})
}

// unwatch ends the watcher, so that the connection can be read again.
func (c *conn) unwatch() {
	if c.watched == nil {
		return
	}
	if !c.watcher.Stop() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes its Read
		<-c.watched
		_ = c.SetReadDeadline(time.Time{})
	}
	c.watched = nil
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// connOf is the client's connection, or nil where tests bring their own.
func connOf(ctx *fasthttp.RequestCtx) *conn {
	own, _ := ctx.Conn().(*conn)
	return own
}

// running is the set of answers under way.
type running struct {
	mu  sync.Mutex
	set map[*answer]struct{}
}

func (r *running) add(a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set == nil {
		r.set = make(map[*answer]struct{})
	}
	r.set[a] = struct{}{}
}

func (r *running) remove(a *answer) {
	r.mu.Lock()
	delete(r.set, a)
	r.mu.Unlock()
}

func (r *running) all() []*answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*answer, 0, len(r.set))
	for a := range r.set {
		out = append(out, a)
	}
	return out
}

// beat keeps silent streams alive: what stands between drops connections on which
// nothing moves.
func (s *Server) beat(ctx context.Context) {
	for {
		every := s.timeouts().Heartbeat
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(every/4, time.Millisecond)):
		}
		for _, a := range s.running.all() {
			if a.conn != nil {
				a.conn.beat(every, func() { a.cancel(errClientGone) })
			}
		}
	}
}

func (r *running) cutAll(why error) {
	for _, a := range r.all() {
		a.cancel(why)
	}
}
