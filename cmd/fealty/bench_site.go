package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

const benchModel, benchHost = "bench", "bench.fealty.test"

// benchSite is what the benchmarks of gateways stand on: a chain with one registered
// model that this host may serve, and a Redis.
type benchSite struct {
	p       *progress
	dir     string
	figures []figure
	machine machine

	chain    *devnet.Chain
	redis    string
	registry *registry.Registry
	model    [32]byte
	closers  []func() error
}

func (b *benchSite) site() site {
	return site{
		dir: b.dir, redis: b.redis, chain: b.chain, registry: b.registry.Address(), model: b.model, name: benchModel, host: benchHost,
	}
}

func (b *benchSite) add(f ...figure) { b.figures = append(b.figures, f...) }

func (b *benchSite) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	return errors.Join(errs...)
}

func (b *benchSite) onClose(f func() error) { b.closers = append(b.closers, f) }

// open starts the chain and, unless there is one, the Redis, and grants this host the
// model.
func (b *benchSite) open(ctx context.Context) (err error) {
	b.machine = thisMachine()
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "fealty-bench-"); err != nil {
			return err
		}
		b.onClose(func() error { return os.RemoveAll(b.dir) })
	}
	if b.chain, err = devnet.StartChain(devnet.ChainConfig{}); err != nil {
		return err
	}
	b.onClose(b.chain.Close)
	if b.redis == "" {
		if err := b.startRedis(ctx); err != nil {
			return err
		}
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
	return nil
}

func (b *benchSite) terms() registry.Terms {
	now := time.Now()
	return registry.Terms{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), Scope: policy.ScopeChat}
}

// startRedis prefers a real server.
func (b *benchSite) startRedis(ctx context.Context) error {
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
		if _, err = state.Init(ctx, client); err == nil || time.Since(began) > time.Minute {
			return err
		}
	}
}

func (b *benchSite) spawnRedis(ctx context.Context, path string) error {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(address)
	server := exec.CommandContext(context.WithoutCancel(ctx), path, "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction")
	if err := server.Start(); err != nil {
		return err
	}
	b.onClose(func() error {
		err := server.Process.Kill()
		_ = server.Wait() // it says that it was killed
		return err
	})
	b.redis, b.machine.Redis = address, "redis-server"
	return nil
}

// ports are handed out in turn, from another one in each process.
var ports atomic.Uint32

func init() { ports.Store(rand.Uint32N(1 << 31)) }

// freeAddress is a loopback address that another process can listen on, another one each
// time. Its port is below those that outgoing connections take: none of them can get it
// before that process does.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	for tries := 1; ; tries++ {
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+ports.Add(1)%10_000))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		if tries == 100 {
			return "", err
		}
	}
}

// numbered is the subject of a wallet that nobody has a key for.
func numbered(kind byte, i int) [32]byte {
	return wallet.Subject([20]byte{kind, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
}

// grant licenses the subjects on-chain.
func (b *benchSite) grant(ctx context.Context, subjects [][32]byte) error {
	b.p.step("licensing")
	const some = 1000
	for done := 0; done < len(subjects); done += some {
		if _, err := b.registry.GrantAll(ctx, b.model, subjects[done:min(done+some, len(subjects))], b.terms()); err != nil {
			return err
		}
		b.p.update(min(done+some, len(subjects)), len(subjects))
	}
	return nil
}
