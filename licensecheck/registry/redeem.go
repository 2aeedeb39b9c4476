package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
)

// Redeem writes the grant of a signed voucher. Any wallet may, for the gas.
func (r *Registry) Redeem(ctx context.Context, s Signed) (Receipt, error) {
	if s.Voucher == nil {
		return Receipt{}, errors.New("registry: this is no voucher; a permit is for buying")
	}
	if err := r.meant(s); err != nil {
		return Receipt{}, err
	}
	v := s.Voucher
	terms, err := v.Terms.encode(v.Controller)
	if err != nil {
		return Receipt{}, err
	}
	data := bindings.PackRedeem(contract.LicenseRegistryVoucher{
		ModelId: v.Model, Subject: v.Subject, Terms: terms, ExpectedSeq: v.Seq, Epoch: v.Epoch,
		Deadline: big.NewInt(v.Deadline.Unix()), Signer: v.Signer,
	}, s.Signature)
	_, receipt, err := write(ctx, r, "the redemption", data, nil, bindings.UnpackGrantChangedEvent)
	return receipt, err
}

// Offer is a permit for the wallet to sign: one duration of a plan, at today's price and
// for its grant as it is now.
func (r *Registry) Offer(ctx context.Context, model [32]byte, subject [20]byte, plan uint32, deadline time.Time) (Permit, error) {
	p, err := r.Plan(ctx, model, plan)
	if err != nil {
		return Permit{}, err
	}
	now, err := r.Show(ctx, model, wallet.Subject(subject))
	if err != nil {
		return Permit{}, err
	}
	return Permit{Model: model, Subject: subject, Plan: plan, Price: p.Price, Token: p.Token, Seq: now.License.Seq, Deadline: deadline}, nil
}

// BuyFor buys for the wallet that signed the permit, and pays for it.
func (r *Registry) BuyFor(ctx context.Context, s Signed) (Receipt, error) {
	if s.Permit == nil {
		return Receipt{}, errors.New("registry: this is no permit; a voucher is redeemed")
	}
	if err := r.meant(s); err != nil {
		return Receipt{}, err
	}
	p := s.Permit
	data := bindings.PackPurchaseFor(contract.LicenseRegistryPermit{
		ModelId: p.Model, Subject: p.Subject, Plan: p.Plan, Price: p.Price, Token: p.Token, ExpectedSeq: p.Seq, Deadline: big.NewInt(p.Deadline.Unix()),
	}, s.Signature)
	return r.buy(ctx, data, p.Token, p.Price)
}

// meant refuses what is signed for elsewhere, or not signed: the contract would only say that the
// signature is wrong.
func (r *Registry) meant(s Signed) error {
	if here := r.Domain(); s.Domain != here {
		return fmt.Errorf("registry: signed for registry %s on chain %d; this is %s on chain %d",
			wallet.AddressText(s.Domain.Registry), s.Domain.ChainID, wallet.AddressText(here.Registry), here.ChainID)
	}
	if len(s.Signature) == 0 {
		return errors.New("registry: it is not signed; sign its typed data (eth_signTypedData_v4) and add the member \"signature\"")
	}
	return nil
}
