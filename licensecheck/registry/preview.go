package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/internal/node"
)

// Preview is what a dry run comes back with, as an error, in place of a receipt: what
// would be sent, what it would cost, and whether the chain would refuse it now.
type Preview struct {
	What    string
	From    [20]byte
	To      [20]byte // zero: a deployment
	Value   *big.Int // wei sent along
	Bytes   int      // of call data
	Gas     uint64   // zero: it cannot be estimated
	Fee     *big.Int // wei, for that gas at the price of the moment; rollups add the cost of their data
	Balance *big.Int // wei that the wallet holds
	Refused error    // why it would fail; nil: it would succeed
	Before  *Preview // what would be sent first: the approval of a payment in tokens
}

func (p *Preview) Error() string { return "a dry run: nothing was sent" }

// preview asks the node what would become of a transaction.
func (r *Registry) preview(ctx context.Context, what string, to *common.Address, data []byte, value *big.Int) error {
	if value == nil {
		value = new(big.Int)
	}
	p := &Preview{What: what, From: r.options.Key.Address(), Value: value, Bytes: len(data), Fee: new(big.Int)}
	if to != nil {
		p.To = *to
	}
	var err error
	if p.Balance, err = r.client.BalanceAt(ctx, p.From, nil); err != nil {
		return fmt.Errorf("%s: asking for the wallet's balance: %w", what, node.Clean(err))
	}
	p.Gas, err = r.client.EstimateGas(ctx, ethereum.CallMsg{From: p.From, To: to, Data: data, Value: value})
	var refused rpc.Error
	switch {
	case errors.As(err, &refused):
		p.Refused = r.explain(ctx, what, err)
		return p
	case err != nil:
		return fmt.Errorf("%s: estimating its gas: %w", what, node.Clean(err))
	}
	price, err := r.client.SuggestGasPrice(ctx)
	if err != nil {
		return fmt.Errorf("%s: asking for the price of gas: %w", what, node.Clean(err))
	}
	p.Fee.Mul(price, new(big.Int).SetUint64(p.Gas))
	if due := new(big.Int).Add(p.Fee, value); p.Balance.Cmp(due) < 0 {
		p.Refused = fmt.Errorf("%s: %w: %s holds %v wei on chain %d and needs %v", what, ErrFunds, wallet.AddressText(p.From), p.Balance, r.identity.ChainID, due)
	}
	return p
}
