package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
)

func newLicense() *cobra.Command {
	return group("license", "Register models, and sell, grant, revoke and buy licenses",
		newDeploy(), newRegister(), newCommit(), newPublish(), newTransfer(), newAccept(), newIssuer(),
		newPlan(), newBuy(), newPermit(), newRevenue(),
		newGrant(), newVoucher(), newRedeem(), newDelegate(),
		newStanding("suspend", "Stop a license for now", (*registry.Registry).Suspend),
		newStanding("revoke", "Stop a license; only the model's owner can undo it", (*registry.Registry).Revoke),
		newStanding("reinstate", "Lift a suspension or, as the owner, a revocation", (*registry.Registry).Reinstate),
		newShow())
}

// walletExample ends the example of every command that needs all of this.
const walletExample = " --rpc env:RPC_URL --registry 0x... --model 0x... --keystore me.json --passphrase-file me.pass"

// transaction is what every writing license command shares.
type transaction struct {
	chain  chainFlags
	key    keyFlags
	asJSON bool
	dryRun bool
	wait   time.Duration
	model  [32]byte // of commands about one model
}

func (t *transaction) flags(cmd *cobra.Command) *cobra.Command {
	t.chain.add(cmd)
	t.key.add(cmd)
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&t.dryRun, "dry-run", false, "send nothing; say what would be sent, what it would cost, and whether it would fail")
	cmd.Flags().DurationVar(&t.wait, "wait", 10*time.Minute, "how long to wait for a transaction's block")
	return cmd
}

// onRegistry adds the flags of commands about a registry.
func (t *transaction) onRegistry(cmd *cobra.Command) *cobra.Command {
	t.chain.addRegistry(cmd)
	return t.flags(cmd)
}

// onModel adds the flags of commands about one model.
func (t *transaction) onModel(cmd *cobra.Command) *cobra.Command {
	t.chain.addModel(cmd)
	return t.onRegistry(cmd)
}

// options loads the wallet and resolves the flags; progress goes to stderr.
func (t *transaction) options(cmd *cobra.Command) (o registry.Options, err error) {
	if cmd.Flags().Lookup("model") != nil {
		if t.model, err = t.chain.modelID(); err != nil {
			return o, err
		}
	}
	key, err := t.key.load()
	if err != nil {
		return o, err
	}
	o, err = t.chain.options(key, newProgress(cmd.ErrOrStderr()).line)
	o.DryRun, o.Wait = t.dryRun, t.wait
	return o, err
}

// sender sends what a command is about and says what came of it.
type sender func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error)

// send connects, sends and reports.
func (t *transaction) send(cmd *cobra.Command, do sender) error {
	if err := t.chain.needRegistry(); err != nil {
		return err
	}
	o, err := t.options(cmd)
	if err != nil {
		return err
	}
	r, err := registry.Open(cmd.Context(), o)
	if err != nil {
		return t.chain.redact(err)
	}
	defer r.Close()
	m, receipt, err := do(cmd.Context(), r)
	return t.report(cmd, m, receipt, err)
}

// line prints a progress message as it is.
func (p *progress) line(text string) { p.say("  %s", text) }

// mined is what a writing command reports.
type mined struct {
	What     string `json:"what"`
	Tx       string `json:"tx"`
	Block    uint64 `json:"block"`
	GasUsed  uint64 `json:"gas_used"`
	FeeWei   string `json:"fee_wei"`
	Registry string `json:"registry,omitempty"`
	Model    string `json:"model,omitempty"`
	Number   uint32 `json:"number,omitempty"` // of the plan or the version
	*committed
}

func (t *transaction) report(cmd *cobra.Command, m mined, r registry.Receipt, err error) error {
	var preview *registry.Preview
	if errors.As(err, &preview) {
		return t.chain.redact(t.showPreview(cmd, preview))
	}
	if err != nil {
		return t.chain.redact(err)
	}
	m.Tx, m.Block, m.GasUsed, m.FeeWei = hex0x(r.Tx[:]), r.Block, r.GasUsed, r.Fee.String()
	if t.asJSON {
		return printJSON(cmd, m)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, in block %d (%d gas, %s, transaction %s)\n", m.What, m.Block, m.GasUsed, coins(r.Fee), m.Tx)
	return err
}

// previewed is what a dry run reports.
type previewed struct {
	DryRun     bool       `json:"dry_run"`
	What       string     `json:"what"`
	From       string     `json:"from"`
	To         string     `json:"to,omitempty"` // empty: a deployment
	ValueWei   string     `json:"value_wei"`
	DataBytes  int        `json:"data_bytes"`
	Gas        uint64     `json:"gas"` // 0: it cannot be estimated
	FeeWei     string     `json:"fee_wei"`
	BalanceWei string     `json:"balance_wei"`
	Succeeds   bool       `json:"succeeds"`
	Reason     string     `json:"reason,omitempty"`
	First      *previewed `json:"first,omitempty"` // what would be sent before it
}

func previewOf(p *registry.Preview) *previewed {
	out := &previewed{
		DryRun: true, What: p.What, From: wallet.AddressText(p.From), ValueWei: p.Value.String(), DataBytes: p.Bytes,
		Gas: p.Gas, FeeWei: p.Fee.String(), BalanceWei: p.Balance.String(), Succeeds: p.Refused == nil,
	}
	if p.To != [20]byte{} {
		out.To = wallet.AddressText(p.To)
	}
	if p.Refused != nil {
		out.Reason = p.Refused.Error()
	}
	if p.Before != nil {
		out.First = previewOf(p.Before)
	}
	return out
}

// showPreview answers a dry run: exit 3 says that the transaction would fail.
func (t *transaction) showPreview(cmd *cobra.Command, p *registry.Preview) error {
	var err error
	if t.asJSON {
		err = printJSON(cmd, previewOf(p))
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "nothing was sent\n%s", previewText(p))
	}
	if err == nil && p.Refused != nil {
		return fmt.Errorf("%w: it would fail: %w", errNotHeld, p.Refused)
	}
	return err
}

func previewText(p *registry.Preview) string {
	before := ""
	if p.Before != nil {
		before = previewText(p.Before)
	}
	to := "a new contract"
	if p.To != [20]byte{} {
		to = wallet.AddressText(p.To)
	}
	text := fmt.Sprintf("%s%s: from %s to %s, %s and %d bytes of data\n", before, p.What, wallet.AddressText(p.From), to, coins(p.Value), p.Bytes)
	switch {
	case p.Refused != nil:
		return text + fmt.Sprintf("  would fail: %v\n", p.Refused)
	case p.Before != nil:
		return text + "  its gas can be estimated once what comes first is in a block\n"
	}
	return text + fmt.Sprintf("  would succeed now: about %d gas, %s; the wallet holds %s\n", p.Gas, coins(p.Fee), coins(p.Balance))
}

// coins writes wei, and from a millionth of a coin on in coins too.
func coins(wei *big.Int) string {
	whole, _ := new(big.Rat).SetFrac(wei, big.NewInt(1e18)).Float64()
	if whole < 1e-6 {
		return fmt.Sprintf("%v wei", wei)
	}
	return fmt.Sprintf("%v wei (%.6g coins)", wei, whole)
}
