package identity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Names in the state store carry the format version.
const (
	namespace   = "fealty:1:"
	generation  = namespace + "generation"
	hintChannel = namespace + "revoked-key"
)

// InitState marks an empty state store as ours. Without the mark the gateway
// serves nobody: a store that lost its data must not be read as "no keys, nothing
// revoked". It leaves a marked store as it is, and reports whether it was new.
func InitState(ctx context.Context, r redis.UniversalClient) (fresh bool, err error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	err = r.SetArgs(ctx, generation, hex.EncodeToString(id), redis.SetArgs{Mode: "NX"}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

type store struct{ redis redis.UniversalClient }

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// marked returns nil if the store still holds its mark.
func (s store) marked(ctx context.Context) error {
	switch err := s.redis.Get(ctx, generation).Err(); {
	case errors.Is(err, redis.Nil):
		return unavailable(errors.New("the state store is empty or was flushed; restore it, or run: fealty state init"))
	case err != nil:
		return unavailable(err)
	}
	return nil
}

// record is a key as stored: JSON in one string.
type record struct {
	Hash         string   `json:"hash"` // SHA-256 of the whole key, hexadecimal
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

// key reads one record. Unknown is ErrInvalid, but only in a store that is whole.
func (s store) key(ctx context.Context, id string) (*record, error) {
	raw, err := s.redis.Get(ctx, keyName(id)).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		if err := s.marked(ctx); err != nil {
			return nil, err
		}
		return nil, ErrInvalid
	case err != nil:
		return nil, unavailable(err)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, unavailable(fmt.Errorf("the record of key %s is damaged", id))
	}
	return &r, nil
}

func (s store) create(ctx context.Context, k Key, sum [32]byte) error {
	if err := s.marked(ctx); err != nil {
		return err
	}
	held, err := s.redis.SCard(ctx, listName(k.Subject)).Result()
	if err != nil {
		return unavailable(err)
	}
	if held >= maxKeys {
		return fmt.Errorf("%w: the wallet holds %d keys, the most allowed", ErrKeyRequest, held)
	}
	r := record{
		Hash: hex.EncodeToString(sum[:]), Subject: hex.EncodeToString(k.Subject[:]), Account: k.Account,
		Name: k.Name, Models: k.Models, RPM: k.RPM, TokensPerDay: k.TokensPerDay, Created: k.Created.Unix(),
	}
	if !k.Expires.IsZero() {
		r.Expires = k.Expires.Unix()
	}
	// Listed first: a key that works and is not listed could never be revoked.
	if err := s.redis.SAdd(ctx, listName(k.Subject), k.ID).Err(); err != nil {
		return unavailable(err)
	}
	return s.write(ctx, k.ID, &r)
}

func (s store) write(ctx context.Context, id string, r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := s.redis.Set(ctx, keyName(id), raw, 0).Err(); err != nil {
		return unavailable(err)
	}
	return nil
}

func (s store) list(ctx context.Context, subject [32]byte) ([]Key, error) {
	ids, err := s.redis.SMembers(ctx, listName(subject)).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	if len(ids) == 0 {
		return nil, s.marked(ctx)
	}
	keys := make([]Key, 0, len(ids))
	for _, id := range ids {
		r, err := s.key(ctx, id)
		if errors.Is(err, ErrInvalid) {
			continue // listed, then the write failed: there is no such key
		}
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
	if !isKeyID(id) {
		return ErrNoKey
	}
	r, err := s.key(ctx, id)
	if errors.Is(err, ErrInvalid) {
		return ErrNoKey
	}
	if err != nil {
		return err
	}
	if r.Subject != hex.EncodeToString(subject[:]) {
		return ErrNoKey
	}
	r.Revoked = true
	if err := s.write(ctx, id, r); err != nil {
		return err
	}
	// Only a hint: a gateway that misses it asks again within its CacheTTL.
	_ = s.redis.Publish(ctx, hintChannel, id).Err()
	return nil
}

// spend marks a nonce as used; a second time is a refusal.
func (s store) spend(ctx context.Context, nonce string, ttl time.Duration) error {
	if err := s.marked(ctx); err != nil {
		return err
	}
	err := s.redis.SetArgs(ctx, namespace+"nonce:"+nonce, "1", redis.SetArgs{Mode: "NX", TTL: ttl}).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return fmt.Errorf("%w: this challenge was used before; ask for a new one", ErrSignIn)
	case err != nil:
		return unavailable(err)
	}
	return nil
}

// hints listens for keys revoked through other gateways.
type hints struct {
	sub  *redis.PubSub
	done chan struct{}
}

func listen(r redis.UniversalClient, drop func(id string)) *hints {
	h := &hints{sub: r.Subscribe(context.Background(), hintChannel), done: make(chan struct{})}
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

// OpenState connects to the state store at a redis:// or rediss:// URL. Several
// hosts, separated by commas, make a cluster.
func OpenState(url string) (redis.UniversalClient, error) {
	first, others, _ := strings.Cut(url, ",")
	o, err := redis.ParseURL(first)
	if err != nil {
		return nil, errors.New("state: the URL of the state store cannot be read; write redis://host:6379/0")
	}
	addrs := []string{o.Addr}
	if others != "" {
		addrs = append(addrs, strings.Split(others, ",")...)
	}
	redis.SetLogger(silent{})
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: addrs, DB: o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, MaxRetries: 1,
		ContextTimeoutEnabled: true,
	}), nil
}

// silent drops the library's own log lines: every error is returned, and logged by
// whoever it stops.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
