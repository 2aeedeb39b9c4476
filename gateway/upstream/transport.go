package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// maxHeader bounds the head of a server's answer, in bytes.
const maxHeader = 1 << 20

// transport speaks HTTP/1.1 to servers on the goroutine of its caller. net/http's own
// has two more goroutines for each connection and hands every request and answer over
// to them and back, which cost more than all else that the gateway does with a short
// answer (docs/benchmarks.md). It sends no request twice.
type transport struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	shake  time.Duration // bounds a TLS handshake
	most   int           // idle connections to one server
	expire time.Duration // of an idle connection

	mu     sync.Mutex
	idle   map[string][]*link // by scheme and host; the last one was used last
	closed bool
}

// link is one connection to a server.
type link struct {
	net.Conn
	to    string // its key in transport.idle
	r     *bufio.Reader
	since time.Time // idle
	room  int64     // bytes that may be read while the head of an answer is; negative: no bound
}

var errHeader = errors.New("the head of the answer is larger than 1 MiB")

// Read is the reader's below.
func (l *link) Read(p []byte) (int, error) {
	if l.room < 0 {
		return l.Conn.Read(p)
	}
	if l.room == 0 {
		return 0, errHeader
	}
	n, err := l.Conn.Read(p[:min(int64(len(p)), l.room)])
	l.room -= int64(n)
	return n, err
}

// RoundTrip implements http.RoundTripper. The end of the request's context cuts the
// connection at any time until the answer's body was read or closed.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		defer req.Body.Close()
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	l, err := t.get(req)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(req.Context(), func() { _ = l.Close() })
	resp, err := l.ask(req, body)
	if err != nil {
		stop()
		_ = l.Close() // err says more
		return nil, err
	}
	resp.Body = &reply{ReadCloser: resp.Body, transport: t, link: l, stop: stop, keep: !resp.Close}
	return resp, nil
}

// get is an idle connection that is still open, or a new one.
func (t *transport) get(req *http.Request) (*link, error) {
	to := req.URL.Scheme + " " + req.URL.Host
	for {
		t.mu.Lock()
		list := t.idle[to]
		if len(list) == 0 {
			t.mu.Unlock()
			return t.open(req, to)
		}
		l := list[len(list)-1]
		t.idle[to] = list[:len(list)-1]
		t.mu.Unlock()
		if time.Since(l.since) < t.expire && l.quiet() {
			return l, nil
		}
		_ = l.Close() // it is of no use any more
	}
}

// quiet reports whether nothing has come on an idle connection: neither its end nor
// bytes that nobody asked for.
func (l *link) quiet() bool {
	c := l.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		quiet = errors.Is(err, syscall.EAGAIN)
		return true // do not wait
	})
	return err == nil && quiet
}

func (t *transport) open(req *http.Request, to string) (*link, error) {
	address := req.URL.Host
	if req.URL.Port() == "" {
		address = net.JoinHostPort(req.URL.Hostname(), map[string]string{"http": "80", "https": "443"}[req.URL.Scheme])
	}
	c, err := t.dial(req.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme == "https" {
		ctx, cancel := context.WithTimeout(req.Context(), t.shake)
		defer cancel()
		secure := tls.Client(c, &tls.Config{ServerName: req.URL.Hostname(), MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c = secure
	}
	l := &link{Conn: c, to: to}
	l.r = bufio.NewReaderSize(l, 4<<10)
	return l, nil
}

// buffers hold requests on their way.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// ask sends the request in one write and reads the head of the answer.
func (l *link) ask(req *http.Request, body []byte) (*http.Response, error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	*b = append(appendHead((*b)[:0], req, len(body)), body...)
	_, failed := l.Write(*b)
	if cap(*b) > 64<<10 {
		*b = nil // a long prompt's: it is not worth keeping
	}
	// A server may refuse a request before it has read all of it.
	for l.room = maxHeader; ; {
		if _, err := l.r.Peek(1); err != nil { // no byte of an answer: ReadResponse would not say so
			return nil, errors.Join(failed, err)
		}
		resp, err := http.ReadResponse(l.r, req)
		if err != nil {
			return nil, errors.Join(failed, err)
		}
		if resp.StatusCode >= http.StatusOK {
			l.room = -1
			resp.Close = resp.Close || failed != nil
			return resp, nil
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("the server switched to another protocol, unasked")
		}
	}
}

func appendHead(b []byte, req *http.Request, length int) []byte {
	b = append(append(append(b, req.Method...), ' '), req.URL.RequestURI()...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), req.URL.Host...)
	for name, values := range req.Header {
		for _, value := range values {
			b = append(append(append(append(b, "\r\n"...), name...), ": "...), value...)
		}
	}
	if req.Body != nil {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(length), 10)
	}
	return append(b, "\r\n\r\n"...)
}

// put keeps a connection for the next request, and closes those that waited too long.
func (t *transport) put(l *link) {
	l.since = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[l.to]
	old := 0
	for old < len(list) && (time.Since(list[old].since) >= t.expire || len(list)-old >= t.most) {
		_ = list[old].Close()
		old++
	}
	if t.closed {
		_ = l.Close()
		return
	}
	if t.idle == nil {
		t.idle = map[string][]*link{}
	}
	t.idle[l.to] = append(slices.Delete(list, 0, old), l)
}

// close closes the idle connections; those in use are closed after it.
func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, list := range t.idle {
		for _, l := range list {
			_ = l.Close()
		}
	}
	t.idle = nil
}

// reply is an answer's body. Read to its end it gives the connection back; closed
// before that it closes the connection.
type reply struct {
	io.ReadCloser
	transport *transport
	link      *link
	stop      func() bool // the context's hold on the connection
	keep      bool        // the server lets it be used again
	over      bool
}

func (r *reply) Read(p []byte) (int, error) {
	if r.over {
		return 0, io.EOF
	}
	n, err := r.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		r.end(r.keep && r.link.r.Buffered() == 0)
	}
	return n, err
}

func (r *reply) Close() error {
	if !r.over {
		r.end(false)
	}
	return nil
}

func (r *reply) end(keep bool) {
	r.over = true
	if r.stop() && keep {
		r.transport.put(r.link)
		return
	}
	_ = r.link.Close() // nothing more is wanted of it
}
