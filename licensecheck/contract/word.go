package contract

import (
	"math/big"

	"github.com/fealty/fealty/policy"
)

// Word is a grant's slot 1, big-endian, as storage, view and event carry it.
type Word [32]byte

// The fields of slot 1, lowest bits first. TestLayout holds them to the compiler's output.
const (
	bitsTime  = 40 // notBefore, then notAfter
	bitsScope = 32
	bitsPlan  = 32
	bitsState = 8
	bitsSeq   = 64
)

// UnpackWord reads a license out of slot 1. The zero word is an empty slot: never licensed.
func UnpackWord(w Word) policy.License {
	v := new(big.Int).SetBytes(w[:])
	take := func(bits uint) uint64 {
		field := new(big.Int).And(v, new(big.Int).SetUint64(1<<bits-1))
		v.Rsh(v, bits)
		return field.Uint64()
	}
	return policy.License{
		NotBefore:   int64(take(bitsTime)),
		NotAfter:    int64(take(bitsTime)),
		Scope:       policy.Scope(take(bitsScope)),
		PlanVersion: uint32(take(bitsPlan)),
		Status:      policy.Status(take(bitsState)),
		Seq:         take(bitsSeq),
	}
}

// WordOf is the word that a view or an event returned as a number.
func WordOf(v *big.Int) (w Word) {
	v.FillBytes(w[:])
	return w
}

// PlanOf is the part of a plan that limits a licensee.
func PlanOf(p RegistryStatePlan) policy.Plan {
	return policy.Plan{RPM: p.Rpm, TokensPerDay: p.TokensPerDay}
}
