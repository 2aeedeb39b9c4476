package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// line is one connection that sends requests written beforehand and reads the
// answers, with as little work of its own as may be: it shares the machine with
// what it measures.
type line struct {
	address string
	conn    net.Conn
	r       *bufio.Reader
}

// answerTime bounds every answer: the benchmark must end.
const answerTime = 60 * time.Second

func (l *line) send(ctx context.Context, request []byte) (*http.Response, error) {
	if err := l.post(ctx, request); err != nil {
		return nil, err
	}
	return http.ReadResponse(l.r, nil)
}

// post sends a request and waits for nothing.
func (l *line) post(ctx context.Context, request []byte) error {
	if l.conn == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", l.address)
		if err != nil {
			return err
		}
		l.conn, l.r = conn, bufio.NewReader(conn)
	}
	if err := l.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, err := l.conn.Write(request)
	return err
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close() // nothing is under way
		l.conn = nil
	}
}

// ask sends one request and reads its answer to the end.
func (l *line) ask(ctx context.Context, request []byte) (status int, body []byte, err error) {
	resp, err := l.send(ctx, request) //nolint:bodyclose // read to its end; the connection is ours
	if err == nil {
		body, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		l.close()
		return 0, nil, err
	}
	if resp.Close {
		l.close()
	}
	return resp.StatusCode, body, nil
}

// watched is what a client saw of streams: how long after the request the first
// token came, and how long after one token the next.
type watched struct{ first, gaps []time.Duration }

func (w *watched) add(o watched) {
	w.first, w.gaps = append(w.first, o.first...), append(w.gaps, o.gaps...)
}

// watch reads one stream to its end.
func (l *line) watch(ctx context.Context, request []byte) (w watched, err error) {
	last := time.Now()
	lines, err := l.events(ctx, request)
	if err != nil {
		return w, err
	}
	for done := false; ; {
		text, err := lines.ReadSlice('\n')
		now := time.Now()
		switch {
		case err == io.EOF && done:
			return w, nil
		case err != nil:
			l.close()
			return w, fmt.Errorf("a stream was cut: %w", err)
		case bytes.HasPrefix(text, []byte("data: [DONE]")):
			done = true
		case !bytes.Contains(text, []byte(`"content"`)):
			continue
		case w.first == nil:
			w.first = []time.Duration{now.Sub(last)}
		default:
			w.gaps = append(w.gaps, now.Sub(last))
		}
		last = now
	}
}

// events sends a request and returns the reader of its stream.
func (l *line) events(ctx context.Context, request []byte) (*bufio.Reader, error) {
	resp, err := l.send(ctx, request) //nolint:bodyclose // the connection is ours
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("a stream was answered with %d", resp.StatusCode)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return bufio.NewReader(resp.Body), nil
}

// load is how a server is asked.
type load struct {
	address  string
	requests [][]byte // in turns
	lines    int      // connections
	each     time.Duration
	// rate is how many requests per second all connections send together, as far as
	// answers come back in time. Zero: each sends the next when it has its answer.
	rate float64
}

// outcome is what came of a load.
type outcome struct {
	answered int             // with 200
	refused  int             // with 429 or 503
	times    []time.Duration // of those answered
	seconds  float64
}

func (o outcome) perSecond() float64 { return float64(o.answered) / o.seconds }

// run asks for the load's time. An answer that is neither 200 nor a refusal for
// overload ends it with an error.
func (l load) run(ctx context.Context) (out outcome, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	began := time.Now()
	for i := range l.lines {
		all.Go(func() {
			part, problem := l.line(ctx, i, began)
			mu.Lock()
			defer mu.Unlock()
			if problem != nil {
				err = errors.Join(err, problem)
				cancel() // one is enough
			}
			out.answered, out.refused = out.answered+part.answered, out.refused+part.refused
			out.times = append(out.times, part.times...)
		})
	}
	all.Wait()
	out.seconds = time.Since(began).Seconds()
	return out, err
}

func (l load) line(ctx context.Context, i int, began time.Time) (out outcome, err error) {
	c := line{address: l.address}
	defer c.close()
	var pause time.Duration
	if l.rate > 0 {
		pause = time.Duration(float64(l.lines) / l.rate * float64(time.Second))
	}
	next := began.Add(pause * time.Duration(i) / time.Duration(l.lines))
	for n := i; n == i || time.Since(began) < l.each && ctx.Err() == nil; n += l.lines { // once at least
		time.Sleep(time.Until(next))
		next = next.Add(pause)
		sent := time.Now()
		status, body, err := c.ask(ctx, l.requests[n%len(l.requests)])
		switch {
		case ctx.Err() != nil:
			return out, nil
		case err != nil:
			return out, err
		case status == http.StatusOK:
			out.answered++
			out.times = append(out.times, time.Since(sent))
		case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
			out.refused++
		default:
			return out, fmt.Errorf("answered with %d: %.200s", status, body)
		}
	}
	return out, nil
}

// once sends every request once, for what is to be in caches.
func (l load) once(ctx context.Context) error {
	var all sync.WaitGroup
	problems := make([]error, l.lines)
	for i := range l.lines {
		all.Go(func() {
			c := line{address: l.address}
			defer c.close()
			for n := i; n < len(l.requests) && problems[i] == nil; n += l.lines {
				status, body, err := c.ask(ctx, l.requests[n])
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("answered with %d: %.200s", status, body)
				}
				problems[i] = err
			}
		})
	}
	all.Wait()
	return errors.Join(problems...)
}

// streams reads so many streams at once, one after another on each connection. They
// begin at different times of the first one, so that they do not go in step.
func streams(ctx context.Context, address string, request []byte, lines, after int) (out watched, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range lines {
		all.Go(func() {
			time.Sleep(mockFrames * mockDelay * time.Duration(i) / time.Duration(lines))
			c := line{address: address}
			defer c.close()
			for range after {
				part, problem := c.watch(ctx, request)
				mu.Lock()
				out.add(part)
				err = errors.Join(err, problem)
				mu.Unlock()
				if problem != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return out, err
}

// holdStreams opens streams and returns when each has sent its first event.
func holdStreams(ctx context.Context, address string, request []byte, n int) (closer func(), err error) {
	held := make([]line, n)
	closer = func() {
		for i := range held {
			held[i].close()
		}
	}
	var all sync.WaitGroup
	problems := make([]error, 64)
	for k := range problems {
		all.Go(func() {
			for i := k; i < n && problems[k] == nil; i += len(problems) {
				held[i].address = address
				lines, err := held[i].events(ctx, request)
				if err == nil {
					_, err = lines.ReadSlice('\n')
				}
				problems[k] = err
			}
		})
	}
	all.Wait()
	return closer, errors.Join(problems...)
}
