package contract

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// Slots of models and commitments computed here hold on the chain what the views say.
func TestModelSlots(t *testing.T) {
	w := newWorld(t)
	first, second := [32]byte{1}, [32]byte{2}
	w.must(w.creator, bindings.PackCommitKeys(w.model, first))
	w.must(w.creator, bindings.PackCommitKeys(w.model, second))
	read := func(slot [32]byte) [32]byte {
		held, err := w.client.StorageAt(t.Context(), w.registry, slot, nil)
		if err != nil {
			t.Fatal(err)
		}
		return common.BytesToHash(held)
	}
	m := ModelAt(w.model)
	if owner := UnpackOwner(read(m.Owner)); owner != w.creator.Address() {
		t.Errorf("the owner's slot names %x", owner)
	}
	if n := UnpackCommits(read(m.Counters)); n != 2 {
		t.Errorf("the counters say %d commitments, want 2", n)
	}
	for i, root := range [][32]byte{first, second} {
		c := CommitmentAt(w.model, uint32(i))
		if got := read(c.Root); got != root {
			t.Errorf("commitment %d: the root's slot holds %x", i, got)
		}
		view := ask(w, bindings.PackCommitment(w.model, uint32(i)), bindings.UnpackCommitment)
		if made, draw := UnpackBlocks(read(c.Blocks)); made == 0 || made != view.CommitBlock || draw != view.DrawBlock {
			t.Errorf("commitment %d: blocks %d and %d, the view says %d and %d", i, made, draw, view.CommitBlock, view.DrawBlock)
		}
		if got := read(c.Randomness); got != view.Randomness {
			t.Errorf("commitment %d: randomness %x", i, got)
		}
	}
}
