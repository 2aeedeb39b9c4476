package audit

import "fmt"

// beacons are the chains whose blocks carry the RANDAO of a public proof-of-stake
// beacon, so that no single party chooses them (EIP-4399). On every other chain, those
// with one sequencer included, whoever orders the blocks may choose.
var beacons = map[uint64]string{
	1: "Ethereum", 100: "Gnosis", 11155111: "Sepolia", 560048: "Hoodi", 17000: "Holesky",
}

// beaconDelay is from how many blocks on nobody knows the drawing block's proposer when
// committing: four epochs of 32.
const beaconDelay = 128

// Grindable says whether a creator could have chosen the draw, and why.
func Grindable(chainID, committed, draw uint64) (bool, string) {
	name, known := beacons[chainID]
	switch {
	case !known:
		return true, fmt.Sprintf("chain %d is not known to have a public randomness beacon: who makes its blocks can choose what they draw", chainID)
	case draw < committed+beaconDelay:
		return true, fmt.Sprintf("on %s the draw came %d blocks after the commitment; with fewer than %d a proposer could know both", name, draw-committed, beaconDelay)
	}
	return false, fmt.Sprintf("the draw is %s's beacon, %d blocks after the commitment; a proposer can only forgo a block, one bit for each", name, draw-committed)
}
