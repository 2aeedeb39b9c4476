package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/weights"
)

// benchEngine measures the embedded engine on real weights.
type benchEngine struct {
	path          string
	quick, asJSON bool

	local *localModel
	vocab int
	rows  []figure
}

func newBenchEngine() *cobra.Command {
	var b benchEngine
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "Measure the embedded engine",
		Long: `Engine loads weights and measures: tokens per second of one answer and of 16 at once, the time
to the first token of eight short prompts at once, and of a long prompt whose beginning was
computed before. Answers are greedy, prompts random, and no token ends an answer.`,
		Example: "  fealty bench engine --json | jq '.rows[]'",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&b.path, "weights", "", "folder or GGUF file (default: SmolLM2-135M-Instruct, from the cache)")
	f.BoolVar(&b.quick, "quick", false, "a first look: fewer tokens and rounds")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (b *benchEngine) run(cmd *cobra.Command) (err error) {
	p := newProgress(cmd.ErrOrStderr())
	if b.path == "" {
		if b.path, err = modelstore.SmolLM2(cmd.Context(), p.line); err != nil {
			return err
		}
	}
	source, err := weights.Open(b.path)
	if err != nil {
		return err
	}
	b.vocab = source.Config.Vocab
	if b.local, err = startLocal(source, engine.Options{Slots: 16, Context: 1024, PrefixTokens: 2048}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.local.engine.Close()) }()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"tokens per second", b.throughput}, {"first tokens", b.first}, {"prompts that begin alike", b.reuse},
	} {
		p.say("%s", step.name)
		if err := step.run(cmd.Context()); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return report{thisMachine(), commit, b.rows}.print(cmd, b.asJSON)
}

// greedyChoice picks the largest logit.
type greedyChoice struct{}

func (greedyChoice) Choose(logits []float32, _ []int32) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return int32(best)
}

func (b *benchEngine) prompt(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rand.IntN(b.vocab))
	}
	return ids
}

// ask sends prompts at once, waits for all answers, and returns when each token of each
// came.
func (b *benchEngine) ask(ctx context.Context, prompts [][]int32, tokens int) ([][]time.Duration, error) {
	out, problems := make([][]time.Duration, len(prompts)), make([]error, len(prompts))
	var all sync.WaitGroup
	began := time.Now()
	for i, p := range prompts {
		all.Go(func() {
			g, err := b.local.engine.Generate(ctx, engine.Request{Prompt: p, MaxTokens: tokens, Choose: greedyChoice{}})
			for err == nil {
				if _, err = g.Next(ctx); err == nil {
					out[i] = append(out[i], time.Since(began))
				}
			}
			if !errors.Is(err, io.EOF) || len(out[i]) != tokens {
				problems[i] = fmt.Errorf("%d tokens of %d: %w", len(out[i]), tokens, err)
			}
		})
	}
	all.Wait()
	return out, errors.Join(problems...)
}

func (b *benchEngine) prompts(n, tokens int) (out [][]int32) {
	for range n {
		out = append(out, b.prompt(tokens))
	}
	return out
}

// rate is how many tokens per second so many answers get together, while all of them
// are under way.
func (b *benchEngine) rate(ctx context.Context, streams, tokens int) (float64, error) {
	all, err := b.ask(ctx, b.prompts(streams, 8), tokens)
	if err != nil {
		return 0, err
	}
	from, to := time.Duration(0), all[0][tokens-1]
	for _, times := range all {
		from, to = max(from, times[0]), min(to, times[tokens-1])
	}
	n := 0
	for _, times := range all {
		for _, at := range times {
			if at > from && at <= to {
				n++
			}
		}
	}
	return float64(n) / (to - from).Seconds(), nil
}

func (b *benchEngine) throughput(ctx context.Context) error {
	rounds, tokens := 5, 64
	if b.quick {
		rounds, tokens = 2, 32
	}
	if _, err := b.rate(ctx, 16, 24); err != nil { // compiles the graphs
		return err
	}
	var one, many []float64
	for range rounds {
		for _, c := range []struct {
			streams int
			into    *[]float64
		}{{1, &one}, {16, &many}} {
			rate, err := b.rate(ctx, c.streams, tokens)
			if err != nil {
				return err
			}
			*c.into = append(*c.into, rate)
		}
	}
	b.rows = append(b.rows,
		plain("tokens per second, 1 answer", median(one), "tok/s"),
		plain("tokens per second, 16 answers at once", median(many), "tok/s"),
		atLeast("  16 at once over 1", ratio(many, one), "x", 4),
	)
	return nil
}

func (b *benchEngine) first(ctx context.Context) error {
	rounds := 12
	if b.quick {
		rounds = 3
	}
	var times []time.Duration
	for range rounds {
		all, err := b.ask(ctx, b.prompts(8, 24), 2)
		if err != nil {
			return err
		}
		for _, a := range all {
			times = append(times, a[0])
		}
	}
	b.rows = append(b.rows,
		plain("time to first token, 8 prompts of 24 tokens at once, p50", percentile(times, 0.5, time.Millisecond), "ms"),
		plain("  p99", percentile(times, 0.99, time.Millisecond), "ms"),
	)
	return nil
}

// reuse sends prompts of 512 tokens that have 480 in common.
func (b *benchEngine) reuse(ctx context.Context) error {
	var fresh, known []float64
	for range 3 {
		system := b.prompt(480)
		for _, into := range []*[]float64{&fresh, &known} {
			all, err := b.ask(ctx, [][]int32{append(system[:480:480], b.prompt(32)...)}, 2)
			if err != nil {
				return err
			}
			*into = append(*into, all[0][0].Seconds()*1000)
		}
	}
	b.rows = append(b.rows,
		plain("time to first token, 512 tokens of prompt", median(fresh), "ms"),
		plain("  of which 480 were computed before", median(known), "ms"),
	)
	return nil
}
