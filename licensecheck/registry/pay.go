package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/internal/node"
)

// buy sends a call that pays this price, after the approval that a token wants.
func (r *Registry) buy(ctx context.Context, data []byte, token [20]byte, price *big.Int) (Receipt, error) {
	value := price
	if token != [20]byte{} {
		value = nil
		var approval *Preview
		switch err := r.approve(ctx, token, price); {
		case errors.As(err, &approval):
			return Receipt{}, fmt.Errorf("registry: %w", r.afterApproval(approval, len(data)))
		case err != nil:
			return Receipt{}, fmt.Errorf("registry: %w", err)
		}
	}
	_, receipt, err := write(ctx, r, "the purchase", data, value, bindings.UnpackPurchasedEvent)
	return receipt, err
}

// afterApproval is a dry run's view of a purchase in tokens: it would fail for want of the approval,
// which says nothing about it.
func (r *Registry) afterApproval(approval *Preview, bytes int) *Preview {
	if approval.Refused != nil {
		return approval
	}
	return &Preview{
		What: "the purchase", From: approval.From, To: r.identity.Registry, Value: new(big.Int), Bytes: bytes,
		Fee: new(big.Int), Balance: approval.Balance, Before: approval,
	}
}

// ERC-20's functions that a payment needs.
var (
	selectBalance   = [4]byte{0x70, 0xa0, 0x82, 0x31} // balanceOf(address)
	selectAllowance = [4]byte{0xdd, 0x62, 0xed, 0x3e} // allowance(address,address)
	selectApprove   = [4]byte{0x09, 0x5e, 0xa7, 0xb3} // approve(address,uint256)
)

// approve lets the registry take exactly this amount, unless it may already.
func (r *Registry) approve(ctx context.Context, token [20]byte, amount *big.Int) error {
	if r.options.Key == nil || amount.Sign() == 0 {
		return nil // the purchase itself says that a wallet is missing
	}
	owner, spender := r.options.Key.Address(), r.identity.Registry
	has, err := r.askToken(ctx, token, selectBalance, owner[:])
	if err != nil {
		return err
	}
	if has.Cmp(amount) < 0 {
		return fmt.Errorf("the purchase: %w: %s holds %v of token %s and the plan costs %v", ErrFunds, wallet.AddressText(owner), has, wallet.AddressText(token), amount)
	}
	allowed, err := r.askToken(ctx, token, selectAllowance, owner[:], spender[:])
	if err != nil || allowed.Cmp(amount) >= 0 {
		return err
	}
	to := common.Address(token)
	_, err = r.send(ctx, "the approval of the token payment", &to, call(selectApprove, spender[:], amount.Bytes()), nil)
	return err
}

// askToken calls a view of the token that answers with one number.
func (r *Registry) askToken(ctx context.Context, token common.Address, selector [4]byte, args ...[]byte) (*big.Int, error) {
	answer, err := r.client.CallContract(ctx, ethereum.CallMsg{To: &token, Data: call(selector, args...)}, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the token at %s: %w", token, node.Clean(err))
	}
	if len(answer) != 32 {
		return nil, fmt.Errorf("the token at %s does not answer as an ERC-20", token)
	}
	return new(big.Int).SetBytes(answer), nil
}

func call(selector [4]byte, args ...[]byte) []byte {
	data := selector[:]
	for _, a := range args {
		data = append(data, common.LeftPadBytes(a, 32)...)
	}
	return data
}
