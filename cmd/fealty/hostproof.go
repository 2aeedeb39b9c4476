package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/wallet"
)

// proof loads the host's key, and checks it against the controller that the chain
// names for each model: a host that others cannot verify should learn it first.
func (n *node) proof(ctx context.Context, cfg gateway.Config, host [32]byte) (p gateway.HostProof, err error) {
	if !cfg.Host.Key.Set() {
		return p, nil
	}
	key, err := hostKey(cfg.Host)
	if err != nil {
		return p, err
	}
	p.Key = key
	if cfg.Host.Delegation != "" {
		if p.Delegation, err = readDelegation(cfg.Host.Delegation); err != nil {
			return p, err
		}
	}
	for _, m := range cfg.Models {
		if p.Until, err = n.checkController(ctx, cfg, m, host, p); err != nil {
			return p, fmt.Errorf("host.key: model %q: %w", m.Name, err)
		}
	}
	return p, nil
}

func hostKey(h gateway.HostConfig) (*wallet.Key, error) {
	text, err := h.Key.Resolve()
	if err != nil {
		return nil, fmt.Errorf("host.key: %w", err)
	}
	passphrase, err := optional(h.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("host.passphrase: %w", err)
	}
	key, err := wallet.Parse(string(text), passphrase)
	if err != nil {
		return nil, fmt.Errorf("host.key: %s: %w", h.Key, err)
	}
	return key, nil
}

func readDelegation(path string) (*wallet.Signed, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("host.delegation: %w", err)
	}
	var s wallet.Signed
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("host.delegation: %s is not what 'fealty license delegate' writes: %w", path, err)
	}
	return &s, nil
}

// checkController returns until when the key speaks for the host of this model; zero
// for as long as it is the controller's.
func (n *node) checkController(ctx context.Context, cfg gateway.Config, m gateway.ModelConfig, host [32]byte, p gateway.HostProof) (time.Time, error) {
	checker, err := n.checker(ctx, cfg, m.License)
	if err != nil {
		return p.Until, err
	}
	controller, err := checker.Controller(ctx, m.License.ID(), host)
	if err != nil {
		return p.Until, err
	}
	switch {
	case controller == [20]byte{}:
		n.log.Warn("the chain names no controller: this host was never granted the model", "model", m.Name)
		return p.Until, nil
	case p.Delegation != nil:
		chain, err := chainNamed(cfg, m.License.Chain)
		if err != nil {
			return p.Until, err
		}
		rpc, err := chain.RPC[0].Resolve()
		if err != nil {
			return p.Until, err
		}
		verifier, err := wallet.DialVerifier(ctx, string(rpc))
		if err != nil {
			return p.Until, err
		}
		defer verifier.Close()
		return verifier.CheckDelegation(ctx, *p.Delegation, controller, cfg.Host.Domain, p.Key.Address(), time.Now())
	case controller != p.Key.Address():
		return p.Until, fmt.Errorf("the chain names %s as the host's controller, the key is %s's; use the controller's key, or let it delegate: fealty license delegate --to %s",
			wallet.AddressText(controller), wallet.AddressText(p.Key.Address()), wallet.AddressText(p.Key.Address()))
	}
	return p.Until, nil
}

// newDelegate is for the controller of a host grant, whose key stays off the servers.
func newDelegate() *cobra.Command {
	var key keyFlags
	var domain, to string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use: "delegate", Short: "Let a gateway's key speak for a host, as the host grant's controller", Args: noArgs,
		Long: `Delegate signs, with the key of a host grant's controller, that another key speaks for the
host until a time. The gateway shows it at /.well-known/fealty.json (host.delegation). It
sends no transaction and moves nothing.`,
		Example: "  fealty license delegate --domain api.example.com --to 0x... --expires-in 2160h --keystore controller.json --passphrase-file controller.pass > delegation.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := wallet.ParseAddress(to)
			if err != nil {
				return usagef("--to: %v", err)
			}
			if lasts <= 0 {
				return usagef("--expires-in: need how long the key may speak, such as 2160h")
			}
			if _, err := wallet.HostName(domain); err != nil {
				return usagef("--domain: %v", err)
			}
			controller, err := key.load()
			if err != nil {
				return err
			}
			now := time.Now()
			signed, err := controller.Delegate(domain, address, now, now.Add(lasts))
			if err != nil {
				return err
			}
			return printJSON(cmd, signed)
		},
	}
	cmd.Flags().StringVar(&domain, "domain", "", "the host's domain, as in its grant")
	cmd.Flags().StringVar(&to, "to", "", "address of the gateway's key")
	cmd.Flags().DurationVar(&lasts, "expires-in", 0, "how long the key may speak")
	cmd.Flags().Bool("json", true, "JSON, which is all that it prints")
	key.add(cmd)
	return cmd
}
