package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// The commands of owners and issuers, and of those who hand their vouchers in.

// grantFlags are the terms of a license that is not sold.
type grantFlags struct {
	who, scope, controllerText string
	duration                   time.Duration
	plan                       uint32

	subject    [32]byte
	controller [20]byte
	terms      registry.Terms
}

func (g *grantFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&g.who, "subject", "", "a wallet's address, host:DOMAIN, or oidc:ISSUER|SUB")
	cmd.Flags().StringVar(&g.scope, "scope", "chat,completions", "what it allows a wallet: chat, completions, embeddings")
	cmd.Flags().StringVar(&g.controllerText, "controller", "", "the wallet that answers for a host")
	cmd.Flags().DurationVar(&g.duration, "duration", 30*24*time.Hour, "how long it lasts, from now")
	cmd.Flags().Uint32Var(&g.plan, "plan", 0, "the plan whose limits apply; 0: no limits")
}

// parse checks the flags before anything is asked of a node.
func (g *grantFlags) parse() (err error) {
	if g.subject, err = parseSubject(g.who); err != nil {
		return err
	}
	end, err := until("--duration", g.duration)
	if err != nil {
		return err
	}
	g.terms = registry.Terms{NotBefore: time.Now(), NotAfter: end, Plan: g.plan}
	if !strings.HasPrefix(g.who, "host:") {
		if g.controllerText != "" {
			return usagef("--controller: only a host has one")
		}
		g.terms.Scope, err = parseScope(g.scope)
		return err
	}
	g.terms.Scope = policy.ScopeHost
	if g.controller, err = wallet.ParseAddress(g.controllerText); err != nil {
		return usagef("--controller: %v; a host needs the wallet that answers for it", err)
	}
	return nil
}

func until(flag string, d time.Duration) (time.Time, error) {
	if d < time.Second {
		return time.Time{}, usagef("%s: need at least one second, such as 720h", flag)
	}
	return time.Now().Add(d), nil
}

func newGrant() *cobra.Command {
	var t transaction
	var g grantFlags
	cmd := &cobra.Command{
		Use: "grant", Short: "Give a license without a sale; to a host, after you checked who controls its domain", Args: noArgs,
		Example: "  fealty license grant --subject 0x... --duration 24h" + walletExample +
			"\n  fealty license grant --subject host:api.example.com --controller 0x... --duration 8760h" + walletExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.parse(); err != nil {
				return err
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				receipt, err := r.GrantTo(ctx, t.model, g.subject, g.controller, g.terms)
				return mined{What: g.who + " is licensed until " + unix(g.terms.NotAfter.Unix())}, receipt, err
			})
		},
	}
	g.add(cmd)
	return t.onModel(cmd)
}

// voucherCommand is what license voucher was asked for.
type voucherCommand struct {
	grantFlags
	chain      chainFlags
	key        keyFlags
	valid      time.Duration
	signer     string
	seq, epoch uint64
}

func newVoucher() *cobra.Command {
	var c voucherCommand
	cmd := &cobra.Command{
		Use: "voucher", Short: "Sign a license that its holder redeems; prints the voucher", Args: noArgs,
		Long: `Voucher signs a grant as owner or issuer and sends nothing; whoever gets it redeems it once,
for the gas ('fealty license redeem'). It is void after any other write to the same grant, a
revocation above all, and after the model changed hands.

With --rpc the chain says how often the grant was written. Without, on a machine without a
network, give --chain-id, and --seq and --epoch unless they are 0. With --signer and no key it
prints the typed data unsigned (EIP-712), for a wallet or a contract account (ERC-1271) to sign:
add its signature as the member "signature".`,
		Example: "  fealty license voucher --subject 0x... --duration 720h" + walletExample + " > voucher.json" +
			"\n  fealty license voucher --subject 0x... --chain-id 8453 --registry 0x... --model 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	c.grantFlags.add(cmd)
	f := cmd.Flags()
	f.DurationVar(&c.valid, "valid", 7*24*time.Hour, "how long the voucher can be redeemed")
	f.StringVar(&c.signer, "signer", "", "the issuer, if it is not the key's own address: a contract account")
	f.Uint64Var(&c.seq, "seq", 0, "writes to the grant so far; without --rpc")
	f.Uint64Var(&c.epoch, "epoch", 0, "how often the model changed hands; without --rpc")
	c.chain.add(cmd)
	c.chain.addRegistry(cmd)
	c.chain.addModel(cmd)
	c.key.add(cmd)
	return cmd
}

func (c *voucherCommand) run(cmd *cobra.Command) error {
	if err := c.parse(); err != nil {
		return err
	}
	deadline, err := until("--valid", c.valid)
	if err != nil {
		return err
	}
	v := registry.Voucher{Subject: c.subject, Terms: c.terms, Controller: c.controller, Deadline: deadline, Seq: c.seq, Epoch: c.epoch}
	if v.Model, err = c.chain.modelID(); err != nil {
		return err
	}
	key, err := c.signers(&v)
	if err != nil {
		return err
	}
	domain, err := c.look(cmd, &v)
	if err != nil {
		return err
	}
	return printSigned(cmd, registry.Signed{Domain: domain, Voucher: &v}, key)
}

// signers finds out who signs; no key is for those who sign elsewhere.
func (c *voucherCommand) signers(v *registry.Voucher) (key *wallet.Key, err error) {
	if c.key.source != (wallet.Source{}) || c.signer == "" {
		if key, err = c.key.load(); err != nil {
			return nil, err
		}
		v.Signer = key.Address()
	}
	if c.signer != "" {
		if v.Signer, err = wallet.ParseAddress(c.signer); err != nil {
			return nil, usagef("--signer: %v", err)
		}
	}
	return key, nil
}

// look asks the chain for what the voucher depends on, if there is a node to ask.
func (c *voucherCommand) look(cmd *cobra.Command, v *registry.Voucher) (registry.Domain, error) {
	if c.chain.rpc == "" {
		address, err := wallet.ParseAddress(c.chain.registry)
		if err != nil || c.chain.chainID == 0 {
			return registry.Domain{}, usagef("without --rpc, say what the voucher is for: --chain-id N and --registry 0x...")
		}
		return registry.Domain{ChainID: c.chain.chainID, Registry: address}, nil
	}
	if cmd.Flags().Changed("seq") || cmd.Flags().Changed("epoch") {
		return registry.Domain{}, usagef("--seq and --epoch are for signing without a node; --rpc reads them")
	}
	r, err := c.chain.open(cmd.Context(), nil, nil)
	if err != nil {
		return registry.Domain{}, err
	}
	defer r.Close()
	m, err := r.Model(cmd.Context(), v.Model)
	if err != nil {
		return registry.Domain{}, c.chain.redact(err)
	}
	now, err := r.Show(cmd.Context(), v.Model, v.Subject)
	v.Epoch, v.Seq = m.Epoch, now.License.Seq
	return r.Domain(), c.chain.redact(err)
}

func newRedeem() *cobra.Command {
	var t transaction
	cmd := &cobra.Command{
		Use: "redeem FILE", Short: "Hand in a voucher; any wallet may, for the gas", Args: exactArgs("FILE"),
		Example: "  fealty license redeem voucher.json --rpc env:RPC_URL --registry 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, args []string) error {
			signed, err := readSigned(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				receipt, err := r.Redeem(ctx, signed)
				if err != nil {
					return mined{}, receipt, err
				}
				v := signed.Voucher
				return mined{What: subjectText(v.Subject) + " is licensed until " + unix(v.Terms.NotAfter.Unix()), Model: hex0x(v.Model[:])}, receipt, nil
			})
		},
	}
	return t.onRegistry(cmd)
}

// printSigned prints a voucher or permit, signed if there is a key.
func printSigned(cmd *cobra.Command, s registry.Signed, key *wallet.Key) error {
	if key != nil {
		if err := s.Sign(key); err != nil {
			return err
		}
	}
	return printJSON(cmd, s)
}

const largestSigned = 64 << 10 // bytes; a contract account's signature is the largest part

// readSigned reads a voucher or permit; "-" is stdin.
func readSigned(path string, stdin io.Reader) (s registry.Signed, err error) {
	from := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return s, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, largestSigned+1))
	if err != nil {
		return s, err
	}
	if len(text) > largestSigned {
		return s, fmt.Errorf("%s is larger than %d bytes: no voucher or permit is", path, largestSigned)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// newStanding makes the commands that change one grant's status.
func newStanding(verb, short string, write func(*registry.Registry, context.Context, [32]byte, [32]byte) (registry.Receipt, error)) *cobra.Command {
	var t transaction
	var subject string
	cmd := &cobra.Command{
		Use: verb, Short: short, Args: noArgs,
		Example: "  fealty license " + verb + " --subject 0x..." + walletExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := parseSubject(subject)
			if err != nil {
				return err
			}
			return t.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
				receipt, err := write(r, ctx, t.model, id)
				return mined{What: verb + " of " + subject + " done"}, receipt, err
			})
		},
	}
	cmd.Flags().StringVar(&subject, "subject", "", "a wallet's address, or host:DOMAIN")
	return t.onModel(cmd)
}

func unix(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// subjectText is the wallet's address, or a host's hash, whose domain nobody can tell from it.
func subjectText(subject [32]byte) string {
	if address, ok := wallet.SubjectAddress(subject); ok {
		return wallet.AddressText(address)
	}
	return hex0x(subject[:])
}

// parseScope reads the uses of a wallet.
func parseScope(text string) (out policy.Scope, err error) {
	for word := range strings.SplitSeq(text, ",") {
		use, ok := policy.ScopeNamed(strings.TrimSpace(word))
		if !ok || use == policy.ScopeHost {
			return 0, usagef("--scope: %q is none of chat, completions, embeddings", word)
		}
		out |= use
	}
	return out, nil
}
