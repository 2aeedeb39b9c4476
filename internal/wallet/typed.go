package wallet

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// HashStruct is EIP-712's hash of a type, written as the standard encodes it, and of
// its values, each of at most 32 bytes.
func HashStruct(kind string, values ...[]byte) []byte {
	data := crypto.Keccak256([]byte(kind))
	for _, v := range values {
		data = append(data, common.LeftPadBytes(v, 32)...)
	}
	return crypto.Keccak256(data)
}

// TypedDigest is what EIP-712 signs: the hashes of a domain and of a message in it.
func TypedDigest(domain, message []byte) [32]byte {
	return crypto.Keccak256Hash([]byte{0x19, 0x01}, domain, message)
}

// RecoverDigest is the account whose key signed the digest: 65 bytes, the last one 0, 1,
// 27 or 28.
func RecoverDigest(digest [32]byte, signature []byte) ([20]byte, error) {
	return recoverDigest(digest, signature)
}
