package identity

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract/contracttest"
)

// lab is a real chain with contract accounts on it, and the gateway that asks it.
type lab struct {
	*fixture
	client *ethclient.Client
	payer  *wallet.Key
	next   uint64
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{fixture: newFixture(t)}
	chain, err := devnet.StartChain(devnet.ChainConfig{})
	l.ok(err)
	t.Cleanup(func() { chain.Close() })
	l.client, err = ethclient.DialContext(t.Context(), chain.HTTP())
	l.ok(err)
	t.Cleanup(l.client.Close)
	l.payer = chain.Accounts()[0]
	l.Service = l.gateway(l.client, l.o.Keys...)
	return l
}

// deploy sends the creations in one block and returns where the contracts are.
func (l *lab) deploy(creations ...[]byte) (at [][20]byte) {
	l.t.Helper()
	var last common.Hash
	for _, code := range creations {
		tx, err := l.payer.SignTx(types.NewTx(&types.DynamicFeeTx{
			ChainID: big.NewInt(1337), Nonce: l.next, Gas: 3_000_000, GasFeeCap: big.NewInt(1e11), GasTipCap: big.NewInt(1e9), Data: code,
		}), big.NewInt(1337))
		l.ok(err)
		l.ok(l.client.SendTransaction(l.t.Context(), tx))
		at = append(at, crypto.CreateAddress(l.payer.Address(), l.next))
		last = tx.Hash()
		l.next++
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // a block comes each second
		receipt, err := l.client.TransactionReceipt(l.t.Context(), last)
		if err == nil && receipt.Status == types.ReceiptStatusSuccessful {
			return at
		}
		if time.Now().After(end) {
			l.t.Fatalf("no contract after a minute: %v", err)
		}
	}
}

// creation deploys this code as it is.
func creation(code string) []byte {
	raw := common.FromHex(code)
	return append(common.FromHex(fmt.Sprintf("61%04x80600a5f395ff3", len(raw))), raw...)
}

// signInAs answers a challenge for the account with this signature.
func (l *lab) signInAs(account [20]byte, sign func(message string) string) (Token, error) {
	l.t.Helper()
	m, err := l.Challenge(wallet.AddressText(account))
	l.ok(err)
	return l.Redeem(l.t.Context(), m, sign(m))
}

func TestContractAccounts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	owner := l.key.Address()
	const magic = "7f1626ba7e" + "00000000000000000000000000000000000000000000000000000000" // PUSH32
	hostile := map[string]string{
		"loops":                    "5b5f56",
		"reverts":                  "5f5ffd",
		"is no code":               "fe",
		"answers nothing":          "00",
		"answers zeros":            "60205ff3",
		"answers 4 bytes":          magic + "5f5260045ff3",
		"answers magic and more":   "7f1626ba7eff000000000000000000000000000000000000000000000000000000" + "5f5260205ff3",
		"answers 256 kB":           magic + "5f52620400005ff3",
		"answers more than gas":    magic + "5f5263100000005ff3",
		"answers after 2^24 turns": "5f5b60010180630100000011600157" + magic + "5f5260205ff3",
	}
	const agreeable = "agrees with everybody" // the control: what the hostile ones are made of works
	hostile[agreeable] = magic + "5f5260205ff3"
	names, creations := []string{"the owner's"}, [][]byte{append(common.FromHex(contracttest.TestWalletMetaData.Bin), common.LeftPadBytes(owner[:], 32)...)}
	for name, code := range hostile {
		names, creations = append(names, name), append(creations, creation(code))
	}
	at := l.deploy(creations...)
	token, err := l.signInAs(at[0], l.sign)
	l.ok(err)
	c, err := l.Identify(t.Context(), []byte(token.Text), l.clock)
	if err != nil || c.Subject != wallet.Subject(at[0]) {
		t.Errorf("the contract account's token speaks for %+v, %v", c, err)
	}
	other, err := wallet.Generate()
	l.ok(err)
	if _, err := l.signInAs(at[0], func(m string) string { sig, _ := other.SignPersonal(m); return fmt.Sprintf("%x", sig) }); !errors.Is(err, ErrSignIn) {
		t.Errorf("a contract account, another's signature: %v", err)
	}
	for i, name := range names[1:] {
		began := time.Now()
		if name == agreeable {
			_, err := l.signInAs(at[i+1], l.sign)
			l.ok(err)
			continue
		}
		if token, err := l.signInAs(at[i+1], l.sign); !errors.Is(err, ErrSignIn) {
			t.Errorf("a contract that %s: %+v, %v", name, token, err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("a contract that %s: refused after %v", name, took)
		}
	}
	l.refuseUndeployed(at[0])
}

// refuseUndeployed: a signature of ERC-6492, and an account that is nowhere.
func (l *lab) refuseUndeployed(deployed [20]byte) {
	l.t.Helper()
	wrapped := func(m string) string { return l.sign(m) + strings.Repeat("6492", 16) }
	if _, err := l.signInAs([20]byte{9}, wrapped); !errors.Is(err, ErrSignIn) || !strings.Contains(err.Error(), "ERC-6492") {
		l.t.Errorf("an undeployed account: %v", err)
	}
	if _, err := l.signInAs(deployed, wrapped); !errors.Is(err, ErrSignIn) || !strings.Contains(err.Error(), "ERC-6492") {
		l.t.Errorf("a deployed account that signs as if it were not: %v", err)
	}
	if _, err := l.signInAs([20]byte{9}, l.sign); !errors.Is(err, ErrSignIn) || !strings.Contains(err.Error(), "no contract account is at this address") {
		l.t.Errorf("an address without code: %v", err)
	}
}

// A node that hangs costs the time limit, and is neither a yes nor a no.
func TestContractAccountOnAHangingNode(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	f.ok(err)
	t.Cleanup(func() { silent.Close() })
	client, err := ethclient.DialContext(t.Context(), "http://"+silent.Addr().String())
	f.ok(err)
	t.Cleanup(client.Close)
	o := f.o
	o.Wallets = &wallet.Verifier{Chain: client, Timeout: 100 * time.Millisecond}
	s, err := New(o)
	f.ok(err)
	t.Cleanup(func() { s.Close() })
	m, err := s.Challenge(wallet.AddressText([20]byte{9}))
	f.ok(err)
	began := time.Now()
	if _, err := s.Redeem(t.Context(), m, f.sign(m)); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrSignIn) {
		t.Errorf("a node that hangs: %v", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// One answer to one challenge, though several gateways get it at once.
func TestNonceIsSpentOnceAcrossGateways(t *testing.T) {
	f := newFixture(t)
	gateways := []*Service{f.Service, f.gateway(&noContracts{}, f.o.Keys...), f.gateway(&noContracts{}, f.o.Keys...)}
	m := f.challenge()
	sig := f.sign(m)
	results := make(chan error, 30)
	for i := range 30 {
		go func() {
			_, err := gateways[i%3].Redeem(context.Background(), m, sig)
			results <- err
		}()
	}
	passed := 0
	for range 30 {
		if err := <-results; err == nil {
			passed++
		} else if !errors.Is(err, ErrSignIn) {
			t.Error(err)
		}
	}
	if passed != 1 {
		t.Errorf("%d of 30 answers to one challenge were taken, want 1", passed)
	}
}
