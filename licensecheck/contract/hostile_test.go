package contract

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// What only a hostile contract, token or chain can make happen.

// shopFor is a lab with a model of the owner's and a plan for one buyer.
func shopFor(t *testing.T, owner common.Address, p RegistryStatePlan) (l *lab, buyer common.Address, model [32]byte) {
	t.Helper()
	buyer = people[3].Address()
	l = newLab(t, buyer, owner)
	l.must(owner, bindings.PackRegisterModel([32]byte{1}))
	model = labAsk(l, bindings.PackModelIdOf(owner, [32]byte{1}), bindings.UnpackModelIdOf)
	l.must(owner, bindings.PackAddPlan(model, p))
	return l, buyer, model
}

func (l *lab) must(who common.Address, data []byte) {
	l.t.Helper()
	if o := l.write(who, data, 0); o.refusal != "" {
		l.t.Fatal(o)
	}
}

func (l *lab) refuses(who common.Address, data []byte, sent int64, want string) {
	l.t.Helper()
	if o := l.write(who, data, sent); o.refusal != want {
		l.t.Errorf("got %v, want %s", o, want)
	}
}

// An owner that buys again while it is being paid gets nowhere, and the sale fails whole.
func TestOwnerCannotReenter(t *testing.T) {
	owner := common.HexToAddress("0xbad")
	l, buyer, model := shopFor(t, owner, plan(month))
	again := bindings.PackPurchase(model, 1, price, noToken)
	l.state.SetCode(owner, callsBack(l.registry, again), 0)
	l.refuses(buyer, again, price.Int64(), say("ReentrancyGuardReentrantCall"))
	if w := labAsk(l, bindings.PackGrants([]LicenseRegistryQuery{{model, asSubject(buyer)}}), bindings.UnpackGrants).Views[0].Word; w.Sign() != 0 {
		t.Errorf("the failed sale left %x", w)
	}
}

// callsBack is a contract that answers any call by calling to with data, and reverts
// as that did. It holds the data behind its code.
func callsBack(to common.Address, data []byte) []byte {
	const codeLen = 0x36
	size := byte(len(data)) // below 256
	code := []byte{
		0x60, size, 0x60, codeLen, 0x60, 0, 0x39, // codecopy(0, codeLen, size)
		0x60, 0, 0x60, 0, 0x60, size, 0x60, 0, 0x60, 0, 0x73, // call(gas, to, 0, 0, size, 0, 0)
	}
	code = append(code, to[:]...)
	code = append(code, 0x5a, 0xf1, 0x50, 0x3d, 0x60, 0, 0x60, 0, 0x3e, 0x3d, 0x60, 0, 0xfd) // returndatacopy, revert
	code = append(code, make([]byte, codeLen-len(code))...)
	return append(code, data...)
}

// An owner that takes no coins sells nothing for coins; nobody loses any.
func TestOwnerThatTakesNoCoins(t *testing.T) {
	owner := common.HexToAddress("0xdead")
	l, buyer, model := shopFor(t, owner, plan(month))
	l.state.SetCode(owner, []byte{0x60, 0, 0x60, 0, 0xfd}, 0) // revert()
	l.refuses(buyer, bindings.PackPurchase(model, 1, price, noToken), price.Int64(), say("FailedCall"))
	if has := l.state.GetBalance(buyer).Uint64(); has != labCoins {
		t.Errorf("the buyer is left with %d wei of %d", has, labCoins)
	}
}

// Tokens that say no instead of reverting, or are none at all, pay for nothing.
func TestTokensThatDoNotPay(t *testing.T) {
	for name, code := range map[string][]byte{
		"answers false": {0x60, 32, 0x60, 0, 0xf3}, // return(0, 32)
		"no contract":   nil,
	} {
		token := common.HexToAddress("0x70ce")
		priced := plan(month)
		priced.Token = token
		l, buyer, model := shopFor(t, common.HexToAddress("0xcafe"), priced)
		l.state.SetCode(token, code, 0)
		t.Log(name)
		l.refuses(buyer, bindings.PackPurchase(model, 1, price, token), 0, say("SafeERC20FailedOperation", token))
	}
}

// A draw needs a header that has a prevrandao, on whatever chain.
func TestHeadersUnlikeEthereums(t *testing.T) {
	owner := common.HexToAddress("0xcafe")
	l, buyer, model := shopFor(t, owner, plan(month))
	l.must(owner, bindings.PackCommitKeys(model, [32]byte{7}))
	l.block += drawDelay + 1
	l.header = func(uint64) []byte { return []byte{0xc2, 1, 2} } // a list of two numbers
	l.refuses(buyer, bindings.PackRecordDraw(model, 0, l.header(0)), 0, say("FieldNotPresentInBlockHeader", 13))
	l.header = func(uint64) []byte { return []byte{1} } // no list
	l.refuses(buyer, bindings.PackRecordDraw(model, 0, l.header(0)), 0, say("RLPInvalidEncoding"))
}

// A plan so long that time runs out of bits sells once and extends never.
func TestTimeDoesNotWrap(t *testing.T) {
	long := plan(time.Hour)
	long.Duration = big.NewInt(1 << 39)
	l, buyer, model := shopFor(t, common.HexToAddress("0xcafe"), long)
	buy := bindings.PackPurchase(model, 1, price, noToken)
	if o := l.write(buyer, buy, price.Int64()); o.refusal != "" {
		t.Fatal(o)
	}
	l.refuses(buyer, buy, price.Int64(), say("Panic", 0x11))
	if got := revertOf(panicOverflow); !strings.Contains(got.Text, "36812") {
		t.Errorf("the overflow is told as %q", got.Text)
	}
}

// Whoever sees a registration in the mempool can register the same salt, and gets
// another model.
func TestSquatterInTheMempool(t *testing.T) {
	creator, squatter := common.HexToAddress("0xc1"), common.HexToAddress("0xc2")
	l := newLab(t)
	salt := [32]byte(crypto.Keccak256Hash([]byte("acme-chat")))
	seen := bindings.PackRegisterModel(salt)
	l.must(squatter, seen) // comes first
	l.must(creator, seen)
	id := labAsk(l, bindings.PackModelIdOf(creator, salt), bindings.UnpackModelIdOf)
	taken := labAsk(l, bindings.PackModelIdOf(squatter, salt), bindings.UnpackModelIdOf)
	if id == taken || labAsk(l, bindings.PackModelOf(id), bindings.UnpackModelOf).Owner != creator {
		t.Errorf("the creator's model %x belongs to another (squatter has %x)", id, taken)
	}
	l.refuses(creator, seen, 0, say("ModelExists"))
}

// The domain that wallets show is the one that signatures are checked against.
func TestDomain(t *testing.T) {
	l := newLab(t)
	d := labAsk(l, bindings.PackEip712Domain(), bindings.UnpackEip712Domain)
	if d.Name != "fealty LicenseRegistry" || d.Version != "1" || d.ChainId.Cmp(chainID) != 0 || d.VerifyingContract != l.registry {
		t.Errorf("domain %+v", d)
	}
	if !bytes.Equal(d.Fields[:], []byte{0x0f}) {
		t.Errorf("fields %x, want name, version, chain and contract", d.Fields)
	}
	for what, got := range map[string]uint64{
		"draw delay": labAsk(l, bindings.PackDrawDelay(), bindings.UnpackDrawDelay) - drawDelay,
		"deployment": labAsk(l, bindings.PackDeployedAt(), bindings.UnpackDeployedAt) - l.block,
		"host scope": uint64(labAsk(l, bindings.PackHOST(), bindings.UnpackHOST) - host),
	} {
		if got != 0 {
			t.Errorf("%s is off by %d", what, got)
		}
	}
}

func bigOf(n uint64) *big.Int { return new(big.Int).SetUint64(n) }
