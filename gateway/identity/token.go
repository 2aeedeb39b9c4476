package identity

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
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fealty/fealty/internal/openai"
)

const (
	tokenType = "at+jwt" // RFC 9068
	maxToken  = 4 << 10  // bytes
)

// SigningKey signs tokens. Its id is the RFC 7638 thumbprint of the public half.
type SigningKey struct {
	id      string
	private ed25519.PrivateKey
}

// NewSigningKey makes a fresh key and its PEM form, to be stored in a file that
// only the gateway reads.
func NewSigningKey() (SigningKey, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return SigningKey{}, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return SigningKey{}, nil, err
	}
	return signingKey(private), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseSigningKey reads an Ed25519 key from PEM (PKCS #8).
func ParseSigningKey(text []byte) (SigningKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return SigningKey{}, errors.New("signing key: no PEM block; make one with: openssl genpkey -algorithm ed25519")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return SigningKey{}, errors.New("signing key: not PKCS #8; make one with: openssl genpkey -algorithm ed25519")
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return SigningKey{}, fmt.Errorf("signing key: it is %T, need Ed25519", key)
	}
	return signingKey(private), nil
}

func signingKey(private ed25519.PrivateKey) SigningKey {
	thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + encodeKey(private) + `"}`))
	return SigningKey{id: base64.RawURLEncoding.EncodeToString(thumb[:]), private: private}
}

func encodeKey(private ed25519.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
}

// String keeps the key out of logs.
func (k SigningKey) String() string { return "signing key " + k.id }

// GoString keeps the key out of %#v.
func (k SigningKey) GoString() string { return k.String() }

type issuer struct {
	name, audience string
	chain          uint64
	ttl            time.Duration
	signs          SigningKey
	public         map[string]ed25519.PublicKey
	jwks           []byte
	wallets        Wallets
}

func newIssuer(o Options) (*issuer, error) {
	if len(o.Keys) == 0 {
		return nil, errors.New("identity: no signing key")
	}
	i := &issuer{
		name: o.Issuer, audience: o.Audience, chain: o.ChainID, ttl: o.TokenTTL,
		signs: o.Keys[0], public: make(map[string]ed25519.PublicKey), wallets: o.Wallets,
	}
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
	for _, k := range o.Keys {
		i.public[k.id] = k.private.Public().(ed25519.PublicKey)
		set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", encodeKey(k.private), k.id, "sig", "EdDSA"})
	}
	var err error
	i.jwks, err = json.Marshal(set)
	return i, err
}

// issue makes a token for the wallet.
func (i *issuer) issue(address [20]byte, now time.Time) (string, error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer: i.name, Subject: i.account(address), Audience: jwt.ClaimStrings{i.audience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(i.ttl)),
		ID: hex.EncodeToString(id),
	})
	token.Header["typ"] = tokenType
	token.Header["kid"] = i.signs.id
	return token.SignedString(i.signs.private)
}

func (i *issuer) account(address [20]byte) string {
	return "eip155:" + strconv.FormatUint(i.chain, 10) + ":" + i.wallets.AddressText(address)
}

// verify checks everything that RFC 8725 asks for. The library accepts a missing
// exp, a future iat, any typ and an unknown crit unless told otherwise.
func (i *issuer) verify(text string, now time.Time) (*Caller, error) {
	if err := plainToken(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(i.name), jwt.WithAudience(i.audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)
	var claims jwt.RegisteredClaims
	_, err := parser.ParseWithClaims(text, &claims, i.key)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return nil, ErrExpired
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return i.caller(&claims)
}

// plainToken refuses headers with anything but the three members that we write,
// and members that stand twice: readers disagree on which one counts.
func plainToken(text string) error {
	if len(text) > maxToken {
		return fmt.Errorf("longer than %d bytes", maxToken)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || strings.ContainsAny(parts[2], "\r\n") {
		return errors.New("neither an API key nor a token")
	}
	header, err := tokenPart(parts[0])
	if err != nil {
		return err
	}
	for _, m := range header {
		switch m.Name {
		case "alg", "kid":
		case "typ":
			if string(m.Value) != `"`+tokenType+`"` {
				return errors.New("typ is not " + tokenType)
			}
		default:
			return errors.New("unexpected header member")
		}
	}
	if len(header) != 3 {
		return errors.New("the header must hold alg, typ and kid")
	}
	claims, err := tokenPart(parts[1])
	if err != nil {
		return err
	}
	for _, m := range claims {
		switch m.Name {
		case "exp", "iat", "nbf":
			if !plainSeconds(m.Value) {
				return errors.New(m.Name + " is no whole number of seconds")
			}
		}
	}
	return nil
}

// plainSeconds refuses what JSON allows and a clock does not: fractions, exponents
// and numbers that overflow when they are converted.
func plainSeconds(value []byte) bool {
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(value) <= 12
}

func tokenPart(part string) ([]openai.Member, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") { // the decoder skips line ends
		return nil, errors.New("not base64url")
	}
	return openai.Members(raw)
}

func (i *issuer) key(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	if public, ok := i.public[id]; ok {
		return public, nil
	}
	return nil, errors.New("unknown kid")
}

func (i *issuer) caller(claims *jwt.RegisteredClaims) (*Caller, error) {
	switch {
	case claims.IssuedAt == nil, claims.ID == "", len(claims.Audience) != 1:
		return nil, fmt.Errorf("%w: iat, jti and one aud are required", ErrInvalid)
	case claims.ExpiresAt.Sub(claims.IssuedAt.Time) > time.Hour:
		return nil, fmt.Errorf("%w: it lives longer than an hour", ErrInvalid)
	}
	at := strings.LastIndexByte(claims.Subject, ':') + 1
	address, err := i.wallets.ParseAddress(claims.Subject[at:])
	if err != nil || i.account(address) != claims.Subject {
		return nil, fmt.Errorf("%w: sub is no account on chain %d", ErrInvalid, i.chain)
	}
	return &Caller{Subject: subject(address), Account: claims.Subject, Expires: claims.ExpiresAt.Time}, nil
}

// subject is the contract's name for a wallet.
func subject(address [20]byte) (s [32]byte) {
	copy(s[12:], address[:])
	return s
}
