package upstream_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/servertest"
)

// member is one server of a pool under test.
type member struct {
	*httptest.Server
	asked  atomic.Int32
	answer atomic.Pointer[http.HandlerFunc]
	well   atomic.Bool // by its own word to the health check
}

func newMember(t *testing.T, answer http.HandlerFunc) *member {
	m := &member{}
	m.say(answer)
	m.well.Store(true)
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			if !m.well.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		m.asked.Add(1)
		(*m.answer.Load())(w, r)
	}))
	m.Listener.Close()
	var err error
	if m.Listener, err = net.Listen("tcp", "127.0.0.1:"+servertest.Port(t)); err != nil { // nobody else's when it is closed
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(m.Close)
	return m
}

func (m *member) say(answer http.HandlerFunc) { m.answer.Store(&answer) }

func (m *member) server() upstream.Server { return upstream.Server{URL: m.URL + "/v1"} }

// fine streams a whole answer.
var fine = events(one, two, done)

// hold streams the beginning of an answer, and the rest when the channel is closed.
func hold(until chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		events(one)(w, r)
		select {
		case <-until:
		case <-r.Context().Done():
		}
		events(two, done)(w, r)
	}
}

func pool(t *testing.T, o upstream.Options) *upstream.Pool {
	t.Helper()
	zero := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	zero(&o.Connect, patience)
	zero(&o.Silent, patience)
	zero(&o.Check, -1)
	p, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func generate(t *testing.T, p *upstream.Pool, prompt string) (gateway.Answer, error) {
	t.Helper()
	r, err := openai.Parse(openai.Chat, fmt.Appendf(nil, `{"model":"ours","stream":true,"messages":[{"role":"user","content":%q}]}`, prompt))
	if err != nil {
		t.Fatal(err)
	}
	return p.Generate(t.Context(), gateway.Call{Request: r, Model: "ours", MaxTokens: 16})
}

// answered is one whole answer.
func answered(t *testing.T, p *upstream.Pool, prompt string) (string, error) {
	t.Helper()
	a, err := generate(t, p, prompt)
	if err != nil {
		return "", err
	}
	defer a.Close()
	return all(a)
}

func until(t *testing.T, what string, held func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * patience); !held(); time.Sleep(5 * time.Millisecond) { // a server rests for 30 s at most
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", 2*patience, what)
		}
	}
}

func TestBalancesByWhatIsInHand(t *testing.T) {
	held := make(chan struct{})
	a, b := newMember(t, hold(held)), newMember(t, hold(held))
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}, Affinity: -1})
	var running []gateway.Answer
	for i := range 20 {
		answer, err := generate(t, p, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, answer)
	}
	if a.asked.Load() != 10 || b.asked.Load() != 10 {
		t.Errorf("20 answers under way are %d and %d, want 10 each", a.asked.Load(), b.asked.Load())
	}
	// Whole servers' worth of answers end: only bodies that are read to their end count.
	close(held)
	for i, answer := range running {
		if i%2 == 0 {
			if _, err := all(answer); err != nil {
				t.Fatal(err)
			}
		}
		if s := p.Stats(); s[0].InFlight+s[1].InFlight != 20-i {
			t.Fatalf("%d answers were closed, in flight %d and %d", i, s[0].InFlight, s[1].InFlight)
		}
		answer.Close()
	}
}

func TestPrefixAffinity(t *testing.T) {
	a, b := newMember(t, fine), newMember(t, fine)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}, Affinity: 64})
	before := strings.Repeat("the same long beginning ", 4)
	for i := range 16 {
		if _, err := answered(t, p, before+fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if x, y := a.asked.Load(), b.asked.Load(); min(x, y) != 0 || max(x, y) != 16 {
		t.Errorf("one beginning went to both servers: %d and %d", x, y)
	}
	for i := range 64 { // 2 of 2^64 chances to fail
		if _, err := answered(t, p, fmt.Sprint(i)+before); err != nil {
			t.Fatal(err)
		}
	}
	if x, y := a.asked.Load(), b.asked.Load(); min(x, y) == 0 {
		t.Errorf("different beginnings all went to one server: %d and %d", x, y)
	}
	held := make(chan struct{})
	defer close(held)
	a.say(hold(held))
	b.say(hold(held))
	a.asked.Store(0)
	b.asked.Store(0)
	for range 20 {
		answer, err := generate(t, p, before)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Close()
	}
	if x, y := a.asked.Load(), b.asked.Load(); max(x, y) > 13 || min(x, y) < 7 {
		t.Errorf("one beginning 20 times at once loaded the servers with %d and %d, want at most a quarter above the share", x, y)
	}
}

// However a server fails before the first byte, another one answers.
func TestRetriesBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]http.HandlerFunc{
		"error":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"busy":              func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"loading":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"another key":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"another model":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"another kind":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"hangs up":          func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silent":            func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"silent, headers":   func(w http.ResponseWriter, r *http.Request) { events("")(w, r); <-r.Context().Done() },
		"cut after headers": func(w http.ResponseWriter, r *http.Request) { events("")(w, r); panic(http.ErrAbortHandler) },
		"error in stream":   events("data: {\"error\":{\"message\":\"x\"}}\n\n"),
		"no connection":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := newMember(t, fine)
			bad := upstream.Server{URL: "http://127.0.0.1:1/v1"} // a port that no test is given
			if c != nil {
				bad = newMember(t, c).server()
			}
			p := pool(t, upstream.Options{Servers: []upstream.Server{bad, good.server()}, Affinity: -1, Silent: long})
			silent := strings.Contains(name, "silent")                        // once is enough: it takes long
			for i := 0; i < 8 && !silent || p.Stats()[0].Requests == 0; i++ { // which server is asked first is drawn
				if got, err := answered(t, p, "hi"); err != nil || got != one+two+done {
					t.Fatalf("got %q, %v", got, err)
				}
				if i == 200 {
					t.Fatalf("the failing server was never asked: %+v", p.Stats())
				}
			}
			if s := p.Stats(); s[0].InFlight+s[1].InFlight != 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

func TestNoRetryAfterTheFirstByte(t *testing.T) {
	cutShort := newMember(t, func(w http.ResponseWriter, r *http.Request) { events(one)(w, r); panic(http.ErrAbortHandler) })
	other := newMember(t, fine)
	p := pool(t, upstream.Options{Servers: []upstream.Server{cutShort.server()}, Fallback: []upstream.Server{other.server()}})
	got, err := answered(t, p, "hi")
	if got != one || codeOf(err) != "upstream_error" || other.asked.Load() != 0 {
		t.Errorf("got %q, %v, and the other was asked %d times; want the first event, an error and 0", got, err, other.asked.Load())
	}
}

// What is wrong with the request is wrong everywhere.
func TestNoRetryOfRefusals(t *testing.T) {
	refuses := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":{"message":"no","code":"theirs"}}`)
	}
	a, b := newMember(t, refuses), newMember(t, refuses)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}})
	for range 10 {
		if _, err := answered(t, p, "hi"); codeOf(err) != "theirs" {
			t.Fatal(err)
		}
	}
	if n := a.asked.Load() + b.asked.Load(); n != 10 {
		t.Errorf("10 requests were sent %d times", n)
	}
	if s := p.Stats(); !s[0].Healthy || !s[1].Healthy {
		t.Errorf("a refusal is no illness: %+v", s)
	}
}

// A server that fails again and again is left alone, then tried, then asked as
// before.
func TestRests(t *testing.T) {
	a, b := newMember(t, fine), newMember(t, fine)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}, Affinity: -1})
	a.say(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	until(t, "the failing server is left alone", func() bool {
		if _, err := answered(t, p, "hi"); err != nil {
			t.Fatal(err)
		}
		s := p.Stats()[0]
		return s.Rests > 0 && !s.Healthy && s.Failures >= 3 && strings.Contains(s.Problem, "in a row")
	})
	quiet := 0 // requests from whose beginning to whose end it was left alone
	until(t, "five requests come while it is left alone", func() bool {
		before, asked := p.Stats()[0], a.asked.Load()
		if _, err := answered(t, p, "hi"); err != nil {
			t.Fatal(err)
		}
		after := p.Stats()[0]
		if n := a.asked.Load() - asked; n > 1 {
			t.Errorf("a server that is left alone was asked %d times by one request", n)
		} else if !before.Healthy && !after.Healthy && before.Rests == after.Rests {
			if quiet++; n != 0 {
				t.Error("a server that is left alone was asked")
			}
		}
		return quiet == 5
	})
	asked := a.asked.Load()
	a.say(fine)
	until(t, "it is asked again", func() bool {
		_, err := answered(t, p, "hi")
		return err == nil && p.Stats()[0].Healthy && a.asked.Load() > asked+3
	})
}

// A server that begins every answer and ends none is left alone too.
func TestRestsAfterCuts(t *testing.T) {
	a := newMember(t, func(w http.ResponseWriter, r *http.Request) { events(one)(w, r); panic(http.ErrAbortHandler) })
	b := newMember(t, fine)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}, Affinity: -1})
	until(t, "the server that cuts its answers is left alone", func() bool {
		_, err := answered(t, p, "hi")
		return p.Stats()[0].Rests > 0 && (err == nil || codeOf(err) == "upstream_error")
	})
}

// A client that is slow to read does not make the upstream silent.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	a := newMember(t, fine)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server()}, Silent: long})
	answer, err := generate(t, p, "hi")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	time.Sleep(long + time.Second)
	if got, err := all(answer); err != nil || got != one+two+done {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestChecks(t *testing.T) {
	a, b := newMember(t, fine), newMember(t, fine)
	a.well.Store(false)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}, Affinity: -1, Check: 20 * time.Millisecond})
	until(t, "the check notices", func() bool { return !p.Stats()[0].Healthy })
	if problem := p.Stats()[0].Problem; !strings.Contains(problem, "503") {
		t.Errorf("the problem is %q", problem)
	}
	for range 10 {
		if _, err := answered(t, p, "hi"); err != nil {
			t.Fatal(err)
		}
	}
	if a.asked.Load() != 0 {
		t.Errorf("a server that says it is not well was asked %d times", a.asked.Load())
	}
	a.well.Store(true)
	until(t, "the check notices that it is back", func() bool { return p.Stats()[0].Healthy })
	b.well.Store(false)
	until(t, "the check notices the other", func() bool { return !p.Stats()[1].Healthy })
	a.CloseClientConnections()
	a.Listener.Close()
	until(t, "the check notices that nobody listens", func() bool { return !p.Stats()[0].Healthy })
	// Nobody is well; rather than lose the request, it is tried.
	if got, err := answered(t, p, "hi"); err != nil || got != one+two+done {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFallback(t *testing.T) {
	a, b := newMember(t, fine), newMember(t, fine)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server()}, Fallback: []upstream.Server{b.server()}})
	if _, err := answered(t, p, "hi"); err != nil || b.asked.Load() != 0 {
		t.Fatalf("%v; the fallback was asked %d times while the server answers", err, b.asked.Load())
	}
	a.Close()
	asked := int32(0)
	until(t, "the server is left alone", func() bool {
		if got, err := answered(t, p, "hi"); err != nil || got != one+two+done {
			t.Fatalf("got %q, %v", got, err)
		}
		asked++
		s := p.Stats()[0]
		return asked >= 5 && !s.Healthy && s.Rests > 0
	})
	if s := p.Stats(); b.asked.Load() != asked || !s[1].Fallback {
		t.Errorf("the fallback was asked %d times by %d requests; %+v", b.asked.Load(), asked, s)
	}
	b.Close()
	if _, err := answered(t, p, "hi"); codeOf(err) != "upstream_unavailable" {
		t.Errorf("without any server: %v", err)
	}
}

// A server that says [DONE] and keeps the connection open holds nobody up.
func TestOpenAfterTheEnd(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	a := newMember(t, func(w http.ResponseWriter, r *http.Request) {
		fine(w, r)
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})
	ended := make(chan error, 1)
	go func() {
		_, err := answered(t, pool(t, upstream.Options{Servers: []upstream.Server{a.server()}, Silent: time.Hour}), "hi")
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the answer does not end")
	}
}

// One of two servers dies under load: no request is lost before its first byte, and
// every stream that is cut says so.
func TestServerDiesUnderLoad(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		for range 10 {
			events(one)(w, r)
			time.Sleep(2 * time.Millisecond)
		}
		events(two, done)(w, r)
	}
	// a stops within its answers before it dies, so that it has streams in hand then.
	var dying atomic.Bool
	var inHand atomic.Int32
	a, b := newMember(t, func(w http.ResponseWriter, r *http.Request) {
		if !dying.Load() {
			slow(w, r)
			return
		}
		events(one)(w, r)
		inHand.Add(1)
		<-r.Context().Done()
	}), newMember(t, slow)
	p := pool(t, upstream.Options{Servers: []upstream.Server{a.server(), b.server()}, Check: 50 * time.Millisecond})
	var lost, cut, whole atomic.Int32
	var clients sync.WaitGroup
	dead := make(chan struct{})
	for i := range 16 {
		clients.Go(func() {
			for after := 0; after < 5; {
				got, err := answered(t, p, fmt.Sprint(i))
				switch {
				case err == nil && got == strings.Repeat(one, 10)+two+done:
					whole.Add(1)
				case err == nil:
					t.Errorf("%q ended as if it were whole", got)
				case got == "":
					lost.Add(1)
					t.Error(err)
				case !strings.Contains(got, done):
					cut.Add(1)
				}
				select {
				case <-dead:
					after++
				default:
				}
			}
		})
	}
	until(t, "the load is on", func() bool { return whole.Load() > 32 })
	dying.Store(true)
	until(t, "the server has streams in hand", func() bool { return inHand.Load() > 0 })
	a.Listener.Close()
	a.CloseClientConnections()
	close(dead)
	clients.Wait()
	t.Logf("%d whole, %d cut, %d lost", whole.Load(), cut.Load(), lost.Load())
	if cut.Load() == 0 || cut.Load() > 16 {
		t.Errorf("%d streams were cut, want those that the dead server had in hand: %d", cut.Load(), inHand.Load())
	}
	if s := p.Stats(); s[0].InFlight+s[1].InFlight != 0 {
		t.Errorf("stats: %+v", s)
	}
	until(t, "the dead server is known to be", func() bool { return !p.Stats()[0].Healthy })
}
