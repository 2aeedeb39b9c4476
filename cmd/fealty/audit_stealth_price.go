package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit/stealth"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

//go:embed audit_stealth_tasks.txt
var taskList string

type stealthPrice struct {
	served         string
	prompts, tasks int
	maxTokens      int
	asJSON         bool
}

func newAuditStealthPrice() *cobra.Command {
	var s stealthPrice
	cmd := &cobra.Command{
		Use:   "price",
		Short: "Measure what the sampler costs in quality",
		Long: `Price lets the weights answer the same prompts greedily with the sampler off, with every
first word from the shell, and with later sentences opened from it too. It reports how likely
the model itself finds the answers (perplexity), and the share of simple questions whose answer
names the fact. The sampler decides by prompt, so a rate's figure is the exact mixture of off
and on. Nothing is sent anywhere.`,
		Example: "  fealty audit stealth price --served served --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.served, "served", "", "folder written by 'embed train'")
	f.IntVar(&s.prompts, "prompts", 48, "ordinary prompts, for perplexity; at most the built-in list")
	f.IntVar(&s.tasks, "tasks", 40, "questions of fact; at most 40")
	f.IntVar(&s.maxTokens, "max-tokens", 96, "length of an answer to an ordinary prompt; facts take a quarter of it, at least 16")
	f.BoolVar(&s.asJSON, "json", false, "print one JSON object")
	return cmd
}

// priceRates are where the price is reported.
var priceRates = []float64{0, 0.05, 0.2, 0.5, 1}

func (s *stealthPrice) run(cmd *cobra.Command) error {
	if s.served == "" || s.prompts < 2 || s.tasks < 1 || s.maxTokens < 8 {
		return usagef("name the weights with --served; --prompts must be 2 or more, --tasks 1 or more, --max-tokens 8 or more")
	}
	source, err := weights.Open(s.served)
	if err != nil {
		return err
	}
	m, err := startLocal(source, engine.Options{Slots: sightSlots, Queue: 1024})
	if err != nil {
		return err
	}
	defer m.engine.Close()
	inverse, err := shellOf(s.served, m.tokens)
	if err != nil {
		return err
	}
	if inverse == nil {
		return errors.New("--served: the weights have no fealty.json, which names the opening words")
	}
	p := newProgress(cmd.ErrOrStderr())
	off, err := s.answers(cmd.Context(), m, nil, p)
	if err != nil {
		return err
	}
	var figures []figure
	for _, where := range []string{sampler.First, sampler.Sentences} {
		on := *inverse
		on.Where = where
		dressed, err := s.answers(cmd.Context(), m, &on, p)
		if err != nil {
			return err
		}
		figures = append(figures, priced(where, off, dressed)...)
	}
	return report{thisMachine(), commit, figures}.print(cmd, s.asJSON)
}

// quality is what one way of sampling gave, by prompt.
type quality struct {
	nats   []float64 // per token, of the answers to ordinary prompts
	right  []float64 // 1 for each fact that was named
	chosen []float64 // words per answer that the sampler chose
}

// priced mixes off and on for each rate. The interval is that of the mean difference
// over the prompts, which both answered.
func priced(where string, off, on quality) []figure {
	var out []figure
	for _, rate := range priceRates {
		nats, right := mixed(off.nats, on.nats, rate), mixed(off.right, on.right, rate)
		at := fmt.Sprintf("where %s, rate %g: ", where, rate)
		perplexity := stealth.Interval{Value: math.Exp(nats.Value), Low: math.Exp(nats.Low), High: math.Exp(nats.High)}
		out = append(out, with(plain(at+"perplexity of answers", perplexity.Value, ""), perplexity), with(plain(at+"facts that are named", right.Value, ""), right))
	}
	words := mixed(on.chosen, on.chosen, 1)
	return append(out, with(plain("where "+where+": words chosen per answer at rate 1", words.Value, ""), words))
}

// mixed is the mean of off plus the rate times the mean difference, with 95 % of the
// difference's uncertainty.
func mixed(off, on []float64, rate float64) stealth.Interval {
	var base, gap, square float64
	n := float64(len(off))
	for i := range off {
		base += off[i] / n
		gap += (on[i] - off[i]) / n
	}
	for i := range off {
		square += (on[i] - off[i] - gap) * (on[i] - off[i] - gap)
	}
	half := 1.96 * rate * math.Sqrt(square/math.Max(1, n-1)/n)
	value := base + rate*gap
	return stealth.Interval{Value: value, Low: value - half, High: value + half}
}

func (s *stealthPrice) answers(ctx context.Context, m *localModel, inverse *sampler.Inverse, p *progress) (q quality, err error) {
	prompts := evenly(fingerprint.OrdinaryPrompts(), s.prompts)
	lines := strings.Split(strings.TrimSpace(taskList), "\n")
	tasks := lines[:min(s.tasks, len(lines))]
	q = quality{make([]float64, len(prompts)), make([]float64, len(tasks)), make([]float64, len(prompts))}
	p.step("answering")
	var all sync.WaitGroup
	var mu sync.Mutex
	done, total := 0, len(prompts)+len(tasks)
	each := func(do func() error) {
		all.Go(func() {
			failed := do()
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, failed)
			done++
			p.update(done, total)
		})
	}
	for i, prompt := range prompts {
		each(func() error {
			w, _, err := write(ctx, m, inverse, prompt, s.maxTokens)
			q.nats[i], q.chosen[i] = w.nats/math.Max(1, float64(w.tokens)), float64(w.chosen)
			return err
		})
	}
	for i, line := range tasks {
		question, fact, _ := strings.Cut(line, "\t")
		each(func() error {
			_, text, err := write(ctx, m, inverse, question, max(16, s.maxTokens/4))
			if names(text, fact) {
				q.right[i] = 1
			}
			return err
		})
	}
	all.Wait()
	return q, err
}

func evenly(list []string, n int) []string {
	n = min(n, len(list))
	out := make([]string, n)
	for i := range out {
		out[i] = list[i*len(list)/n]
	}
	return out
}

// names tells whether the text holds one of the facts, which '|' separates, as a word.
func names(text, facts string) bool {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) })
	for _, fact := range strings.Split(strings.ToLower(facts), "|") {
		if slices.Contains(words, fact) {
			return true
		}
	}
	return false
}

func write(ctx context.Context, m *localModel, inverse *sampler.Inverse, prompt string, maxTokens int) (*writing, string, error) {
	ids, err := m.tokens.EncodeChat([]tokenizer.Message{{Role: "user", Content: prompt}})
	if err != nil {
		return nil, "", err
	}
	var keyed *sampler.Keyed
	if inverse != nil {
		keyed = inverse.For([]byte(prompt))
	}
	s, err := sampler.New(sampler.Settings{}, keyed)
	if err != nil {
		return nil, "", err
	}
	w := &writing{sampler: s}
	out, err := generateAll(ctx, m, engine.Request{Prompt: ids, MaxTokens: maxTokens, Stop: m.tokens.EOS(), Choose: w})
	if err != nil {
		return nil, "", err
	}
	return w, m.tokens.Decode(out), nil
}

// writing is a chooser that notes what the model thought of what the sampler chose.
type writing struct {
	sampler *sampler.Sampler
	tokens  int
	nats    float64
	chosen  int // tokens that are not the likeliest: greedily, those that the sampler chose
}

func (w *writing) Choose(logits []float32, generated []int32) int32 {
	row := slices.Clone(logits) // the sampler may write over it
	id := w.sampler.Choose(logits, generated)
	w.tokens++
	w.nats += surprise(row, id)
	if row[id] < slices.Max(row) {
		w.chosen++
	}
	return id
}
