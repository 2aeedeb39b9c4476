package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// benchAuth measures the control path on a chain, a Redis and a gateway of its own.
type benchAuth struct {
	licensees, revocations int
	asJSON                 bool

	p       *progress
	dir     string
	figures []figure
	machine machine

	chain    *devnet.Chain
	redis    string
	registry *registry.Registry
	model    [32]byte
	subjects [][32]byte
	wallet   *wallet.Key // the first subject
	node     *node
	origin   string
	closers  []func() error
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
		Example: "  fealty bench auth --json | jq '.figures[] | {name, value, unit, target, held}'",
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
	if b.asJSON {
		return printJSON(cmd, map[string]any{"machine": b.machine, "licensees": b.licensees, "figures": b.figures})
	}
	m := b.machine
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d cores, %s, %s, simd %v, %s; %d licensees\n", m.CPU, m.Cores, m.OS, m.Go, m.SIMD, m.Redis, b.licensees)
	printFigures(cmd, b.figures)
	return nil
}

func (b *benchAuth) add(f ...figure) { b.figures = append(b.figures, f...) }

func (b *benchAuth) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	return errors.Join(errs...)
}

func (b *benchAuth) onClose(f func() error) { b.closers = append(b.closers, f) }

// benchModel is never asked for an answer: only whether it may be.
const benchModel, benchHost = "bench", "bench.fealty.test"

func (b *benchAuth) start(ctx context.Context) (err error) {
	b.machine = thisMachine()
	if b.dir, err = os.MkdirTemp("", "fealty-bench-"); err != nil {
		return err
	}
	b.onClose(func() error { return os.RemoveAll(b.dir) })
	if b.chain, err = devnet.StartChain(devnet.ChainConfig{}); err != nil {
		return err
	}
	b.onClose(b.chain.Close)
	if err := b.startRedis(ctx); err != nil {
		return err
	}
	owner := b.chain.Accounts()[0]
	if b.registry, _, err = registry.Deploy(ctx, registry.Options{RPC: b.chain.HTTP(), Key: owner}, 1); err != nil {
		return err
	}
	b.onClose(func() error { b.registry.Close(); return nil })
	if b.model, _, err = b.registry.Register(ctx, [32]byte{1}); err != nil {
		return err
	}
	if _, err = b.registry.GrantHost(ctx, b.model, benchHost, owner.Address(), b.terms()); err != nil {
		return err
	}
	return b.serve(ctx)
}

func (b *benchAuth) terms() registry.Terms {
	now := time.Now()
	return registry.Terms{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), Scope: policy.ScopeChat}
}

// startRedis prefers a real server.
func (b *benchAuth) startRedis(ctx context.Context) error {
	if path, err := exec.LookPath("redis-server"); err == nil {
		if err := b.spawnRedis(ctx, path); err != nil {
			return err
		}
	} else {
		r, err := devnet.StartRedis()
		if err != nil {
			return err
		}
		b.onClose(r.Close)
		b.redis, b.machine.Redis = r.Addr(), "Redis in this process"
	}
	client, err := state.Open("redis://" + b.redis + "/0")
	if err != nil {
		return err
	}
	defer client.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // the server comes up
		if _, err = state.Init(ctx, client); err == nil || time.Since(began) > 5*time.Second {
			return err
		}
	}
}

func (b *benchAuth) spawnRedis(ctx context.Context, path string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := exec.CommandContext(context.WithoutCancel(ctx), path, "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction")
	if err := server.Start(); err != nil {
		return err
	}
	b.onClose(func() error {
		err := server.Process.Kill()
		_ = server.Wait() // it says that it was killed
		return err
	})
	b.redis, b.machine.Redis = "127.0.0.1:"+port, "redis-server"
	return nil
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
	cfg, err := site{
		dir: b.dir, redis: b.redis, chain: b.chain, registry: b.registry.Address(), model: b.model, name: benchModel, host: benchHost,
	}.config(b.origin, nobody)
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
		b.subjects = append(b.subjects, wallet.Subject([20]byte{1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	b.p.step("licensing")
	const some = 1000
	for done := 0; done < len(b.subjects); done += some {
		if _, err := b.registry.GrantAll(ctx, b.model, b.subjects[done:min(done+some, len(b.subjects))], b.terms()); err != nil {
			return err
		}
		b.p.update(min(done+some, len(b.subjects)), len(b.subjects))
	}
	return nil
}
