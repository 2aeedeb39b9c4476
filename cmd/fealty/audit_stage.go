package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/atomicfile"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// A stage is a gateway with licensees in every state a license can be in, and
// switches for what can fail. It is what k6/ plays against when there is no other
// gateway to test: everything is real and in this process.
type stage struct {
	demo
	out     string // folder of what the scripts read
	weights string
	rate    float64 // of the inverse nucleus
	redis   *relay
	rpc, ws *relay

	credentials credentials
}

// credentials are what k6/enforce.js sends, by the state that they are in.
type credentials struct {
	Licensed  []string          `json:"licensed"`
	Revocable string            `json:"revocable"` // licensed; the control's /revoke ends that
	Refused   map[string]string `json:"refused"`   // by the row of the refusal matrix
}

func newAuditStage() *cobra.Command {
	var s stage
	cmd := &cobra.Command{
		Use:   "stage",
		Short: "Bring up a gateway with licensees in every state, for the scripts in k6/",
		Long: `Stage runs a chain, a Redis, a model and the gateway in this process, as the demo does, and
makes one licensee for each way of being refused: unpaid, expired, too early, suspended,
revoked, without the scope; and API keys that are expired, revoked, or have no rate or quota
left. It writes their credentials into a folder, with stage.env, which names the rest in the
environment variables that the scripts read. A control address on loopback revokes a license
and cuts the gateway off from Redis or from the chain's RPC. It stays until Ctrl-C.`,
		Example: "  fealty audit stage --output stage\n  set -a; . stage/stage.env; $(k6/build) run k6/enforce.js",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.play(cmd) },
	}
	cmd.Flags().StringVar(&s.out, "output", "", "folder to write to; it must not exist")
	cmd.Flags().StringVar(&s.weights, "weights", "", "what to serve: a folder written by 'embed train', or a GGUF file; default: the unmarked base model")
	cmd.Flags().Float64Var(&s.rate, "rate", defaultInverseRate, "share of prompts whose answer the sampler opens from the shell; weights without a manifest have no such words")
	cmd.Flags().StringVar(&s.listen, "listen", "127.0.0.1:0", "the gateway's address")
	return cmd
}

func (s *stage) play(cmd *cobra.Command) (err error) {
	if s.out == "" {
		return usagef("--output: name a folder for the credentials")
	}
	s.p = newProgress(cmd.ErrOrStderr())
	if err := os.Mkdir(s.out, 0o700); err != nil {
		return fmt.Errorf("--output: %w; name a folder that does not exist yet", err)
	}
	s.dir = s.out
	defer func() { err = errors.Join(err, s.close()) }()
	for _, each := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"model", s.findWeights}, {"chain", s.startChain}, {"licenses", s.licenses},
		{"licenses that do not hold", s.grantStates}, {"gateway", s.startRelayed}, {"keys", s.makeCredentials}, {"control", s.writeEnv},
	} {
		s.p.step(each.name)
		if err := each.do(cmd.Context()); err != nil {
			return fmt.Errorf("%s: %w", each.name, err)
		}
		s.p.done("%s", each.name)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is up; set -a; . %s; and run the scripts in k6/\n", s.gateway, filepath.Join(s.out, "stage.env"))
	select {
	case <-cmd.Context().Done():
		return nil
	case err := <-s.node.failed:
		return err
	}
}

func (s *stage) findWeights(ctx context.Context) (err error) {
	if s.weights == "" {
		s.weights, err = modelstore.SmolLM2(ctx, s.p.line)
	}
	return err
}

// licenses publishes weights that have a manifest; others are served unattested.
func (s *stage) licenses(ctx context.Context) error {
	if _, err := weights.ReadManifest(s.weights); err != nil {
		return s.license(ctx)
	}
	s.served = s.weights
	return s.publishAndLicense(ctx)
}

// grantStates makes a wallet for each state of a license that is refused.
func (s *stage) grantStates(ctx context.Context) error {
	now, both := time.Now(), policy.ScopeChat|policy.ScopeCompletions
	terms := func(from, to time.Duration, scope policy.Scope) registry.Terms {
		return registry.Terms{NotBefore: now.Add(from), NotAfter: now.Add(to), Scope: scope, Plan: s.plan}
	}
	soon := 10 * time.Second // blocks come every second; before it has ended other grants are written
	for _, g := range []struct {
		name  string
		terms registry.Terms
		then  func(context.Context, [32]byte, [32]byte) (registry.Receipt, error)
	}{
		{"expired", terms(-time.Hour, soon, both), nil},
		{"early", terms(time.Hour, 2*time.Hour, both), nil},
		{"scope", terms(-time.Hour, time.Hour, policy.ScopeCompletions), nil},
		{"suspended", terms(-time.Hour, time.Hour, both), s.registry.Suspend},
		{"revoked", terms(-time.Hour, time.Hour, both), s.registry.Revoke},
	} {
		key, err := wallet.Generate()
		if err != nil {
			return err
		}
		s.wallets[g.name] = key
		subject := wallet.Subject(key.Address())
		if _, err := s.registry.Grant(ctx, s.model, subject, g.terms); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if g.then != nil {
			if _, err := g.then(ctx, s.model, subject); err != nil {
				return fmt.Errorf("%s: %w", g.name, err)
			}
		}
	}
	return sleepUntil(ctx, now.Add(soon+time.Second))
}

// startRelayed puts switches between the gateway and what it depends on.
func (s *stage) startRelayed(ctx context.Context) error {
	if err := s.startRedis(ctx); err != nil {
		return err
	}
	for _, r := range []struct {
		relay **relay
		to    string
	}{
		{&s.redis, s.demo.redis.Addr()},
		{&s.rpc, strings.TrimPrefix(s.chain.HTTP(), "http://")}, {&s.ws, strings.TrimPrefix(s.chain.WS(), "ws://")},
	} {
		var err error
		if *r.relay, err = startRelay(ctx, r.to); err != nil {
			return err
		}
		s.onClose((*r.relay).close)
	}
	secrets := map[string]gateway.Secret{}
	for name, url := range map[string]string{
		"relayed-state": "redis://" + s.redis.address + "/0", "relayed-cache": "redis://" + s.redis.address + "/1",
		"relayed-rpc": "http://" + s.rpc.address, "relayed-ws": "ws://" + s.ws.address,
	} {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, []byte(url), 0o600); err != nil {
			return err
		}
		var err error
		if secrets[name], err = gateway.ParseSecret("file:" + path); err != nil {
			return err
		}
	}
	var err error
	s.node, s.gateway, err = s.serve(ctx, s.listen, gateway.BackendConfig{Weights: s.weights}, func(c *gateway.Config) {
		c.Redis = gateway.RedisConfig{State: secrets["relayed-state"], Cache: secrets["relayed-cache"]}
		chain := &c.Chains[0]
		chain.RPC, chain.WS = []gateway.Secret{secrets["relayed-rpc"]}, secrets["relayed-ws"]
		if s.served != "" {
			c.Models[0].InverseNucleus = &gateway.InverseNucleusConfig{Rate: s.rate}
		}
		// As short as a chain with a block each second allows on a loaded machine: who
		// cuts the RPC off wants to see what comes after hard.
		chain.Soft, chain.Hard, chain.MaxHeadAge = 20*time.Second, 25*time.Second, 20*time.Second
	})
	if err != nil {
		return err
	}
	return s.node.listenAdmin(ctx, "127.0.0.1:0")
}

// makeCredentials signs each wallet in and makes its key, and keys that are refused
// though their license stands.
func (s *stage) makeCredentials(ctx context.Context) error {
	if err := s.makeKeys(ctx); err != nil {
		return err
	}
	c := &s.credentials
	c.Licensed, c.Revocable = []string{s.keys["licensee"], s.keys["auditor"]}, s.keys["guest"]
	c.Refused = map[string]string{"unpaid": s.keys["stranger"], "forged_key": forge(s.keys["licensee"])}
	for _, name := range []string{"expired", "early", "scope", "suspended", "revoked"} {
		a, err := s.signedIn(ctx, name)
		if err != nil {
			return err
		}
		k, err := a.createKey(ctx, keyRequest{Name: name})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.Refused[name] = k.Key
	}
	return s.narrowKeys(ctx)
}

func (s *stage) signedIn(ctx context.Context, name string) (*account, error) {
	a, err := openAccount(ctx, s.gateway, s.wallets[name])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return a, nil
}

func (s *stage) narrowKeys(ctx context.Context) error {
	a, err := s.signedIn(ctx, "licensee")
	if err != nil {
		return err
	}
	for name, r := range map[string]keyRequest{"revoked_key": {}, "rate": {RPM: 1}, "quota": {TokensPerDay: 1}} {
		r.Name = name
		k, err := a.createKey(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.credentials.Refused[name] = k.Key
		if name == "revoked_key" {
			if err := a.revokeKey(ctx, k.ID); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	const short = "expired_key"
	k, ends, err := a.createShortLived(ctx, short)
	if err != nil {
		return fmt.Errorf("%s: %w", short, err)
	}
	s.credentials.Refused[short] = k.Key
	s.credentials.Refused["forged_token"] = forge(a.token)
	return sleepUntil(ctx, ends)
}

// writeEnv writes stage.env last: whoever waits for it finds all else.
func (s *stage) writeEnv(ctx context.Context) error {
	control, err := s.startControl(ctx)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(s.credentials, "", "  ")
	if err != nil {
		return err
	}
	out, err := filepath.Abs(s.out)
	if err != nil {
		return err
	}
	file := filepath.Join(out, "credentials.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	env := fmt.Sprintf("FEALTY_URL=%s/v1\nFEALTY_MODEL=%s\nFEALTY_CREDENTIALS='%s'\nFEALTY_CONTROL=%s\nFEALTY_METRICS=http://%s/metrics\n",
		s.gateway, demoModel, file, control, s.node.admin)
	return atomicfile.Write(filepath.Join(out, "stage.env"), 0o600, func(f *os.File) error {
		_, err := f.WriteString(env)
		return err
	})
}
