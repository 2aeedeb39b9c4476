package gateway

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// queue lets so many requests of one model run at once. The others wait for their
// turn, which comes by start-time fair queueing (Goyal, Vin, Cheng 1996): licensees
// share the model in proportion to the weights of their plans, counted in the tokens
// that their requests reserve, however many requests one of them sends. It is bounded
// in length and in time. A full queue turns away whoever would be served last.
type queue struct {
	mu      sync.Mutex
	limits  AdmissionConfig
	running int
	waiting tickets
	clock   float64              // the start tag of the last one served
	ends    map[[32]byte]float64 // where a licensee's next request starts, while there is a queue
	seq     uint64
}

// ticket is one waiting request.
type ticket struct {
	start   float64
	end     float64 // where its licensee's next one starts
	seq     uint64  // among equals the first comes first
	subject [32]byte
	turn    chan error // one: nil, or why there will be none
	at      int        // in the heap; -1: in it no more
}

func newQueue() *queue { return &queue{ends: map[[32]byte]float64{}} }

// bound sets the limits, also while requests run and wait: a queue that is too long
// from now on only takes no more.
func (q *queue) bound(limits AdmissionConfig) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits = limits.filled()
	q.serve()
}

// enter returns when it is the request's turn, or with the reason why it will not be:
// errOverloaded or the cause of ctx's end. After nil, leave must be called.
func (q *queue) enter(ctx context.Context, subject [32]byte, plan uint32, tokens uint64) error {
	t, wait, err := q.join(subject, plan, tokens)
	if t == nil {
		return err
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	select {
	case err := <-t.turn:
		return err
	case <-patience.C:
		err = errOverloaded
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if q.withdraw(t) {
		return err
	}
	if turn := <-t.turn; turn != nil { // decided at the same moment
		return turn
	}
	q.leave()
	return err
}

func (q *queue) weight(plan uint32) float64 {
	if w, ok := q.limits.Weights[plan]; ok {
		return w
	}
	return 1
}

// join takes a place, or a ticket and how long it is good for; without either it is
// the error.
func (q *queue) join(subject [32]byte, plan uint32, tokens uint64) (*ticket, time.Duration, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 && (q.running < q.limits.Concurrent || q.limits.Concurrent == 0) {
		q.running++
		return nil, 0, nil
	}
	q.seq++
	t := &ticket{start: max(q.clock, q.ends[subject]), seq: q.seq, subject: subject, turn: make(chan error, 1)}
	if len(q.waiting) >= q.limits.Queue {
		last := q.waiting.last()
		if last == nil || last.start <= t.start {
			return nil, 0, errOverloaded
		}
		q.remove(last)
		last.turn <- errOverloaded
	}
	t.end = t.start + float64(max(tokens, 1))/q.weight(plan)
	q.ends[subject] = t.end
	heap.Push(&q.waiting, t)
	return t, q.limits.Wait, nil
}

// withdraw reports whether the ticket was still waiting.
func (q *queue) withdraw(t *ticket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.at < 0 {
		return false
	}
	q.remove(t)
	q.settle()
	return true
}

// remove takes out a ticket that is not served. If it was its licensee's last one, the
// next starts where it did: who waited in vain and asks again is not put further back.
func (q *queue) remove(t *ticket) {
	heap.Remove(&q.waiting, t.at)
	if q.ends[t.subject] == t.end {
		q.ends[t.subject] = t.start
	}
}

// leave gives the place to the next one.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.serve()
}

func (q *queue) serve() {
	for len(q.waiting) > 0 && (q.running < q.limits.Concurrent || q.limits.Concurrent == 0) {
		t := heap.Pop(&q.waiting).(*ticket) //nolint:forcetypeassert // nothing else is pushed
		q.running++
		q.clock = t.start
		t.turn <- nil
	}
	q.settle()
}

// settle forgets what no longer matters: all, once nobody waits, and licensees that
// have had no more than others.
func (q *queue) settle() {
	if len(q.waiting) == 0 {
		clear(q.ends)
		q.clock = 0
		return
	}
	if len(q.ends) <= 2*q.limits.Queue {
		return
	}
	for subject, end := range q.ends {
		if end <= q.clock {
			delete(q.ends, subject)
		}
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// tickets is a heap by start tag.
type tickets []*ticket

func (h tickets) Len() int { return len(h) }
func (h tickets) Less(i, j int) bool {
	return h[i].start < h[j].start || h[i].start == h[j].start && h[i].seq < h[j].seq
}
func (h tickets) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *tickets) Push(x any) {
	t := x.(*ticket) //nolint:forcetypeassert // only join pushes
	t.at = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *tickets) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.at = -1
	return t
}

// last is the one that would be served last; nil if none waits.
func (h tickets) last() (last *ticket) {
	for _, t := range h[len(h)/2:] { // the latter half are the leaves
		if last == nil || t.start > last.start || t.start == last.start && t.seq > last.seq {
			last = t
		}
	}
	return last
}
