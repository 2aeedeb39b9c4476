// Package identity says who is calling: wallets sign in (EIP-4361) for short
// tokens (EdDSA JWT), and make API keys with them.
//
// It answers who, never whether: licenses are not its business. A credential that
// is wrong and a store that cannot be asked are different errors, and neither is
// ever an identity. Start with [Service.Identify].
package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Errors that callers match. Everything else that Identify returns wraps
// ErrUnavailable.
var (
	ErrInvalid     = errors.New("the credential is malformed, forged or unknown")
	ErrExpired     = errors.New("the credential has expired")
	ErrRevoked     = errors.New("the credential was revoked")
	ErrUnavailable = errors.New("the identity store cannot be asked")
)

// Caller is whom a credential speaks for.
type Caller struct {
	Subject [32]byte // the wallet address, left-padded: the contract's subject
	Account string   // CAIP-10, such as eip155:1:0xAb16...
	KeyID   string   // the API key's public id; "" for a token
	Models  []string // the only models this key may use; nil: all
	RPM     uint32   // requests per minute of this key; 0: as the license says
	// TokensPerDay of this key, prompt and completion; 0: as the license says.
	TokensPerDay uint64
	Expires      time.Time // zero: never
}

// May reports whether the caller's key is for this model.
func (c *Caller) May(model string) bool {
	if c.Models == nil {
		return true
	}
	for _, m := range c.Models {
		if m == model {
			return true
		}
	}
	return false
}

// Wallets knows addresses and signatures; *wallet.Verifier.
type Wallets interface {
	ParseAddress(text string) ([20]byte, error)
	// AddressText is the address with its EIP-55 checksum.
	AddressText(address [20]byte) string
	// Verify returns nil only if the account signed message by EIP-191 (or, for a
	// contract, ERC-1271). Any error but wallet.ErrSignature says that nobody knows.
	Verify(ctx context.Context, address [20]byte, message string, signature []byte) error
}

// Options is what a Service needs. Every field without a stated zero is required.
type Options struct {
	Redis   redis.UniversalClient // the state store, not the cache
	Secret  []byte                // shared by the replicas; 32 bytes or more
	Keys    []SigningKey          // the first signs, all verify
	Wallets Wallets
	Issuer  string // of tokens, such as https://api.example.com
	// Audience of tokens. Zero: the issuer.
	Audience string
	Domain   string // EIP-4361 domain, such as api.example.com
	ChainID  uint64 // of the registry's chain
	// TokenTTL is how long a token lives. Zero: 15 minutes; at most 1 hour.
	TokenTTL time.Duration
	// CacheTTL is how long a verified key is believed before the store is asked
	// again: the bound on a revocation whose hint got lost. Zero: 2 seconds.
	CacheTTL  time.Duration
	CacheSize int              // verified credentials held. Zero: 65536
	Now       func() time.Time // Zero: time.Now
}

// Service identifies callers. It is safe for concurrent use. Close it.
type Service struct {
	o      Options
	tokens *issuer
	store  store
	cache  *cache
	hints  *hints
}

// New checks the options and starts listening for revocations.
func New(o Options) (*Service, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	tokens, err := newIssuer(o)
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, tokens: tokens, cache: newCache(o.CacheSize), store: store{redis: o.Redis}}
	s.hints = listen(o.Redis, s.cache.dropKey)
	return s, nil
}

func (o *Options) complete() error {
	switch {
	case o.Redis == nil:
		return errors.New("identity: no state store")
	case len(o.Secret) < 32:
		return errors.New("identity: the deployment secret must have at least 32 bytes")
	case o.Wallets == nil:
		return errors.New("identity: no signature verifier")
	case o.Issuer == "" || o.Domain == "" || o.ChainID == 0:
		return errors.New("identity: issuer, domain and chain id must be set")
	case o.TokenTTL < 0 || o.TokenTTL > time.Hour:
		return fmt.Errorf("identity: token_ttl is %s; it must lie between 1s and 1h", o.TokenTTL)
	}
	o.Audience = orDefault(o.Audience, o.Issuer)
	o.TokenTTL = orDefault(o.TokenTTL, 15*time.Minute)
	o.CacheTTL = orDefault(o.CacheTTL, 2*time.Second)
	o.CacheSize = orDefault(o.CacheSize, 1<<16)
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Close stops listening for revocations.
func (s *Service) Close() error { return s.hints.close() }

// Identify says whom the credential (an API key or a token, without "Bearer ")
// speaks for at now. A credential seen lately costs a hash and a map look-up. The
// Caller is shared: do not change it.
func (s *Service) Identify(ctx context.Context, credential []byte, now time.Time) (*Caller, error) {
	sum := sha256.Sum256(credential)
	if caller := s.cache.get(sum, now); caller != nil {
		return caller, nil
	}
	caller, until, err := s.verify(ctx, string(credential), sum, now)
	if err != nil {
		return nil, err
	}
	s.cache.put(sum, caller, until)
	return caller, nil
}

// verify does the work behind a miss, and says until when the result may be held.
func (s *Service) verify(ctx context.Context, credential string, sum [32]byte, now time.Time) (*Caller, time.Time, error) {
	if strings.HasPrefix(credential, keyPrefix) {
		caller, err := s.verifyKey(ctx, credential, sum, now)
		if err != nil {
			return nil, time.Time{}, err
		}
		return caller, earlier(now.Add(s.o.CacheTTL), caller.Expires), nil
	}
	caller, err := s.tokens.verify(credential, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	return caller, caller.Expires, nil
}

func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// JWKS is the public half of the signing keys, for others who verify our tokens.
func (s *Service) JWKS() []byte { return s.tokens.jwks }
