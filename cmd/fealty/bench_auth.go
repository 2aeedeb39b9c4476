package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/wallet"
)

// benchAuth measures the control path on a chain, a Redis and a gateway of its own.
type benchAuth struct {
	licensees, revocations int
	asJSON                 bool

	benchSite
	subjects [][32]byte
	wallet   *wallet.Key // the first subject
	node     *node
	origin   string
}

func newBenchAuth() *cobra.Command {
	var b benchAuth
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Measure the way from a credential to a decision",
		Long: `Auth starts a chain, a Redis (redis-server if it is installed, else one in this process)
and a gateway on loopback, licenses wallets on-chain, and measures: a known caller's way to a
decision, its parts, a caller seen for the first time, a revocation's way to refusal on three
gateways, what a healthy chain is asked while licensees are idle, and memory. Nothing of it
leaves this machine, and nothing is left behind.`,
		Example: "  fealty bench auth --json | jq '.rows[] | {name, value, unit, target, held}'",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&b.licensees, "licensees", 2000, "wallets to license on-chain (each takes some milliseconds)")
	f.IntVar(&b.revocations, "revocations", 100, "licenses to revoke while three gateways watch")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (b *benchAuth) run(cmd *cobra.Command) (err error) {
	if b.licensees < 400 || b.licensees > 1_000_000 {
		return usagef("--licensees: %d; need 400 to 1000000", b.licensees)
	}
	if b.revocations < 1 || b.revocations > b.licensees/4 {
		return usagef("--revocations: %d; need 1 to a quarter of the licensees", b.revocations)
	}
	b.p = newProgress(cmd.ErrOrStderr())
	defer func() { err = errors.Join(err, b.close()) }()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"starting a chain, a Redis and a gateway", b.start},
		{"licensing wallets", b.license},
		{"known callers", b.known},
		{"new tokens", b.tokens},
		{"new licensees", b.fresh},
		{"idle licensees", b.idle},
		{"revocations, by subscription", func(ctx context.Context) error {
			return b.revoke(ctx, "subscribed", b.chain.WS(), 0, b.subjects[len(b.subjects)-b.revocations:])
		}},
		{"revocations, by polling", func(ctx context.Context) error {
			last := len(b.subjects) - b.revocations
			return b.revoke(ctx, "polled every 0.5 s", "", 500*time.Millisecond, b.subjects[last-b.revocations:last])
		}},
		{"memory", b.memory},
	} {
		b.p.say("%s", step.name)
		if err := step.run(cmd.Context()); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return report{b.machine, commit, b.figures}.print(cmd, b.asJSON)
}

func (b *benchAuth) start(ctx context.Context) error {
	if err := b.open(ctx); err != nil {
		return err
	}
	return b.serve(ctx)
}

// serve starts one gateway, wired as 'fealty serve' wires it.
func (b *benchAuth) serve(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.origin = "http://" + l.Addr().String()
	nobody := gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: "http://127.0.0.1:9/v1"}}}
	cfg, err := b.site().config(b.origin, nobody)
	if err != nil {
		return err
	}
	if b.node, err = assemble(ctx, cfg, slog.New(slog.NewTextHandler(b.p, &slog.HandlerOptions{Level: slog.LevelError}))); err != nil {
		return err
	}
	b.node.serveOn(l)
	b.onClose(func() error { return errors.Join(b.node.Shutdown(), b.node.Close()) })
	return nil
}

func (b *benchAuth) license(ctx context.Context) (err error) {
	if b.wallet, err = wallet.Generate(); err != nil {
		return err
	}
	b.subjects = [][32]byte{wallet.Subject(b.wallet.Address())}
	for i := 1; i < b.licensees; i++ {
		b.subjects = append(b.subjects, numbered(1, i))
	}
	return b.grant(ctx, b.subjects)
}
