package identity

import (
	"sync"
	"time"
)

// cache holds verified credentials by their SHA-256, never the credentials.
type cache struct {
	mu   sync.RWMutex
	held map[[32]byte]verified
	most int
}

type verified struct {
	caller *Caller
	until  time.Time
}

func newCache(most int) *cache {
	return &cache{held: make(map[[32]byte]verified), most: most}
}

func (c *cache) get(sum [32]byte, now time.Time) *Caller {
	c.mu.RLock()
	v, ok := c.held[sum]
	c.mu.RUnlock()
	if !ok || !now.Before(v.until) {
		return nil
	}
	return v.caller
}

func (c *cache) put(sum [32]byte, caller *Caller, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.held { // any one will do: an evicted credential is only verified anew
		if len(c.held) < c.most {
			break
		}
		delete(c.held, other)
	}
	c.held[sum] = verified{caller: caller, until: until}
}

// dropKey forgets what was verified for one API key.
func (c *cache) dropKey(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sum, v := range c.held {
		if v.caller.KeyID == id {
			delete(c.held, sum)
		}
	}
}
