package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/licensecheck/internal/node"
)

// ErrFunds: the wallet cannot pay for the transaction.
var ErrFunds = errors.New("the wallet cannot pay for this")

// send signs and sends a transaction and waits until it is in a block. A nil to deploys.
func (r *Registry) send(ctx context.Context, what string, to *common.Address, data []byte, value *big.Int) (*types.Receipt, error) {
	if r.options.Key == nil {
		return nil, fmt.Errorf("%s needs a wallet; name a keystore file or an environment variable with a key", what)
	}
	if r.options.DryRun {
		return nil, r.preview(ctx, what, to, data, value)
	}
	tx, err := r.submit(ctx, to, data, value)
	if err != nil {
		return nil, r.explain(ctx, what, err)
	}
	r.progress(fmt.Sprintf("waiting for %s to be in a block (transaction %s)", what, tx.Hash()))
	mined, err := r.wait(ctx, tx.Hash())
	if err != nil {
		return nil, fmt.Errorf("%s was sent (transaction %s) and was in no block within the wait of %v; look for it before trying again: %w", what, tx.Hash(), r.options.Wait, err)
	}
	if mined.Status != types.ReceiptStatusSuccessful {
		return nil, r.explain(ctx, what, r.replay(ctx, tx, mined))
	}
	return mined, nil
}

func (r *Registry) submit(ctx context.Context, to *common.Address, data []byte, value *big.Int) (*types.Transaction, error) {
	key := r.options.Key
	chain := new(big.Int).SetUint64(r.identity.ChainID)
	opts := &bind.TransactOpts{
		From: key.Address(), Context: ctx, Value: value,
		Signer: func(_ common.Address, tx *types.Transaction) (*types.Transaction, error) {
			return key.SignTx(tx, chain)
		},
	}
	if to == nil {
		return bind.NewBoundContract(common.Address{}, bindings.GetABI(), r.client, r.client, r.client).RawCreationTransact(opts, data)
	}
	return bind.NewBoundContract(*to, bindings.GetABI(), r.client, r.client, r.client).RawTransact(opts, data)
}

// Receipts are asked for more often at first: blocks come every second on small
// chains, every twelve on Ethereum.
const (
	firstPoll = 100 * time.Millisecond
	lastPoll  = 2 * time.Second
)

// reminder is how often it is said that nothing has happened yet.
const reminder = 15 * time.Second

func (r *Registry) wait(ctx context.Context, hash common.Hash) (*types.Receipt, error) {
	if r.options.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.options.Wait)
		defer cancel()
	}
	var mined *types.Receipt
	start, said := time.Now(), time.Now()
	err := poll(ctx, func() (done bool) {
		receipt, err := r.client.TransactionReceipt(ctx, hash)
		mined = receipt
		if time.Since(said) > reminder {
			said = time.Now()
			r.progress(fmt.Sprintf("still waiting after %v (transaction %s)", time.Since(start).Round(time.Second), hash))
		}
		return err == nil && receipt != nil // any error is waited out: the transaction is already on its way
	})
	return mined, err
}

// poll asks until ready says so or the context ends.
func poll(ctx context.Context, ready func() bool) error {
	for pause := firstPoll; !ready(); pause = min(pause*5/4, lastPoll) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// replay finds out why a mined transaction failed, by calling it again where it ran.
func (r *Registry) replay(ctx context.Context, tx *types.Transaction, mined *types.Receipt) error {
	call := ethereum.CallMsg{From: r.options.Key.Address(), To: tx.To(), Gas: tx.Gas(), Value: tx.Value(), Data: tx.Data()}
	if _, err := r.client.CallContract(ctx, call, mined.BlockNumber); err != nil {
		return err
	}
	return errors.New("the transaction failed in its block; the state changed under it, so look again and retry")
}

// explain puts a node's refusal into words.
func (r *Registry) explain(ctx context.Context, what string, err error) error {
	if refused := contract.Revert(err); refused != nil {
		return fmt.Errorf("%s: %w", what, refused)
	}
	if poor.MatchString(err.Error()) {
		return r.unfunded(ctx, what)
	}
	return fmt.Errorf("%s: %w", what, node.Clean(err))
}

// poor is how nodes say that the wallet cannot pay: they have no code for it. The allowance is
// the gas that the wallet's balance buys.
var poor = regexp.MustCompile(`(?i)insufficient funds|exceeds allowance`)

func (r *Registry) unfunded(ctx context.Context, what string) error {
	who := r.options.Key.Address()
	balance := "an unknown amount of"
	if wei, err := r.client.BalanceAt(ctx, who, nil); err == nil {
		balance = wei.String()
	}
	return fmt.Errorf("%s: %w: %s holds %s wei on chain %d; send it coins for the price and the gas", what, ErrFunds, wallet.AddressText(who), balance, r.identity.ChainID)
}

func (r *Registry) progress(text string) {
	if r.options.Progress != nil {
		r.options.Progress(text)
	}
}
