package usage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The store knows a gateway by its name in the set of gateways, a hash of its open
// records, the number of its last write, which outlives it for a day, and a key that
// is there while the gateway gives signs of life.
const gateways = namespace + "gateways"

func openName(instance string) string   { return namespace + "open:" + instance }
func numberName(instance string) string { return namespace + "number:" + instance }
func aliveName(instance string) string  { return namespace + "alive:" + instance }

// report is an open record as it was when it was looked at.
type report struct {
	record *Record
	entry  Entry
}

// commit writes once: a number that is not above the last one came before, and was
// not answered in time; number 0 always writes. KEYS: the open hash and the number,
// then a log and a hash of sums for each ended record. ARGV: the number, how many
// open records there are, each as name and JSON; then for each ended record its
// name, whether it must be open, and the entry.
var commit = redis.NewScript(`
local number = tonumber(ARGV[1])
if number > 0 then
  if number <= tonumber(redis.call('GET', KEYS[2]) or '0') then return 0 end
  redis.call('SET', KEYS[2], ARGV[1], 'EX', 86400)
end
local at = 3
for i = 1, tonumber(ARGV[2]) do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at+1])
  at = at + 2
end
for i = 3, #KEYS, 2 do
  local was = redis.call('HDEL', KEYS[1], ARGV[at])
  if was == 1 or ARGV[at+1] == '0' then
    local at = at + 2
    redis.call('XADD', KEYS[i], '*', 'at', ARGV[at], 'request', ARGV[at+1], 'subject', ARGV[at+2], 'key', ARGV[at+3],
      'model', ARGV[at+4], 'version', ARGV[at+5], 'prompt', ARGV[at+6], 'completion', ARGV[at+7], 'status', ARGV[at+8])
    local field = ARGV[at+3] .. ' ' .. ARGV[at+4] .. ' '
    redis.call('HINCRBY', KEYS[i+1], field .. 'requests', 1)
    redis.call('HINCRBY', KEYS[i+1], field .. 'prompt', ARGV[at+6])
    redis.call('HINCRBY', KEYS[i+1], field .. 'completion', ARGV[at+7])
  end
  at = at + 11
end
return 1`)

// write sends the oldest ended records and, if asked, the news of open ones. What does
// not arrive is sent again as it was, since it may have arrived all the same.
func (l *Ledger) write(ctx context.Context, news bool) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.beat(ctx); err != nil {
		return err
	}
	if err := l.deliver(ctx); err != nil { // of before
		return err
	}
	var open []report
	if news {
		open = l.running()
	}
	l.mu.Lock()
	ended := l.ended[:min(batch, len(l.ended))]
	l.mu.Unlock()
	if len(ended)+len(open) == 0 {
		return nil
	}
	l.number++
	l.sent = newWriting(l.instance, l.number)
	for _, r := range open {
		r.record.reported = true
		l.sent.open(r.entry)
	}
	for _, r := range ended {
		// If the store knows of it, others may have ended it when we seemed dead.
		l.sent.end(r.entry, r.reported)
	}
	return l.deliver(ctx)
}

// deliver sends what is to be sent, until it has arrived.
func (l *Ledger) deliver(ctx context.Context) error {
	if l.sent == nil {
		return nil
	}
	if err := l.sent.send(ctx, l.store); err != nil {
		return err
	}
	l.mu.Lock()
	l.ended = l.ended[l.sent.ended:]
	l.mu.Unlock()
	l.sent = nil
	return nil
}

// writing is the arguments of one commit.
type writing struct {
	names []string
	args  []any
	ended int
}

// newWriting begins with the gateway whose records are written.
func newWriting(instance string, number uint64) *writing {
	return &writing{names: []string{openName(instance), numberName(instance)}, args: []any{number, 0}}
}

// open adds a record that runs; all of them come before those that ended.
func (w *writing) open(e Entry) {
	text, _ := json.Marshal(e) // plain fields: it cannot fail
	w.args = append(w.args, e.Request, text)
	w.args[1] = w.args[1].(int) + 1
}

func (w *writing) end(e Entry, mustBeOpen bool) {
	day := e.Time.UTC().Format(dayLayout)
	must := 0
	if mustBeOpen {
		must = 1
	}
	w.names = append(w.names, logName(day), sumsName(e.Subject, day))
	w.args = append(w.args, e.Request, must,
		e.Time.UTC().Format(time.RFC3339Nano), e.Request, hex.EncodeToString(e.Subject[:]), e.KeyID,
		e.Model, strconv.FormatUint(uint64(e.Version), 10), e.PromptTokens, e.CompletionTokens, e.Status)
	w.ended++
}

func (w *writing) send(ctx context.Context, s Store) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := s.Write(ctx, func(p redis.Pipeliner) { commit.Eval(ctx, p, w.names, w.args...) }); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// beat gives a sign of life, before anything is written that others may have to end.
func (l *Ledger) beat(ctx context.Context) error {
	if time.Since(l.beaten) < alive/3 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := l.store.Write(ctx, func(p redis.Pipeliner) {
		p.SAdd(ctx, gateways, l.instance)
		p.Set(ctx, aliveName(l.instance), "", alive)
	}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.beaten = time.Now()
	return nil
}

// adopt ends the records of gateways that died. Several may do it at once: a record
// is ended by whoever finds it open.
func (l *Ledger) adopt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, alive)
	defer cancel()
	var names *redis.StringSliceCmd
	err := l.store.Read(ctx, func(p redis.Pipeliner) { names = p.SMembers(ctx, gateways) })
	if err == nil {
		for _, name := range names.Val() {
			if name != l.instance {
				err = errors.Join(err, l.bury(ctx, name))
			}
		}
	}
	if err != nil {
		l.log.Warn("records of other gateways were not looked at", "cause", err)
	}
}

func (l *Ledger) bury(ctx context.Context, name string) error {
	var lives *redis.IntCmd
	var open *redis.MapStringStringCmd
	err := l.store.Read(ctx, func(p redis.Pipeliner) {
		lives = p.Exists(ctx, aliveName(name))
		open = p.HGetAll(ctx, openName(name))
	})
	if err != nil || lives.Val() == 1 {
		return err
	}
	for _, text := range open.Val() {
		var e Entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return fmt.Errorf("%w: an open record of gateway %s is damaged", ErrUnavailable, name)
		}
		e.Status = Lost
		w := newWriting(name, 0)
		w.end(e, true)
		if err := w.send(ctx, l.store); err != nil {
			return err
		}
	}
	if n := len(open.Val()); n > 0 {
		l.log.Warn("ended the records of a gateway that died", "gateway", name, "records", n)
	}
	return remove(ctx, l.store, name)
}

// remove forgets a gateway without open records.
func remove(ctx context.Context, s Store, name string) error {
	return s.Write(ctx, func(p redis.Pipeliner) {
		p.SRem(ctx, gateways, name)
		p.Del(ctx, openName(name), aliveName(name))
	})
}
