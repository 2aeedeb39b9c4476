package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/policy"
)

// SetPlan adds a plan to a model and returns its number. A price change is a new
// plan, with the old one taken off sale.
func (r *Registry) SetPlan(ctx context.Context, model [32]byte, p Plan) (uint32, Receipt, error) {
	price := p.Price
	if price == nil {
		price = new(big.Int)
	}
	if p.Duration < time.Second || p.Duration%time.Second != 0 {
		return 0, Receipt{}, fmt.Errorf("registry: a plan's duration is %v; it must be whole seconds, at least one", p.Duration)
	}
	if price.Sign() < 0 || price.BitLen() > 128 {
		return 0, Receipt{}, fmt.Errorf("registry: a plan's price is %v; it must be from 0 to 2^128-1", price)
	}
	terms := contract.RegistryStatePlan{
		Price: price, Duration: big.NewInt(int64(p.Duration / time.Second)), Scope: uint32(p.Scope),
		Rpm: p.RPM, OnSale: p.OnSale, Token: p.Token, TokensPerDay: p.TokensPerDay,
	}
	event, receipt, err := write(ctx, r, "the plan", bindings.PackAddPlan(model, terms), nil, bindings.UnpackPlanAddedEvent)
	if err != nil {
		return 0, Receipt{}, err
	}
	return event.Plan, receipt, nil
}

// Plan reads a plan.
func (r *Registry) Plan(ctx context.Context, model [32]byte, plan uint32) (Plan, error) {
	p, err := read(ctx, r, "the plan", bindings.PackPlanOf(model, plan), bindings.UnpackPlanOf)
	if err != nil {
		return Plan{}, err
	}
	if p.Duration.Sign() == 0 {
		return Plan{}, fmt.Errorf("registry: the model has no plan %d", plan)
	}
	return Plan{
		Price: p.Price, Token: p.Token, Duration: time.Duration(p.Duration.Int64()) * time.Second,
		Scope: policy.Scope(p.Scope), RPM: p.Rpm, TokensPerDay: p.TokensPerDay, OnSale: p.OnSale,
	}, nil
}

// SetOnSale puts a plan on sale, or takes it off.
func (r *Registry) SetOnSale(ctx context.Context, model [32]byte, plan uint32, onSale bool) (Receipt, error) {
	_, receipt, err := write(ctx, r, "the change of sale", bindings.PackSetOnSale(model, plan, onSale), nil, bindings.UnpackPlanOnSaleEvent)
	return receipt, err
}

// Terms are what an owner or issuer grants.
type Terms struct {
	NotBefore time.Time // inclusive, to the second
	NotAfter  time.Time // exclusive, to the second
	Scope     policy.Scope
	Plan      uint32 // whose limits apply; zero: none
}

func (t Terms) encode(controller [20]byte) (contract.LicenseRegistryTerms, error) {
	from, to := t.NotBefore.Unix(), t.NotAfter.Unix()
	if min(from, to) < 0 || max(from, to) >= 1<<40 {
		return contract.LicenseRegistryTerms{}, errors.New("registry: the license's times must lie between 1970 and the year 36812")
	}
	return contract.LicenseRegistryTerms{
		NotBefore: big.NewInt(from), NotAfter: big.NewInt(to), Scope: uint32(t.Scope), Plan: t.Plan, Controller: controller,
	}, nil
}

func termsOf(t contract.LicenseRegistryTerms) Terms {
	return Terms{
		NotBefore: time.Unix(t.NotBefore.Int64(), 0), NotAfter: time.Unix(t.NotAfter.Int64(), 0), Scope: policy.Scope(t.Scope), Plan: t.Plan,
	}
}

// Standing is one grant as the registry holds it at a block.
type Standing struct {
	License    policy.License
	Head       [32]byte // commits to the grant's whole history
	Controller [20]byte // of a host grant
	Plan       policy.Plan
	Block      uint64
	Time       time.Time // of the block
}

// Show reads the grant of a subject at the newest block.
func (r *Registry) Show(ctx context.Context, model, subject [32]byte) (Standing, error) {
	query := []contract.LicenseRegistryQuery{{ModelId: model, Subject: subject}}
	out, err := read(ctx, r, "the grant", bindings.PackGrants(query), bindings.UnpackGrants)
	if err != nil {
		return Standing{}, err
	}
	if len(out.Views) != 1 {
		return Standing{}, fmt.Errorf("registry: reading the grant: the node answered with %d grants, not 1", len(out.Views))
	}
	v := out.Views[0]
	return Standing{
		License: contract.UnpackWord(contract.WordOf(v.Word)), Head: v.Head, Controller: v.Controller,
		Plan: contract.PlanOf(v.Plan), Block: out.Number.Uint64(), Time: time.Unix(out.Timestamp.Int64(), 0),
	}, nil
}

// Grant writes terms for a subject, as owner or issuer.
func (r *Registry) Grant(ctx context.Context, model, subject [32]byte, t Terms) (Receipt, error) {
	return r.GrantTo(ctx, model, subject, [20]byte{}, t)
}

// GrantHost lets the provider at a domain serve the model to others; the controller is
// the wallet that answers for it. The scope gets policy.ScopeHost. Whether the wallet
// really controls the domain must be known before.
func (r *Registry) GrantHost(ctx context.Context, model [32]byte, domain string, controller [20]byte, t Terms) (Receipt, error) {
	subject, err := wallet.HostSubject(domain)
	if err != nil {
		return Receipt{}, fmt.Errorf("registry: %w", err)
	}
	t.Scope |= policy.ScopeHost
	return r.GrantTo(ctx, model, subject, controller, t)
}

// GrantTo writes terms for a subject, with the controller that a host grant has.
func (r *Registry) GrantTo(ctx context.Context, model, subject [32]byte, controller [20]byte, t Terms) (Receipt, error) {
	terms, err := t.encode(controller)
	if err != nil {
		return Receipt{}, err
	}
	return r.change(ctx, "the grant", model, subject, func(seq uint64) []byte {
		return bindings.PackGrant(model, subject, terms, seq)
	})
}

// Suspend stops a license for now, as owner or issuer.
func (r *Registry) Suspend(ctx context.Context, model, subject [32]byte) (Receipt, error) {
	return r.change(ctx, "the suspension", model, subject, func(seq uint64) []byte { return bindings.PackSuspend(model, subject, seq) })
}

// Revoke stops a license for good, as owner or issuer; only the owner can undo it.
func (r *Registry) Revoke(ctx context.Context, model, subject [32]byte) (Receipt, error) {
	return r.change(ctx, "the revocation", model, subject, func(seq uint64) []byte { return bindings.PackRevoke(model, subject, seq) })
}

// Reinstate lifts a suspension, or as the owner a revocation.
func (r *Registry) Reinstate(ctx context.Context, model, subject [32]byte) (Receipt, error) {
	return r.change(ctx, "the reinstatement", model, subject, func(seq uint64) []byte { return bindings.PackReinstate(model, subject, seq) })
}

// change writes to a grant in the state that was just read: should another write
// come first, the registry refuses this one.
func (r *Registry) change(ctx context.Context, what string, model, subject [32]byte, pack func(seq uint64) []byte) (Receipt, error) {
	now, err := r.Show(ctx, model, subject)
	if err != nil {
		return Receipt{}, err
	}
	_, receipt, err := write(ctx, r, what, pack(now.License.Seq), nil, bindings.UnpackGrantChangedEvent)
	return receipt, err
}

// Buy buys one duration of a plan for the wallet, or extends what it has. It pays the
// plan's price, in the chain's coin or in its token, which it approves first.
func (r *Registry) Buy(ctx context.Context, model [32]byte, plan uint32) (Receipt, error) {
	p, err := r.Plan(ctx, model, plan)
	if err != nil {
		return Receipt{}, err
	}
	return r.buy(ctx, bindings.PackPurchase(model, plan, p.Price, p.Token), p.Token, p.Price)
}

// SwitchPlan moves the wallet's license to another plan, now. What was left of the old
// term is given up.
func (r *Registry) SwitchPlan(ctx context.Context, model [32]byte, plan uint32) (Receipt, error) {
	if r.options.Key == nil {
		return Receipt{}, errors.New("registry: the change of plan needs a wallet")
	}
	p, err := r.Plan(ctx, model, plan)
	if err != nil {
		return Receipt{}, err
	}
	now, err := r.Show(ctx, model, wallet.Subject(r.options.Key.Address()))
	if err != nil {
		return Receipt{}, err
	}
	return r.buy(ctx, bindings.PackSwitchPlan(model, plan, p.Price, p.Token, now.License.Seq), p.Token, p.Price)
}
