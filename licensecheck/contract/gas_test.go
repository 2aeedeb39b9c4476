package contract

import (
	"bytes"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract/contracttest"
)

var update = flag.Bool("update", false, "write testdata/gas.txt anew")

// meter notes what each transaction cost.
type meter struct {
	*world
	rows strings.Builder
}

func (m *meter) row(name string, gas uint64) { fmt.Fprintf(&m.rows, "%-28s %9d\n", name, gas) }

func (m *meter) cost(name string, who *wallet.Key, data []byte, value *big.Int) {
	m.t.Helper()
	m.row(name, m.pay(who, data, value).GasUsed)
}

// Gas per operation stands in testdata/gas.txt, whole transactions, in units of gas. People,
// salts and times are fixed, so that the figures repeat to the last unit.
func TestGas(t *testing.T) {
	m := &meter{world: newWorld(t)}
	m.row("deploy", m.sendTo(m.creator, nil, append(common.FromHex(LicenseRegistryMetaData.Bin), bindings.PackConstructor(drawDelay)...), nil).GasUsed)
	m.models()
	m.sales()
	m.grants()
	m.draws()
	const path = "testdata/gas.txt"
	if *update {
		if err := os.WriteFile(path, []byte(m.rows.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.rows.String(); got != string(want) {
		t.Errorf("gas is now\n%s\nand was\n%s\nif that is meant: go test ./licensecheck/contract -run TestGas -update", got, want)
	}
}

func (m *meter) models() {
	m.cost("register model", m.creator, bindings.PackRegisterModel([32]byte{9}), nil)
	m.cost("publish version", m.creator, bindings.PackPublishVersion(m.model, 1, [32]byte{1}), nil)
	m.cost("name an issuer", m.creator, bindings.PackSetIssuer(m.model, m.issuer.Address(), true), nil)
	m.cost("stop sales", m.creator, bindings.PackSetActive(m.model, false), nil)
	m.cost("resume sales", m.creator, bindings.PackSetActive(m.model, true), nil)
}

func (m *meter) sales() {
	token := contracttest.NewTestToken()
	at := m.deploy(contracttest.TestTokenMetaData.Bin, nil)
	inTokens := plan(month)
	inTokens.Token = at
	m.cost("add plan", m.creator, bindings.PackAddPlan(m.model, plan(month)), nil)
	m.cost("add plan, paid in tokens", m.creator, bindings.PackAddPlan(m.model, inTokens), nil)
	m.cost("take plan off sale", m.creator, bindings.PackSetOnSale(m.model, 1, false), nil)
	m.must(m.creator, bindings.PackSetOnSale(m.model, 1, true))
	for _, who := range []*wallet.Key{m.creator, m.stranger} { // balances that are not the first
		m.sendTo(who, &at, token.PackMint(who.Address(), ether), nil)
	}
	m.sendTo(m.stranger, &at, token.PackApprove(m.registry, ether), nil)
	m.cost("buy", m.buyer, bindings.PackPurchase(m.model, 1, price, noToken), price)
	m.cost("buy, extending", m.buyer, bindings.PackPurchase(m.model, 1, price, noToken), price)
	m.cost("buy with tokens", m.stranger, bindings.PackPurchase(m.model, 2, price, at), nil)
	m.cost("switch plan", m.stranger, bindings.PackSwitchPlan(m.model, 1, price, noToken, 1), price)
	p := LicenseRegistryPermit{ModelId: m.model, Subject: m.issuer.Address(), Plan: 1, Price: price, Token: noToken, Deadline: farOff}
	m.cost("buy for a permit", m.stranger, bindings.PackPurchaseFor(p, m.sign(m.issuer, permitType, permitMessage(p))), price)
}

var farOff = big.NewInt(1 << 36) // Unix seconds

func (m *meter) grants() {
	who := subject(people[4])
	terms := LicenseRegistryTerms{NotBefore: big.NewInt(1 << 30), NotAfter: farOff, Scope: scope}
	m.cost("grant", m.creator, bindings.PackGrant(m.model, who, terms, 0), nil)
	m.cost("grant again", m.creator, bindings.PackGrant(m.model, who, terms, 1), nil)
	m.cost("suspend", m.creator, bindings.PackSuspend(m.model, who, 2), nil)
	m.cost("reinstate", m.creator, bindings.PackReinstate(m.model, who, 3), nil)
	m.cost("revoke", m.creator, bindings.PackRevoke(m.model, who, 4), nil)
	hosting := terms
	hosting.Scope, hosting.Controller = host, m.stranger.Address()
	m.cost("grant to a host", m.creator, bindings.PackGrant(m.model, hostSubject(m.t), hosting, 0), nil)
	v := LicenseRegistryVoucher{ModelId: m.model, Subject: subject(m.creator), Terms: terms, Deadline: farOff, Signer: m.issuer.Address()}
	m.cost("redeem a voucher", m.stranger, bindings.PackRedeem(v, m.sign(m.issuer, voucherType, voucherMessage(v))), nil)
}

func (m *meter) draws() {
	m.cost("commit keys", m.creator, bindings.PackCommitKeys(m.model, [32]byte{5}), nil)
	c := ask(m.world, bindings.PackCommitment(m.model, 0), bindings.UnpackCommitment)
	for range drawDelay + 1 {
		m.chain.Commit()
	}
	header, err := m.client.HeaderByNumber(m.t.Context(), new(big.Int).SetUint64(c.DrawBlock))
	if err != nil {
		m.t.Fatal(err)
	}
	encoded, err := rlp.EncodeToBytes(header)
	if err != nil {
		m.t.Fatal(err)
	}
	// Zero bytes cost 12 less than others, and a header's hashes hold some now and then.
	gas := m.must(m.buyer, bindings.PackRecordDraw(m.model, 0, encoded)).GasUsed
	m.row("record a draw, at most", gas+12*uint64(bytes.Count(encoded, []byte{0})))
	m.cost("hand a model over", m.creator, bindings.PackTransferModel(m.model, m.stranger.Address()), nil)
	m.cost("accept a model", m.stranger, bindings.PackAcceptModel(m.model), nil)
}
