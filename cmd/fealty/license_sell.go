package main

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
)

// The commands about plans and purchases.

// planCommand is what license plan was asked for.
type planCommand struct {
	transaction
	registry.Plan
	price, token, scope string
	stop, resume        uint32
}

func newPlan() *cobra.Command {
	c := planCommand{Plan: registry.Plan{OnSale: true}}
	cmd := &cobra.Command{
		Use: "plan", Short: "Put a plan on sale, or take one off; a plan never changes once it is there", Args: noArgs,
		Example: "  fealty license plan --price 10000000000000000 --duration 720h --rpm 60 --tokens-per-day 1000000" + walletExample +
			"\n  fealty license plan --stop 1" + walletExample,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&c.price, "price", "0", "per duration, in the token's smallest unit (wei)")
	f.StringVar(&c.token, "token", "", "ERC-20 contract; the chain's coin if not given")
	f.StringVar(&c.scope, "scope", "chat,completions", "what it allows: chat, completions, embeddings")
	f.DurationVar(&c.Duration, "duration", 30*24*time.Hour, "how long one purchase lasts, in whole seconds")
	f.Uint32Var(&c.RPM, "rpm", 0, "requests per minute; 0: no limit")
	f.Uint64Var(&c.TokensPerDay, "tokens-per-day", 0, "prompt and completion tokens per UTC day; 0: no limit")
	f.Uint32Var(&c.stop, "stop", 0, "number of a plan to take off sale, instead of adding one")
	f.Uint32Var(&c.resume, "resume", 0, "number of a plan to put on sale again, instead of adding one")
	cmd.MarkFlagsMutuallyExclusive("stop", "resume", "price")
	return c.onModel(cmd)
}

func (c *planCommand) run(cmd *cobra.Command) error {
	if number := max(c.stop, c.resume); number != 0 {
		return c.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
			receipt, err := r.SetOnSale(ctx, c.model, number, c.resume != 0)
			words := map[bool]string{true: "on", false: "off"}
			return mined{What: fmt.Sprintf("plan %d is %s sale", number, words[c.resume != 0]), Number: number}, receipt, err
		})
	}
	if err := c.terms(); err != nil {
		return err
	}
	return c.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
		number, receipt, err := r.SetPlan(ctx, c.model, c.Plan)
		return mined{What: fmt.Sprintf("plan %d is on sale", number), Number: number}, receipt, err
	})
}

func (c *planCommand) terms() (err error) {
	var ok bool
	if c.Price, ok = new(big.Int).SetString(c.price, 10); !ok || c.Price.Sign() < 0 || c.Price.BitLen() > 128 {
		return usagef("--price: need a whole number of the token's smallest unit (wei), from 0 to 2^128-1")
	}
	if c.Duration < time.Second || c.Duration%time.Second != 0 {
		return usagef("--duration: need whole seconds, at least one, such as 720h")
	}
	if c.Scope, err = parseScope(c.scope); err != nil || c.token == "" {
		return err
	}
	if c.Token, err = wallet.ParseAddress(c.token); err != nil {
		return usagef("--token: %v", err)
	}
	return nil
}

func newBuy() *cobra.Command {
	var t transaction
	var plan uint32
	var switching bool
	var permit string
	cmd := &cobra.Command{
		Use: "buy", Short: "Buy a license, or extend it", Args: noArgs,
		Long: `Buy pays one duration of a plan for your wallet, in the chain's coin or in the plan's token,
which it approves first. A running license is extended if it is under the same plan; --switch
moves it to another plan now and gives up what was left. With --permit it pays for the wallet
that signed the permit ('fealty license permit').`,
		Example: "  fealty license buy --plan 1" + walletExample + "\n  fealty license buy --permit theirs.json" + walletExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if permit != "" {
				return t.buyFor(cmd, permit)
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				buy := r.Buy
				if switching {
					buy = r.SwitchPlan
				}
				receipt, err := buy(ctx, t.model, plan)
				return mined{What: fmt.Sprintf("bought plan %d", plan), Number: plan}, receipt, err
			})
		},
	}
	cmd.Flags().Uint32Var(&plan, "plan", 1, "number of the plan")
	cmd.Flags().BoolVar(&switching, "switch", false, "move a running license to this plan, giving up what is left of it")
	cmd.Flags().StringVar(&permit, "permit", "", "file with another wallet's permit, to pay for it")
	cmd.MarkFlagsMutuallyExclusive("permit", "plan")
	cmd.MarkFlagsMutuallyExclusive("permit", "switch")
	return t.onModel(cmd)
}

func (t *transaction) buyFor(cmd *cobra.Command, path string) error {
	signed, err := readSigned(path, cmd.InOrStdin())
	if err != nil {
		return err
	}
	return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
		if signed.Permit != nil && signed.Permit.Model != t.model {
			return mined{}, registry.Receipt{}, fmt.Errorf("--permit: it is for model 0x%x, not for --model", signed.Permit.Model)
		}
		receipt, err := r.BuyFor(ctx, signed)
		if err != nil {
			return mined{}, receipt, err
		}
		who := wallet.AddressText(signed.Permit.Subject)
		return mined{What: fmt.Sprintf("bought plan %d for %s", signed.Permit.Plan, who), Number: signed.Permit.Plan}, receipt, nil
	})
}

func newPermit() *cobra.Command {
	var chain chainFlags
	var key keyFlags
	var plan uint32
	var valid time.Duration
	cmd := &cobra.Command{
		Use: "permit", Short: "Sign that somebody else may buy a license for your wallet; prints the permit", Args: noArgs,
		Long: `Permit signs your wallet's consent to one purchase: this plan, at its present price, for your
license as it stands now. Nothing is sent and it costs nothing. Whoever pays hands it in with
'fealty license buy --permit'.`,
		Example: "  fealty license permit --plan 1" + walletExample + " > permit.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			deadline, err := until("--valid", valid)
			if err != nil {
				return err
			}
			model, err := chain.modelID()
			if err != nil {
				return err
			}
			k, err := key.load()
			if err != nil {
				return err
			}
			r, err := chain.open(cmd.Context(), k, nil)
			if err != nil {
				return err
			}
			defer r.Close()
			offer, err := r.Offer(cmd.Context(), model, k.Address(), plan, deadline)
			if err != nil {
				return chain.redact(err)
			}
			return printSigned(cmd, registry.Signed{Domain: r.Domain(), Permit: &offer}, k)
		},
	}
	cmd.Flags().Uint32Var(&plan, "plan", 1, "number of the plan")
	cmd.Flags().DurationVar(&valid, "valid", 24*time.Hour, "how long the permit is good")
	chain.add(cmd)
	chain.addRegistry(cmd)
	chain.addModel(cmd)
	key.add(cmd)
	return cmd
}
