package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	kind    = "at+jwt" // RFC 9068
	longest = time.Hour
)

// Key signs tokens. Its id is the RFC 7638 thumbprint of the public half.
type Key struct {
	id      string
	private ed25519.PrivateKey
}

// NewKey makes a fresh key and its PEM form, to be stored in a file that only the
// gateway reads.
func NewKey() (Key, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Key{}, nil, err
	}
	return newKey(private), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads an Ed25519 key from PEM (PKCS #8).
func ParseKey(text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, errors.New("signing key: no PEM block; make one with: openssl genpkey -algorithm ed25519")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Key{}, errors.New("signing key: not PKCS #8; make one with: openssl genpkey -algorithm ed25519")
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return Key{}, fmt.Errorf("signing key: it is %T, need Ed25519", key)
	}
	return newKey(private), nil
}

func newKey(private ed25519.PrivateKey) Key {
	thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + encodeKey(private) + `"}`))
	return Key{id: base64.RawURLEncoding.EncodeToString(thumb[:]), private: private}
}

func encodeKey(private ed25519.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
}

// ID is what the kid of the key's tokens is.
func (k Key) ID() string { return k.id }

// String keeps the key out of logs.
func (k Key) String() string { return "signing key " + k.id }

// GoString keeps the key out of %#v.
func (k Key) GoString() string { return k.String() }

// Sign signs anything with the key.
func (k Key) Sign(text string) []byte { return ed25519.Sign(k.private, []byte(text)) }

// Issuer makes this gateway's tokens, and verifies those that it and its replicas
// made.
type Issuer struct {
	name, audience string
	ttl            time.Duration
	signs          Key
	public         map[string]ed25519.PublicKey
	jwks           []byte
}

// NewIssuer signs with the first key and verifies with all. To change keys without
// refusing a valid token, restart all replicas thrice: with the new key second, with
// it first, and, when the last old token has expired, with it alone.
func NewIssuer(name, audience string, ttl time.Duration, keys []Key) (*Issuer, error) {
	if len(keys) == 0 {
		return nil, errors.New("identity: no signing key")
	}
	i := &Issuer{name: name, audience: audience, ttl: ttl, signs: keys[0], public: make(map[string]ed25519.PublicKey)}
	type jwk struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		X   string `json:"x"`
		Kid string `json:"kid"`
		Use string `json:"use"`
		Alg string `json:"alg"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, k := range keys {
		i.public[k.id] = k.private.Public().(ed25519.PublicKey)
		set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", encodeKey(k.private), k.id, "sig", "EdDSA"})
	}
	var err error
	i.jwks, err = json.Marshal(set)
	return i, err
}

// Name is the iss of its tokens.
func (i *Issuer) Name() string { return i.name }

// JWKS is the public half of all keys (RFC 7517).
func (i *Issuer) JWKS() []byte { return i.jwks }

// Issue makes a token for a subject.
func (i *Issuer) Issue(subject string, now time.Time) (string, error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	header, err := json.Marshal(map[string]string{"alg": "EdDSA", "typ": kind, "kid": i.signs.id})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": i.name, "sub": subject, "aud": i.audience, "jti": hex.EncodeToString(id),
		"iat": now.Unix(), "exp": now.Add(i.ttl).Unix(),
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(claims)
	return signed + "." + encode(i.signs.Sign(signed)), nil
}

// header is what the header of our tokens holds, and all that it holds.
var header = []string{"alg", "kid", "typ"}

// Verify returns nil for a token that this gateway or a replica made and that is
// valid now; else an error that wraps ErrInvalid or ErrExpired.
func (i *Issuer) Verify(t *Token, now time.Time) error {
	public, known := i.public[t.keyID]
	switch {
	case t.Issuer != i.name, !slices.Equal(slices.Sorted(slices.Values(t.members)), header), t.kind != kind:
		return fmt.Errorf("%w: not one of our tokens", ErrInvalid)
	case t.algorithm != "EdDSA", !known:
		return fmt.Errorf("%w: unknown key or algorithm", ErrInvalid)
	case !ed25519.Verify(public, []byte(t.signed), t.signature):
		return fmt.Errorf("%w: the signature is wrong", ErrInvalid)
	case len(t.Audience) != 1 || t.Audience[0] != i.audience, t.ID == "":
		return fmt.Errorf("%w: jti and the one audience %s are required", ErrInvalid, i.audience)
	}
	return t.inTime(now, longest)
}
