package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity"
)

// benchGateway measures gateways beside other servers, each in a process of its own.
type benchGateway struct {
	benchSite
	quick     bool
	asJSON    bool
	profiles  string // folder for CPU profiles of the gateway; "": none
	licensees int
	crowded   bool // only what many licensees cost
	size      benchSize

	mock     *contender
	proxy    *contender
	web      *contender // nginx; nil where it cannot be had
	noWeb    error      // why
	governed *contender
	keys     []string // of licensees; the first is the one that most measurements use
}

// benchSize is how much is measured.
type benchSize struct {
	rounds  int
	each    time.Duration // of one server in one round
	streams int           // at once
	after   int           // streams on each connection
	singles int           // requests of one client in one round
	leaves  int           // clients that leave, in each phase
}

const idleStreams = 4000

func newBenchGateway() *cobra.Command {
	var b benchGateway
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Measure the gateway beside a bare proxy and nginx",
		Long: `Gateway starts, on loopback and each as a process of its own, a mock upstream, a bare reverse
proxy on fasthttp, nginx if it is installed, and 'fealty serve' with everything on: API key, license
from a chain, limits and usage in Redis, metrics. It sends them the same requests in turns and
prints what they took: CPU time of each process by the system's own account, latency, first
token, gaps between tokens, memory of idle streams, overload, what clients that leave leave
behind, many licensees.

On few cores the load generator takes most of the time: requests per second say little, the
ratios of CPU time do. Rows are medians over rounds. It needs Linux (/proc).`,
		Example: "  fealty bench gateway --json | jq '.rows[] | select(.held == false)'",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.BoolVar(&b.quick, "quick", false, "a first look: fewer rounds, and a fiftieth of the licensees")
	f.IntVar(&b.licensees, "licensees", 100_000, "wallets to license on-chain (a few hundred per second)")
	f.BoolVar(&b.crowded, "only-licensees", false, "measure only what many licensees cost")
	f.StringVar(&b.profiles, "profiles", "", "folder to write profiles of the gateway to, for 'go tool pprof': CPU, also with many licensees, and the heap with idle streams")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (b *benchGateway) run(cmd *cobra.Command) (err error) {
	if b.licensees < 2000 || b.licensees > 1_000_000 {
		return usagef("--licensees: %d; need 2000 to 1000000", b.licensees)
	}
	b.size = benchSize{rounds: 7, each: 2 * time.Second, streams: 64, after: 2, singles: 1500, leaves: 200}
	if b.quick {
		b.size = benchSize{rounds: 3, each: time.Second, streams: 64, after: 1, singles: 500, leaves: 50}
		b.licensees = max(2000, b.licensees/50)
	}
	b.p = newProgress(cmd.ErrOrStderr())
	defer func() { err = errors.Join(err, b.close()) }()
	type step struct {
		name string
		run  func(context.Context) error
	}
	steps := []step{
		{"starting a chain, a Redis and the servers", b.start},
		{"the same answers from all", b.compare},
		{"CPU per request", b.perRequest},
		{"latency of one client", b.latency},
		{"streams", b.perFrame},
		{"profiles", b.profile},
		{"idle streams", b.idle},
		{"overload", b.overload},
		{"clients that leave", b.leave},
		{fmt.Sprintf("%d licensees", b.licensees), b.crowd},
	}
	if b.crowded {
		steps = []step{steps[0], steps[len(steps)-1]}
	}
	for _, step := range steps {
		b.p.say("%s", step.name)
		if err := step.run(cmd.Context()); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return report{b.machine, commit, b.figures}.print(cmd, b.asJSON)
}

func (b *benchGateway) start(ctx context.Context) (err error) {
	if err := b.open(ctx); err != nil {
		return err
	}
	if err := b.license(ctx, 1); err != nil {
		return err
	}
	if b.mock, err = b.self(ctx, "mock", "mock"); err != nil {
		return err
	}
	if b.proxy, err = b.bare(ctx, "bare proxy"); err != nil {
		return err
	}
	b.web, b.noWeb = b.nginx(ctx)
	b.governed, err = b.gateway(ctx, "gateway", func(*gateway.Config) {})
	return err
}

func (b *benchGateway) bare(ctx context.Context, name string) (*contender, error) {
	return b.self(ctx, name, "proxy", "--upstream", b.mock.address)
}

// servers are those that are measured side by side.
func (b *benchGateway) servers() []*contender {
	all := []*contender{b.mock, b.proxy, b.governed}
	if b.web != nil {
		all = append(all, b.web)
	}
	return all
}

// license grants the model to so many wallets and makes an API key for each.
func (b *benchGateway) license(ctx context.Context, n int) error {
	var subjects [][32]byte
	for i := range n {
		subjects = append(subjects, numbered(1, len(b.keys)+i))
	}
	if err := b.grant(ctx, subjects); err != nil {
		return err
	}
	keys, err := b.makeKeys(ctx, subjects)
	b.keys = append(b.keys, keys...)
	return err
}

// makeKeys writes keys as a gateway would on behalf of those who signed in.
func (b *benchGateway) makeKeys(ctx context.Context, subjects [][32]byte) ([]string, error) {
	cfg, err := b.site().config("http://127.0.0.1:9", gateway.BackendConfig{})
	if err != nil {
		return nil, err
	}
	secret, err := cfg.Secret.Resolve()
	if err != nil {
		return nil, err
	}
	n := &node{log: slog.New(slog.NewTextHandler(b.p, &slog.HandlerOptions{Level: slog.LevelError}))}
	var deps gateway.Deps
	if err := n.openState(ctx, cfg, secret, &deps); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	keys, problems := make([]string, len(subjects)), make([]error, 16)
	var all sync.WaitGroup
	for k := range problems {
		all.Go(func() {
			for i := k; i < len(subjects) && problems[k] == nil; i += len(problems) {
				caller := &identity.Caller{Subject: subjects[i], Account: fmt.Sprintf("eip155:%d:bench-%d", b.chain.ID(), i)}
				_, keys[i], problems[k] = deps.Identities.CreateKey(ctx, caller, identity.KeyRequest{Name: "bench"})
			}
		})
	}
	all.Wait()
	return keys, errors.Join(errors.Join(problems...), n.Close())
}

// compare wants the mock's own answer from everybody.
func (b *benchGateway) compare(ctx context.Context) error {
	for _, c := range b.servers() {
		l := line{address: c.address}
		status, body, err := l.ask(ctx, c.request(modeInstant, b.keys[0]))
		l.close()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if string(body) != mockReply {
			return fmt.Errorf("%s answers %d %.300s", c.name, status, body)
		}
	}
	return nil
}
