package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

func newLicense() *cobra.Command {
	return group("license", "Register models, and sell, grant, revoke and buy licenses",
		newDeploy(), newRegister(), newPublish(), newPlan(), newGrant(), newBuy(),
		newStanding("suspend", "Stop a license for now", (*registry.Registry).Suspend),
		newStanding("revoke", "Stop a license; only the model's owner can undo it", (*registry.Registry).Revoke),
		newStanding("reinstate", "Lift a suspension or, as the owner, a revocation", (*registry.Registry).Reinstate),
		newShow())
}

// transaction is what every writing license command shares.
type transaction struct {
	chain  chainFlags
	key    keyFlags
	asJSON bool
}

func (t *transaction) flags(cmd *cobra.Command) {
	t.chain.add(cmd)
	t.key.add(cmd)
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "print one JSON object")
}

// onModel adds the flags of commands about one model.
func (t *transaction) onModel(cmd *cobra.Command) *cobra.Command {
	t.flags(cmd)
	t.chain.addRegistry(cmd)
	t.chain.addModel(cmd)
	return cmd
}

// open loads the wallet and connects; progress goes to stderr.
func (t *transaction) open(cmd *cobra.Command) (*registry.Registry, [32]byte, error) {
	model, err := t.chain.modelID()
	if err != nil {
		return nil, model, err
	}
	key, err := t.key.load()
	if err != nil {
		return nil, model, err
	}
	r, err := t.chain.open(cmd.Context(), key, newProgress(cmd.ErrOrStderr()).line)
	return r, model, err
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
}

func (t *transaction) report(cmd *cobra.Command, m mined, r registry.Receipt) error {
	m.Tx, m.Block, m.GasUsed, m.FeeWei = fmt.Sprintf("0x%x", r.Tx), r.Block, r.GasUsed, r.Fee.String()
	if t.asJSON {
		return printJSON(cmd, m)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s, in block %d (%d gas, transaction %s)\n", m.What, m.Block, m.GasUsed, m.Tx)
	return err
}

func newDeploy() *cobra.Command {
	var t transaction
	var delay uint64
	cmd := &cobra.Command{
		Use: "deploy", Short: "Put a license registry on a chain", Args: noArgs,
		Example: "  fealty license deploy --rpc env:RPC_URL --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := t.key.load()
			if err != nil {
				return err
			}
			o, err := t.chain.options(key, newProgress(cmd.ErrOrStderr()).line)
			if err != nil {
				return err
			}
			r, receipt, err := registry.Deploy(cmd.Context(), o, delay)
			if err != nil {
				return err
			}
			defer r.Close()
			address := wallet.AddressText(r.Address())
			return t.report(cmd, mined{What: "registry " + address + " deployed", Registry: address}, receipt)
		},
	}
	t.flags(cmd)
	cmd.Flags().Uint64Var(&delay, "draw-delay", 128, "blocks from a commitment of fingerprints to the block that draws their responses")
	return cmd
}

func newRegister() *cobra.Command {
	var t transaction
	var salt string
	cmd := &cobra.Command{
		Use: "register", Short: "Register a model of yours; prints its id", Args: noArgs,
		Example: "  fealty license register --rpc env:RPC_URL --registry 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s [32]byte
			rand.Read(s[:]) // never fails
			if salt != "" {
				var err error
				if s, err = parse32("--salt", salt); err != nil {
					return err
				}
			}
			key, err := t.key.load()
			if err != nil {
				return err
			}
			r, err := t.chain.open(cmd.Context(), key, newProgress(cmd.ErrOrStderr()).line)
			if err != nil {
				return err
			}
			defer r.Close()
			id, receipt, err := r.Register(cmd.Context(), s)
			if err != nil {
				return err
			}
			model := fmt.Sprintf("0x%x", id)
			return t.report(cmd, mined{What: "model " + model + " registered", Model: model}, receipt)
		},
	}
	t.flags(cmd)
	t.chain.addRegistry(cmd)
	cmd.Flags().StringVar(&salt, "salt", "", "32 bytes that the model's id is made from; random if not given")
	return cmd
}

func newPublish() *cobra.Command {
	var t transaction
	cmd := &cobra.Command{
		Use: "publish DIR", Short: "Publish the digest of served weights as the model's next version", Args: exactArgs("DIR"),
		Example: "  fealty license publish ./served --rpc env:RPC_URL --registry 0x... --model 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := weights.VerifyManifest(args[0]); err != nil {
				return err
			}
			digest, err := weights.ManifestDigest(args[0])
			if err != nil {
				return err
			}
			r, model, err := t.open(cmd)
			if err != nil {
				return err
			}
			defer r.Close()
			version, receipt, err := r.Publish(cmd.Context(), model, digest)
			if err != nil {
				return err
			}
			return t.report(cmd, mined{What: fmt.Sprintf("version %d published", version), Number: version}, receipt)
		},
	}
	return t.onModel(cmd)
}

func newPlan() *cobra.Command {
	var t transaction
	var price, token, scope string
	plan := registry.Plan{OnSale: true}
	cmd := &cobra.Command{
		Use: "plan", Short: "Put a plan on sale; a plan never changes once it is there", Args: noArgs,
		Example: "  fealty license plan --price 10000000000000000 --duration 720h --rpm 60 --tokens-per-day 1000000 --rpc ...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			amount, ok := new(big.Int).SetString(price, 10)
			if !ok || amount.Sign() < 0 {
				return usagef("--price: need a whole number of the token's smallest unit (wei), 0 or more")
			}
			plan.Price = amount
			var err error
			if plan.Scope, err = parseScope(scope); err != nil {
				return err
			}
			if token != "" {
				if plan.Token, err = wallet.ParseAddress(token); err != nil {
					return usagef("--token: %v", err)
				}
			}
			r, model, err := t.open(cmd)
			if err != nil {
				return err
			}
			defer r.Close()
			number, receipt, err := r.SetPlan(cmd.Context(), model, plan)
			if err != nil {
				return err
			}
			return t.report(cmd, mined{What: fmt.Sprintf("plan %d is on sale", number), Number: number}, receipt)
		},
	}
	cmd.Flags().StringVar(&price, "price", "0", "per duration, in the token's smallest unit (wei)")
	cmd.Flags().StringVar(&token, "token", "", "ERC-20 contract; the chain's coin if not given")
	cmd.Flags().StringVar(&scope, "scope", "chat,completions", "what it allows: chat, completions, embeddings")
	cmd.Flags().DurationVar(&plan.Duration, "duration", 30*24*time.Hour, "how long one purchase lasts")
	cmd.Flags().Uint32Var(&plan.RPM, "rpm", 0, "requests per minute; 0: no limit")
	cmd.Flags().Uint64Var(&plan.TokensPerDay, "tokens-per-day", 0, "prompt and completion tokens per UTC day; 0: no limit")
	return t.onModel(cmd)
}

func newGrant() *cobra.Command {
	var t transaction
	var subject, scope, controller string
	var duration time.Duration
	var plan uint32
	cmd := &cobra.Command{
		Use: "grant", Short: "Give a license without a sale; to a host, after you checked who controls its domain", Args: noArgs,
		Example: "  fealty license grant --subject 0x... --duration 24h --rpc ...\n  fealty license grant --subject host:api.example.com --controller 0x... --duration 8760h --rpc ...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, model, err := t.open(cmd)
			if err != nil {
				return err
			}
			defer r.Close()
			terms := registry.Terms{NotBefore: time.Now(), NotAfter: time.Now().Add(duration), Plan: plan}
			receipt, err := grant(cmd.Context(), r, model, subject, scope, controller, terms)
			if err != nil {
				return err
			}
			return t.report(cmd, mined{What: subject + " is licensed until " + terms.NotAfter.UTC().Format(time.RFC3339)}, receipt)
		},
	}
	cmd.Flags().StringVar(&subject, "subject", "", "a wallet's address, or host:DOMAIN")
	cmd.Flags().StringVar(&scope, "scope", "chat,completions", "what it allows a wallet: chat, completions, embeddings")
	cmd.Flags().StringVar(&controller, "controller", "", "the wallet that answers for a host")
	cmd.Flags().DurationVar(&duration, "duration", 30*24*time.Hour, "how long it lasts, from now")
	cmd.Flags().Uint32Var(&plan, "plan", 0, "the plan whose limits apply; 0: no limits")
	return t.onModel(cmd)
}

func grant(ctx context.Context, r *registry.Registry, model [32]byte, subject, scope, controller string, terms registry.Terms) (registry.Receipt, error) {
	if domain, host := strings.CutPrefix(subject, "host:"); host {
		address, err := wallet.ParseAddress(controller)
		if err != nil {
			return registry.Receipt{}, usagef("--controller: %v; a host needs the wallet that answers for it", err)
		}
		return r.GrantHost(ctx, model, domain, address, terms)
	}
	id, err := parseSubject("--subject", subject)
	if err != nil {
		return registry.Receipt{}, err
	}
	if terms.Scope, err = parseScope(scope); err != nil {
		return registry.Receipt{}, err
	}
	return r.Grant(ctx, model, id, terms)
}

func newBuy() *cobra.Command {
	var t transaction
	var plan uint32
	cmd := &cobra.Command{
		Use: "buy", Short: "Buy a license for your wallet, or extend it", Args: noArgs,
		Example: "  fealty license buy --plan 1 --rpc env:RPC_URL --registry 0x... --model 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, model, err := t.open(cmd)
			if err != nil {
				return err
			}
			defer r.Close()
			receipt, err := r.Buy(cmd.Context(), model, plan)
			if err != nil {
				return err
			}
			return t.report(cmd, mined{What: fmt.Sprintf("bought plan %d", plan), Number: plan}, receipt)
		},
	}
	cmd.Flags().Uint32Var(&plan, "plan", 1, "number of the plan")
	return t.onModel(cmd)
}

// newStanding makes the commands that change one grant's status.
func newStanding(verb, short string, write func(*registry.Registry, context.Context, [32]byte, [32]byte) (registry.Receipt, error)) *cobra.Command {
	var t transaction
	var subject string
	cmd := &cobra.Command{
		Use: verb, Short: short, Args: noArgs,
		Example: "  fealty license " + verb + " --subject 0x... --rpc env:RPC_URL --registry 0x... --model 0x... --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := parseSubject("--subject", subject)
			if err != nil {
				return err
			}
			r, model, err := t.open(cmd)
			if err != nil {
				return err
			}
			defer r.Close()
			receipt, err := write(r, cmd.Context(), model, id)
			if err != nil {
				return err
			}
			return t.report(cmd, mined{What: verb + " of " + subject + " done"}, receipt)
		},
	}
	cmd.Flags().StringVar(&subject, "subject", "", "a wallet's address, or host:DOMAIN")
	return t.onModel(cmd)
}

func newShow() *cobra.Command {
	var chain chainFlags
	var subject string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show", Short: "Say what the chain grants to a subject, and whether it allows a request now", Args: noArgs,
		Example: "  fealty license show --subject 0x... --rpc env:RPC_URL --registry 0x... --model 0x...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := parseSubject("--subject", subject)
			if err != nil {
				return err
			}
			model, err := chain.modelID()
			if err != nil {
				return err
			}
			r, err := chain.open(cmd.Context(), nil, nil)
			if err != nil {
				return err
			}
			defer r.Close()
			s, err := r.Show(cmd.Context(), model, id)
			if err != nil {
				return err
			}
			return showStanding(cmd, subject, s, asJSON)
		},
	}
	chain.add(cmd)
	chain.addRegistry(cmd)
	chain.addModel(cmd)
	cmd.Flags().StringVar(&subject, "subject", "", "a wallet's address, or host:DOMAIN")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func showStanding(cmd *cobra.Command, subject string, s registry.Standing, asJSON bool) error {
	l := s.License
	grant := policy.Grant{Final: l, Latest: l, Plan: s.Plan}
	decision := policy.Standing(time.Now(), grant, l.Scope)
	if asJSON {
		return printJSON(cmd, map[string]any{
			"subject": subject, "block": s.Block, "decision": decision.Reason.String(), "seq": l.Seq, "status": l.Status,
			"not_before": l.NotBefore, "not_after": l.NotAfter, "scope": scopeText(l.Scope), "plan": l.PlanVersion,
			"rpm": s.Plan.RPM, "tokens_per_day": s.Plan.TokensPerDay,
		})
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s at block %d: %s\n", subject, s.Block, decision.Reason)
	if l.Seq == 0 {
		_, err := fmt.Fprintln(out, "  no grant was ever written")
		return err
	}
	fmt.Fprintf(out, "  from %s until %s\n", unix(l.NotBefore), unix(l.NotAfter))
	fmt.Fprintf(out, "  scope %s, plan %d, %d requests per minute, %d tokens per day (0: no limit)\n",
		scopeText(l.Scope), l.PlanVersion, s.Plan.RPM, s.Plan.TokensPerDay)
	_, err := fmt.Fprintf(out, "  write %d of this grant\n", l.Seq)
	return err
}

func unix(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

var scopes = []struct {
	name string
	bit  policy.Scope
}{
	{"chat", policy.ScopeChat}, {"completions", policy.ScopeCompletions},
	{"embeddings", policy.ScopeEmbeddings}, {"host", policy.ScopeHost},
}

func parseScope(text string) (policy.Scope, error) {
	var out policy.Scope
next:
	for _, word := range strings.Split(text, ",") {
		for _, s := range scopes {
			if strings.TrimSpace(word) == s.name && s.bit != policy.ScopeHost {
				out |= s.bit
				continue next
			}
		}
		return 0, usagef("--scope: %q is none of chat, completions, embeddings", word)
	}
	return out, nil
}

func scopeText(scope policy.Scope) string {
	var names []string
	for _, s := range scopes {
		if scope&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ",")
}
