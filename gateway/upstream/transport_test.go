package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func newTransport(t *testing.T) *transport {
	t.Helper()
	d := &net.Dialer{Timeout: time.Minute}
	tr := &transport{dial: d.DialContext, shake: time.Minute, most: 2, expire: time.Minute}
	t.Cleanup(tr.close)
	return tr
}

func post(t *testing.T, tr *transport, url, body string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Of-Ours", "kept")
	return tr.RoundTrip(req)
}

// TestTransportEqualsNetHTTP: what a server sees and what comes back is as with
// net/http's client, and one connection does for all.
func TestTransportEqualsNetHTTP(t *testing.T) {
	var connections atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("X-Of-Ours"))
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write(append(body, body...))
	})
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	tr := newTransport(t)
	for _, path := range []string{"/plain?a=b%20c", "/chunked", "/plain", "/chunked"} {
		body := strings.Repeat("question ", 3000)
		resp, err := post(t, tr, server.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != body+body {
			t.Errorf("%s: %d bytes, %v; want %d", path, len(got), err, 2*len(body))
		}
		if want := "POST " + path + " kept"; resp.Header.Get("X-Seen") != want {
			t.Errorf("the server saw %q, want %q", resp.Header.Get("X-Seen"), want)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for four requests one after the other, want 1", n)
	}
}

// raw is a server that answers each connection's first request with the text.
func raw(t *testing.T, text string, closes bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					if _, err := io.WriteString(c, text); err != nil || closes {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestTransportAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, c := range map[string]struct {
		text  string
		want  string // the body; "": an error
		error string
	}{
		"plain":                     {text: ok, want: "ok"},
		"early hints":               {text: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, want: "ok"},
		"another protocol":          {text: "HTTP/1.1 101 Switching Protocols\r\n\r\n", error: "another protocol"},
		"truncated":                 {text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", error: "unexpected EOF"},
		"truncated chunks":          {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", error: "unexpected EOF"},
		"endless head":              {text: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeader+1) + "\r\n\r\n", error: "1 MiB"},
		"nothing":                   {text: "", error: "EOF"},
		"no HTTP":                   {text: "SSH-2.0-OpenSSH_9.2\r\n\r\n", error: "malformed"},
		"two lengths that disagree": {text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", error: "Content-Length"},
	} {
		resp, err := post(t, newTransport(t), raw(t, c.text, true), "question")
		var got []byte
		if err == nil {
			got, err = io.ReadAll(resp.Body)
		}
		if c.error == "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
		if c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.error)
		}
	}
}

// TestTransportLeavesDirtyConnections: bytes that nobody asked for must never be
// taken for the answer of the next request.
func TestTransportLeavesDirtyConnections(t *testing.T) {
	tr := newTransport(t)
	url := raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", false)
	for range 5 {
		resp, err := post(t, tr, url, "question")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "ok" {
			t.Fatalf("%q, %v; want the answer to this request", got, err)
		}
	}
}

// TestTransportSeesIdleEnd: a connection that the server closed while it was idle is
// not used again.
func TestTransportSeesIdleEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer server.Close()
	tr := newTransport(t)
	for range 3 {
		resp, err := post(t, tr, server.URL, "question")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		server.CloseClientConnections()
		deadline := time.Now().Add(time.Minute)
		for { // the end arrives a little later
			tr.mu.Lock()
			list := tr.idle["http "+strings.TrimPrefix(server.URL, "http://")]
			tr.mu.Unlock()
			if len(list) != 1 {
				t.Fatalf("%d idle connections, want 1", len(list))
			}
			if !list[0].quiet() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the end of an idle connection is not seen")
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func TestTransportEndsWithContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport(t)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading goes on after the context has ended: %v", err)
	}
	resp.Body.Close()
	if len(tr.idle) != 0 {
		t.Error("a connection that was cut is kept")
	}
}
