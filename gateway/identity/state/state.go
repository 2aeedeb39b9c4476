// Package state guards the state store: the Redis that holds what must not be
// forgotten (API keys, revocations, spent nonces, budgets, usage).
//
// A store that was flushed, replaced or restored from an old copy answers every
// question, and answers it wrongly: nothing revoked, nothing spent. So the store
// carries a mark, and whoever asks it something asks for the mark in the same round
// trip. The mark is a generation, which only 'fealty state init' makes, and for each
// gateway the number of its writes, of which it makes one a second at least. Each
// gateway remembers its own number: others cannot hide from it that its writes are
// gone. A generation that is missing or changed, a number that is too low: the store
// is lost, for all gateways, until an operator says otherwise.
//
// The mark also has the [Format] of the records. Within a format records only gain
// fields: whoever reads one skips what it does not know, and whoever rewrites one keeps
// it, so that two versions work on one store while gateways of the one replace those of
// the other. What an older gateway would misread raises the format, once no older one
// runs; one that comes back refuses the store until it is upgraded. The names of records
// stay as they are: under other names nothing would be spent and nothing revoked. Start
// with [Watch].
package state

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrUnavailable: the store did not answer, or cannot be believed. It is neither
	// a yes nor a no.
	ErrUnavailable = errors.New("the state store cannot be asked")
	// ErrLost, which always comes with ErrUnavailable: the store answers, but not
	// with what was written to it. Only an operator can end this.
	ErrLost = errors.New("the state store lost data")
	// ErrNewer, which always comes with ErrUnavailable: the records are of a format that
	// this version cannot read.
	ErrNewer = errors.New("the state store is of a newer version of fealty")
)

// Format is the newest format of records that this version reads, and the one it writes.
const Format = 1

// markName is a hash with these fields: generation; format, without which it is 1;
// previous, the generation that an operator replaced; was and lost, the generation that
// is gone and how that was noticed; and the number of writes of each gateway.
const markName = "fealty:1:state"

// Options shape a Store. Client is required.
type Options struct {
	Client redis.UniversalClient
	// Every is how often the store is looked at when nobody else does. Zero: 1 s.
	Every time.Duration
	// Seen is a file that remembers the mark over restarts of this process. Empty:
	// a store that is rolled back while no gateway runs goes unnoticed.
	Seen string
	Log  *slog.Logger // nil: discards
}

// Store is a state store under guard. It is safe for concurrent use. Close it.
type Store struct {
	o     Options
	lost  atomic.Pointer[loss]
	away  atomic.Bool // it did not answer the last beat
	mu    sync.Mutex
	known mark
	count counter

	forgetful bool // the file could not be written; used by watch alone
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// mark is what a gateway remembers of the store.
type mark struct {
	Gateway    string `json:"gateway"` // the name of its field
	Generation string `json:"generation"`
	Writes     int64  `json:"writes"` // of this gateway, those that were confirmed
}

// loss is why the store is not believed.
type loss struct {
	why   string
	newer bool // nothing is lost: the format is too new
	// undone reports whether the old data, should it return, is whole again. After a
	// roll back it cannot be told apart from what was written since.
	undone bool
}

func (l *loss) err() error {
	kind := ErrLost
	if l.newer {
		kind = ErrNewer
	}
	return fmt.Errorf("%w: %w: %s", ErrUnavailable, kind, l.why)
}

// Watch starts to guard the store. A store that does not answer yet is no error; one
// that may evict data is.
func Watch(ctx context.Context, o Options) (*Store, error) {
	if o.Client == nil {
		return nil, errors.New("state: no client")
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{o: o, known: mark{Gateway: "gateway:" + randomID()}}
	if err := s.recall(); err != nil {
		return nil, err
	}
	if err := inspect(ctx, o.Client, o.Log); err != nil {
		return nil, err
	}
	s.beat(ctx)
	if err := s.remember(); err != nil { // found now rather than when it is needed
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.watch(running) })
	return s, nil
}

// Close stops looking. The client stays open.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	if s.o.Seen != "" {
		return s.remember()
	}
	// This gateway never comes back under this name.
	ctx, cancel := context.WithTimeout(context.Background(), wait/4)
	defer cancel()
	_ = s.o.Client.HDel(ctx, markName, s.remembered().Gateway).Err() // at worst, a few bytes stay
	return nil
}

// Away reports whether the store did not answer when it was last looked at, at most
// Options.Every ago and the two seconds that an answer may take. It asks nothing.
func (s *Store) Away() bool { return s.away.Load() && s.Err() == nil }

// Client reaches the store unguarded, for what no pipeline can do.
func (s *Store) Client() redis.UniversalClient { return s.o.Client }

// Err is why the store is not believed, as far as is known without asking it: nil,
// or an error that wraps ErrLost. It costs one atomic load.
func (s *Store) Err() error {
	if l := s.lost.Load(); l != nil {
		return l.err()
	}
	return nil
}

// Read sends commands and looks at the mark in one round trip. If it returns nil,
// the answers of all commands can be believed; redis.Nil is an answer, and stays in
// its command. Otherwise the error wraps ErrUnavailable.
func (s *Store) Read(ctx context.Context, commands func(redis.Pipeliner)) error {
	return s.run(ctx, false, commands)
}

// Write is Read for commands that change something: a store that is later rolled
// back to before them will be noticed. An error says nothing about whether they ran.
func (s *Store) Write(ctx context.Context, commands func(redis.Pipeliner)) error {
	return s.run(ctx, true, commands)
}

func (s *Store) run(ctx context.Context, write bool, commands func(redis.Pipeliner)) error {
	if err := s.Err(); err != nil {
		return err
	}
	known := s.remembered() // before asking: more may be confirmed while the answer is under way
	found, err := s.ask(ctx, known, write, commands)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if l := s.judge(known, found); l != nil {
		s.declare(ctx, known, l)
		return l.err()
	}
	return nil
}

// found is the mark as the store has it.
type found struct {
	mark
	previous, lost string
	format         int
	number         int64 // of this very write; 0 for a read, and for a write on too old a copy
}

// ask runs the commands, then counts them if they write: a copy of the store that has
// the new number has the writes too.
func (s *Store) ask(ctx context.Context, known mark, write bool, commands func(redis.Pipeliner)) (f found, err error) {
	p := s.o.Client.Pipeline()
	commands(p)
	number := new(redis.Cmd)
	if write {
		number = countScript.Eval(ctx, p, []string{markName}, known.Gateway, known.Generation, known.Writes)
	}
	fields := p.HMGet(ctx, markName, "generation", known.Gateway, "previous", "lost", "format")
	cmds, _ := p.Exec(ctx) // its error is that of the first command, redis.Nil included
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return f, err
		}
	}
	values := fields.Val()
	text := func(i int) string { t, _ := values[i].(string); return t }
	if len(values) != 5 {
		return f, fmt.Errorf("the mark has %d fields", len(values))
	}
	f = found{mark: mark{Gateway: known.Gateway, Generation: text(0)}, previous: text(2), lost: text(3), format: 1}
	f.number, _ = number.Val().(int64) // none for a read
	if text(1) != "" {
		if f.Writes, err = strconv.ParseInt(text(1), 10, 64); err != nil {
			return f, err
		}
	}
	if text(4) != "" {
		f.format, err = strconv.Atoi(text(4))
	}
	return f, err
}

// countScript counts a write, but not on a copy that lacks confirmed ones: the answer may
// get lost, and the number would then stand for one of those.
var countScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'generation') == ARGV[2] and
   tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[3]) then return 0 end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)`)

// judge compares the store's mark with what it must be at least, and remembers it.
func (s *Store) judge(known mark, f found) *loss {
	switch {
	case f.format > Format:
		return &loss{newer: true, undone: true, why: fmt.Sprintf("its records are of format %d, and this version reads up to %d; upgrade this gateway", f.format, Format)}
	case f.Generation == "" && f.lost != "":
		return &loss{why: f.lost + "; restore it, or accept what it holds now: fealty state init", undone: true}
	case f.Generation == "":
		return &loss{why: "it is empty, was flushed or never prepared; restore it, or run: fealty state init", undone: true}
	case known.Generation != "" && known.Generation != f.previous && known.Generation != f.Generation:
		return &loss{undone: true, why: "it is another store, or an old copy: its generation is not the one that this gateway knew. " +
			"Restore the right one; if this is the right one, restart the gateway without its redis.seen file"}
	case known.Generation == f.Generation && f.Writes < known.Writes, !s.adopt(known, f):
		return &loss{why: fmt.Sprintf("it was rolled back: this gateway made %d writes and it holds %d of them; what was revoked or spent since is not in it. "+
			"Restore a newer copy and restart the gateways, or accept what it holds now: fealty state init", known.Writes, f.Writes)}
	}
	return nil
}

func (s *Store) remembered() mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// adopt remembers what was found, unless a newer generation was found meanwhile. A
// new generation, which only an operator makes, ends what was lost under the old one.
// It returns false if the store gave this write a number that it gave before.
func (s *Store) adopt(before mark, f found) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known.Generation != f.Generation {
		if s.known.Generation != before.Generation {
			return true
		}
		s.known.Generation, s.known.Writes, s.count = f.Generation, 0, counter{}
		s.lost.Store(nil)
	}
	if !s.count.take(f.number, s.known.Writes, f.Writes, time.Now()) {
		return false
	}
	s.known.Writes = max(s.known.Writes, f.Writes)
	return true
}

// declare makes a loss known: to this gateway, and through the store to the others,
// those too that start later and remember nothing.
func (s *Store) declare(ctx context.Context, known mark, l *loss) {
	if !s.latch(known, l) {
		return
	}
	s.o.Log.Error("the state store is not believed; requests get 503 state_unavailable", "why", l.why)
	s.spoil(ctx, known, l)
}

// latch reports whether this is news, and about the generation that counts.
func (s *Store) latch(known mark, l *loss) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.Generation == known.Generation && s.lost.CompareAndSwap(nil, l)
}

// spoil takes the generation from a store that is known to have lost data. A store
// of another generation is left alone: it may be another deployment's; so is one of a
// newer format, which others read. Whether it works is not vital: the next beat tries again.
func (s *Store) spoil(ctx context.Context, known mark, l *loss) {
	if known.Generation != "" && !l.newer {
		_ = spoilScript.Run(ctx, s.o.Client, []string{markName}, known.Generation, known.Writes).Err()
	}
}

var spoilScript = redis.NewScript(`
local generation = redis.call('HGET', KEYS[1], 'generation')
local why = 'it was emptied'
if generation then
  if generation ~= ARGV[1] then return 0 end
  why = 'it was rolled back: a gateway missed some of its ' .. ARGV[2] .. ' writes'
elseif redis.call('HEXISTS', KEYS[1], 'was') == 1 then
  return 0
end
redis.call('HDEL', KEYS[1], 'generation')
redis.call('HSET', KEYS[1], 'was', ARGV[1], 'lost', why)
return 1`)

// watch looks at the store for as long as ctx lives: an idle gateway notices too.
func (s *Store) watch(ctx context.Context) {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.beat(ctx)
		}
	}
}

// beat writes, so that a copy of the store is told by its age even if nothing else was
// written since; or looks whether a lost store is back.
func (s *Store) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if l := s.lost.Load(); l != nil {
		s.away.Store(false) // it answered, and wrongly
		s.recover(ctx, l)
		return
	}
	err := s.Write(ctx, func(redis.Pipeliner) {})
	if s.away.Store(err != nil); err != nil {
		return // whoever needs the store gets its own error
	}
	err = s.remember()
	if err != nil && !s.forgetful {
		s.o.Log.Warn("the mark of the state store is not remembered over a restart", "error", err)
	}
	s.forgetful = err != nil
}

func (s *Store) recover(ctx context.Context, l *loss) {
	known := s.remembered()
	f, err := s.ask(ctx, known, false, func(redis.Pipeliner) {})
	if err != nil {
		return
	}
	if still := s.judge(known, f); still != nil {
		s.spoil(ctx, known, still) // it may have failed before, or undone by another copy
		return
	}
	if l.undone {
		s.lost.CompareAndSwap(l, nil)
	}
	if s.Err() == nil {
		s.o.Log.Info("the state store is whole again")
	}
}

// Initialised is what [Init] did.
type Initialised struct {
	Fresh bool   // false: the store had its mark, and nothing changed
	Lost  string // why gateways refused the store until now; "" if none did
}

// Init marks a store: a new one, or one that gateways refuse. What a lost store
// holds now counts from here on: a key that was revoked after the copy was made is
// valid again. A store that has its mark is left as it is, and one of a newer format is
// [ErrNewer].
func Init(ctx context.Context, client redis.UniversalClient) (Initialised, error) {
	got, err := initialise.Run(ctx, client, []string{markName}, randomID(), Format).StringSlice()
	switch {
	case err != nil:
		return Initialised{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case len(got) == 0:
		return Initialised{}, nil
	case len(got) == 2:
		return Initialised{}, fmt.Errorf("%w: %w: its records are of format %s, and this version reads up to %d; use the newer one", ErrUnavailable, ErrNewer, got[1], Format)
	}
	return Initialised{Fresh: true, Lost: got[0]}, nil
}

func randomID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

var initialise = redis.NewScript(`
local format = redis.call('HGET', KEYS[1], 'format') or ARGV[2]
if tonumber(format) > tonumber(ARGV[2]) then return {'newer', format} end
if redis.call('HEXISTS', KEYS[1], 'generation') == 1 then return {} end
local lost = redis.call('HGET', KEYS[1], 'lost') or ''
local was = redis.call('HGET', KEYS[1], 'was')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'format', format)
if was then redis.call('HSET', KEYS[1], 'previous', was) end
return {lost}`)
