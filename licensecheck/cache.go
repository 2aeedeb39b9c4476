package licensecheck

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/redisurl"
	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// cacheFormat is part of every key: gateways of different versions share a Redis and
// leave each other's records alone.
const cacheFormat = 3

// cache keeps records in Redis, for gateways that start and for each other. It speeds
// reads up and decides nothing: whatever is wrong with it is a miss, and what it holds
// counts only where the run of coverage vouches for it (book.adopt). Each record is
// authenticated, under the name that it is kept at.
type cache struct {
	client   redis.UniversalClient
	secret   []byte        // Options.CacheKey
	finality string        // Options.Finality without blanks
	keep     time.Duration // each record
	wait     time.Duration // for each command
	now      func() time.Time
	log      *slog.Logger
	stats    *counters
	prefix   atomic.Pointer[string]
	down     atomic.Bool               // said so
	rest     atomic.Pointer[time.Time] // until then a failed Redis is left alone

	writes chan write
	stop   chan struct{}
	done   sync.WaitGroup
}

type write struct {
	key    key
	record record
}

func openCache(url string, o Options, id node.Identity, stats *counters) (*cache, error) {
	client, err := redisurl.Open(url, o.redisWait, 0)
	if err != nil {
		return nil, fmt.Errorf("licensecheck: the URL of the cache: %w", err)
	}
	c := &cache{client: client, secret: o.CacheKey, finality: strings.ReplaceAll(o.Finality, " ", "-"), keep: o.Hard, wait: o.redisWait, now: o.Now, log: o.Log, stats: stats, writes: make(chan write, 256), stop: make(chan struct{})}
	c.rename(id)
	c.done.Go(c.write)
	return c, nil
}

// rename moves to the keys of one deployment of the registry, as seen at one finality:
// what is final to one gateway may not be yet to another.
func (c *cache) rename(id node.Identity) {
	p := fmt.Sprintf("fealty:license:%d:%d:%x:%x:%s:", cacheFormat, id.ChainID, id.Registry, id.BlockHash[:16], c.finality)
	c.prefix.Store(&p)
}

func (c *cache) name(k key) string {
	return *c.prefix.Load() + hex.EncodeToString(k.model[:]) + ":" + hex.EncodeToString(k.subject[:])
}

// stored is a record in Redis: after a head of fixed width, by which writes are ordered,
// and an HMAC-SHA256 over name, head and record.
type stored struct {
	Final, Latest         policy.License
	Plan                  policy.Plan
	FinalAt, LatestAt     uint64
	FinalHash, LatestHash [32]byte
}

const (
	headLen = 32 // hex digits of block number and seq
	macLen  = 2 * sha256.Size
)

func (c *cache) encode(name string, r record) string {
	body, _ := json.Marshal(stored{ // of numbers only: it cannot fail
		r.grant.Final, r.grant.Latest, r.grant.Plan, r.final.number, r.latest.number, r.final.hash, r.latest.hash,
	})
	head := fmt.Sprintf("%016x%016x", r.latest.number, r.grant.Latest.Seq)
	return head + c.mac(name, head, string(body)) + string(body)
}

// mac is what a record must carry. No part can be taken for another: a head has a
// fixed width, and a name no line break.
func (c *cache) mac(name, head, body string) string {
	h := hmac.New(sha256.New, c.secret)
	h.Write([]byte(name + "\n" + head + body))
	return hex.EncodeToString(h.Sum(nil))
}

func (c *cache) decode(name, text string) (record, error) {
	if len(text) < headLen+macLen {
		return record{}, errors.New("a record too short to be one")
	}
	head, mac, body := text[:headLen], text[headLen:headLen+macLen], text[headLen+macLen:]
	if !hmac.Equal([]byte(mac), []byte(c.mac(name, head, body))) {
		return record{}, errors.New("a record that no gateway of this deployment wrote")
	}
	var s stored
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return record{}, err
	}
	if s.LatestHash == [32]byte{} || s.FinalHash == [32]byte{} || s.FinalAt > s.LatestAt {
		return record{}, errors.New("a record without the blocks it was read at")
	}
	return record{
		grant: policy.Grant{Final: s.Final, Latest: s.Latest, Plan: s.Plan},
		final: mark{s.FinalAt, s.FinalHash}, latest: mark{s.LatestAt, s.LatestHash},
	}, nil
}

// get is a record that some gateway left, of unknown age: a Redis may sleep with a write
// in its hands, and its clock is its own.
func (c *cache) get(ctx context.Context, k key) (record, bool) {
	if c.resting() {
		return record{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*c.wait)
	defer cancel()
	name := c.name(k)
	text, err := c.client.Get(ctx, name).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		c.failed(ctx, err)
		return record{}, false
	}
	c.down.Store(false)
	if err != nil {
		return record{}, false
	}
	r, err := c.decode(name, text)
	if err != nil {
		c.stats.cacheBad.Add(1)
		return record{}, false
	}
	return r, true
}

func (c *cache) resting() bool {
	until := c.rest.Load()
	return until != nil && c.now().Before(*until)
}

// failed notes what went wrong; a caller who left is nothing wrong.
func (c *cache) failed(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	c.stats.cacheErrors.Add(1)
	until := c.now().Add(cooldown)
	c.rest.Store(&until)
	if !c.down.Swap(true) {
		c.log.Warn("the license cache does not answer; memory and chain go on without it", "err", err)
	}
}

// put passes a record on, some time soon. It never waits: what does not fit is dropped,
// since the cache only speeds things up.
func (c *cache) put(k key, r record) {
	select {
	case c.writes <- write{k, r}:
	default:
		c.stats.cacheDropped.Add(1)
	}
}

func (c *cache) write() {
	for {
		select {
		case w := <-c.writes:
			c.store(w)
		case <-c.stop:
			return
		}
	}
}

func (c *cache) store(w write) {
	if c.resting() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*c.wait)
	defer cancel()
	name := c.name(w.key)
	if err := newer.Run(ctx, c.client, []string{name}, c.encode(name, w.record), c.keep.Milliseconds(), headLen, onlyIfThere(w.record)).Err(); err != nil {
		c.failed(ctx, err)
	}
}

// onlyIfThere: a record that allows nothing only replaces one that might. Redis must not
// fill up with the wallets of strangers.
func onlyIfThere(r record) int {
	if r.grant.Final.Status == policy.Active && r.grant.Latest.Status == policy.Active {
		return 0
	}
	return 1
}

// newer stores a record unless a newer one is there. The heads compare as text in any
// collation, being hex digits of one case and width.
var newer = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
local width = tonumber(ARGV[3])
if held then
  local a, b = string.sub(held, 1, width), string.sub(ARGV[1], 1, width)
  if a > b then return 0 end
elseif ARGV[4] == '1' then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

func (c *cache) close() error {
	close(c.stop)
	c.done.Wait()
	return c.client.Close()
}
