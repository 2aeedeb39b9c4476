package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
)

// backendFunc is a backend in the test's hands.
type backendFunc func(ctx context.Context, c gateway.Call) (gateway.Answer, error)

func (f backendFunc) Generate(ctx context.Context, c gateway.Call) (gateway.Answer, error) {
	return f(ctx, c)
}
func (backendFunc) Describe(*openai.Model) {}

// endless is a stream of events without an end.
type endless struct {
	ctx   context.Context
	event []byte
	sent  *atomic.Int64 // bytes
}

func (e endless) Next() ([]byte, error) {
	if err := e.ctx.Err(); err != nil {
		return nil, err
	}
	e.sent.Add(int64(len(e.event)))
	return e.event, nil
}
func (e endless) Usage() openai.Usage { return openai.Spent(1, 1) }
func (e endless) Close()              {}

// whole is an answer that is not streamed.
type whole struct{ sent bool }

func (w *whole) Next() ([]byte, error) {
	if w.sent {
		return nil, io.EOF
	}
	w.sent = true
	return []byte(`{"choices":[]}`), nil
}
func (w *whole) Usage() openai.Usage { return openai.Spent(3, 4) }
func (w *whole) Close()              {}

func admission(a gateway.AdmissionConfig) option {
	return func(c *gateway.Config, _ *gateway.Deps) { c.Models[0].Admission = a }
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// Three times as many requests as fit: those that find no place are told so at once, while
// all who have one are still waited for, and as much is served as without them.
func TestOverloadOfAModel(t *testing.T) {
	release := make(chan struct{})
	held := backendFunc(func(ctx context.Context, _ gateway.Call) (gateway.Answer, error) {
		select {
		case <-release:
			return &whole{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	r := newRig(t, withBackend(held), admission(gateway.AdmissionConfig{Concurrent: 4, Queue: 4, Wait: patience}))
	for range 10 {
		var ok, overloaded atomic.Int64
		var clients sync.WaitGroup
		for range 24 { // 8 of them find room
			clients.Go(func() {
				switch got := r.post("/v1/chat/completions", r.key, chatBody("")); {
				case got.status == 200:
					ok.Add(1)
				case got.refusal() == refusal{503, "overloaded", "", "true"} && got.header.Get("retry-after") == "1":
					overloaded.Add(1)
				default:
					t.Errorf("%d %s", got.status, got.body)
				}
			})
		}
		until(t, "16 are told that there is no place", func() bool { return overloaded.Load() == 16 })
		for range 8 {
			release <- struct{}{}
		}
		clients.Wait()
		if ok.Load() != 8 || overloaded.Load() != 16 {
			t.Errorf("%d served, %d refused: want 8 and 16", ok.Load(), overloaded.Load())
		}
	}
	close(release)
	if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != 200 {
		t.Errorf("afterwards: %d %s", got.status, got.body)
	}
}

// A client that does not read makes the gateway hold no more than the sockets do, and is
// dropped after timeouts.write.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	event := []byte("data: {\"x\":\"" + strings.Repeat("x", 16<<10) + "\"}\n\n")
	backend := backendFunc(func(ctx context.Context, _ gateway.Call) (gateway.Answer, error) {
		return endless{ctx, event, &sent}, nil
	})
	r := newRig(t, withBackend(backend), func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Write = 6 * time.Second }) // for who reads, too
	c := r.dial()
	must(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err := io.WriteString(c, r.request(holdStream))
	must(t, err)
	until(t, "the stream runs", func() bool { return sent.Load() > 0 })
	r.settled()
	if got := r.metric(`fealty_streams_cut_total{code="client_gone"}`); got != "1" {
		t.Errorf("counted %s cut streams, want 1", got)
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken from the backend for a client that reads none", n)
	}
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	must(r.t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// A stream that has nothing to say says that it is alive, between whole events and
// without ending one.
func TestHeartbeat(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Heartbeat = 20 * time.Millisecond })
	resp, in := r.begun()
	defer resp.Body.Close()
	beats := 0
	for beats < 3 {
		line, err := in.ReadString('\n')
		must(t, err)
		if line == ":\n" {
			beats++
		} else if line != "\n" {
			t.Fatalf("while the stream is silent came %q", line)
		}
	}
	close(r.engine.resume)
	text := strings.ReplaceAll(rest(t, in), ":\n", "")
	if !strings.HasSuffix(text, "data: [DONE]\n\n") || !strings.Contains(text, `"content":"N"`) {
		t.Errorf("after the silence: %q", text)
	}
}

// panicking is a stream that breaks the gateway's own code.
type panicking struct{ whole }

func (*panicking) Next() ([]byte, error) { panic("in the middle of a stream") }

// After a stream that panicked its connection is as any other: no heartbeat gets between
// the next request and its answer, which is no stream.
func TestNoHeartbeatOutsideOfStreams(t *testing.T) {
	backend := backendFunc(func(_ context.Context, c gateway.Call) (gateway.Answer, error) {
		if c.Request.Stream {
			return &panicking{}, nil
		}
		time.Sleep(200 * time.Millisecond)
		return &whole{}, nil
	})
	r := newRig(t, withBackend(backend), func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Heartbeat = 4 * time.Millisecond })
	c := r.dial()
	in := bufio.NewReader(c)
	for range 2 {
		for _, ask := range [][2]string{{chatBody(`,"stream":true`), `"code":"internal_error"`}, {chatBody(""), `{"choices":[]}`}} {
			body, want := ask[0], ask[1]
			_, err := io.WriteString(c, r.request(body))
			must(t, err)
			resp, err := http.ReadResponse(in, nil)
			must(t, err)
			if got := rest(t, resp.Body); resp.StatusCode != 200 || !strings.Contains(got, want) {
				t.Errorf("%d %q, want %s", resp.StatusCode, got, want)
			}
		}
	}
	if n := strings.Count(r.log.String(), `"msg":"panic"`); n != 2 || r.metric("fealty_panics_total") != "2" {
		t.Errorf("%d log lines and a count of %s, want two of each", n, r.metric("fealty_panics_total"))
	}
}

// Our own client, and so every reader of SSE, sees nothing of heartbeats.
func TestHeartbeatIsNoEvent(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Heartbeat = time.Millisecond })
	go func() {
		until(t, "it runs", func() bool { return r.engine.count() > 0 })
		time.Sleep(20 * time.Millisecond)
		close(r.engine.resume)
	}()
	var text string
	must(t, r.client().Stream(t.Context(), openai.Ask{Model: "echo", Messages: []openai.Message{{Role: "user", Content: "hold on"}}}, func(c openai.Reply) error {
		for _, choice := range c.Choices {
			if choice.Delta.Content != nil {
				text += *choice.Delta.Content
			}
		}
		return nil
	}))
	if text != "HOLD ON" {
		t.Errorf("streamed %q", text)
	}
}

// An API key that is revoked, or whose end is moved to now, ends its running streams.
func TestKeyRevokedMidStream(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	for name, c := range map[string]struct {
		method, body, code string
	}{
		"revoked":          {"DELETE", "", "credential_revoked"},
		"its end has come": {"PATCH", "soon", "credential_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			made := r.post("/v1/keys", token, `{"name":"ci"}`)
			key := r.key
			r.key = made.field("key")
			defer func() { r.key = key }()
			resp, in := r.begun()
			defer resp.Body.Close()
			if c.body == "soon" {
				c.body = `{"expires":"` + r.now().Add(2*time.Second).UTC().Format(time.RFC3339Nano) + `"}`
			}
			if got := r.do(c.method, "/v1/keys/"+made.field("id"), token, c.body); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			r.later.Add(int64(3 * time.Second))
			if got := rest(t, in); !strings.Contains(got, `"code":"`+c.code+`"`) || strings.Contains(got, "[DONE]") {
				t.Errorf("the stream ended with %q", got)
			}
			r.freed()
		})
	}
	r.settled()
}

// While nobody can say whether keys stand, streams go on: nobody has said no.
func TestStreamOutlivesTheStateStore(t *testing.T) {
	r := newRig(t)
	other, _ := newWallet(t)
	key := r.apiKey(other)
	resp, in := r.begun()
	defer resp.Body.Close()
	r.redis.Flush()
	for _, k := range []string{key, r.key} { // the first, of which nothing is cached, notices it
		if got := r.post("/v1/chat/completions", k, chatBody("")).refusal(); got.code != "state_unavailable" {
			t.Fatalf("without the state: %+v", got)
		}
	}
	time.Sleep(200 * time.Millisecond) // ten rechecks
	close(r.engine.resume)
	if got := rest(t, in); !strings.Contains(got, "data: [DONE]") {
		t.Errorf("the stream ended with %q", got)
	}
}

// request is a chat request as it goes over the wire.
func (r *rig) request(body string) string {
	return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + r.key +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// Clients that send a byte now and then hold a connection each, and nothing else: others
// are served, and they are cut off after timeouts.read, however busy they look.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Read = 6 * time.Second }) // for who hurries, too
	text := r.request(chatBody(""))
	var all sync.WaitGroup
	for i := range 50 {
		c := r.dial()
		all.Go(func() {
			in := bufio.NewReader(c)
			go func() {
				for n := range text { // headers of the first half, bodies of the others
					if i >= 25 && n == 0 {
						if _, err := io.WriteString(c, text[:len(text)-30]); err != nil {
							return
						}
					}
					if _, err := io.WriteString(c, text[n:n+1]); err != nil {
						return
					}
					time.Sleep(400 * time.Millisecond) // twelve seconds for the body's 30 bytes
				}
			}()
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				return // cut off without a word: also right
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("client %d: status %d", i, resp.StatusCode)
			}
			if _, err := io.Copy(io.Discard, in); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("client %d: the connection stays open: %v", i, err)
			}
		})
	}
	if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status != 200 {
		t.Errorf("beside them: %d %s", got.status, got.body)
	}
	all.Wait()
}
