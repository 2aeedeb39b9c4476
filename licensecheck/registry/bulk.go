package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/fealty/fealty/licensecheck/contract"
)

// page is how many transactions of one wallet wait for a block at once.
const page = 256

// GrantAll writes the same terms for many subjects, a transaction each, without
// waiting for one before it sends the next. It stops when one fails and returns the
// receipts of those that are done, in the order of the subjects.
func (r *Registry) GrantAll(ctx context.Context, model [32]byte, subjects [][32]byte, t Terms) ([]Receipt, error) {
	terms, err := t.encode([20]byte{})
	if err != nil {
		return nil, err
	}
	return r.each(ctx, "the grants", model, subjects, func(subject [32]byte, seq uint64) []byte {
		return bindings.PackGrant(model, subject, terms, seq)
	})
}

// RevokeAll revokes the grants of many subjects, as GrantAll writes them.
func (r *Registry) RevokeAll(ctx context.Context, model [32]byte, subjects [][32]byte) ([]Receipt, error) {
	return r.each(ctx, "the revocations", model, subjects, func(subject [32]byte, seq uint64) []byte {
		return bindings.PackRevoke(model, subject, seq)
	})
}

// packer encodes the write to one subject's grant.
type packer func(subject [32]byte, seq uint64) []byte

func (r *Registry) each(ctx context.Context, what string, model [32]byte, subjects [][32]byte, pack packer) ([]Receipt, error) {
	if r.options.Key == nil || r.options.DryRun {
		return nil, fmt.Errorf("registry: %s need a wallet, and have no dry run", what)
	}
	var done []Receipt
	for len(done) < len(subjects) {
		some, err := r.eachOf(ctx, what, model, subjects[len(done):min(len(done)+page, len(subjects))], pack)
		done = append(done, some...)
		if err != nil {
			return done, fmt.Errorf("registry: after %d of %d: %w", len(done), len(subjects), err)
		}
		r.progress(fmt.Sprintf("%s: %d of %d are in a block", what, len(done), len(subjects)))
	}
	return done, nil
}

func (r *Registry) eachOf(ctx context.Context, what string, model [32]byte, subjects [][32]byte, pack packer) (done []Receipt, err error) {
	seqs, err := r.seqs(ctx, model, subjects)
	if err != nil {
		return nil, err
	}
	next, err := r.next(ctx)
	if err != nil {
		return nil, r.explain(ctx, what, err)
	}
	var sent []*types.Transaction
	var refused error
	for i, subject := range subjects {
		next.Data = pack(subject, seqs[i])
		tx, err := r.fire(ctx, next)
		if err != nil {
			refused = r.explain(ctx, what, err)
			break // those before it are on their way
		}
		next.Nonce++
		sent = append(sent, tx)
	}
	for _, tx := range sent {
		mined, err := r.wait(ctx, tx.Hash())
		if err != nil {
			return done, fmt.Errorf("transaction %s is in no block yet: %w", tx.Hash(), err)
		}
		if mined.Status != types.ReceiptStatusSuccessful {
			return done, r.explain(ctx, what, r.replay(ctx, tx, mined))
		}
		done = append(done, receiptOf(mined))
	}
	return done, refused
}

// seqs reads the sequence numbers that the writes must name.
func (r *Registry) seqs(ctx context.Context, model [32]byte, subjects [][32]byte) ([]uint64, error) {
	var out []uint64
	const most = 64 // far below any node's gas cap for calls
	for from := 0; from < len(subjects); from += most {
		var ask []contract.LicenseRegistryQuery
		for _, s := range subjects[from:min(from+most, len(subjects))] {
			ask = append(ask, contract.LicenseRegistryQuery{ModelId: model, Subject: s})
		}
		got, err := read(ctx, r, "the grants", bindings.PackGrants(ask), bindings.UnpackGrants)
		if err != nil {
			return nil, err
		}
		if len(got.Views) != len(ask) {
			return nil, errors.New("reading the grants: the node answered for another number of subjects")
		}
		for _, v := range got.Views {
			out = append(out, contract.UnpackWord(contract.WordOf(v.Word)).Seq)
		}
	}
	return out, nil
}

// next is the next transaction of this wallet, without data and gas.
func (r *Registry) next(ctx context.Context) (*types.DynamicFeeTx, error) {
	to := common.Address(r.identity.Registry)
	head, err := r.client.HeaderByNumber(ctx, nil)
	if err != nil {
		return nil, err
	}
	tip, err := r.client.SuggestGasTipCap(ctx)
	if err != nil {
		return nil, err
	}
	nonce, err := r.client.PendingNonceAt(ctx, r.options.Key.Address())
	if err != nil {
		return nil, err
	}
	most := new(big.Int).Add(tip, new(big.Int).Mul(head.BaseFee, big.NewInt(2)))
	chain := new(big.Int).SetUint64(r.identity.ChainID)
	return &types.DynamicFeeTx{ChainID: chain, Nonce: nonce, GasTipCap: tip, GasFeeCap: most, To: &to, Value: new(big.Int)}, nil
}

func (r *Registry) fire(ctx context.Context, t *types.DynamicFeeTx) (*types.Transaction, error) {
	gas, err := r.client.EstimateGas(ctx, ethereum.CallMsg{From: r.options.Key.Address(), To: t.To, Data: t.Data})
	if err != nil {
		return nil, err
	}
	t.Gas = gas
	tx, err := r.options.Key.SignTx(types.NewTx(t), t.ChainID)
	if err != nil {
		return nil, err
	}
	return tx, r.client.SendTransaction(ctx, tx)
}
