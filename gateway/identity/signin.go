package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fealty/fealty/gateway/identity/siwe"
	"github.com/fealty/fealty/internal/wallet"
)

// challengeTTL is how long a challenge may be answered. clockSkew forgives
// replicas whose clocks differ.
const (
	challengeTTL = 5 * time.Minute
	clockSkew    = 5 * time.Second
)

// ErrSignIn says that a sign-in was refused; the wrapped text says why, for the
// one who tries to sign in.
var ErrSignIn = errors.New("sign-in refused")

// Token is a fresh access token.
type Token struct {
	Text    string
	Account string
	TTL     time.Duration
}

// Challenge makes the message that the wallet at address must sign. Nothing is
// stored: the nonce proves itself.
func (s *Service) Challenge(address string) (string, error) {
	account, err := s.o.Wallets.ParseAddress(address)
	if err != nil {
		return "", fmt.Errorf("%w: address: %w", ErrSignIn, err)
	}
	now := s.o.Now()
	return siwe.Message{
		Domain: s.o.Domain, Address: s.o.Wallets.AddressText(account), Statement: statement, URI: s.o.Issuer,
		ChainID: s.o.ChainID, Nonce: s.nonce(now), IssuedAt: now, ExpiresAt: now.Add(challengeTTL),
	}.String(), nil
}

// Redeem turns a signed challenge into a token. Each challenge works once.
func (s *Service) Redeem(ctx context.Context, message, signature string) (Token, error) {
	m, err := siwe.Parse(message)
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrSignIn, err)
	}
	now := s.o.Now()
	address, err := s.judge(m, now)
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrSignIn, err)
	}
	sig, err := hex.DecodeString(strings.TrimPrefix(signature, "0x"))
	if err != nil {
		return Token{}, fmt.Errorf("%w: the signature is not hexadecimal", ErrSignIn)
	}
	if err := s.o.Wallets.Verify(ctx, address, message, sig); err != nil {
		if !errors.Is(err, wallet.ErrSignature) {
			return Token{}, unavailable(err)
		}
		return Token{}, fmt.Errorf("%w: %w", ErrSignIn, err)
	}
	// Marked last, so that nobody can use up a nonce without the wallet's key.
	if err := s.store.spend(ctx, m.Nonce, challengeTTL+clockSkew); err != nil {
		return Token{}, err
	}
	account := s.account(address)
	text, err := s.tokens.Issue(account, now)
	return Token{Text: text, Account: account, TTL: s.o.TokenTTL}, err
}

// statement is what wallets show to their owners.
const statement = "Sign in to use the models licensed to this wallet. This costs nothing and moves nothing."

// judge checks that the message is one of ours, for this gateway, and fresh.
func (s *Service) judge(m siwe.Message, now time.Time) ([20]byte, error) {
	address, err := s.o.Wallets.ParseAddress(m.Address)
	switch {
	case m.Scheme != "" && !strings.HasPrefix(s.o.Issuer, m.Scheme+"://"):
		return address, fmt.Errorf("the message is for %s://, this is %s", m.Scheme, s.o.Issuer)
	case m.Domain != s.o.Domain:
		return address, fmt.Errorf("the message is for %q, this is %q", m.Domain, s.o.Domain)
	case m.URI != s.o.Issuer:
		return address, fmt.Errorf("the URI is not %q", s.o.Issuer)
	case m.ChainID != s.o.ChainID:
		return address, fmt.Errorf("the message is for chain %d, this gateway reads chain %d", m.ChainID, s.o.ChainID)
	case err != nil || s.o.Wallets.AddressText(address) != m.Address:
		return address, errors.New("the address has no valid EIP-55 checksum")
	case m.IssuedAt.After(now.Add(clockSkew)):
		return address, errors.New("it was issued in the future")
	case !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt):
		return address, errors.New("the challenge has expired; ask for a new one")
	case m.NotBefore.After(now.Add(clockSkew)):
		return address, errors.New("it is not valid yet (Not Before)")
	case len(m.Resources) > 0:
		return address, errors.New("it grants resources, and this gateway takes no grants; sign the challenge as it is")
	}
	return address, s.checkNonce(m.Nonce, now)
}

// A nonce is time || random || HMAC(secret, time || random), in hexadecimal: every
// replica can check one that another made.
const nonceBody = 8 + 16

func (s *Service) nonce(now time.Time) string {
	raw := make([]byte, nonceBody, nonceBody+sha256.Size)
	binary.BigEndian.PutUint64(raw, uint64(now.Unix()))
	rand.Read(raw[8:]) // never fails
	return hex.EncodeToString(s.seal(raw))
}

func (s *Service) seal(body []byte) []byte {
	mac := hmac.New(sha256.New, s.o.Secret)
	mac.Write([]byte("fealty sign-in nonce 1\x00"))
	mac.Write(body)
	return mac.Sum(body)
}

func (s *Service) checkNonce(nonce string, now time.Time) error {
	raw, err := hex.DecodeString(nonce)
	if err != nil || len(raw) != nonceBody+sha256.Size || strings.ToLower(nonce) != nonce {
		return errors.New("the nonce is not one of ours")
	}
	if !hmac.Equal(raw, s.seal(raw[:nonceBody:nonceBody])) {
		return errors.New("the nonce is not one of ours")
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)
	if made.After(now.Add(clockSkew)) || now.Sub(made) > challengeTTL {
		return errors.New("the challenge has expired; ask for a new one")
	}
	return nil
}
