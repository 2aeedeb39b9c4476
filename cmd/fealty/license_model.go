package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/licensecheck/registry"
)

// The commands of a model's owner.

func newDeploy() *cobra.Command {
	var t transaction
	var delay uint64
	cmd := &cobra.Command{
		Use: "deploy", Short: "Put a license registry on a chain", Args: noArgs,
		Example: "  fealty license deploy --rpc env:RPC_URL --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if delay == 0 {
				return usagef("--draw-delay: need at least 1 block, 128 on Ethereum")
			}
			o, err := t.options(cmd)
			if err != nil {
				return err
			}
			r, receipt, err := registry.Deploy(cmd.Context(), o, delay)
			if err != nil {
				return t.report(cmd, mined{}, receipt, err)
			}
			defer r.Close()
			address := wallet.AddressText(r.Address())
			return t.report(cmd, mined{What: "registry " + address + " deployed", Registry: address}, receipt, nil)
		},
	}
	cmd.Flags().Uint64Var(&delay, "draw-delay", 128, "blocks from a commitment of fingerprints to the block that draws their responses")
	return t.flags(cmd)
}

func newRegister() *cobra.Command {
	var t transaction
	var salt string
	cmd := &cobra.Command{
		Use: "register", Short: "Register a model of yours; prints its id", Args: noArgs,
		Example: "  fealty license register --rpc env:RPC_URL --registry 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var s [32]byte
			rand.Read(s[:]) // never fails
			if salt != "" {
				if s, err = parse32("--salt", salt); err != nil {
					return err
				}
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				id, receipt, err := r.Register(ctx, s)
				model := hex0x(id[:])
				return mined{What: "model " + model + " registered", Model: model}, receipt, err
			})
		},
	}
	cmd.Flags().StringVar(&salt, "salt", "", "32 bytes that the model's id is made from; random if not given")
	return t.onRegistry(cmd)
}

func newPublish() *cobra.Command {
	var t transaction
	cmd := &cobra.Command{
		Use: "publish DIR", Short: "Publish the digest of served weights as the model's next version", Args: exactArgs("DIR"),
		Example: "  fealty license publish ./served" + walletExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := weights.VerifyManifest(args[0]); err != nil {
				return err
			}
			digest, err := weights.ManifestDigest(args[0])
			if err != nil {
				return err
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				version, receipt, err := r.Publish(ctx, t.model, digest)
				return mined{What: fmt.Sprintf("version %d published", version), Number: version}, receipt, err
			})
		},
	}
	return t.onModel(cmd)
}

func newTransfer() *cobra.Command {
	var t transaction
	cmd := &cobra.Command{
		Use: "transfer ADDRESS", Short: "Offer a model to another wallet, which has to accept it", Args: exactArgs("ADDRESS"),
		Example: "  fealty license transfer 0x..." + walletExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := wallet.ParseAddress(args[0])
			if err != nil {
				return usageError{err}
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				receipt, err := r.Transfer(ctx, t.model, to)
				return mined{What: "model offered to " + args[0]}, receipt, err
			})
		},
	}
	return t.onModel(cmd)
}

func newAccept() *cobra.Command {
	var t transaction
	cmd := &cobra.Command{
		Use: "accept", Short: "Take over a model that was offered to your wallet; its issuers and vouchers become void", Args: noArgs,
		Example: "  fealty license accept" + walletExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				receipt, err := r.Accept(ctx, t.model)
				return mined{What: "the model is yours"}, receipt, err
			})
		},
	}
	return t.onModel(cmd)
}

func newIssuer() *cobra.Command {
	var t transaction
	var remove bool
	cmd := &cobra.Command{
		Use: "issuer ADDRESS", Short: "Let another wallet grant, suspend and revoke, or no longer", Args: exactArgs("ADDRESS"),
		Example: "  fealty license issuer 0x..." + walletExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := wallet.ParseAddress(args[0])
			if err != nil {
				return usageError{err}
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				receipt, err := r.SetIssuer(ctx, t.model, who, !remove)
				if remove {
					return mined{What: args[0] + " is no issuer any more"}, receipt, err
				}
				return mined{What: args[0] + " may issue licenses"}, receipt, err
			})
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the right away")
	return t.onModel(cmd)
}
