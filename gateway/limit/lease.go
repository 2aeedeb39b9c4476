package limit

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/policy"
)

// Share is how a lease is sized: beyond what it needs now, a gateway takes one part
// in so many of what is left. Of a budget with less than that left it takes only
// what it needs, so that the last of a budget is not held where nobody asks for it.
const Share = 64

const (
	idle     = time.Second            // unused for so long, a lease is given back
	patience = 100 * time.Millisecond // a refusal, or a store that failed, is not asked about again for so long
	wait     = 300 * time.Millisecond // for one answer of the store
	most     = 2000                   // changes in one report, so that its answer comes in time
)

// take gives back what was held of each counter, then takes what is needed and a
// share ahead, of all counters or of none. It answers whether it fits, and per
// counter what was consumed before and what was taken.
var take = redis.NewScript(`
local share = tonumber(ARGV[1])
local used, fits = {}, 1
for i = 1, #KEYS do
  local held, need, limit = tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i]), tonumber(ARGV[3*i+1])
  used[i] = math.max(0, tonumber(redis.call('GET', KEYS[i]) or '0') - held)
  if limit > 0 and used[i] + need > limit then fits = 0 end
end
local out = {fits}
for i = 1, #KEYS do
  local need, limit, taken = tonumber(ARGV[3*i]), tonumber(ARGV[3*i+1]), 0
  if fits == 1 then taken = need + math.max(0, math.floor((limit - used[i] - need) / share)) end
  redis.call('SET', KEYS[i], string.format('%.0f', used[i] + taken), 'EX', ARGV[3*#KEYS+1+i])
  out[2*i], out[2*i+1] = used[i], taken
end
return out`)

// refusal is an answer that is given again without asking.
type refusal struct {
	until   time.Time
	budget  Budget
	tokens  int64
	windows [2]int64
	over    *Exceeded
}

func (r *refusal) stands() bool { return r != nil && time.Now().Before(r.until) }

func (r *refusal) holds(c *charge) bool {
	return r.stands() && r.budget == c.budget && c.list[1].need >= r.tokens && r.windows == c.windows()
}

func (c *charge) windows() [2]int64 {
	return [2]int64{c.list[0].counter.window, c.list[1].counter.window}
}

// lease asks the store for what the charge needs. The account is locked.
func (l *Limiter) lease(ctx context.Context, a *account, c *charge) error {
	if a.refusal.holds(c) {
		return a.refusal.over
	}
	if err := l.resting(); err != nil {
		return err
	}
	// A client that leaves does not stop the question: its answer would be lost, and
	// what was leased with it.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.wait)
	defer cancel()
	names, args := c.question(a)
	var answer *redis.Cmd
	err := l.store.Write(asking, func(p redis.Pipeliner) { answer = take.Eval(asking, p, names, args...) })
	var got []int64
	if err == nil {
		got, err = answer.Int64Slice()
	}
	if err == nil && len(got) != 1+2*c.n {
		err = fmt.Errorf("the store answered %d numbers", len(got))
	}
	if err != nil {
		c.doubt()
		return l.rest(err)
	}
	for i, e := range c.entries() {
		*e.counter = counter{window: e.counter.window, limit: e.limit, left: got[2*i+2], beyond: int64(e.limit) - got[2*i+1] - got[2*i+2]}
	}
	if got[0] == 1 {
		return nil
	}
	over := exceeded(got[1:])
	a.refusal = &refusal{time.Now().Add(patience), c.budget, c.list[1].need, c.windows(), over}
	return over
}

func (c *charge) question(a *account) (names []string, args []any) {
	args = append(args, Share)
	var seconds []any
	for i, e := range c.entries() {
		key := ""
		if i >= 2 {
			key = c.budget.KeyID
		}
		names = append(names, a.name(key, i%2 == 1, e.counter.window))
		args = append(args, e.counter.left, e.need, e.limit)
		seconds = append(seconds, int(lives[i%2].Seconds()))
	}
	return names, append(args, seconds...)
}

// doubt is for a question without an answer: what was held may have been given
// back, so it is given up; what was consumed may not have been counted, so it stays.
func (c *charge) doubt() {
	for _, e := range c.entries() {
		e.counter.left = min(0, e.counter.left)
	}
}

// exceeded reads pairs of consumed and taken.
func exceeded(got []int64) *Exceeded {
	out := &Exceeded{Subject: policy.Usage{Requests: uint32(got[0]), Tokens: uint64(got[2])}}
	if len(got) == 8 {
		out.Key = policy.Usage{Requests: uint32(got[4]), Tokens: uint64(got[6])}
	}
	return out
}

// resting is an error while the store is left alone.
func (l *Limiter) resting() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.until) {
		return fmt.Errorf("%w: it failed a moment ago: %w", ErrUnavailable, l.broken)
	}
	return nil
}

func (l *Limiter) rest(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.until = err, time.Now().Add(patience)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
