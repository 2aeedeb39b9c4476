package identity

import (
	"sync"
	"time"
)

// cache holds verified credentials by their SHA-256, never the credentials. Each
// belongs to an epoch, which ends when an issuer's keys change.
type cache struct {
	mu    sync.RWMutex
	held  map[[32]byte]verified
	epoch uint64
	most  int
}

type verified struct {
	caller *Caller
	until  time.Time
}

func newCache(most int) *cache {
	return &cache{held: make(map[[32]byte]verified), most: most}
}

// get also returns the epoch, to be handed to put: what was verified in an earlier one
// is not held.
func (c *cache) get(sum [32]byte, now time.Time) (*Caller, uint64) {
	c.mu.RLock()
	v, ok := c.held[sum]
	epoch := c.epoch
	c.mu.RUnlock()
	if !ok || !now.Before(v.until) {
		return nil, epoch
	}
	return v.caller, epoch
}

func (c *cache) put(sum [32]byte, caller *Caller, until time.Time, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	for other := range c.held { // any one will do: an evicted credential is only verified anew
		if len(c.held) < c.most {
			break
		}
		delete(c.held, other)
	}
	c.held[sum] = verified{caller: caller, until: until}
}

// drop forgets what was verified for one API key or token.
func (c *cache) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sum, v := range c.held {
		if v.caller.KeyID == id || v.caller.TokenID == id {
			delete(c.held, sum)
		}
	}
}

// turn starts a new epoch, and forgets all.
func (c *cache) turn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.held)
}
