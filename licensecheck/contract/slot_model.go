package contract

import (
	"encoding/binary"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// Places of the registry's variables behind the root; TestLayout holds them.
const (
	placeModels  = 1
	placeCommits = 5
)

// CommitmentSlots are where the registry stores a commitment of fingerprints: its root,
// its blocks (see [UnpackBlocks]), and the randomness that drew, zero until recorded.
type CommitmentSlots struct{ Root, Blocks, Randomness [32]byte }

// CommitmentAt is where commitment index of a model is stored.
func CommitmentAt(model [32]byte, index uint32) CommitmentSlots {
	variable := after(root, placeCommits)
	inner := crypto.Keccak256(model[:], variable[:])
	var number [32]byte
	binary.BigEndian.PutUint32(number[28:], index)
	first := crypto.Keccak256Hash(number[:], inner)
	return CommitmentSlots{Root: first, Blocks: after(first, 1), Randomness: after(first, 2)}
}

// UnpackBlocks reads the blocks of a commitment: the one that it is in, and the one whose
// randomness draws.
func UnpackBlocks(w [32]byte) (committed, draw uint64) {
	return binary.BigEndian.Uint64(w[24:]), binary.BigEndian.Uint64(w[16:24])
}

// ModelSlots are where the registry stores a model: its owner, and its counters (see
// [UnpackOwner] and [UnpackCommits]).
type ModelSlots struct{ Owner, Counters [32]byte }

// ModelAt is where a model is stored.
func ModelAt(model [32]byte) ModelSlots {
	variable := after(root, placeModels)
	first := crypto.Keccak256Hash(model[:], variable[:])
	return ModelSlots{Owner: first, Counters: after(first, 1)}
}

// UnpackOwner reads a model's owner, who is zero if there is no such model.
func UnpackOwner(w [32]byte) (owner [20]byte) {
	copy(owner[:], w[12:])
	return owner
}

// UnpackCommits reads how many commitments a model has.
func UnpackCommits(counters [32]byte) uint32 { return binary.BigEndian.Uint32(counters[:4]) }

func after(slot [32]byte, n int64) [32]byte {
	return [32]byte(word(new(big.Int).Add(common.Hash(slot).Big(), big.NewInt(n))))
}
