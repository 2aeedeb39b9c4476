package contract

import (
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/ethclient/simulated"
	"github.com/ethereum/go-ethereum/node"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

const (
	drawDelay = 3
	scope     = uint32(policy.ScopeChat)
	host      = uint32(policy.ScopeHost)
)

var (
	ether   = big.NewInt(1e18)
	chainID = big.NewInt(1337)
	noToken = common.Address{}
	price   = big.NewInt(1000)
)

// world is a chain of its own with a registry on it and people with money.
type world struct {
	t        *testing.T
	chain    *simulated.Backend
	client   simulated.Client
	registry common.Address

	creator, issuer, buyer, stranger *wallet.Key
	model                            [32]byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	alloc := types.GenesisAlloc{}
	for i, who := range []**wallet.Key{&w.creator, &w.issuer, &w.buyer, &w.stranger} {
		*who = people[i]
		alloc[people[i].Address()] = types.Account{Balance: new(big.Int).Mul(ether, big.NewInt(100))}
	}
	w.chain = simulated.NewBackend(alloc, func(_ *node.Config, c *ethconfig.Config) {
		forks := *c.Genesis.Config
		forks.BogotaTime = nil // stay at the forks that mainnet has: the next one prices storage anew
		c.Genesis.Config, c.DatabaseCache = &forks, 16
	})
	t.Cleanup(func() { w.chain.Close() })
	w.client = w.chain.Client()
	w.registry = w.deploy(LicenseRegistryMetaData.Bin, bindings.PackConstructor(drawDelay))
	w.model = w.register(w.creator, [32]byte{1})
	return w
}

func (w *world) deploy(bin string, constructor []byte) common.Address {
	w.t.Helper()
	receipt := w.sendTo(w.creator, nil, append(common.FromHex(bin), constructor...), nil)
	return receipt.ContractAddress
}

// must sends a call to the registry that succeeds.
func (w *world) must(who *wallet.Key, data []byte) *types.Receipt {
	w.t.Helper()
	return w.pay(who, data, nil)
}

func (w *world) pay(who *wallet.Key, data []byte, value *big.Int) *types.Receipt {
	w.t.Helper()
	return w.sendTo(who, &w.registry, data, value)
}

func (w *world) sendTo(who *wallet.Key, to *common.Address, data []byte, value *big.Int) *types.Receipt {
	w.t.Helper()
	ctx := w.t.Context()
	gas, err := w.client.EstimateGas(ctx, ethereum.CallMsg{From: who.Address(), To: to, Data: data, Value: value})
	if err != nil {
		w.t.Fatalf("the call fails: %v (%v)", err, Revert(err))
	}
	nonce, err := w.client.PendingNonceAt(ctx, who.Address())
	if err != nil {
		w.t.Fatal(err)
	}
	tx, err := who.SignTx(types.NewTx(&types.DynamicFeeTx{
		ChainID: chainID, Nonce: nonce, To: to, Data: data, Value: value, Gas: gas,
		GasFeeCap: big.NewInt(5e9), GasTipCap: big.NewInt(1e9),
	}), chainID)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.SendTransaction(ctx, tx); err != nil {
		w.t.Fatal(err)
	}
	w.chain.Commit()
	receipt, err := w.client.TransactionReceipt(ctx, tx.Hash())
	for n := 0; errors.Is(err, ethereum.NotFound) && n < 20; n++ { // a node that stood still while it made the block had no time for what waited
		w.chain.Commit()
		receipt, err = w.client.TransactionReceipt(ctx, tx.Hash())
	}
	if err != nil || receipt.Status != types.ReceiptStatusSuccessful {
		w.t.Fatalf("receipt %+v, %v", receipt, err)
	}
	covered.function(data)
	for _, log := range receipt.Logs {
		if log.Address == w.registry {
			eventText(log)
		}
	}
	return receipt
}

// refused wants a call to revert with this error of the contract.
func (w *world) refused(who *wallet.Key, data []byte, name string) {
	w.t.Helper()
	w.refusedPaying(who, data, nil, name)
}

func (w *world) refusedPaying(who *wallet.Key, data []byte, value *big.Int, name string) {
	w.t.Helper()
	_, err := w.client.CallContract(w.t.Context(), ethereum.CallMsg{From: who.Address(), To: &w.registry, Data: data, Value: value}, nil)
	refused := Revert(err)
	if refused == nil || refused.Name != name {
		w.t.Errorf("got %v (%v), want %s", refused, err, name)
		return
	}
	covered.failure(name)
	if refused.Text == "" || refused.Text == refused.Name {
		w.t.Errorf("%s has no words", name)
	}
}

func (w *world) register(who *wallet.Key, salt [32]byte) [32]byte {
	w.t.Helper()
	return event(w, w.must(who, bindings.PackRegisterModel(salt)), bindings.UnpackModelRegisteredEvent).ModelId
}

// event is the one event of its kind in the receipt.
func event[E any](w *world, r *types.Receipt, unpack func(*types.Log) (*E, error)) *E {
	w.t.Helper()
	var found *E
	for _, log := range r.Logs {
		if e, err := unpack(log); err == nil {
			if found != nil {
				w.t.Fatalf("two events %T", e)
			}
			found = e
		}
	}
	if found == nil {
		w.t.Fatalf("no event %T", found)
	}
	return found
}

func ask[T any](w *world, data []byte, unpack func([]byte) (T, error)) T {
	w.t.Helper()
	answer, err := w.client.CallContract(w.t.Context(), ethereum.CallMsg{To: &w.registry, Data: data}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	covered.function(data)
	value, err := unpack(answer)
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

func (w *world) view(subject [32]byte) (LicenseRegistryGrantView, policy.License) {
	w.t.Helper()
	out := ask(w, bindings.PackGrants([]LicenseRegistryQuery{{w.model, subject}}), bindings.UnpackGrants)
	return out.Views[0], UnpackWord(WordOf(out.Views[0].Word))
}

func (w *world) license(subject [32]byte) policy.License {
	w.t.Helper()
	_, l := w.view(subject)
	return l
}

// wants holds a grant to a status and a sequence number.
func (w *world) wants(subject [32]byte, status policy.Status, seq uint64) policy.License {
	w.t.Helper()
	l := w.license(subject)
	if l.Status != status || l.Seq != seq {
		w.t.Fatalf("the grant is %s after %d writes, want %s after %d", StatusName(l.Status), l.Seq, StatusName(status), seq)
	}
	return l
}

// now is the time of the newest block.
func (w *world) now() int64 {
	w.t.Helper()
	head, err := w.client.HeaderByNumber(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return int64(head.Time)
}

func (w *world) wait(d time.Duration) {
	w.t.Helper()
	if err := w.chain.AdjustTime(d); err != nil {
		w.t.Fatal(err)
	}
	w.chain.Commit()
}

func (w *world) terms(d time.Duration) LicenseRegistryTerms {
	now := w.now()
	return LicenseRegistryTerms{NotBefore: big.NewInt(now), NotAfter: big.NewInt(now + int64(d/time.Second)), Scope: scope}
}

func plan(duration time.Duration) RegistryStatePlan {
	return RegistryStatePlan{
		Price: price, Duration: big.NewInt(int64(duration / time.Second)), Scope: scope,
		Rpm: 60, OnSale: true, Token: noToken, TokensPerDay: 1_000_000,
	}
}

func (w *world) addPlan(p RegistryStatePlan) uint32 {
	w.t.Helper()
	return event(w, w.must(w.creator, bindings.PackAddPlan(w.model, p)), bindings.UnpackPlanAddedEvent).Plan
}

func subject(key *wallet.Key) [32]byte { return wallet.Subject(key.Address()) }

func hostSubject(t *testing.T) [32]byte {
	t.Helper()
	s, err := wallet.HostSubject("host.example")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
