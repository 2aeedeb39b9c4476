package identity

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/gateway/identity/state"
)

// What the names of records begin with stays, whatever becomes of the records: see
// package state.
const (
	namespace   = "fealty:1:"
	hintChannel = namespace + "revoked"
)

// store words the state store's errors as this package's.
type store struct{ state *state.Store }

func (s store) read(ctx context.Context, commands func(redis.Pipeliner)) error {
	return unavailable(s.state.Read(ctx, commands))
}

func (s store) write(ctx context.Context, commands func(redis.Pipeliner)) error {
	return unavailable(s.state.Write(ctx, commands))
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// keyFormat is the newest format of a key's record that this version knows all bounds of.
// A bound that may not be overlooked raises it, in the records of the keys that have it:
// until they are upgraded, gateways do not serve those keys, but list and revoke them.
const keyFormat = 1

// record is a key as stored: JSON in one string.
type record struct {
	Format       int      `json:"format,omitempty"` // zero: 1
	Hash         string   `json:"hash"`             // SHA-256 of the whole key, hexadecimal
	Subject      string   `json:"subject"`
	Account      string   `json:"account"`
	Name         string   `json:"name"`
	Models       []string `json:"models,omitempty"`
	RPM          uint32   `json:"rpm,omitempty"`
	TokensPerDay uint64   `json:"tokens_per_day,omitempty"`
	Expires      int64    `json:"expires,omitempty"` // Unix seconds
	Created      int64    `json:"created"`
	Revoked      bool     `json:"revoked,omitempty"`
}

func (r *record) key(id string) (Key, error) {
	k := Key{ID: id, Account: r.Account, Created: time.Unix(r.Created, 0).UTC(), Revoked: r.Revoked}
	k.KeyRequest = KeyRequest{Name: r.Name, Models: r.Models, RPM: r.RPM, TokensPerDay: r.TokensPerDay}
	if r.Expires != 0 {
		k.Expires = time.Unix(r.Expires, 0).UTC()
	}
	subject, err := hex.DecodeString(r.Subject)
	if err != nil || len(subject) != len(k.Subject) {
		return k, unavailable(fmt.Errorf("the record of key %s is damaged", id))
	}
	copy(k.Subject[:], subject)
	return k, nil
}

func keyName(id string) string { return namespace + "key:" + id }

func listName(subject [32]byte) string { return namespace + "keys:" + hex.EncodeToString(subject[:]) }

// key reads one record, and its text as it is stored. Unknown is ErrInvalid.
func (s store) key(ctx context.Context, id string) (r *record, text string, err error) {
	var raw *redis.StringCmd
	if err := s.read(ctx, func(p redis.Pipeliner) { raw = p.Get(ctx, keyName(id)) }); err != nil {
		return nil, "", err
	}
	if errors.Is(raw.Err(), redis.Nil) {
		return nil, "", ErrInvalid
	}
	r, err = parseRecord(id, raw.Val())
	return r, raw.Val(), err
}

func parseRecord(id, text string) (*record, error) {
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, unavailable(fmt.Errorf("the record of key %s is damaged", id))
	}
	return &r, nil
}

func (s store) create(ctx context.Context, k Key, sum [32]byte) error {
	var held *redis.IntCmd
	if err := s.read(ctx, func(p redis.Pipeliner) { held = p.SCard(ctx, listName(k.Subject)) }); err != nil {
		return err
	}
	if held.Val() >= maxKeys {
		return fmt.Errorf("%w: the account holds %d keys, the most allowed", ErrKeyRequest, held.Val())
	}
	r := record{
		Hash: hex.EncodeToString(sum[:]), Subject: hex.EncodeToString(k.Subject[:]), Account: k.Account,
		Name: k.Name, Models: k.Models, RPM: k.RPM, TokensPerDay: k.TokensPerDay, Created: k.Created.Unix(),
	}
	if !k.Expires.IsZero() {
		r.Expires = k.Expires.Unix()
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.write(ctx, func(p redis.Pipeliner) {
		p.SAdd(ctx, listName(k.Subject), k.ID) // first: a key that works and is not listed could never be revoked
		p.Set(ctx, keyName(k.ID), raw, 0)
	})
}

func (s store) list(ctx context.Context, subject [32]byte) ([]Key, error) {
	var ids *redis.StringSliceCmd
	if err := s.read(ctx, func(p redis.Pipeliner) { ids = p.SMembers(ctx, listName(subject)) }); err != nil {
		return nil, err
	}
	records := make([]*redis.StringCmd, len(ids.Val()))
	err := s.read(ctx, func(p redis.Pipeliner) {
		for i, id := range ids.Val() {
			records[i] = p.Get(ctx, keyName(id))
		}
	})
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(records))
	for i, id := range ids.Val() {
		if errors.Is(records[i].Err(), redis.Nil) {
			continue // listed, then the write failed: there is no such key
		}
		r, err := parseRecord(id, records[i].Val())
		if err != nil {
			return nil, err
		}
		k, err := r.key(id)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func (s store) revoke(ctx context.Context, subject [32]byte, id string) error {
	_, err := s.change(ctx, subject, id, func(r *record) error {
		r.Revoked = true
		return nil
	})
	return err
}

// swap replaces a record that is still the one that was read, and tells all gateways. One
// that misses it asks again within its CacheTTL.
var swap = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[2], ARGV[3])
return 1`)

// change rewrites the record of a subject's key. Two changes at once never lose one: the
// later looks again.
func (s store) change(ctx context.Context, subject [32]byte, id string, edit func(*record) error) (Key, error) {
	if !isKeyID(id) {
		return Key{}, ErrNoKey
	}
	for range 50 {
		k, done, err := s.tryChange(ctx, subject, id, edit)
		if err != nil || done {
			return k, err
		}
	}
	return Key{}, unavailable(fmt.Errorf("key %s is being changed by others all the time", id))
}

func (s store) tryChange(ctx context.Context, subject [32]byte, id string, edit func(*record) error) (k Key, done bool, err error) {
	r, text, err := s.key(ctx, id)
	if errors.Is(err, ErrInvalid) {
		return k, false, ErrNoKey
	}
	if err != nil {
		return k, false, err
	}
	if r.Subject != hex.EncodeToString(subject[:]) {
		return k, false, ErrNoKey
	}
	if err := edit(r); err != nil {
		return k, false, err
	}
	changed, err := overlay(text, r)
	if err != nil {
		return k, false, err
	}
	var answer *redis.Cmd
	err = s.write(ctx, func(p redis.Pipeliner) {
		answer = swap.Eval(ctx, p, []string{keyName(id), hintChannel}, text, changed, id)
	})
	if err != nil {
		return k, false, err
	}
	n, err := answer.Int()
	if err != nil {
		return k, false, unavailable(err)
	}
	k, err = r.key(id)
	return k, n == 1, err
}

// overlay is the stored text with what this version knows of it written anew. What the
// next version may have added stays: while gateways of both run, the older must not take
// away a bound that it cannot read. No change unsets a field.
func overlay(text string, r *record) ([]byte, error) {
	known, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	if err := errors.Join(json.Unmarshal([]byte(text), &all), json.Unmarshal(known, &all)); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// spend marks a nonce as used; a second time is a refusal.
func (s store) spend(ctx context.Context, nonce string, ttl time.Duration) error {
	var first *redis.StatusCmd
	err := s.write(ctx, func(p redis.Pipeliner) {
		first = p.SetArgs(ctx, namespace+"nonce:"+nonce, "1", redis.SetArgs{Mode: "NX", TTL: ttl})
	})
	if err == nil && errors.Is(first.Err(), redis.Nil) {
		return fmt.Errorf("%w: this challenge was used before; ask for a new one", ErrSignIn)
	}
	return err
}

func tokenName(id string) string { return namespace + "revoked:" + id }

// revokeToken refuses a token from now on. It is remembered for as long as the token
// could live.
func (s store) revokeToken(ctx context.Context, id string, ttl time.Duration) error {
	return s.write(ctx, func(p redis.Pipeliner) {
		p.Set(ctx, tokenName(id), "1", max(ttl, time.Second))
		p.Publish(ctx, hintChannel, id)
	})
}

// standing returns nil for a token that nobody revoked.
func (s store) standing(ctx context.Context, id string) error {
	var revoked *redis.IntCmd
	if err := s.read(ctx, func(p redis.Pipeliner) { revoked = p.Exists(ctx, tokenName(id)) }); err != nil {
		return err
	}
	if revoked.Val() != 0 {
		return ErrRevoked
	}
	return nil
}

// hints listens for keys and tokens revoked through other gateways.
type hints struct {
	sub  *redis.PubSub
	done chan struct{}
}

func listen(r redis.UniversalClient, drop func(id string)) *hints {
	h := &hints{sub: r.Subscribe(context.Background(), hintChannel), done: make(chan struct{})}
	// Wait to be subscribed, so that no revocation from here on is missed. Without a
	// store there are none, and the library subscribes again by itself.
	ready, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = h.sub.Receive(ready)
	messages := h.sub.Channel()
	go func() {
		defer close(h.done)
		for m := range messages {
			drop(m.Payload)
		}
	}()
	return h
}

func (h *hints) close() error {
	err := h.sub.Close()
	<-h.done
	return err
}
