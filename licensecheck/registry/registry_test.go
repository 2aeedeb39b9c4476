package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/licensecheck/contract/contracttest"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// backend is a node to run against, and four wallets with money on its chain.
type backend struct {
	rpc  string
	keys []*wallet.Key
}

// backends are the embedded chain and anvil, each over HTTP and over WebSocket.
var backends = map[string]func(*testing.T) backend{
	"embedded, HTTP": func(t *testing.T) backend { c := embedded(t); return backend{c.HTTP(), c.Accounts()} },
	"embedded, WS":   func(t *testing.T) backend { c := embedded(t); return backend{c.WS(), c.Accounts()} },
	"anvil, HTTP":    func(t *testing.T) backend { return anvil(t, "http://") },
	"anvil, WS":      func(t *testing.T) backend { return anvil(t, "ws://") },
}

func embedded(t *testing.T) *devnet.Chain {
	t.Helper()
	chain, err := devnet.StartChain(devnet.ChainConfig{Accounts: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chain.Close() })
	return chain
}

func anvil(t *testing.T, scheme string) backend {
	t.Helper()
	return backend{scheme + servertest.Anvil(t, "0").Addr, anvilKeys()}
}

var anvilKeys = sync.OnceValue(func() (keys []*wallet.Key) {
	const name = "FEALTY_TEST_ANVIL"
	defer os.Unsetenv(name)
	for _, hex := range servertest.AnvilKeys {
		os.Setenv(name, hex)
		key, err := wallet.Load(wallet.Source{Env: name})
		if err != nil {
			panic(err) // they are keys
		}
		keys = append(keys, key)
	}
	return keys
})

// shop is a registry with a model, seen by its owner, a buyer and somebody else.
type shop struct {
	backend
	ctx                   context.Context
	owner, buyer, another *registry.Registry
	model                 [32]byte
	waiting               *[]string
}

func open(t *testing.T, b backend) shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s := shop{backend: b, ctx: ctx, waiting: new([]string)}
	var err error
	s.owner, _, err = registry.Deploy(ctx, registry.Options{
		RPC: b.rpc, Key: b.keys[0], Wait: 2 * time.Minute, Progress: func(text string) { *s.waiting = append(*s.waiting, text) },
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.owner.Close)
	s.buyer, s.another = s.owner.As(b.keys[1]), s.owner.As(b.keys[2])
	if s.model, _, err = s.owner.Register(ctx, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	return s
}

// What creators, issuers and licensees do, on every kind of node.
func TestStory(t *testing.T) {
	for name, start := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, start(t))
			s.sells(t)
			s.takesTokens(t)
			s.honoursPermits(t)
			s.honoursVouchers(t)
			s.revokes(t)
			s.draws(t)
			s.changesHands(t)
		})
	}
}

func (s shop) plan(t *testing.T, token [20]byte) uint32 {
	t.Helper()
	plan, _, err := s.owner.SetPlan(s.ctx, s.model, registry.Plan{Price: big.NewInt(500), Token: token, Duration: time.Hour, Scope: policy.ScopeChat, OnSale: true})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (s shop) standing(t *testing.T, who *registry.Registry) policy.License {
	t.Helper()
	got, err := s.owner.Show(s.ctx, s.model, wallet.Subject(s.address(who)))
	if err != nil {
		t.Fatal(err)
	}
	return got.License
}

func (s shop) address(who *registry.Registry) [20]byte {
	return s.keys[map[*registry.Registry]int{s.owner: 0, s.buyer: 1, s.another: 2}[who]].Address()
}

func (s shop) sells(t *testing.T) {
	plan := s.plan(t, [20]byte{})
	if _, err := s.owner.SetOnSale(s.ctx, s.model, plan, false); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "not on sale", func() error { _, err := s.buyer.Buy(s.ctx, s.model, plan); return err })
	if _, err := s.owner.SetOnSale(s.ctx, s.model, plan, true); err != nil {
		t.Fatal(err)
	}
	receipt, err := s.buyer.Buy(s.ctx, s.model, plan)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.standing(t, s.buyer); l.Status != policy.Active || l.PlanVersion != plan || receipt.GasUsed < 60_000 || receipt.Fee.Sign() == 0 {
		t.Errorf("after the purchase: %+v, receipt %+v", l, receipt)
	}
	got, err := s.owner.Plan(s.ctx, s.model, plan)
	if err != nil || got.Price.Int64() != 500 || got.Duration != time.Hour || !got.OnSale {
		t.Errorf("plan %+v, %v", got, err)
	}
	if _, err := s.owner.SetActive(s.ctx, s.model, false); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "stopped sales", func() error { _, err := s.another.Buy(s.ctx, s.model, plan); return err })
	if _, err := s.owner.SetActive(s.ctx, s.model, true); err != nil {
		t.Fatal(err)
	}
}

func (s shop) takesTokens(t *testing.T) {
	token := s.deploy(t, contracttest.TestTokenMetaData.Bin, nil)
	plan := s.plan(t, token)
	wantRefusal(t, "holds 0 of token", func() error { _, err := s.another.Buy(s.ctx, s.model, plan); return err })
	s.mint(t, token, s.address(s.another), 500)
	if _, err := s.another.Buy(s.ctx, s.model, plan); err != nil {
		t.Fatal(err)
	}
	if l := s.standing(t, s.another); l.Status != policy.Active || l.PlanVersion != plan {
		t.Errorf("after the purchase: %+v", l)
	}
	if said := strings.Join(*s.waiting, "\n"); !strings.Contains(said, "approval") || !strings.Contains(said, "purchase") {
		t.Errorf("progress said %q", said)
	}
	if _, err := s.another.SwitchPlan(s.ctx, s.model, 1); err != nil {
		t.Fatal(err)
	}
	if l := s.standing(t, s.another); l.PlanVersion != 1 || l.Seq != 2 {
		t.Errorf("after the change of plan: %+v", l)
	}
}

// A wallet's permit lets another one pay, once; nothing else does.
func (s shop) honoursPermits(t *testing.T) {
	offer, err := s.another.Offer(s.ctx, s.model, s.address(s.buyer), 1, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	signed := registry.Signed{Domain: s.owner.Domain(), Permit: &offer}
	if err := signed.Sign(s.keys[2]); err != nil { // a stranger's word for the buyer's wallet
		t.Fatal(err)
	}
	wantRefusal(t, "signature is not the signer's", func() error { _, err := s.another.BuyFor(s.ctx, signed); return err })
	if err := signed.Sign(s.keys[1]); err != nil {
		t.Fatal(err)
	}
	before := s.standing(t, s.buyer)
	if _, err := s.another.BuyFor(s.ctx, s.carried(t, signed)); err != nil {
		t.Fatal(err)
	}
	if after := s.standing(t, s.buyer); after.NotAfter != before.NotAfter+3600 || after.Seq != before.Seq+1 {
		t.Errorf("from %+v to %+v", before, after)
	}
	wantRefusal(t, "changed it in the meantime", func() error { _, err := s.another.BuyFor(s.ctx, signed); return err })
}

// carried sends what was signed through its file.
func (s shop) carried(t *testing.T, signed registry.Signed) (read registry.Signed) {
	t.Helper()
	text, err := json.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return read
}

// Vouchers of an account and of a contract wallet (ERC-1271).
func (s shop) honoursVouchers(t *testing.T) {
	safe := s.deploy(t, contracttest.TestWalletMetaData.Bin, contracttest.NewTestWallet().PackConstructor(s.address(s.another)))
	if _, err := s.owner.SetIssuer(s.ctx, s.model, safe, true); err != nil {
		t.Fatal(err)
	}
	host, err := wallet.HostSubject("host.example")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	terms := registry.Terms{NotBefore: now, NotAfter: now.Add(time.Hour), Scope: policy.ScopeHost}
	for seq, by := range []struct {
		signer [20]byte
		key    *wallet.Key
	}{{s.address(s.owner), s.keys[0]}, {safe, s.keys[2]}} {
		v := registry.Voucher{
			Model: s.model, Subject: host, Terms: terms, Controller: s.address(s.buyer), Seq: uint64(seq), Deadline: now.Add(time.Hour), Signer: by.signer,
		}
		signed := registry.Signed{Domain: s.owner.Domain(), Voucher: &v}
		if err := signed.Sign(by.key); err != nil {
			t.Fatal(err)
		}
		if _, err := s.another.Redeem(s.ctx, s.carried(t, signed)); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, "changed it in the meantime", func() error { _, err := s.another.Redeem(s.ctx, signed); return err })
		elsewhere := signed
		elsewhere.Domain.ChainID++
		wantRefusal(t, "signed for registry", func() error { _, err := s.another.Redeem(s.ctx, elsewhere); return err })
	}
	got, err := s.owner.Show(s.ctx, s.model, host)
	if err != nil || got.Controller != s.address(s.buyer) || got.License.Scope != policy.ScopeHost || got.License.NotAfter != terms.NotAfter.Unix() {
		t.Errorf("the host's grant %+v, %v", got, err)
	}
}

func (s shop) revokes(t *testing.T) {
	who := wallet.Subject(s.address(s.buyer))
	wantRefusal(t, "owner or an issuer", func() error { _, err := s.another.Revoke(s.ctx, s.model, who); return err })
	if _, err := s.owner.SetIssuer(s.ctx, s.model, s.address(s.another), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.another.Revoke(s.ctx, s.model, who); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "is revoked", func() error { _, err := s.buyer.Buy(s.ctx, s.model, 1); return err })
	wantRefusal(t, "only the model's owner", func() error { _, err := s.another.Reinstate(s.ctx, s.model, who); return err })
	if _, err := s.owner.Reinstate(s.ctx, s.model, who); err != nil {
		t.Fatal(err)
	}
	if l := s.standing(t, s.buyer); l.Status != policy.Active {
		t.Errorf("after the reinstatement: %+v", l)
	}
}

func (s shop) draws(t *testing.T) {
	c, _, err := s.owner.CommitKeys(s.ctx, s.model, [32]byte{3})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.owner.DrawRandomness(s.ctx, s.model, c.Index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.another.RecordDraw(s.ctx, s.model, c.Index, d); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "on record already", func() error { _, err := s.another.RecordDraw(s.ctx, s.model, c.Index, d); return err })
	wantRefusal(t, "no commitment 1", func() error { _, err := s.owner.DrawRandomness(s.ctx, s.model, 1); return err })
}

// A model that changes hands takes no more vouchers of its first owner.
func (s shop) changesHands(t *testing.T) {
	v := registry.Voucher{
		Model: s.model, Subject: wallet.Subject([20]byte{9}), Deadline: time.Now().Add(time.Hour), Signer: s.address(s.owner),
		Terms: registry.Terms{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), Scope: policy.ScopeChat},
	}
	signed := registry.Signed{Domain: s.owner.Domain(), Voucher: &v}
	if err := signed.Sign(s.keys[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.owner.Transfer(s.ctx, s.model, s.address(s.buyer)); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "not offered to this wallet", func() error { _, err := s.another.Accept(s.ctx, s.model); return err })
	if _, err := s.buyer.Accept(s.ctx, s.model); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "changed hands", func() error { _, err := s.another.Redeem(s.ctx, signed); return err })
	m, err := s.owner.Model(s.ctx, s.model)
	if err != nil || m.Owner != s.address(s.buyer) || m.Epoch != 1 || m.Plans != 2 || m.Commits != 1 {
		t.Errorf("model %+v, %v", m, err)
	}
}

// A dry run sends nothing, and says what would happen.
func TestDryRun(t *testing.T) {
	t.Parallel()
	s := open(t, backends["embedded, HTTP"](t))
	token := s.deploy(t, contracttest.TestTokenMetaData.Bin, nil)
	coins, tokens := s.plan(t, [20]byte{}), s.plan(t, token)
	poor, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	dry := func(key *wallet.Key) *registry.Registry {
		r, err := registry.Open(s.ctx, registry.Options{RPC: s.rpc, Registry: s.owner.Address(), Key: key, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	fine := previewOf(t, func() error { _, err := dry(s.keys[1]).Buy(s.ctx, s.model, coins); return err })
	if fine.Refused != nil || fine.Gas < 90_000 || fine.Fee.Sign() <= 0 || fine.Value.Int64() != 500 || fine.To != s.owner.Address() {
		t.Errorf("preview %+v", fine)
	}
	s.mint(t, token, s.address(s.buyer), 500)
	twice := previewOf(t, func() error { _, err := dry(s.keys[1]).Buy(s.ctx, s.model, tokens); return err })
	if twice.Before == nil || twice.Before.Gas == 0 {
		t.Errorf("preview %+v", twice)
	}
	refused := previewOf(t, func() error {
		_, err := dry(s.keys[1]).Revoke(s.ctx, s.model, wallet.Subject(poor.Address()))
		return err
	})
	var reason *contract.RevertError
	if !errors.As(refused.Refused, &reason) || reason.Name != "NotIssuer" {
		t.Errorf("preview %+v", refused)
	}
	broke := previewOf(t, func() error { _, _, err := dry(poor).Register(s.ctx, [32]byte{1}); return err })
	if !errors.Is(broke.Refused, registry.ErrFunds) {
		t.Errorf("preview %+v", broke)
	}
	if l := s.standing(t, s.buyer); l.Seq != 0 {
		t.Errorf("a dry run wrote %+v", l)
	}
}

// A node that takes connections and says nothing is given up.
func TestSilentNode(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for _, scheme := range []string{"http://", "ws://"} {
		o := registry.Options{RPC: scheme + l.Addr().String(), Registry: [20]byte{1}, Answer: 100 * time.Millisecond}
		ended := make(chan error, 1)
		go func() {
			_, err := registry.Open(t.Context(), o)
			ended <- err
		}()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: opened", scheme)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: still waiting", scheme)
		}
	}
}

func previewOf(t *testing.T, do func() error) *registry.Preview {
	t.Helper()
	var p *registry.Preview
	if err := do(); !errors.As(err, &p) {
		t.Fatalf("got %v, want a preview", err)
	}
	return p
}

func wantRefusal(t *testing.T, says string, do func() error) {
	t.Helper()
	if err := do(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want it to say %q", err, says)
	}
}

func (s shop) transactor(t *testing.T) (*bind.TransactOpts, *ethclient.Client) {
	t.Helper()
	client, err := ethclient.DialContext(s.ctx, s.rpc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	key, chain := s.keys[0], new(big.Int).SetUint64(s.owner.ChainID())
	return &bind.TransactOpts{
		From: key.Address(), Context: s.ctx,
		Signer: func(_ common.Address, tx *types.Transaction) (*types.Transaction, error) {
			return key.SignTx(tx, chain)
		},
	}, client
}

func (s shop) deploy(t *testing.T, bin string, constructor []byte) common.Address {
	t.Helper()
	opts, client := s.transactor(t)
	_, tx, err := bind.DeployContract(opts, common.FromHex(bin), client, constructor)
	if err != nil {
		t.Fatal(err)
	}
	at, err := bind.WaitDeployed(s.ctx, client, tx.Hash())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (s shop) mint(t *testing.T, at, to common.Address, amount int64) {
	t.Helper()
	opts, client := s.transactor(t)
	token := contracttest.NewTestToken()
	tx, err := bind.Transact(token.Instance(client, at), opts, token.PackMint(to, big.NewInt(amount)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bind.WaitMined(s.ctx, client, tx.Hash()); err != nil {
		t.Fatal(err)
	}
}
