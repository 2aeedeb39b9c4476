package licensecheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// Checker answers for one registry. It is safe for concurrent use.
type Checker struct {
	options Options
	chain   *chain
	book    *book
	cache   *cache // nil: none
	known   *lane  // subjects that a record allows
	unknown *lane  // all others: wallets are free, and must not crowd out licensees
	watcher *watcher
	stats   counters

	mu        sync.Mutex
	listeners map[int]func(model, subject [32]byte)
	nextID    int

	closing  sync.Once
	closeErr error
}

// Open connects to the chain, makes sure that the registry is there, and starts to
// follow it. A chain that cannot be reached is ErrUnavailable; one without the
// registry is ErrWrong.
func Open(ctx context.Context, o Options) (*Checker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	chain, err := dialChain(ctx, o)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, o, chain)
	if err != nil {
		chain.close()
		return nil, err
	}
	return c, nil
}

func open(ctx context.Context, o Options, chain *chain) (*Checker, error) {
	id, _, err := chain.identify(ctx)
	if errors.Is(err, node.ErrWrong) {
		return nil, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c := &Checker{options: o, chain: chain, book: newBook(o.Records), listeners: map[int]func(model, subject [32]byte){}}
	if o.Cache != "" {
		if c.cache, err = openCache(o.Cache, o, id, &c.stats); err != nil {
			return nil, err
		}
	}
	c.known = newLane(c.read, o, rate.NewLimiter(rate.Inf, 0), &c.stats)
	c.unknown = newLane(c.read, o, rate.NewLimiter(rate.Every(strangerPause), strangerBurst), &c.stats)
	for _, l := range []*lane{c.known, c.unknown} {
		l.recall, l.keep = c.recall, func(k key, r record) { c.book.place(k, r) }
	}
	c.watcher = &watcher{
		chain: chain, book: c.book, url: o.WS, poll: o.PollHeads, now: o.Now, log: o.Log,
		stats: &c.stats, changed: c.changed, renamed: c.renamed,
	}
	c.watcher.report(c.watcher.step(ctx)) // a failure here is one like any later: the watcher goes on
	c.watcher.start()
	return c, nil
}

// Close stops following the chain and frees all connections. Checks under way fail. It
// may be called again.
func (c *Checker) Close() error {
	c.closing.Do(func() {
		c.watcher.close()
		c.known.close()
		c.unknown.close()
		if c.cache != nil {
			c.closeErr = c.cache.close()
		}
		c.chain.close()
	})
	return c.closeErr
}

// Check says what is granted to the subject for the model, as of now. An error wraps
// ErrUnavailable, and says nothing about the license.
func (c *Checker) Check(ctx context.Context, model, subject [32]byte) (policy.Grant, error) {
	k := key{model, subject}
	now := c.options.Now()
	r, confirmed, found := c.book.find(k)
	if found && c.decides(&r, confirmed, now) {
		c.stats.hits.Add(1)
		return r.grant, nil
	}
	known := found && r.allows(now)
	fresh, err := c.refresh(ctx, k, known)
	if err == nil {
		return fresh.grant, nil
	}
	return c.stale(k, err)
}

// recall finds a record that decides alone.
func (c *Checker) recall(k key) (record, bool) {
	r, confirmed, found := c.book.find(k)
	return r, found && c.decides(&r, confirmed, c.options.Now())
}

// decides reports whether the record needs nobody's word: it is young enough for what it says.
func (c *Checker) decides(r *record, confirmed, now time.Time) bool {
	age := now.Sub(confirmed)
	return age <= negativeAge || age <= c.options.Soft && r.allows(now)
}

// refresh looks further: in Redis, then on the chain.
func (c *Checker) refresh(ctx context.Context, k key, known bool) (record, error) {
	if c.cache == nil {
		return c.ask(ctx, k, known)
	}
	if r, ok := c.cache.get(ctx, k); ok {
		now := c.options.Now()
		known = known || r.allows(now)
		if held, confirmed, ok := c.book.adopt(k, r); ok && held.allows(now) && now.Sub(confirmed) <= c.options.Soft {
			c.stats.cacheHits.Add(1)
			return held, nil
		}
	}
	return c.ask(ctx, k, known)
}

// read reads grants from the chain. If the chain is not the one that the book is at, which
// happens when it just reorganised, the watcher brings the book there first.
func (c *Checker) read(ctx context.Context, keys []key) ([]record, error) {
	records, err := c.chain.grants(ctx, keys)
	if err == nil && c.book.contradicts(records[0].latest) { // they are all of one block
		c.watcher.look(ctx)
	}
	return records, err
}

func (c *Checker) ask(ctx context.Context, k key, known bool) (record, error) {
	from := c.unknown
	if known {
		from = c.known
	}
	for range attempts {
		r, err := from.get(ctx, k)
		if err != nil {
			return record{}, err
		}
		held, confirmed, ok := c.book.place(k, r)
		if ok && c.options.Now().Sub(confirmed) > c.options.Soft {
			return record{}, errors.New("the node is behind what was read before")
		}
		if ok {
			c.pass(k, held)
			return held, nil
		}
	}
	return record{}, errMoved
}

// stale answers when the chain does not: with a record that allows and is not too old, or not at all.
func (c *Checker) stale(k key, cause error) (policy.Grant, error) {
	now := c.options.Now()
	r, confirmed, found := c.book.find(k)
	if found && now.Sub(confirmed) <= c.options.Hard && r.allows(now) {
		c.stats.stale.Add(1)
		r.grant.Stale = now.Sub(confirmed) > c.options.Soft
		return r.grant, nil
	}
	c.stats.unavailable.Add(1)
	return policy.Grant{}, fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

func (c *Checker) pass(k key, r record) {
	if c.cache != nil {
		c.cache.put(k, r)
	}
}

// changed tells Redis and whoever listens what the newest blocks changed.
func (c *Checker) changed(keys []key) {
	listeners := c.listening()
	for _, k := range keys {
		if r, ok := c.book.settle(k); ok {
			c.pass(k, r)
		}
		for _, listener := range listeners {
			listener(k.model, k.subject)
		}
	}
}

func (c *Checker) renamed(id node.Identity) {
	if c.cache != nil {
		c.cache.rename(id)
	}
}

// OnChange calls f for each grant that a new block changed, or whose change a
// reorganisation undid, once the Checker knows it: running streams ask again then. What
// happened in a gap longer than 1,024 blocks it does not tell. f runs on the watcher's
// goroutine and must not wait, so no Check in it. The returned function ends it.
func (c *Checker) OnChange(f func(model, subject [32]byte)) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.nextID
	c.nextID++
	c.listeners[id] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.listeners, id)
	}
}

func (c *Checker) listening() []func(model, subject [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]func(model, subject [32]byte), 0, len(c.listeners))
	for _, f := range c.listeners {
		all = append(all, f)
	}
	return all
}

// Version is a published version of a model.
type Version struct {
	Number   uint32
	Manifest [32]byte // SHA-256 of its fealty.json
}

// ErrNoVersion: the chain says that the model has no such version.
var ErrNoVersion = errors.New("licensecheck: this version of the model is not published")

// Version reads a published version from the chain: the given one, or for 0 the newest.
func (c *Checker) Version(ctx context.Context, model [32]byte, number uint32) (Version, error) {
	v := Version{Number: number}
	var err error
	if number == 0 {
		newest, readErr := read(ctx, c.chain, bindings.PackLatestVersion(model), bindings.UnpackLatestVersion)
		v.Number, v.Manifest, err = newest.Version, newest.ManifestDigest, readErr
	} else {
		v.Manifest, err = read(ctx, c.chain, bindings.PackVersionDigest(model, number), bindings.UnpackVersionDigest)
	}
	if err != nil {
		return Version{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if v.Manifest == [32]byte{} {
		return Version{}, fmt.Errorf("%w: model 0x%x, version %d", ErrNoVersion, model, number)
	}
	return v, nil
}

// Head is the newest block that the Checker has followed the chain to, and when the
// chain last confirmed it; zero before the first.
func (c *Checker) Head() (number uint64, confirmed time.Time) {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	if len(c.book.blocks) == 0 {
		return 0, time.Time{}
	}
	return c.book.top().Number, c.book.at
}

// Stats counts what happened since Open.
type Stats struct {
	Hits         uint64 // answered from memory
	CacheHits    uint64 // answered from Redis
	ChainReads   uint64 // calls to the chain, of up to 64 grants
	ChainErrors  uint64 // of them, failed
	Stale        uint64 // answered while the chain could not be reached
	Unavailable  uint64 // not answered
	Events       uint64 // changes seen in blocks
	Reorgs       uint64
	Gaps         uint64 // times that coverage had to begin anew
	WatchErrors  uint64
	CacheErrors  uint64
	CacheBad     uint64 // records in Redis that could not be read
	CacheDropped uint64 // writes to Redis given up, too many waiting
	Records      int    // in memory
	Followed     uint64 // changes in blocks that were followed one by one
	// Delay is the sum, over Followed, from a block's time, in whole seconds, to when
	// its change acted here.
	Delay time.Duration
}

type counters struct {
	hits, cacheHits, chainReads, chainErrors, stale, unavailable atomic.Uint64
	events, reorgs, gaps, watchErrors                            atomic.Uint64
	cacheErrors, cacheBad, cacheDropped, delayed                 atomic.Uint64
	delay                                                        atomic.Int64
}

// Stats is a snapshot of the counters.
func (c *Checker) Stats() Stats {
	s := &c.stats
	return Stats{
		Hits: s.hits.Load(), CacheHits: s.cacheHits.Load(), ChainReads: s.chainReads.Load(), ChainErrors: s.chainErrors.Load(),
		Stale: s.stale.Load(), Unavailable: s.unavailable.Load(), Events: s.events.Load(), Reorgs: s.reorgs.Load(),
		Gaps: s.gaps.Load(), WatchErrors: s.watchErrors.Load(), CacheErrors: s.cacheErrors.Load(), CacheBad: s.cacheBad.Load(),
		CacheDropped: s.cacheDropped.Load(), Records: c.book.len(),
		Followed: s.delayed.Load(), Delay: time.Duration(s.delay.Load()),
	}
}
