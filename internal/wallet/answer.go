package wallet

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
)

// Headers by which a client asks a gateway to sign its answer (any value but "1" asks
// for nothing), and by which a whole answer carries the signature. A stream ends with
// the line SignatureComment + signature instead.
const (
	SignHeader       = "x-fealty-sign"
	SignatureHeader  = "x-fealty-signature"
	SignatureComment = ": " + SignatureHeader + " "
)

// Answer is what a gateway signs of one answer (EIP-712):
//
//	domain  EIP712Domain(string name,string version,uint256 chainId,address verifyingContract) = ("fealty answer", "1", chain, registry)
//	message Answer(bytes32 model,bytes32 host,bytes32 request,bytes32 answer,uint64 time)
type Answer struct {
	ChainID  uint64
	Registry [20]byte
	Model    [32]byte // id in the registry
	Host     [32]byte // subject of the host that serves it
	Request  [32]byte // SHA-256 of the request's body
	Answer   [32]byte // SHA-256 of the answer's body; of a stream without the lines that begin with ':'
	Time     uint64   // Unix seconds, when it was signed
}

// AnswerSignature is the value of [SignatureHeader], as JSON.
type AnswerSignature struct {
	Host       string  `json:"host"`      // domain of who signs
	Time       uint64  `json:"time"`      // Unix seconds
	Signature  string  `json:"signature"` // 0x and 130 hexadecimal digits
	Delegation *Signed `json:"delegation,omitempty"`
}

// Digest is what is signed.
func (a Answer) Digest() [32]byte {
	domain := HashStruct("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
		crypto.Keccak256([]byte("fealty answer")), crypto.Keccak256([]byte("1")), new(big.Int).SetUint64(a.ChainID).Bytes(), a.Registry[:])
	return TypedDigest(domain, HashStruct("Answer(bytes32 model,bytes32 host,bytes32 request,bytes32 answer,uint64 time)",
		a.Model[:], a.Host[:], a.Request[:], a.Answer[:], binary.BigEndian.AppendUint64(nil, a.Time)))
}

// Signer is the account whose key signed the answer. Its errors wrap [ErrSignature].
func (s AnswerSignature) Signer(a Answer) ([20]byte, error) {
	signature, err := hex.DecodeString(strings.TrimPrefix(s.Signature, "0x"))
	if err != nil {
		return [20]byte{}, fmt.Errorf("%w: it is not 0x and hexadecimal digits", ErrSignature)
	}
	return RecoverDigest(a.Digest(), signature)
}

// SignAnswer signs an answer for the host at a domain.
func (k *Key) SignAnswer(domain string, a Answer) (AnswerSignature, error) {
	signature, err := k.SignDigest(a.Digest())
	if err != nil {
		return AnswerSignature{}, err
	}
	signature[64] += 27
	return AnswerSignature{Host: domain, Time: a.Time, Signature: "0x" + hex.EncodeToString(signature)}, nil
}
