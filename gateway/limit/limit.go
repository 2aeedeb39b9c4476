// Package limit keeps what a license and an API key may consume: requests per
// minute, tokens per UTC day.
//
// It counts; whether a count is too much is said once, by package policy. The
// counts are in the state store, which all gateways of a deployment share. Each
// gateway leases parts of a budget from there, ahead of need, so that most requests
// ask nobody; a lease is counted as consumed until it is given back. A gateway that
// dies strands its leases until their minute or day ends: too little is served
// then, never too much. While the store cannot be asked a gateway serves what it
// has leased, and nothing beyond. Start with [Limiter.Reserve].
package limit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/policy"
)

// ErrUnavailable says that the state store cannot be asked.
var ErrUnavailable = errors.New("the limits cannot be counted")

// Budget names what is charged and how much it may be.
type Budget struct {
	Model   string   // the license is for one model
	Subject [32]byte // the licensee: all its keys share this budget
	KeyID   string   // "" for a token, which has no budget of its own
	Plan    policy.Plan
	Key     policy.Plan // the key's own bounds; zero: none
}

// Exceeded says what was consumed when a reservation did not fit. Nothing was
// charged.
type Exceeded struct {
	Subject policy.Usage
	Key     policy.Usage
}

func (e *Exceeded) Error() string {
	return fmt.Sprintf("over the limit: %d requests in the minute, %d tokens in the day", e.Subject.Requests, e.Subject.Tokens)
}

// Limiter leases from the state store and counts what it leased in memory.
type Limiter struct {
	store      Store
	deployment string
	wait       time.Duration // for one answer of the store
	idle       time.Duration // unused for so long, a lease is given back

	mu       sync.Mutex
	accounts map[place]*account
	broken   error     // why the store is left alone
	until    time.Time // for how long

	stop    chan struct{}
	running sync.WaitGroup
}

// Store is the state store; *state.Store.
type Store interface {
	// Err is why the store is not to be believed, as far as is known without asking.
	Err() error
	// Write runs commands; without an error their answers can be believed.
	Write(ctx context.Context, commands func(redis.Pipeliner)) error
}

// New counts for one deployment: a name that its gateways share. Close the
// limiter, so that what it leased is given back.
func New(s Store, deployment string) *Limiter { return start(s, deployment, wait, idle) }

func start(s Store, deployment string, wait, idle time.Duration) *Limiter {
	l := &Limiter{store: s, deployment: deployment, wait: wait, idle: idle, accounts: map[place]*account{}, stop: make(chan struct{})}
	l.running.Go(l.tend)
	return l
}

// Close gives back what is leased. No request may be running.
func (l *Limiter) Close() error {
	close(l.stop)
	l.running.Wait()
	return nil
}

// Reservation is what was set aside for one request. Settle it once.
type Reservation struct {
	account  *account
	key      string
	day      int64
	reserved uint64
	// Requests and Tokens are how the request found the nearest of its bounds, itself
	// counted.
	Requests, Tokens Window
}

// Window is one bound. What other gateways consumed since this one last asked is not in
// Left.
type Window struct {
	Limit uint64 // zero: none
	Left  uint64
	Reset time.Duration // until it begins anew
}

// exact is where Lua's numbers end to be exact. No limit and no reservation is larger.
const exact = 1 << 53

// Reserve charges one request and so many tokens at now, or returns *[Exceeded].
func (l *Limiter) Reserve(ctx context.Context, now time.Time, b Budget, tokens uint64) (*Reservation, error) {
	if tokens >= exact {
		return nil, fmt.Errorf("limit: a reservation of %d tokens is no request", tokens)
	}
	if err := l.store.Err(); err != nil { // what was leased from a store that is lost may have been spent by others
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	a, err := l.locked(ctx, place{b.Model, b.Subject})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer a.unlock()
	c := a.charge(now, b, int64(tokens))
	if !c.covered() {
		if err := l.lease(ctx, a, c); err != nil {
			return nil, err
		}
	}
	for _, e := range c.entries() {
		e.counter.left -= e.need
	}
	a.open++
	a.touched = time.Now()
	return &Reservation{
		account: a, key: b.KeyID, day: now.Unix() / daySeconds, reserved: tokens,
		Requests: c.window(now, 0, minuteSeconds), Tokens: c.window(now, 1, daySeconds),
	}, nil
}

// Settle replaces what was reserved by what was used. Unsettled, the whole
// reservation stays charged. Of a day that is over nothing is replaced.
func (r *Reservation) Settle(used uint64) {
	a := r.account
	a.lock <- struct{}{}
	defer a.unlock()
	for _, c := range a.days(r.key) {
		if c.window == r.day {
			c.left += int64(r.reserved) - int64(used)
		}
	}
	a.open--
	a.touched, a.refusal = time.Now(), nil
}

// locked finds an account and takes its lock.
func (l *Limiter) locked(ctx context.Context, p place) (*account, error) {
	for {
		l.mu.Lock()
		a := l.accounts[p]
		if a == nil {
			a = newAccount("fealty:1:used:{" + l.deployment + ":" + p.model + ":" + hex.EncodeToString(p.subject[:]) + "}:")
			l.accounts[p] = a
		}
		l.mu.Unlock()
		select {
		case a.lock <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !a.gone {
			return a, nil
		}
		a.unlock() // forgotten meanwhile
	}
}
