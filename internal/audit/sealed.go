package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/wallet"
)

// Digest is a SHA-256 sum, or a block's hash, in 64 hexadecimal digits.
type Digest = fingerprint.Digest

// Sealed is a statement with the EIP-712 signature of who makes it:
//
//	domain  EIP712Domain(string name,string version) = ("fealty audit", "1")
//	message Statement(string kind,bytes32 digest)
//
// where digest is the SHA-256 of the statement's JSON without white space between its
// tokens, members in the order in which they stand.
type Sealed struct {
	Statement json.RawMessage `json:"statement"`
	Signer    string          `json:"signer"`    // address
	Signature string          `json:"signature"` // 0x and 130 hexadecimal digits
}

// Kinds of statements, which are also their formats.
const (
	PlanFormat       = "fealty audit plan 1"
	TranscriptFormat = "fealty audit transcript 1"
	EvidenceFormat   = "fealty evidence 1"
)

// Signer signs digests; *wallet.Key.
type Signer interface {
	Address() [20]byte
	SignDigest(digest [32]byte) ([]byte, error)
}

var sealDomain = wallet.HashStruct("EIP712Domain(string name,string version)",
	crypto.Keccak256([]byte("fealty audit")), crypto.Keccak256([]byte("1")))

func sealDigest(kind string, statement []byte) [32]byte {
	sum := sha256.Sum256(statement)
	return wallet.TypedDigest(sealDomain, wallet.HashStruct("Statement(string kind,bytes32 digest)", crypto.Keccak256([]byte(kind)), sum[:]))
}

// Seal signs a statement.
func Seal(key Signer, kind string, v any) (*Sealed, error) {
	text, err := compact(v)
	if err != nil {
		return nil, err
	}
	signature, err := key.SignDigest(sealDigest(kind, text))
	if err != nil {
		return nil, err
	}
	signature[64] += 27
	return &Sealed{Statement: text, Signer: wallet.AddressText(key.Address()), Signature: "0x" + hex.EncodeToString(signature)}, nil
}

// Open checks the signature and reads the statement strictly: one way of writing it is
// accepted, so that no member hides another.
func (s *Sealed) Open(kind string, into any) error {
	var text bytes.Buffer
	if err := json.Compact(&text, s.Statement); err != nil {
		return fmt.Errorf("the %s is no JSON: %w", kind, err)
	}
	if err := strict(text.Bytes(), into); err != nil {
		return fmt.Errorf("the %s cannot be read: %w", kind, err)
	}
	again, err := compact(into)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, text.Bytes()) {
		return fmt.Errorf("the %s is not written as this program writes it: a member stands twice, out of order or in another form", kind)
	}
	signature, err := hex.DecodeString(strings.TrimPrefix(s.Signature, "0x"))
	if err != nil || s.Signature != "0x"+hex.EncodeToString(signature) {
		return fmt.Errorf("the %s: its signature is not 0x and hexadecimal digits", kind)
	}
	who, err := wallet.RecoverDigest(sealDigest(kind, text.Bytes()), signature)
	if err != nil {
		return fmt.Errorf("the %s: %w", kind, err)
	}
	if signature[64] < 27 || wallet.AddressText(who) != s.Signer {
		return fmt.Errorf("the %s was changed after it was signed, or %s did not sign it", kind, s.Signer)
	}
	return nil
}

// Digest is the SHA-256 of the statement, by which others refer to it.
func (s *Sealed) Digest() (Digest, error) {
	var text bytes.Buffer
	if err := json.Compact(&text, s.Statement); err != nil {
		return Digest{}, err
	}
	return sha256.Sum256(text.Bytes()), nil
}

// compact writes JSON without white space and without escapes for HTML.
func compact(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// strict reads exactly one JSON value without unknown members.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more behind it")
	}
	return nil
}
