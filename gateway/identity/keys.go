package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	keyPrefix  = "fk_"
	keyID      = 16 // characters of the public id
	keySecret  = 52 // characters of the random part: 32 bytes
	maxKeys    = 1000
	maxKeyName = 128
)

var (
	// ErrKeyRequest says that a key cannot be made or narrowed as asked; its text says why.
	ErrKeyRequest = errors.New("the API key cannot be as asked")
	// ErrNoKey says that the subject has no key of that id.
	ErrNoKey = errors.New("no such API key")
)

var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// KeyRequest is what an API key shall be allowed. It may only narrow the license.
type KeyRequest struct {
	Name         string
	Models       []string  // empty: all
	RPM          uint32    // 0: as the license says
	TokensPerDay uint64    // 0: as the license says
	Expires      time.Time // zero: never
}

// Key is what may be shown of an API key.
type Key struct {
	ID      string
	Subject [32]byte
	Account string
	KeyRequest
	Created time.Time
	Revoked bool
}

// CreateKey makes an API key for the caller and returns its text, which is not
// stored and cannot be shown again.
func (s *Service) CreateKey(ctx context.Context, c *Caller, r KeyRequest) (Key, string, error) {
	if err := s.checkKey(r); err != nil {
		return Key{}, "", err
	}
	raw := make([]byte, 10+32)
	rand.Read(raw) // never fails
	key := Key{
		ID: alphabet.EncodeToString(raw[:10]), Subject: c.Subject, Account: c.Account,
		KeyRequest: r, Created: s.o.Now().UTC().Truncate(time.Second),
	}
	text := keyPrefix + key.ID + "_" + alphabet.EncodeToString(raw[10:])
	return key, text, s.store.create(ctx, key, sha256.Sum256([]byte(text)))
}

func (s *Service) checkKey(r KeyRequest) error {
	switch {
	case r.Name == "" || len(r.Name) > maxKeyName:
		return fmt.Errorf("%w: name must have 1 to %d bytes", ErrKeyRequest, maxKeyName)
	case len(r.Models) > 100:
		return fmt.Errorf("%w: at most 100 models may be named", ErrKeyRequest)
	case !r.Expires.IsZero() && !s.o.Now().Before(r.Expires):
		return fmt.Errorf("%w: expires lies in the past", ErrKeyRequest)
	}
	return nil
}

// ListKeys returns the subject's keys, oldest first.
func (s *Service) ListKeys(ctx context.Context, subject [32]byte) ([]Key, error) {
	keys, err := s.store.list(ctx, subject)
	slices.SortFunc(keys, func(a, b Key) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return keys, err
}

// RevokeKey ends a key of the subject, on every gateway within Options.CacheTTL
// and usually at once.
func (s *Service) RevokeKey(ctx context.Context, subject [32]byte, id string) error {
	if err := s.store.revoke(ctx, subject, id); err != nil {
		return err
	}
	s.cache.drop(id)
	return nil
}

// NarrowKey takes from what a key may do; zero fields stay as they are. What would
// widen it is ErrKeyRequest. It holds on every gateway as a revocation does.
func (s *Service) NarrowKey(ctx context.Context, subject [32]byte, id string, to KeyRequest) (Key, error) {
	to.Name = "as it is"
	if err := s.checkKey(to); err != nil {
		return Key{}, err
	}
	k, err := s.store.change(ctx, subject, id, func(r *record) error { return r.narrow(to) })
	if err == nil {
		s.cache.drop(id)
	}
	return k, err
}

func (r *record) narrow(to KeyRequest) error {
	for _, m := range to.Models {
		if r.Models != nil && !slices.Contains(r.Models, m) {
			return fmt.Errorf("%w: models would add %q; make a new key", ErrKeyRequest, m)
		}
	}
	if len(to.Models) > 0 {
		r.Models = to.Models
	}
	if r.RPM != 0 && to.RPM > r.RPM {
		return fmt.Errorf("%w: rpm would rise from %d to %d; make a new key", ErrKeyRequest, r.RPM, to.RPM)
	}
	if r.TokensPerDay != 0 && to.TokensPerDay > r.TokensPerDay {
		return fmt.Errorf("%w: tokens_per_day would rise from %d to %d; make a new key", ErrKeyRequest, r.TokensPerDay, to.TokensPerDay)
	}
	if r.Expires != 0 && !to.Expires.IsZero() && to.Expires.Unix() > r.Expires {
		return fmt.Errorf("%w: expires would come later; make a new key", ErrKeyRequest)
	}
	r.RPM, r.TokensPerDay = orDefault(to.RPM, r.RPM), orDefault(to.TokensPerDay, r.TokensPerDay)
	if !to.Expires.IsZero() {
		r.Expires = to.Expires.Unix()
	}
	return nil
}

func (s *Service) verifyKey(ctx context.Context, text string, sum [32]byte, now time.Time) (*Caller, error) {
	id, ok := parseKey(text)
	if !ok {
		return nil, ErrInvalid
	}
	record, _, err := s.store.key(ctx, id)
	if err != nil {
		return nil, err
	}
	want, err := hex.DecodeString(record.Hash)
	if err != nil || subtle.ConstantTimeCompare(want, sum[:]) != 1 {
		return nil, ErrInvalid
	}
	key, err := record.key(id)
	switch {
	case err != nil:
		return nil, err
	case key.Revoked:
		return nil, ErrRevoked
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return nil, ErrExpired
	case record.Format > keyFormat:
		return nil, unavailable(fmt.Errorf("key %s has bounds of format %d, and this version reads up to %d; upgrade this gateway", id, record.Format, keyFormat))
	}
	return &Caller{
		Subject: key.Subject, Account: key.Account, KeyID: id, Models: key.Models,
		RPM: key.RPM, TokensPerDay: key.TokensPerDay, Expires: key.Expires,
	}, nil
}

// parseKey checks the form alone: what cannot be a key never reaches the store.
func parseKey(text string) (id string, ok bool) {
	id, secret, ok := strings.Cut(strings.TrimPrefix(text, keyPrefix), "_")
	return id, ok && isKeyID(id) && len(secret) == keySecret && inAlphabet(secret)
}

func isKeyID(id string) bool { return len(id) == keyID && inAlphabet(id) }

func inAlphabet(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
