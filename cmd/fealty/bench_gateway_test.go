package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway/bare"
)

// startMock serves the mock and a bare proxy before it.
func startMock(t *testing.T) []*contender {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(mock))
	t.Cleanup(func() {
		upstream.CloseClientConnections() // a bare proxy does not tell its upstream that a client left
		upstream.Close()
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	address := upstream.Listener.Addr().String()
	go func() {
		if err := bare.Serve(l, address); err != nil {
			t.Error(err)
		}
	}()
	return []*contender{{name: "mock", address: address}, {name: "proxy", address: l.Addr().String()}}
}

// TestBenchLoads holds the generators of load to what the mock is known to answer.
func TestBenchLoads(t *testing.T) {
	for _, c := range startMock(t) {
		l := line{address: c.address}
		status, body, err := l.ask(t.Context(), c.request(modeInstant, "key"))
		if err != nil || status != http.StatusOK || string(body) != mockReply {
			t.Errorf("%s: %d %s, %v; want the mock's reply", c.name, status, body, err)
		}
		began := time.Now()
		if _, _, err := l.ask(t.Context(), c.request(modeSlow, "key")); err != nil || time.Since(began) < mockDelay {
			t.Errorf("%s: the slow mode answered after %v, %v; want %v or more", c.name, time.Since(began), err, mockDelay)
		}
		l.close()
		seen, err := streams(t.Context(), c.address, c.request(modeStream, "key"), 3, 1)
		if err != nil || len(seen.first) != 3 || len(seen.gaps) != 3*(mockFrames-1) {
			t.Errorf("%s: %d first tokens and %d gaps of 3 streams, %v; want 3 and %d", c.name, len(seen.first), len(seen.gaps), err, 3*(mockFrames-1))
		}
		closer, err := holdStreams(t.Context(), c.address, c.request(modeIdle, "key"), 100)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		closer()
	}
}

// TestBenchLoadCounts: what is answered, what is refused, and what ends a load.
func TestBenchLoadCounts(t *testing.T) {
	var asked, refuse atomic.Int64
	refuse.Store(http.StatusServiceUnavailable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%2 == 0 {
			w.WriteHeader(int(refuse.Load()))
		}
	}))
	defer server.Close()
	c := contender{address: server.Listener.Addr().String()}
	l := load{address: c.address, requests: [][]byte{c.request(modeInstant, "key")}, lines: 4, each: 300 * time.Millisecond}
	out, err := l.run(t.Context())
	if err != nil || out.answered == 0 || out.answered != len(out.times) || int64(out.answered+out.refused) != asked.Load() {
		t.Errorf("%d answered, %d timed, %d refused of %d: %v", out.answered, len(out.times), out.refused, asked.Load(), err)
	}
	if off := out.answered - out.refused; off < -4 || off > 4 {
		t.Errorf("%d answered and %d refused; want half each", out.answered, out.refused)
	}
	l.rate = 40
	if out, err = l.run(t.Context()); err != nil || out.answered+out.refused > 16 {
		t.Errorf("%d requests in 0.3 s at a rate of 40 per second: %v", out.answered+out.refused, err)
	}
	refuse.Store(http.StatusForbidden)
	if _, err := l.run(context.Background()); err == nil {
		t.Error("a load that is forbidden ends without an error")
	}
}

// TestBenchLeave: in each phase every client that leaves is seen to have left nothing.
func TestBenchLeave(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Setenv(beProgram, "1")
	b := benchGateway{size: benchSize{leaves: 5}}
	b.p = newProgress(io.Discard)
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(b.start(t.Context()), b.leave(t.Context())); err != nil {
		t.Fatal(err)
	}
	if len(b.figures) != 3 {
		t.Errorf("%d rows, want one for each phase", len(b.figures))
	}
	for _, f := range b.figures {
		if t.Logf("%s: %.1f %s", f.Name, f.Value, f.Unit); f.Value <= 0 || f.Held == nil {
			t.Errorf("%+v measures nothing", f)
		}
	}
}

// TestStretch: the second bound is data beside the first and stands in the print; a row
// without one says nothing of it.
func TestStretch(t *testing.T) {
	row := atMost("CPU", 1.4, "x", 1.6).stretch(1.25)
	text, err := json.Marshal(row)
	if want := `{"name":"CPU","value":1.4,"unit":"x","target":"\u003c= 1.6 x","held":true,"stretch":"\u003c= 1.25 x"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	var out strings.Builder
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	printFigures(cmd, []figure{row, atMost("other", 2, "x", 1)})
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], "<= 1.6 x") || !strings.HasSuffix(lines[0], "held, stretch <= 1.25 x") || !strings.HasSuffix(lines[1], "missed") {
		t.Errorf("printed %q", lines)
	}
}
