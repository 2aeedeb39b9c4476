// Package limit keeps what a license and an API key may consume: requests per
// minute, tokens per UTC day.
//
// It counts; whether a count is too much is said once, by package policy. A store
// that cannot be asked is an error, never a free pass. Start with
// [Limiter.Reserve].
package limit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
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

// Limiter counts in the state store, shared by all gateways of a deployment.
type Limiter struct {
	redis      redis.UniversalClient
	deployment string
}

// New counts for one deployment: a name that its gateways share.
func New(r redis.UniversalClient, deployment string) *Limiter {
	return &Limiter{redis: r, deployment: deployment}
}

// Reservation is what was set aside for one request.
type Reservation struct {
	limiter  *Limiter
	names    []string // of the day's token counters
	reserved uint64
}

// reserve checks four counters and adds to them all or to none. A limit of 0 is no
// limit. Sums stay below 2^53, where Lua's numbers are exact, since no limit and
// no reservation is larger than that.
var reserve = redis.NewScript(`
local used = {}
for i = 1, 4 do used[i] = tonumber(redis.call('GET', KEYS[i]) or '0') end
local add = {1, tonumber(ARGV[1]), 1, tonumber(ARGV[1])}
for i = 1, 4 do
  local limit = tonumber(ARGV[i + 1])
  if limit > 0 and used[i] + add[i] > limit then
    return {0, used[1], used[2], used[3], used[4]}
  end
end
for i = 1, 4 do
  redis.call('INCRBY', KEYS[i], add[i])
  redis.call('EXPIRE', KEYS[i], (i % 2 == 1) and 120 or 172800)
end
return {1, 0, 0, 0, 0}`)

const exact = 1 << 53

// Reserve charges one request and so many tokens at now, or returns *[Exceeded].
// Settle the reservation when it is known what was used.
func (l *Limiter) Reserve(ctx context.Context, now time.Time, b Budget, tokens uint64) (*Reservation, error) {
	if tokens >= exact {
		return nil, fmt.Errorf("limit: a reservation of %d tokens is no request", tokens)
	}
	names := l.names(b, now)
	got, err := reserve.Run(ctx, l.redis, names,
		tokens, b.Plan.RPM, min(b.Plan.TokensPerDay, exact), b.Key.RPM, min(b.Key.TokensPerDay, exact)).Int64Slice()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(got) != 5 {
		return nil, fmt.Errorf("%w: the store answered %d numbers", ErrUnavailable, len(got))
	}
	if got[0] == 0 {
		return nil, &Exceeded{
			Subject: policy.Usage{Requests: uint32(got[1]), Tokens: uint64(got[2])},
			Key:     policy.Usage{Requests: uint32(got[3]), Tokens: uint64(got[4])},
		}
	}
	return &Reservation{limiter: l, names: []string{names[1], names[3]}, reserved: tokens}, nil
}

// names are the counters: requests and tokens of the licensee, then of the key.
// The hash tag keeps them in one slot of a cluster.
func (l *Limiter) names(b Budget, now time.Time) []string {
	tag := "fealty:1:used:{" + l.deployment + ":" + b.Model + ":" + hex.EncodeToString(b.Subject[:]) + "}:"
	minute := "m" + strconv.FormatInt(now.Unix()/60, 10)
	day := "d" + strconv.FormatInt(now.Unix()/86400, 10)
	key := "key:" + b.KeyID + ":"
	return []string{tag + minute, tag + day, tag + key + minute, tag + key + day}
}

var settle = redis.NewScript(`
for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('INCRBY', KEYS[i], ARGV[1]) end
end
return 1`)

// Settle replaces what was reserved by what was used, on the day that it was
// reserved. Unsettled, the whole reservation stays charged.
func (r *Reservation) Settle(ctx context.Context, used uint64) error {
	if used == r.reserved {
		return nil
	}
	if err := settle.Run(ctx, r.limiter.redis, r.names, int64(used)-int64(r.reserved)).Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
