package limit

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// tend reports what was consumed and gives back what is not used, until Close, when
// all goes back.
func (l *Limiter) tend() {
	tick := time.NewTicker(idle / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.sweep(time.Now().Add(-l.idle))
		case <-l.stop:
			l.sweep(time.Now())
			return
		}
	}
}

// change is what a sweep reports of one counter.
type change struct {
	counter *counter
	account *account
	window  int64
	amount  int64
	name    string
	life    time.Duration
}

// sweep reports all debts, gives back the leases of accounts that nobody used since
// unused, and then forgets these: the store knows all of them. What a sweep costs follows
// from who asks now, and not from how many asked before.
func (l *Limiter) sweep(unused time.Time) {
	if l.resting() != nil || l.store.Err() != nil {
		return
	}
	var changes []change
	for p, a := range l.list() {
		select {
		case a.lock <- struct{}{}:
		default:
			continue // in use; there is a next time
		}
		before := len(changes)
		silent := !a.touched.After(unused)
		changes = a.collect(changes, silent)
		if silent && a.open == 0 && len(changes) == before && !a.refusal.stands() {
			a.gone = true
			l.mu.Lock()
			delete(l.accounts, p)
			l.mu.Unlock()
		}
		a.unlock()
	}
	for len(changes) > 0 {
		some := changes[:min(most, len(changes))]
		if err := l.report(some); err != nil {
			_ = l.rest(err) // the next request is told
			restore(changes)
			return
		}
		changes = changes[len(some):]
	}
}

func (l *Limiter) list() map[place]*account {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[place]*account, len(l.accounts))
	for p, a := range l.accounts {
		out[p] = a
	}
	return out
}

// lives is how long the store keeps the counters of a minute and of a day: until nobody
// asks for them any more.
var lives = [2]time.Duration{2 * minuteSeconds * time.Second, 2 * daySeconds * time.Second}

// collect takes what is to be reported out of the counters.
func (a *account) collect(to []change, unused bool) []change {
	add := func(key string, p *pair) {
		for day, c := range []*counter{&p.minute, &p.day} {
			if c.left < 0 || c.left > 0 && unused {
				name, life := a.name(key, day == 1, c.window), lives[day]
				to = append(to, change{counter: c, account: a, window: c.window, amount: -c.left, name: name, life: life})
				c.left = 0
			}
		}
	}
	add("", &a.own)
	for key, p := range a.keys {
		add(key, p)
	}
	return to
}

func (l *Limiter) report(changes []change) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.wait)
	defer cancel()
	return l.store.Write(ctx, func(p redis.Pipeliner) {
		for _, c := range changes {
			p.IncrBy(ctx, c.name, c.amount)
			p.Expire(ctx, c.name, c.life)
		}
	})
}

// restore puts debts back, to be reported later. What was to be given back may have
// arrived: it stays given up.
func restore(changes []change) {
	for _, c := range changes {
		c.account.lock <- struct{}{}
		if c.amount > 0 && c.counter.window == c.window {
			c.counter.left -= c.amount
		}
		c.account.unlock()
	}
}
