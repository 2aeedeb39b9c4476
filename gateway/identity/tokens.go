package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/wallet"
)

// Other is an issuer besides this gateway whose tokens are accepted.
type Other struct {
	token.RemoteOptions
	// Wallets are accounts (CAIP-10) that the issuer may name as the sub of a token,
	// which then speaks for the wallet; "*": all. For every other sub, the token
	// speaks for that sub of that issuer, and for no wallet.
	Wallets []string
}

type other struct {
	*token.Remote
	wallets []string
}

func (s *Service) add(describes Other) error {
	if describes.Name == s.o.Issuer || s.others[describes.Name] != nil {
		return fmt.Errorf("identity: issuer %.100q stands twice", describes.Name)
	}
	describes.Changed, describes.Log = s.cache.turn, s.o.Log
	remote, err := token.NewRemote(describes.RemoteOptions)
	if err != nil {
		return err
	}
	s.others[describes.Name] = &other{remote, describes.Wallets}
	return nil
}

func (s *Service) closeOthers() error {
	var errs []error
	for _, o := range s.others {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

// verifyToken lets the issuer that the token names, and no other, decide on it.
func (s *Service) verifyToken(ctx context.Context, text string, now time.Time) (*Caller, error) {
	t, err := token.Parse(text)
	if err != nil {
		return nil, err
	}
	c := &Caller{TokenID: tokenID(t), Expires: t.Expires}
	if o := s.others[t.Issuer]; o != nil {
		if err := o.Verify(ctx, t, now); errors.Is(err, token.ErrUnavailable) {
			return nil, unavailable(err)
		} else if err != nil {
			return nil, err
		}
		s.speakFor(c, t, o)
	} else {
		if err := s.tokens.Verify(t, now); err != nil {
			return nil, err
		}
		address, ok := s.address(t.Subject)
		if !ok {
			return nil, fmt.Errorf("%w: sub is no account on chain %d", ErrInvalid, s.o.ChainID)
		}
		c.Subject, c.Account = wallet.Subject(address), t.Subject
	}
	return c, s.store.standing(ctx, c.TokenID)
}

func (s *Service) speakFor(c *Caller, t *token.Token, o *other) {
	address, ok := s.address(t.Subject)
	if ok && (slices.Contains(o.wallets, t.Subject) || slices.Contains(o.wallets, "*")) {
		c.Subject, c.Account = wallet.Subject(address), t.Subject
		return
	}
	c.Subject, c.Account = wallet.OIDCSubject(t.Issuer, t.Subject), "oidc:"+t.Issuer+"|"+t.Subject
}

// account is a wallet's name by CAIP-10.
func (s *Service) account(address [20]byte) string {
	return "eip155:" + strconv.FormatUint(s.o.ChainID, 10) + ":" + s.o.Wallets.AddressText(address)
}

// address is the wallet on our chain that an account, in its one spelling, names.
func (s *Service) address(account string) (address [20]byte, ok bool) {
	address, err := s.o.Wallets.ParseAddress(account[strings.LastIndexByte(account, ':')+1:])
	return address, err == nil && s.account(address) == account
}

// tokenID names a token for as long as it lives, in one length, whatever its issuer
// calls it. Without a jti it is made of what was signed: a signature alone can have
// several forms.
func tokenID(t *token.Token) string {
	text := "jti\x00" + t.Issuer + "\x00" + t.ID
	if t.ID == "" {
		text = "text\x00" + t.Signed()
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// ErrNoToken says that the caller did not come with a token.
var ErrNoToken = errors.New("not a token")

// RevokeToken ends the token that the caller came with, on every gateway within
// Options.CacheTTL and usually at once.
func (s *Service) RevokeToken(ctx context.Context, c *Caller) error {
	if c.TokenID == "" {
		return ErrNoToken
	}
	if err := s.store.revokeToken(ctx, c.TokenID, c.Expires.Sub(s.o.Now())+clockSkew); err != nil {
		return err
	}
	s.cache.drop(c.TokenID)
	return nil
}
