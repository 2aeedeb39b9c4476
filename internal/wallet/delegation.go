package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"
)

// Signed is a text with its EIP-191 signature (65 bytes, or a contract's, in 0x and
// hexadecimal). The text is signed as it stands, so that nobody has to agree on how
// JSON is written.
type Signed struct {
	Statement string `json:"statement"`
	Signature string `json:"signature"`
}

// Delegation is what a host's controller says: until a time, this key speaks for the
// host at this domain. It moves nothing on any chain.
type Delegation struct {
	Type    string    `json:"type"` // DelegationType
	Domain  string    `json:"domain"`
	Key     string    `json:"key"` // address
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// DelegationType names the format.
const DelegationType = "fealty host delegation 1"

// Sign signs a text as wallets do (EIP-191).
func (k *Key) Sign(text string) (Signed, error) {
	signature, err := k.SignPersonal(text)
	return Signed{Statement: text, Signature: fmt.Sprintf("0x%x", signature)}, err
}

// Delegate lets the key at an address speak for the host at a domain.
func (k *Key) Delegate(domain string, to [20]byte, issued, expires time.Time) (Signed, error) {
	name, err := HostName(domain)
	if err != nil {
		return Signed{}, err
	}
	if !expires.After(issued) {
		return Signed{}, errors.New("wallet: the delegation would end before it begins")
	}
	text, err := json.Marshal(Delegation{
		Type: DelegationType, Domain: name, Key: AddressText(to), Issued: issued.UTC().Truncate(time.Second), Expires: expires.UTC().Truncate(time.Second),
	})
	if err != nil {
		return Signed{}, err
	}
	return k.Sign(string(text))
}

// CheckDelegation returns until when the controller lets the key speak for the host
// at the domain. Its errors wrap ErrSignature, or ErrUnavailable when nobody knows.
func (v *Verifier) CheckDelegation(ctx context.Context, s Signed, controller [20]byte, domain string, key [20]byte, now time.Time) (time.Time, error) {
	var d Delegation
	name, err := HostName(domain)
	if err != nil {
		return time.Time{}, err
	}
	decoder := json.NewDecoder(strings.NewReader(s.Statement))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil || decoder.More() {
		return time.Time{}, fmt.Errorf("%w: the delegation is no JSON object of the known form", ErrSignature)
	}
	var signature []byte
	if _, err := fmt.Sscanf(s.Signature, "0x%x", &signature); err != nil {
		return time.Time{}, fmt.Errorf("%w: the delegation's signature is not 0x and hexadecimal", ErrSignature)
	}
	switch {
	case d.Type != DelegationType || d.Domain != name:
		return time.Time{}, fmt.Errorf("%w: the delegation is not for the host %s", ErrSignature, name)
	case d.Key != AddressText(key):
		return time.Time{}, fmt.Errorf("%w: the delegation is for key %.60s, not for %s", ErrSignature, d.Key, AddressText(key))
	case now.Before(d.Issued) || !now.Before(d.Expires):
		return time.Time{}, fmt.Errorf("%w: the delegation holds from %s to %s", ErrSignature, d.Issued, d.Expires)
	}
	return d.Expires, v.Verify(ctx, controller, s.Statement, signature)
}

// Parse reads a key from 64 hexadecimal digits, or from an encrypted (V3) keystore and
// its passphrase. Its errors say nothing of what was given.
func Parse(text, passphrase string) (*Key, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		opened, err := keystore.DecryptKey([]byte(text), passphrase)
		if err != nil {
			return nil, errors.New("wallet: the keystore does not open with this passphrase")
		}
		return newKey(opened.PrivateKey), nil
	}
	private, err := crypto.HexToECDSA(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, errors.New("wallet: it is neither 64 hexadecimal digits nor an encrypted keystore")
	}
	return newKey(private), nil
}
