package licensecheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// batch is how many grants one call reads: far below any node's gas cap for calls.
const batch = 64

// lane carries questions to the chain. One call is under way at a time; what is asked
// meanwhile goes into the next one together, each grant once however many wait for it.
type lane struct {
	read   func(ctx context.Context, keys []key) ([]record, error)
	most   int           // questions waiting
	budget *rate.Limiter // of calls
	now    func() time.Time
	stats  *counters

	// recall finds what was read since the asker looked last, and keep stores what was
	// read before its call is forgotten: between them a grant is read once, not once
	// more by whoever comes at that moment.
	recall func(key) (record, bool)
	keep   func(key, record)

	mu      sync.Mutex
	calls   map[key]*call // waiting or under way
	queue   []key         // waiting
	running bool
	closed  bool
	broken  error     // why the chain is left alone
	until   time.Time // for how long
	done    sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc
}

type call struct {
	done   chan struct{}
	record record
	err    error
}

func newLane(read func(context.Context, []key) ([]record, error), o Options, budget *rate.Limiter, stats *counters) *lane {
	l := &lane{read: read, most: o.Pending, budget: budget, now: o.Now, stats: stats, calls: map[key]*call{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

var (
	errFull   = errors.New("too many different subjects wait for the chain")
	errClosed = errors.New("the checker is closed")
)

// get asks for one grant and waits for the answer or for the context.
func (l *lane) get(ctx context.Context, k key) (record, error) {
	c, err := l.join(k)
	if err != nil {
		return record{}, err
	}
	select {
	case <-c.done:
		return c.record, c.err
	case <-ctx.Done():
		return record{}, ctx.Err()
	}
}

func (l *lane) join(k key) (*call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.calls[k]; ok {
		return c, nil
	}
	if r, ok := l.recall(k); ok {
		return answered(r), nil
	}
	switch {
	case l.closed:
		return nil, errClosed
	case l.now().Before(l.until):
		return nil, fmt.Errorf("it failed a moment ago: %w", l.broken)
	case len(l.queue) >= l.most:
		return nil, errFull
	}
	c := &call{done: make(chan struct{})}
	l.calls[k] = c
	l.queue = append(l.queue, k)
	if !l.running {
		l.running = true
		l.done.Go(l.run)
	}
	return c, nil
}

// answered is a call that is over.
func answered(r record) *call {
	c := &call{done: make(chan struct{}), record: r}
	close(c.done)
	return c
}

// run answers until nobody waits.
func (l *lane) run() {
	for {
		keys := l.take()
		if len(keys) == 0 {
			return
		}
		records, err := l.question(keys)
		l.answer(keys, records, err)
	}
}

// question asks the chain, as soon as the budget allows.
func (l *lane) question(keys []key) ([]record, error) {
	if err := l.budget.Wait(l.ctx); err != nil {
		return nil, errClosed
	}
	records, err := l.read(l.ctx, keys)
	l.stats.chainReads.Add(1)
	if err != nil {
		l.stats.chainErrors.Add(1)
	}
	return records, err
}

func (l *lane) take() []key {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.queue), batch)
	keys := l.queue[:n:n]
	l.queue = l.queue[n:]
	l.running = n > 0
	return keys
}

// answer hands out what was read. A failure fails all that wait: asking again at once
// would only make a long queue for a chain that is down.
func (l *lane) answer(keys []key, records []record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.broken, l.until = err, l.now().Add(cooldown)
		keys = append(keys, l.queue...)
		l.queue = nil
	}
	for i, k := range keys {
		c := l.calls[k]
		if c.err = err; err == nil {
			c.record = records[i]
			l.keep(k, c.record)
		}
		delete(l.calls, k)
		close(c.done)
	}
}

func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.done.Wait()
}
