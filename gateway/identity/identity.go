// Package identity says who is calling: wallets sign in (EIP-4361) for short
// tokens (EdDSA JWT), other issuers vouch for their users, and both make API keys.
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
	"log/slog"
	"strings"
	"time"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/token"
)

// Errors that callers match. Everything else that Identify returns wraps
// ErrUnavailable.
var (
	ErrInvalid     = token.ErrInvalid
	ErrExpired     = token.ErrExpired
	ErrRevoked     = errors.New("the credential was revoked")
	ErrUnavailable = errors.New("nobody can say who is calling")
)

// Caller is whom a credential speaks for.
type Caller struct {
	Subject [32]byte // the contract's name for the caller: a wallet's address, left-padded, or a hash
	Account string   // the same for people: CAIP-10, such as eip155:1:0xAb16..., or oidc:ISSUER|SUB
	KeyID   string   // the API key's public id; "" for a token
	TokenID string   // what a token is revoked by; "" for an API key
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
	State   *state.Store // stays open
	Secret  []byte       // shared by the replicas; 32 bytes or more
	Keys    []token.Key  // the first signs, all verify
	Wallets Wallets
	Issuer  string  // of tokens, such as https://api.example.com
	Others  []Other // whose tokens are accepted too
	// Audience of tokens. Zero: the issuer.
	Audience string
	Domain   string // EIP-4361 domain, such as api.example.com
	ChainID  uint64 // of the registry's chain
	// TokenTTL is how long a token lives. Zero: 15 minutes; at most 1 hour.
	TokenTTL time.Duration
	// CacheTTL is how long a verified credential is believed before the store is asked
	// again: the bound on a revocation whose hint got lost. Zero: 2 seconds.
	CacheTTL  time.Duration
	CacheSize int              // verified credentials held. Zero: 65536
	Now       func() time.Time // Zero: time.Now
	Log       *slog.Logger     // nil: discards
}

// Service identifies callers. It is safe for concurrent use. Close it.
type Service struct {
	o      Options
	tokens *token.Issuer
	others map[string]*other // by issuer
	store  store
	cache  *cache
	hints  *hints
}

// New checks the options and starts listening for revocations.
func New(o Options) (*Service, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	tokens, err := token.NewIssuer(o.Issuer, o.Audience, o.TokenTTL, o.Keys)
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, tokens: tokens, others: map[string]*other{}, cache: newCache(o.CacheSize), store: store{o.State}}
	for _, describes := range o.Others {
		if err := s.add(describes); err != nil {
			return nil, errors.Join(err, s.closeOthers())
		}
	}
	s.hints = listen(o.State.Client(), s.cache.drop)
	return s, nil
}

func (o *Options) complete() error {
	switch {
	case o.State == nil:
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
	o.Log = orDefault(o.Log, slog.New(slog.DiscardHandler))
	return nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Close stops listening for revocations and fetching keys.
func (s *Service) Close() error { return errors.Join(s.hints.close(), s.closeOthers()) }

// Identify says whom the credential (an API key or a token, without "Bearer ")
// speaks for at now. A credential seen lately costs a hash and a map look-up. The
// Caller is shared: do not change it.
func (s *Service) Identify(ctx context.Context, credential []byte, now time.Time) (*Caller, error) {
	if err := s.o.State.Err(); err != nil { // what was revoked is not known any more
		return nil, unavailable(err)
	}
	sum := sha256.Sum256(credential)
	caller, epoch := s.cache.get(sum, now)
	if caller != nil {
		return caller, nil
	}
	caller, err := s.verify(ctx, string(credential), sum, now)
	if err != nil {
		return nil, err
	}
	s.cache.put(sum, caller, earlier(now.Add(s.o.CacheTTL), caller.Expires), epoch)
	return caller, nil
}

// verify does the work behind a miss.
func (s *Service) verify(ctx context.Context, credential string, sum [32]byte, now time.Time) (*Caller, error) {
	if strings.HasPrefix(credential, keyPrefix) {
		return s.verifyKey(ctx, credential, sum, now)
	}
	return s.verifyToken(ctx, credential, now)
}

func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Err is why nobody can be identified until an operator acts, as far as is known
// without asking the store; nil if nothing is known to be wrong.
func (s *Service) Err() error { return s.o.State.Err() }

// Away reports whether the state store does not answer at present, as far as is known
// without asking it.
func (s *Service) Away() bool { return s.o.State.Away() }

// JWKS is the public half of the signing keys, for others who verify our tokens.
func (s *Service) JWKS() []byte { return s.tokens.JWKS() }
