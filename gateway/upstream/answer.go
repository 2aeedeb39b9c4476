package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
)

const (
	maxReply = 32 << 20               // bytes of an answer that is not streamed
	tailTime = 250 * time.Millisecond // for what follows the end of a stream
)

// answer implements gateway.Answer.
type answer struct {
	pool     *Pool
	server   *server
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	silent   time.Duration
	call     gateway.Call
	body     io.ReadCloser
	events   *openai.EventReader // nil: not a stream
	first    []byte              // read by begin, for the first Next
	meter    meter
	finished bool // the end has been read
	fault    *failure
}

// begin sends the request and reads until there is something for the client.
func (a *answer) begin() *failure {
	resp, err := a.pool.send(a.ctx, a.server, a.call) //nolint:bodyclose // the answer closes it
	if err != nil {
		f := a.transport(err)
		if f.fault == servers && hungUp(err) {
			f.fault = stale
		}
		return f
	}
	a.body = resp.Body
	a.watchdog.Reset(a.silent)
	if resp.StatusCode != http.StatusOK {
		return refused(a.call.Request.Kind, openai.ReadError(resp))
	}
	if err := a.expect(resp); err != nil {
		return broken(err)
	}
	var f *failure
	if a.first, f = a.next(); f != nil {
		return f
	}
	a.watchdog.Stop()
	a.pool.begun(a.server)
	return nil
}

// expect checks that the answer is of the kind that was asked for.
func (a *answer) expect(resp *http.Response) error {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	want := "application/json"
	a.meter.request = a.call.Request
	if a.call.Request.Stream {
		want = "text/event-stream"
		a.events = openai.NewEventReader(resp.Body)
	}
	if !strings.EqualFold(strings.TrimSpace(kind), want) {
		return fmt.Errorf("the upstream sent Content-Type %q, want %s", kind, want)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fmt.Errorf("the upstream sent Content-Encoding %q", e)
	}
	return nil
}

// Next implements gateway.Answer.
func (a *answer) Next() ([]byte, error) {
	if out := a.first; out != nil {
		a.first = nil
		return out, nil
	}
	if a.finished {
		return nil, io.EOF
	}
	a.watchdog.Reset(a.silent)
	out, f := a.next()
	a.watchdog.Stop() // a client that reads slowly is not the upstream's silence
	if f != nil {
		a.fault = f
		return nil, f.Error
	}
	return out, nil
}

func (a *answer) next() ([]byte, *failure) {
	if a.events == nil {
		return a.whole()
	}
	for {
		event, err := a.events.Next()
		if err != nil {
			return nil, a.transport(fmt.Errorf("the stream ended before its last event: %w", err))
		}
		verdict, f := a.meter.event(event)
		if f != nil {
			return nil, f
		}
		a.finished = verdict == last
		if verdict != drop {
			return a.framed(event)
		}
	}
}

func (a *answer) whole() ([]byte, *failure) {
	body, err := io.ReadAll(io.LimitReader(a.body, maxReply+1))
	switch {
	case err != nil:
		return nil, a.transport(err)
	case len(body) > maxReply:
		return nil, broken(fmt.Errorf("the upstream's answer is larger than %d bytes", maxReply))
	}
	if err := a.meter.whole(body, a.call.MaxTokens); err != nil {
		return nil, broken(err)
	}
	a.finished = true
	if a.meter.opening == nil {
		return body, nil
	}
	if body, err = a.meter.opening.whole(body, a.meter.spent()); err != nil {
		return nil, broken(err)
	}
	return body, nil
}

// framed is what the client sees of an event.
func (a *answer) framed(e openai.Event) ([]byte, *failure) {
	if a.meter.opening == nil {
		return e.Raw, nil
	}
	out, err := a.meter.opening.event(e, a.meter.spent())
	if err != nil {
		return nil, broken(err)
	}
	return out, nil
}

// transport words an error of the connection; a context that was ended says why
// itself.
func (a *answer) transport(err error) *failure {
	var e *openai.Error
	if cause := context.Cause(a.ctx); cause != nil {
		if errors.Is(cause, errSilent) {
			return &failure{errSilent, servers}
		}
		if !errors.As(cause, &e) {
			e = broken(cause).Error
		}
		return &failure{e, callers}
	}
	f := broken(err)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED) {
		f.fault = gone
	}
	return f
}

// hungUp tells that the server closed the connection instead of answering. It may
// have done so while the request was on its way, as it may with idle connections.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Usage implements gateway.Answer.
func (a *answer) Usage() openai.Usage { return a.meter.spent() }

// Opened implements gateway.Opened.
func (a *answer) Opened() bool { return a.meter.opening != nil }

// Close implements gateway.Answer. An unfinished answer's connection is closed,
// not reused.
func (a *answer) Close() {
	if a.finished && a.events != nil {
		a.watchdog.Reset(tailTime)
		_, _ = io.CopyN(io.Discard, a.body, 4<<10) // what follows the end lets the connection be reused
	}
	a.abandon()
	a.pool.settle(a.server, a.fault, a.finished)
}

// abandon frees the connection.
func (a *answer) abandon() {
	a.watchdog.Stop()
	a.cancel(nil)
	if a.body != nil {
		_ = a.body.Close()
	}
}
