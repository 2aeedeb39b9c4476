package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithms that another issuer may be configured with: asymmetric ones only, so
// that a public key can never be a secret.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// publicKey is one usable key of a set.
type publicKey struct {
	key       crypto.PublicKey
	algorithm string // the only one that it is for; "" if the set does not say
}

// verifies reports whether the key made the signature by this algorithm.
func (k publicKey) verifies(algorithm, signed string, signature []byte) bool {
	if k.algorithm != "" && k.algorithm != algorithm || !fits(k.key, algorithm) {
		return false
	}
	method := jwt.GetSigningMethod(algorithm)
	return method != nil && method.Verify(signed, signature, k.key) == nil
}

// fits keeps each algorithm to its kind of key, and ECDSA to the curve of its hash.
func fits(key crypto.PublicKey, algorithm string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return curves[strings.Replace(algorithm, "ES", "P-", 1)] == k.Curve || algorithm == "ES512" && k.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// jwk has the members of RFC 7517 and 7518 that public signature keys use.
type jwk struct {
	Kty string   `json:"kty"`
	Kid string   `json:"kid"`
	Use string   `json:"use"`
	Ops []string `json:"key_ops"`
	Alg string   `json:"alg"`
	Crv string   `json:"crv"`
	N   string   `json:"n"`
	E   string   `json:"e"`
	X   string   `json:"x"`
	Y   string   `json:"y"`
}

// parseSet reads a JWKS. Keys that cannot verify signatures are left out, as RFC 7517
// asks; a set without any other is an error, and so is one that names two keys alike.
func parseSet(text []byte) (map[string]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JWKS")
	}
	keys := map[string]publicKey{}
	for _, raw := range set.Keys {
		var k jwk
		if json.Unmarshal(raw, &k) != nil || k.Kid == "" || k.Use != "" && k.Use != "sig" || k.Ops != nil && !slices.Contains(k.Ops, "verify") {
			continue
		}
		public, err := k.public()
		if err != nil {
			continue
		}
		if _, twice := keys[k.Kid]; twice {
			return nil, fmt.Errorf("it holds two keys with the kid %.64q", k.Kid)
		}
		keys[k.Kid] = publicKey{public, k.Alg}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key that can verify signatures")
	}
	return keys, nil
}

var errKey = errors.New("not a key that is used here")

func (k *jwk) public() (crypto.PublicKey, error) {
	switch {
	case k.Kty == "RSA":
		return k.rsa()
	case k.Kty == "EC" && curves[k.Crv] != nil:
		x, y := bytesOf(k.X), bytesOf(k.Y)
		return ecdsa.ParseUncompressedPublicKey(curves[k.Crv], slices.Concat([]byte{4}, x, y)) // refuses points off the curve
	case k.Kty == "OKP" && k.Crv == "Ed25519" && len(bytesOf(k.X)) == ed25519.PublicKeySize:
		return ed25519.PublicKey(bytesOf(k.X)), nil
	}
	return nil, errKey
}

// rsa takes keys of 2048 to 8192 bits: smaller ones are weak, larger ones cost more
// than a request may.
func (k *jwk) rsa() (crypto.PublicKey, error) {
	n, e := new(big.Int).SetBytes(bytesOf(k.N)), new(big.Int).SetBytes(bytesOf(k.E))
	if n.BitLen() < 2048 || n.BitLen() > 8192 || !e.IsInt64() || e.Int64() < 3 || e.Int64() >= 1<<31 || e.Bit(0) == 0 {
		return nil, errKey
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func bytesOf(text string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil
	}
	return raw
}
