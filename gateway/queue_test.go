package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// line is a queue of one place, which is taken, and the order in which those who wait
// for it get it.
type line struct {
	t     *testing.T
	q     *queue
	order chan string
}

func newLine(t *testing.T, limits AdmissionConfig) *line {
	t.Helper()
	limits.Concurrent = 1
	l := &line{t: t, q: newQueue(), order: make(chan string, 1000)}
	l.q.bound(limits)
	if err := l.q.enter(t.Context(), [32]byte{}, 0, 1); err != nil {
		t.Fatal(err)
	}
	return l
}

// waits adds a request of the licensee, which is named by one letter, and returns once
// it stands in the queue or has been refused.
func (l *line) waits(who string, plan uint32, tokens uint64) {
	before := l.q.seqNow()
	go func() {
		if err := l.q.enter(l.t.Context(), [32]byte{who[0]}, plan, tokens); err != nil {
			who += "!"
		}
		l.order <- who
	}()
	for l.q.seqNow() == before {
		time.Sleep(50 * time.Microsecond)
	}
}

func (q *queue) seqNow() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.seq
}

func (l *line) next() string {
	l.t.Helper()
	select {
	case who := <-l.order:
		return who
	case <-time.After(time.Minute):
		l.t.Fatal("nobody's turn came")
		return ""
	}
}

// served ends so many requests, one after the other, and says whose turn came.
func (l *line) served(n int) string {
	var out strings.Builder
	for range n {
		l.q.leave()
		out.WriteString(l.next())
	}
	return out.String()
}

func TestQueueIsFair(t *testing.T) {
	for name, c := range map[string]struct {
		weights map[uint32]float64
		join    func(*line)
		want    string
	}{
		"one licensee: first come, first served": {nil, func(l *line) {
			l.waits("a", 1, 10)
			l.waits("a", 1, 1000)
			l.waits("a", 1, 10)
		}, "aaa"},
		"who sends many does not wait less": {nil, func(l *line) {
			for range 6 {
				l.waits("a", 1, 10)
			}
			l.waits("b", 1, 10)
			l.waits("b", 1, 10)
		}, "ababaaaa"},
		"by tokens": {nil, func(l *line) {
			for range 3 {
				l.waits("a", 1, 100)
			}
			for range 6 {
				l.waits("b", 1, 50)
			}
		}, "abbabbabb"},
		"by the plan's weight": {map[uint32]float64{2: 3}, func(l *line) {
			for range 3 {
				l.waits("a", 1, 30)
			}
			for range 9 {
				l.waits("b", 2, 30)
			}
		}, "abbbabbbabbb"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t, AdmissionConfig{Queue: 100, Wait: time.Minute, Weights: c.weights})
			c.join(l)
			if got := l.served(len(c.want)); got != c.want {
				t.Errorf("served %s, want %s", got, c.want)
			}
			l.q.leave()
			if l.q.running != 0 || len(l.q.ends) != 0 {
				t.Errorf("afterwards %d run, and %d licensees are remembered", l.q.running, len(l.q.ends))
			}
		})
	}
}

// A full queue turns away whoever would be served last: not a newcomer, if another
// licensee has filled it.
func TestQueueIsBounded(t *testing.T) {
	l := newLine(t, AdmissionConfig{Queue: 3, Wait: time.Minute})
	for range 3 {
		l.waits("a", 1, 10)
	}
	if err := l.q.enter(t.Context(), [32]byte{'a'}, 1, 10); !errors.Is(err, errOverloaded) {
		t.Errorf("the fourth of one licensee: %v", err)
	}
	l.waits("b", 1, 10)
	if got := l.next(); got != "a!" {
		t.Errorf("for the newcomer went %q, want the other's last", got)
	}
	if got := l.served(3); got != "aba" {
		t.Errorf("served %s, want aba", got)
	}
}

// Requests that were given up while they waited do not count against their licensee.
func TestQueueForgetsWhoLeft(t *testing.T) {
	l := newLine(t, AdmissionConfig{Queue: 10, Wait: time.Minute})
	for range 3 {
		l.waits("b", 1, 10)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 5 {
		if err := l.q.enter(gone, [32]byte{'a'}, 1, 10); !errors.Is(err, context.Canceled) {
			t.Fatalf("of one who leaves: %v", err)
		}
	}
	l.waits("a", 1, 10)
	if got := l.served(4); got != "babb" {
		t.Errorf("served %s, want babb", got)
	}
}

func TestQueueIsBoundedInTime(t *testing.T) {
	l := newLine(t, AdmissionConfig{Queue: 3, Wait: 20 * time.Millisecond})
	if err := l.q.enter(t.Context(), [32]byte{'a'}, 1, 10); !errors.Is(err, errOverloaded) {
		t.Errorf("got %v", err)
	}
	gone := fmt.Errorf("gone")
	ctx, leave := context.WithCancelCause(t.Context())
	leave(gone)
	l.q.bound(AdmissionConfig{Concurrent: 1, Queue: 3, Wait: time.Minute}) // who leaves does so before its time is up
	if err := l.q.enter(ctx, [32]byte{'a'}, 1, 10); !errors.Is(err, gone) {
		t.Errorf("of one who leaves: %v", err)
	}
	if n := l.q.length(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	l.q.leave()
	if err := l.q.enter(t.Context(), [32]byte{'a'}, 1, 10); err != nil {
		t.Errorf("the free place: %v", err)
	}
}

// However they come and go, no place is lost and none is given twice.
func TestQueueKeepsCount(t *testing.T) {
	q := newQueue()
	q.bound(AdmissionConfig{Concurrent: 3, Queue: 5, Wait: time.Millisecond})
	done := make(chan struct{})
	const clients = 16
	for i := range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for n := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%3)*time.Millisecond)
				if q.enter(ctx, [32]byte{byte(i % 4)}, uint32(i%2), uint64(n)) == nil {
					q.mu.Lock()
					running := q.running
					q.mu.Unlock()
					if running > 3 {
						t.Errorf("%d run at once", running)
					}
					q.leave()
				}
				cancel()
			}
		}()
	}
	for range clients {
		<-done
	}
	if q.running != 0 || len(q.waiting) != 0 {
		t.Errorf("in the end %d run and %d wait", q.running, len(q.waiting))
	}
}
