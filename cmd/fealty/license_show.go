package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	ledger "github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/redact"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// showCommand is what license show was asked for.
type showCommand struct {
	chain                                         chainFlags
	config, subject, scope, finality, cache, host string
	admin                                         adminFlags
	asJSON                                        bool
}

func newShow() *cobra.Command {
	var c showCommand
	cmd := &cobra.Command{
		Use: "show", Short: "Explain why a caller would be allowed or refused now, layer by layer", Args: noArgs,
		Long: `Show asks, and changes nothing: the running gateway's memory (--gateway), the Redis that
gateways share, the chain at the configured finality and at its newest block, the plan, what was
used today, and the grant of the host. It ends with the decision that a gateway would take, in
the words of its error codes, and what to do about it. With --config it asks what that gateway
asks, and --model may be the name that it serves. An API key may allow less than its license;
show knows no keys. Exit 3: a request would be refused.`,
		Example: "  fealty license show --config serve.yaml --model acme-chat --subject 0x...\n" +
			"  fealty license show --subject 0x... --rpc env:RPC_URL --registry 0x... --model 0x...",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&c.subject, "subject", "", "a wallet's address, or host:DOMAIN")
	f.StringVar(&c.scope, "scope", "chat", "what the request would be: chat, completions, embeddings")
	f.StringVar(&c.config, "config", "", "a gateway's YAML config, in place of --rpc, --registry, --finality, --cache and --host")
	f.StringVar(&c.finality, "finality", "finalized", `from when on a grant counts: latest, safe, finalized, or "N blocks"`)
	f.StringVar(&c.cache, "cache", "", "Redis that gateways share: env:NAME or file:PATH that holds its URL")
	f.StringVar(&c.host, "host", "", "domain of the gateway, to look at its host grant")
	f.BoolVar(&c.asJSON, "json", false, "print one JSON object")
	c.admin.add(cmd)
	c.chain.add(cmd)
	c.chain.addRegistry(cmd)
	c.chain.addModel(cmd)
	for _, flag := range []string{"rpc", "registry", "finality", "cache", "host"} {
		cmd.MarkFlagsMutuallyExclusive("config", flag)
	}
	return cmd
}

// question is what is asked, of whom.
type question struct {
	options licensecheck.Options
	model   [32]byte
	subject [32]byte
	want    policy.Scope
	domain  string // of the host; empty: not looked at
	served  string // the model's name at the gateway; empty: unknown
	state   string // URL of the state store; empty: not asked
	caps    policy.Plan
	rules   string // file of the operator's own; empty: none
}

func (c *showCommand) run(cmd *cobra.Command) error {
	q, err := c.question()
	if err != nil {
		return err
	}
	e, err := c.ask(cmd.Context(), q)
	if err != nil {
		return c.redact(err, q)
	}
	e.conclude(time.Now(), q)
	if c.asJSON {
		err = printJSON(cmd, e)
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), e.text())
	}
	if err == nil && e.Decision != policy.Allowed.String() {
		return fmt.Errorf("%w: a request would be refused: %s", errNotHeld, e.Decision)
	}
	return err
}

// redact keeps the secrets of all URLs out of an error.
func (c *showCommand) redact(err error, q question) error {
	return redact.Error(err, append(slices.Clone(q.options.RPC), q.options.Cache, q.state)...)
}

func (c *showCommand) question() (q question, err error) {
	if q.subject, err = parseSubject(c.subject); err != nil {
		return q, err
	}
	if q.want, err = parseScope(c.scope); err != nil {
		return q, err
	}
	if _, host := wallet.SubjectAddress(q.subject); !host {
		q.want = policy.ScopeHost // a host is asked about as one
	}
	if c.config != "" {
		return q, c.fromConfig(&q)
	}
	return q, c.fromFlags(&q)
}

func (c *showCommand) fromFlags(q *question) (err error) {
	if err := c.chain.needRegistry(); err != nil {
		return err
	}
	if q.model, err = c.chain.modelID(); err != nil {
		return err
	}
	o, err := c.chain.options(nil, nil)
	if err != nil {
		return err
	}
	q.options = licensecheck.Options{RPC: []string{o.RPC}, ChainID: o.ChainID, Registry: o.Registry, Finality: c.finality}
	if c.cache != "" {
		if q.options.Cache, err = secretFlag("--cache", c.cache); err != nil {
			return err
		}
	}
	q.domain = c.host
	return nil
}

func (c *showCommand) fromConfig(q *question) error {
	cfg, err := loadConfig(c.config)
	if err != nil {
		return err
	}
	m, err := servedModel(cfg, c.chain.model)
	if err != nil {
		return err
	}
	if q.options, err = checkerOptions(cfg, m.License); err != nil {
		return err
	}
	url, err := cfg.Redis.State.Resolve()
	if err != nil {
		return err
	}
	q.model, q.domain, q.served, q.state = m.License.ID(), cfg.Host.Domain, m.Name, string(url)
	q.caps, q.rules = policy.Plan(m.Caps), cfg.Rules
	return nil
}

// servedModel is the model with this name, alias or id.
func servedModel(cfg gateway.Config, name string) (gateway.ModelConfig, error) {
	var names []string
	for _, m := range cfg.Models {
		if m.Name == name || slices.Contains(m.Aliases, name) || m.License.Model == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return gateway.ModelConfig{}, usagef("--model: the config serves no %q; it serves %q", name, names)
}

// ask gathers what each layer says. A layer that cannot be asked says so; only a wrong
// question is an error.
func (c *showCommand) ask(ctx context.Context, q question) (*explanation, error) {
	chain, cache, err := licensecheck.Explain(ctx, q.options, q.model, q.subject)
	if err != nil {
		return nil, err
	}
	chain.Err, cache.Err = c.redact(chain.Err, q), c.redact(cache.Err, q)
	e := &explanation{Subject: c.subject, Model: hex0x(q.model[:]), Asked: q.want.String(), Rules: q.rules}
	e.Chain, e.Redis = layerOf(chain), layerOf(cache)
	e.grant, e.found = chain.Grant, chain.Err == nil
	e.chainErr = chain.Err
	if q.options.Cache == "" {
		e.Redis.Note = "not asked: give --cache, or the --config of a gateway"
	}
	e.Memory = c.admin.memory(ctx, q)
	e.Used = q.used(ctx)
	if e.found {
		if err := c.askRegistry(ctx, q, e); err != nil {
			return nil, err
		}
	}
	if q.domain != "" && q.want != policy.ScopeHost {
		e.Host, err = c.hosted(ctx, q)
	}
	return e, err
}

// hosted looks at the host's own grant, in the same two views.
func (c *showCommand) hosted(ctx context.Context, q question) (*hostLayer, error) {
	subject, err := wallet.HostSubject(q.domain)
	if err != nil {
		return nil, usagef("--host: %v", err)
	}
	o := q.options
	o.Cache = ""
	chain, _, err := licensecheck.Explain(ctx, o, q.model, subject)
	if err != nil {
		return nil, err
	}
	h := &hostLayer{Domain: q.domain, Decision: unavailable}
	if chain.Err == nil {
		h.Decision = policy.Standing(time.Now(), chain.Grant, policy.ScopeHost).Reason.String()
	}
	return h, nil
}

// askRegistry finds out who owns the model and what it sells, from the first node that answers.
func (c *showCommand) askRegistry(ctx context.Context, q question, e *explanation) (err error) {
	for _, url := range q.options.RPC {
		if err = e.askNode(ctx, q, url); err == nil {
			break
		}
	}
	return err
}

func (e *explanation) askNode(ctx context.Context, q question, url string) error {
	r, err := registry.Open(ctx, registry.Options{RPC: url, ChainID: q.options.ChainID, Registry: q.options.Registry})
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := r.Model(ctx, q.model)
	if err != nil {
		return err
	}
	e.Owner, e.OnSale = wallet.AddressText(m.Owner), nil
	const most = 20 // plans of an old model are many, and few of them on sale
	for plan := m.Plans; m.Active && plan > 0 && m.Plans-plan < most; plan-- {
		p, err := r.Plan(ctx, q.model, plan)
		if err != nil {
			return err
		}
		if p.OnSale && p.Scope&q.want == q.want {
			e.OnSale = append(e.OnSale, plan)
		}
	}
	slices.Reverse(e.OnSale)
	return nil
}

// used sums what the ledger of the state store has for today.
func (q question) used(ctx context.Context) usedLayer {
	if q.state == "" {
		return usedLayer{Note: "not asked: give the --config of a gateway"}
	}
	store, err := state.Open(q.state)
	if err != nil {
		return usedLayer{Note: "not known: " + err.Error()}
	}
	defer store.Close()
	today := time.Now()
	totals, err := ledger.NewReader(store).Totals(ctx, q.subject, today, today)
	if err != nil {
		if errors.Is(err, ledger.ErrUnavailable) { // its cause may quote an address
			err = ledger.ErrUnavailable
		}
		return usedLayer{Note: "not known: " + err.Error()}
	}
	u := usedLayer{Asked: true}
	for _, t := range totals {
		if t.Model == q.served {
			u.Requests += t.Requests
			u.Tokens += uint64(t.PromptTokens + t.CompletionTokens)
		}
	}
	return u
}
