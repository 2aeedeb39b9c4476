package embed

import (
	"crypto/sha256"
	"math/bits"
)

// The tree is that of RFC 6962: leaves and nodes hash under different prefixes,
// and a tree of n leaves splits at the largest power of two below n.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

func merkleNode(left, right Digest) (d Digest) {
	h := sha256.New()
	h.Write([]byte{nodePrefix})
	h.Write(left[:])
	h.Write(right[:])
	h.Sum(d[:0])
	return d
}

// split is the largest power of two below n, for n >= 2.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// merkleRoot of no leaves is the zero digest, which no registry accepts.
func merkleRoot(leaves []Digest) Digest {
	switch n := len(leaves); n {
	case 0:
		return Digest{}
	case 1:
		return leaves[0]
	default:
		return merkleNode(merkleRoot(leaves[:split(n)]), merkleRoot(leaves[split(n):]))
	}
}

// merkleProof lists the sibling of each node from the leaf to the root.
func merkleProof(leaves []Digest, i int) []Digest {
	n := len(leaves)
	if n <= 1 {
		return nil
	}
	at := split(n)
	if i < at {
		return append(merkleProof(leaves[:at], i), merkleRoot(leaves[at:]))
	}
	return append(merkleProof(leaves[at:], i-at), merkleRoot(leaves[:at]))
}

// CheckProof tells whether leaf i of n stands under the root.
func CheckProof(root, leaf Digest, i, n int, proof []Digest) bool {
	got, rest, ok := climb(leaf, i, n, proof)
	return ok && len(rest) == 0 && got == root
}

// climb returns the root that the proof leads to, and the digests it left over.
func climb(leaf Digest, i, n int, proof []Digest) (Digest, []Digest, bool) {
	if i < 0 || i >= n {
		return Digest{}, nil, false
	}
	if n == 1 {
		return leaf, proof, true
	}
	at, right := split(n), i >= split(n)
	below, size := i, at
	if right {
		below, size = i-at, n-at
	}
	node, rest, ok := climb(leaf, below, size, proof)
	if !ok || len(rest) == 0 {
		return Digest{}, nil, false
	}
	if right {
		return merkleNode(rest[0], node), rest[1:], true
	}
	return merkleNode(node, rest[0]), rest[1:], true
}
