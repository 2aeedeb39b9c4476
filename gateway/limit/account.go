package limit

import (
	"strconv"
	"time"

	"github.com/fealty/fealty/policy"
)

const (
	minuteSeconds = 60
	daySeconds    = 86400
)

// place is one budget of a licensee.
type place struct {
	model   string
	subject [32]byte
}

// account is what this gateway holds of one budget and of the budgets of its keys.
type account struct {
	prefix string // of its counters' names; its hash tag keeps them in one slot of a cluster

	lock chan struct{} // of all that follows; full while it is held
	own  pair
	keys map[string]*pair

	open    int       // reservations to be settled
	touched time.Time // last use
	refusal *refusal  // the last one, while it holds
	gone    bool      // forgotten: look the account up again
}

// pair are the counters of one holder: of the license, or of one key.
type pair struct{ minute, day counter }

// counter is a lease on one budget in one window.
type counter struct {
	window int64  // number of the minute or day since 1970
	limit  uint64 // when it was leased; 0: none
	left   int64  // leased and not consumed; below 0: consumed and not yet reported
	beyond int64  // what the store had besides, when it was leased
}

func newAccount(prefix string) *account {
	return &account{prefix: prefix, lock: make(chan struct{}, 1), keys: map[string]*pair{}}
}

func (a *account) unlock() { <-a.lock }

// holders are the license and, unless the caller came with a token, its key.
func (a *account) holders(key string) []*pair {
	if key == "" {
		return []*pair{&a.own}
	}
	if a.keys[key] == nil {
		a.keys[key] = &pair{}
	}
	return []*pair{&a.own, a.keys[key]}
}

func (a *account) days(key string) []*counter {
	var out []*counter
	for _, p := range a.holders(key) {
		out = append(out, &p.day)
	}
	return out
}

// charge is what one request would take, in up to four counters: requests and
// tokens of the license, then of the key.
type charge struct {
	budget Budget
	list   [4]entry
	n      int
}

type entry struct {
	counter *counter
	need    int64
	limit   uint64
}

func (c *charge) entries() []entry { return c.list[:c.n] }

// charge opens the windows of now: what was left of earlier ones is void.
func (a *account) charge(now time.Time, b Budget, tokens int64) *charge {
	c := &charge{budget: b}
	plans := [2]policy.Plan{b.Plan, b.Key}
	for i, p := range a.holders(b.KeyID) {
		p.minute.enter(now.Unix() / minuteSeconds)
		p.day.enter(now.Unix() / daySeconds)
		c.list[c.n] = entry{counter: &p.minute, need: 1, limit: uint64(plans[i].RPM)}
		c.list[c.n+1] = entry{counter: &p.day, need: tokens, limit: min(plans[i].TokensPerDay, exact)}
		c.n += 2
	}
	return c
}

func (c *counter) enter(window int64) {
	if c.window != window {
		*c = counter{window: window}
	}
}

// covered tells whether the leases suffice. A budget without a limit needs none:
// what it consumes is only reported.
func (c *charge) covered() bool {
	for _, e := range c.entries() {
		if e.limit != 0 && (e.counter.left < e.need || e.counter.limit != e.limit) {
			return false
		}
	}
	return true
}

// name is a counter's name in the store.
func (a *account) name(key string, day bool, window int64) string {
	out := a.prefix
	if key != "" {
		out += "key:" + key + ":"
	}
	if day {
		return out + "d" + strconv.FormatInt(window, 10)
	}
	return out + "m" + strconv.FormatInt(window, 10)
}

// window is the bound that is nearest, of requests (0) or of tokens (1), which begins
// anew after so many seconds.
func (c *charge) window(now time.Time, kind int, length int64) (w Window) {
	for i := kind; i < c.n; i += 2 {
		e := c.list[i]
		left := uint64(max(0, e.counter.left+e.counter.beyond))
		if e.limit != 0 && (w.Limit == 0 || left < w.Left) {
			w = Window{Limit: e.limit, Left: left, Reset: time.Duration(length-now.Unix()%length) * time.Second}
		}
	}
	return w
}
