package registry_test

import (
	"context"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract/contracttest"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// Everything that the scenarios of licensecheck leave out: tokens, issuers, sales, the record of a draw.

type shop struct {
	ctx     context.Context
	chain   *devnet.Chain
	owner   *registry.Registry
	buyer   *registry.Registry
	model   [32]byte
	waiting []string
}

func open(t *testing.T) *shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	chain, err := devnet.StartChain(devnet.ChainConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chain.Close() })
	s := &shop{ctx: ctx, chain: chain}
	options := registry.Options{RPC: chain.WS(), Key: chain.Accounts()[0], Progress: func(text string) { s.waiting = append(s.waiting, text) }}
	if s.owner, _, err = registry.Deploy(ctx, options, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.owner.Close)
	s.buyer = s.owner.As(chain.Accounts()[1])
	if s.model, _, err = s.owner.Register(ctx, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shop) plan(t *testing.T, token [20]byte) uint32 {
	t.Helper()
	plan, _, err := s.owner.SetPlan(s.ctx, s.model, registry.Plan{Price: big.NewInt(500), Token: token, Duration: time.Hour, Scope: policy.ScopeChat, OnSale: true})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestBuyWithToken(t *testing.T) {
	s := open(t)
	token := s.deployToken(t)
	plan := s.plan(t, token)
	if _, err := s.buyer.Buy(s.ctx, s.model, plan); err == nil {
		t.Fatal("bought without a token to pay with")
	}
	s.mint(t, token, s.chain.Accounts()[1].Address(), 500)
	if _, err := s.buyer.Buy(s.ctx, s.model, plan); err != nil {
		t.Fatal(err)
	}
	got, err := s.owner.Show(s.ctx, s.model, wallet.Subject(s.chain.Accounts()[1].Address()))
	if err != nil || got.License.Status != policy.Active || got.License.PlanVersion != plan {
		t.Errorf("after the purchase: %+v, %v", got, err)
	}
	if said := strings.Join(s.waiting, "\n"); !strings.Contains(said, "approval") || !strings.Contains(said, "purchase") {
		t.Errorf("progress said %q", said)
	}
}

func TestSales(t *testing.T) {
	s := open(t)
	plan := s.plan(t, [20]byte{})
	if _, err := s.owner.SetOnSale(s.ctx, s.model, plan, false); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "not on sale", func() error { _, err := s.buyer.Buy(s.ctx, s.model, plan); return err })
	if _, err := s.owner.SetOnSale(s.ctx, s.model, plan, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.owner.SetActive(s.ctx, s.model, false); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "stopped sales", func() error { _, err := s.buyer.Buy(s.ctx, s.model, plan); return err })
	got, err := s.owner.Plan(s.ctx, s.model, plan)
	if err != nil || got.Price.Int64() != 500 || got.Duration != time.Hour || !got.OnSale {
		t.Errorf("plan %+v, %v", got, err)
	}
}

func TestIssuer(t *testing.T) {
	s := open(t)
	who := wallet.Subject([20]byte{7})
	terms := registry.Terms{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), Scope: policy.ScopeChat}
	wantRefusal(t, "owner or an issuer", func() error { _, err := s.buyer.Grant(s.ctx, s.model, who, terms); return err })
	if _, err := s.owner.SetIssuer(s.ctx, s.model, s.chain.Accounts()[1].Address(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.buyer.Grant(s.ctx, s.model, who, terms); err != nil {
		t.Fatal(err)
	}
	if _, err := s.buyer.Revoke(s.ctx, s.model, who); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "only the model's owner", func() error { _, err := s.buyer.Reinstate(s.ctx, s.model, who); return err })
}

func TestRecordDraw(t *testing.T) {
	s := open(t)
	c, _, err := s.owner.CommitKeys(s.ctx, s.model, [32]byte{3})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.owner.DrawRandomness(s.ctx, s.model, c.Index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.buyer.RecordDraw(s.ctx, s.model, c.Index, d); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "on record already", func() error { _, err := s.buyer.RecordDraw(s.ctx, s.model, c.Index, d); return err })
	wantRefusal(t, "no commitment 1", func() error { _, err := s.owner.DrawRandomness(s.ctx, s.model, 1); return err })
}

func wantRefusal(t *testing.T, says string, do func() error) {
	t.Helper()
	if err := do(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want it to say %q", err, says)
	}
}

var token = contracttest.NewTestToken()

func (s *shop) transactor() (*bind.TransactOpts, *ethclient.Client, error) {
	key, chain := s.chain.Accounts()[0], new(big.Int).SetUint64(s.chain.ID())
	client, err := ethclient.DialContext(s.ctx, s.chain.HTTP())
	return &bind.TransactOpts{
		From: key.Address(), Context: s.ctx,
		Signer: func(_ common.Address, tx *types.Transaction) (*types.Transaction, error) {
			return key.SignTx(tx, chain)
		},
	}, client, err
}

func (s *shop) deployToken(t *testing.T) common.Address {
	t.Helper()
	opts, client, err := s.transactor()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, tx, err := bind.DeployContract(opts, common.FromHex(contracttest.TestTokenMetaData.Bin), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := bind.WaitDeployed(s.ctx, client, tx.Hash())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (s *shop) mint(t *testing.T, at, to common.Address, amount int64) {
	t.Helper()
	opts, client, err := s.transactor()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tx, err := bind.Transact(token.Instance(client, at), opts, token.PackMint(to, big.NewInt(amount)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bind.WaitMined(s.ctx, client, tx.Hash()); err != nil {
		t.Fatal(err)
	}
}
