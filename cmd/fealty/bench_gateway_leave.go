package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/usage"
)

// leavers are clients that leave one after the other, of a licensee of their own.
type leavers struct {
	gateway *contender
	key     string
	subject [32]byte
	ledger  usage.Reader
}

// leave measures how long after its client has gone a request has left nothing behind: no
// place taken, and its usage in the ledger. One that still waits has no usage.
func (b *benchGateway) leave(ctx context.Context) error {
	subject := numbered(1, len(b.keys))
	if err := b.license(ctx, 1); err != nil {
		return err
	}
	c, err := b.gateway(ctx, "gateway whose clients leave", func(cfg *gateway.Config) {
		for i := range cfg.Models {
			cfg.Models[i].Admission.Concurrent = 1
		}
	})
	if err != nil {
		return err
	}
	client, err := state.Open("redis://" + b.redis + "/0")
	if err != nil {
		return err
	}
	defer client.Close()
	w := leavers{gateway: c, key: b.keys[len(b.keys)-1], subject: subject, ledger: usage.NewReader(client)}
	for _, phase := range []struct {
		name    string
		measure func(context.Context) (time.Duration, error)
	}{{"in prefill", w.inPrefill}, {"mid-stream", w.inStream}, {"queued", w.queued}} {
		var times []time.Duration
		for range b.size.leaves {
			took, err := phase.measure(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", phase.name, err)
			}
			times = append(times, took)
		}
		b.add(atMost("client gone "+phase.name+" to place free and usage settled, p99", percentile(times, 0.99, time.Millisecond), "ms", 250))
	}
	return nil
}

func (w leavers) inPrefill(ctx context.Context) (time.Duration, error) {
	l := line{address: w.gateway.address}
	err := l.post(ctx, w.gateway.request(modeSilent, w.key))
	if err == nil {
		err = w.until(ctx, 1, 0, 0)
	}
	return w.gone(ctx, &l, err)
}

func (w leavers) inStream(ctx context.Context) (time.Duration, error) {
	l := line{address: w.gateway.address}
	lines, err := l.events(ctx, w.gateway.request(modeIdle, w.key))
	if err == nil {
		_, err = lines.ReadSlice('\n')
	}
	return w.gone(ctx, &l, err)
}

// gone closes the connection of the only request there is, and waits until that shows.
func (w leavers) gone(ctx context.Context, l *line, err error) (time.Duration, error) {
	before, counted := w.settled(ctx)
	took, left := timed(func() error { l.close(); return w.until(ctx, 0, 0, before+1) })
	return took, errors.Join(err, counted, left)
}

func (w leavers) queued(ctx context.Context) (took time.Duration, err error) {
	running, waiting := line{address: w.gateway.address}, line{address: w.gateway.address}
	defer waiting.close()
	request := w.gateway.request(modeSilent, w.key)
	for at, l := range []*line{&running, &waiting} {
		if err := l.post(ctx, request); err != nil {
			return 0, err
		}
		if err := w.until(ctx, 1+at, at, 0); err != nil {
			return 0, err
		}
	}
	if took, err = timed(func() error { waiting.close(); return w.until(ctx, 1, 0, 0) }); err != nil {
		return 0, err
	}
	_, err = w.gone(ctx, &running, nil)
	return took, err
}

// until waits until so many requests are held, so many of them wait, and so many at least
// are in the ledger.
func (w leavers) until(ctx context.Context, held, waiting, settled int) error {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		metrics, err := w.gateway.see(ctx, "/metrics")
		if err != nil {
			return err
		}
		if has(metrics, "fealty_answers_running", held) && has(metrics, `fealty_requests_waiting{model="`+modeSilent+`"}`, waiting) {
			if n, err := w.settled(ctx); err != nil || n >= settled {
				return err
			}
		}
		if time.Since(began) > answerTime {
			return fmt.Errorf("after %s there are not %d requests held, %d waiting and %d settled", answerTime, held, waiting, settled)
		}
	}
}

func has(metrics, name string, value int) bool {
	return strings.Contains("\n"+metrics, "\n"+name+" "+strconv.Itoa(value)+"\n")
}

// settled is how many of the licensee's requests are in the ledger.
func (w leavers) settled(ctx context.Context) (n int, err error) {
	now := time.Now()
	totals, err := w.ledger.Totals(ctx, w.subject, now.AddDate(0, 0, -1), now)
	for _, t := range totals {
		n += int(t.Requests)
	}
	return n, err
}

// see is what a gateway's own listener answers.
func (c *contender) see(ctx context.Context, path string) (string, error) {
	l := line{address: c.admin}
	defer l.close()
	status, body, err := l.ask(ctx, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, c.admin))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s is answered with %d", path, status)
	}
	return string(body), err
}
