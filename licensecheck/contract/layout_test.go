package contract

import (
	"encoding/json"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/fealty/fealty/policy"
)

// layout is the compiler's account of the registry's storage, which generate.sh keeps.
type layout struct {
	Storage []variable
	Types   map[string]struct {
		Members []variable
	}
}

type variable struct {
	Label, Slot, Type string
	Offset            int
}

func readLayout(t *testing.T) layout {
	t.Helper()
	text, err := os.ReadFile("testdata/layout.json")
	if err != nil {
		t.Fatal(err)
	}
	var l layout
	if err := json.Unmarshal(text, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// The layout is frozen: deployed registries and the proofs of old bundles rely on it.
func TestLayout(t *testing.T) {
	l := readLayout(t)
	grants := l.Storage[0]
	if grants.Label != "_grants" || grants.Offset != 0 || grants.Slot != new(big.Int).SetBytes(root[:]).String() {
		t.Fatalf("the first variable is %+v; proofs want _grants at the ERC-7201 root %x", grants, root)
	}
	var order []string
	for _, v := range l.Storage {
		order = append(order, v.Label)
	}
	if got, want := strings.Join(order, " "), "_grants _models _issuers _plans _versions _commits _nameFallback _versionFallback"; got != want {
		t.Errorf("variables are %s, want %s", got, want)
	}
	frozen := []variable{
		{"notBefore", "0", "t_uint40", 0}, {"notAfter", "0", "t_uint40", bitsTime / 8}, {"scope", "0", "t_uint32", 2 * bitsTime / 8},
		{"plan", "0", "t_uint32", (2*bitsTime + bitsScope) / 8}, {"status", "0", "t_enum(Status)", (2*bitsTime + bitsScope + bitsPlan) / 8},
		{"seq", "0", "t_uint64", (2*bitsTime + bitsScope + bitsPlan + bitsState) / 8},
		{"head", "1", "t_bytes32", 0}, {"controller", "2", "t_address", 0},
	}
	members := l.Types["t_struct(Grant)_storage"].Members
	if len(members) != len(frozen) {
		t.Fatalf("a grant has %d fields, want %d", len(members), len(frozen))
	}
	for i, want := range frozen {
		if members[i] != want {
			t.Errorf("field %d is %+v, want %+v", i, members[i], want)
		}
	}
	if used := 2*bitsTime + bitsScope + bitsPlan + bitsState + bitsSeq; used != 256-40 {
		t.Errorf("slot 1 leaves %d bits spare, want 40", 256-used)
	}
}

// Slots computed here hold on the chain what the view says.
func TestGrantSlots(t *testing.T) {
	w := newWorld(t)
	s := hostSubject(t)
	terms := w.terms(month)
	terms.Scope, terms.Controller = host|scope, w.stranger.Address()
	w.must(w.creator, bindings.PackGrant(w.model, s, terms, 0))
	v, _ := w.view(s)
	at := GrantSlots(w.model, s)
	for _, c := range []struct {
		name string
		slot [32]byte
		want []byte
	}{
		{"word", at.Word, word(v.Word)}, {"head", at.Head, v.Head[:]}, {"controller", at.Controller, common.LeftPadBytes(v.Controller[:], 32)},
	} {
		held, err := w.client.StorageAt(t.Context(), w.registry, c.slot, nil)
		if err != nil || common.BytesToHash(held) != common.BytesToHash(c.want) {
			t.Errorf("slot of the %s holds %x (%v), want %x", c.name, held, err, c.want)
		}
	}
	never := GrantSlots(w.model, subject(w.buyer))
	if held, err := w.client.StorageAt(t.Context(), w.registry, never.Word, nil); err != nil || common.BytesToHash(held) != (common.Hash{}) {
		t.Errorf("the slot of who never had a license holds %x (%v)", held, err)
	}
}

func TestUnpackWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := policy.License{
			Status:      policy.Status(rapid.Uint8().Draw(t, "status")),
			NotBefore:   rapid.Int64Range(0, 1<<40-1).Draw(t, "notBefore"),
			NotAfter:    rapid.Int64Range(0, 1<<40-1).Draw(t, "notAfter"),
			Scope:       policy.Scope(rapid.Uint32().Draw(t, "scope")),
			PlanVersion: rapid.Uint32().Draw(t, "plan"),
			Seq:         rapid.Uint64().Draw(t, "seq"),
		}
		if got := UnpackWord(pack(want)); got != want {
			t.Fatalf("unpacked %+v, packed %+v", got, want)
		}
	})
	if got := UnpackWord(Word{}); got != (policy.License{}) {
		t.Errorf("the empty slot is %+v", got)
	}
}

// pack is the other direction, written by bit positions of DESIGN rather than by widths.
func pack(l policy.License) Word {
	v := new(big.Int)
	put := func(field uint64, at uint) { v.Or(v, new(big.Int).Lsh(new(big.Int).SetUint64(field), at)) }
	put(uint64(l.NotBefore), 0)
	put(uint64(l.NotAfter), 40)
	put(uint64(l.Scope), 80)
	put(uint64(l.PlanVersion), 112)
	put(uint64(l.Status), 144)
	put(l.Seq, 152)
	return WordOf(v)
}

// Every error of the contract has words of its own.
func TestEveryErrorHasWords(t *testing.T) {
	library := map[string]bool{ // of OpenZeppelin: not reachable, or an accident that its name tells best
		"InvalidShortString": true, "StringTooLong": true, "ReentrancyGuardReentrantCall": true, "SafeERC20FailedOperation": true,
		"InsufficientBalance": true, "RLPInvalidEncoding": true, "FieldNotPresentInBlockHeader": true, "SafeCastOverflowedUintDowncast": true,
	}
	parsed := bindings.GetABI()
	for name, e := range parsed.Errors {
		if library[name] {
			continue
		}
		data := append([]byte(nil), e.ID[:4]...)
		data = append(data, make([]byte, 32*len(e.Inputs))...)
		if refused := revertOf(data); refused.Name != name || refused.Text == name || refused.Text == "" {
			t.Errorf("%s is told as %q", name, refused.Text)
		}
	}
	for name, says := range map[string]string{"ERC20InsufficientBalance": "too few", "ERC20InsufficientAllowance": "did not approve"} {
		id := tokenABI.Errors[name].ID
		if got := revertOf(append(id[:4:4], make([]byte, 96)...)); !strings.Contains(got.Text, says) {
			t.Errorf("%s is told as %q", name, got.Text)
		}
	}
	if got := revertOf([]byte{1, 2, 3, 4}); !strings.Contains(got.Text, "0x01020304") {
		t.Errorf("a foreign error is told as %q", got.Text)
	}
}
