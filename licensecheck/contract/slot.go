package contract

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// root is where the registry's storage starts (ERC-7201):
// keccak256(abi.encode(uint256(keccak256("fealty.LicenseRegistry")) - 1)) & ~0xff.
var root = func() [32]byte {
	id := crypto.Keccak256Hash([]byte("fealty.LicenseRegistry")).Big()
	slot := crypto.Keccak256Hash(word(id.Sub(id, big.NewInt(1))))
	slot[31] = 0
	return slot
}()

// Slots are the storage slots of one grant, for eth_getProof.
type Slots struct {
	Word       [32]byte // slot 1: see [UnpackWord]
	Head       [32]byte // slot 2: the hash that commits to the grant's history
	Controller [32]byte // slot 3
}

// GrantSlots is where the registry stores a subject's grant for a model: the mapping of
// mappings at the root of its storage.
func GrantSlots(model, subject [32]byte) Slots {
	inner := crypto.Keccak256(model[:], root[:])
	first := crypto.Keccak256Hash(subject[:], inner).Big()
	at := func(n int64) [32]byte { return [32]byte(word(new(big.Int).Add(first, big.NewInt(n)))) }
	return Slots{Word: at(0), Head: at(1), Controller: at(2)}
}

// NextHead is slot 2 after a write that left this word and controller.
func NextHead(head [32]byte, w Word, controller [20]byte) [32]byte {
	return crypto.Keccak256Hash(head[:], w[:], common.LeftPadBytes(controller[:], 32))
}

func word(v *big.Int) []byte { return common.LeftPadBytes(v.Bytes(), 32) }
