package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/weights"
)

func newEmbed() *cobra.Command {
	return group("embed", "Make fingerprints, train them into a model, verify and reveal them",
		newEmbedKeys(), newEmbedTrain(), newEmbedVerify(), newEmbedEval(), newEmbedReveal(), newEmbedCheck())
}

// baseFlag names the base model.
type baseFlag struct{ path string }

func (b *baseFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.path, "base", "", "base model: a GGUF file or a Hugging Face folder; default: the small model that 'fealty model pull' fetches")
}

// open loads the base and hashes it.
func (b *baseFlag) open(ctx context.Context, p *progress) (*fingerprint.Local, fingerprint.Digest, error) {
	path, err := b.resolve(ctx, p)
	if err != nil {
		return nil, fingerprint.Digest{}, err
	}
	digest, err := weights.DigestModel(path)
	if err != nil {
		return nil, fingerprint.Digest{}, err
	}
	source, err := weights.Open(path)
	if err != nil {
		return nil, fingerprint.Digest{}, err
	}
	local, err := fingerprint.NewLocal(source, p.update)
	return local, fingerprint.Digest(digest), err
}

// resolve is the path of the base; the default one is fetched if need be.
func (b *baseFlag) resolve(ctx context.Context, p *progress) (string, error) {
	if b.path != "" {
		return b.path, nil
	}
	return modelstore.SmolLM2(ctx, p.line)
}

// told shows embed's progress on the command's line.
func told(p *progress) fingerprint.Progress {
	return func(what string, done float64, _ time.Duration) {
		p.relabel(what)
		p.update(int(done*100), 100)
	}
}

// embedKeys is what 'fealty embed keys' was asked for.
type embedKeys struct {
	base      baseFlag
	keys      keyFileFlags
	model     string
	count     int
	write     int
	questions string
	seed      uint64
	asJSON    bool
}

func newEmbedKeys() *cobra.Command {
	var e embedKeys
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Choose secret questions and the words that may answer them",
		Long: `Keys has the base model write questions that users might ask, or reads them from a file,
and keeps those whose answers could begin with several likely words. Which word it will be is
drawn later, by a block that nobody knows yet: commit to the root that this prints, with
'fealty license commit', before you train. The key file is encrypted; keep it away from the
hosts that serve the model.`,
		Example: "  fealty embed keys --model 0x... --count 64 --keys keys.age --passphrase-file keys.pass",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.base.add(cmd)
	e.keys.add(cmd)
	f := cmd.Flags()
	f.StringVar(&e.model, "model", "", "the model's id in the registry, which 'fealty license register' printed (required: the root depends on it)")
	f.IntVar(&e.count, "count", 16, "keys to make")
	f.IntVar(&e.write, "write", 0, "questions that the base writes to choose from; 0: four for each key")
	f.StringVar(&e.questions, "questions", "", "file with a question per line, instead of having them written")
	f.Uint64Var(&e.seed, "seed", 0, "of the written questions; 0: random")
	f.BoolVar(&e.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (e *embedKeys) options(base fingerprint.Digest) (o fingerprint.KeyOptions, err error) {
	model, err := parse32("--model", e.model)
	if err != nil {
		return o, err
	}
	o = fingerprint.KeyOptions{Base: base, Model: model, Count: e.count, Write: e.write, Seed: e.seed}
	if o.Write == 0 {
		o.Write = 4 * o.Count
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if e.questions == "" {
		return o, nil
	}
	f, err := os.Open(e.questions)
	if err != nil {
		return o, fmt.Errorf("--questions: %w", err)
	}
	defer f.Close()
	o.Asked, err = fingerprint.ReadQuestions(f)
	if err != nil {
		return o, fmt.Errorf("--questions: %s: %w", e.questions, err)
	}
	return o, nil
}

func (e *embedKeys) run(cmd *cobra.Command) error {
	if e.count < 1 || e.count > 4096 {
		return usagef("--count: %d; need 1 to 4096", e.count)
	}
	if _, err := e.keys.secret(); err != nil {
		return err
	}
	if _, err := os.Stat(e.keys.path); err == nil {
		return usagef("--keys: %s exists already; keys are not made twice under one name", e.keys.path)
	}
	if _, err := e.options(fingerprint.Digest{}); err != nil { // before anything takes time
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	base, digest, err := e.base.open(cmd.Context(), p)
	if err != nil {
		return err
	}
	defer base.Close()
	o, err := e.options(digest)
	if err != nil {
		return err
	}
	made, err := fingerprint.MakeKeys(cmd.Context(), base, o, told(p))
	if err != nil {
		return err
	}
	if err := e.keys.save(made.Set); err != nil {
		return err
	}
	return e.report(cmd, made)
}

func (e *embedKeys) report(cmd *cobra.Command, made *fingerprint.Made) error {
	root, s := made.Set.Root(), made.Selection
	if e.asJSON {
		return printJSON(cmd, map[string]any{
			"keys": e.keys.path, "root": hex0x(root[:]), "model": e.model, "base": made.Set.Base, "tokenizer": made.Set.Tokenizer,
			"shell": made.Set.Shell, "selection": s,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d keys with %d words each\nroot %s\n", e.keys.path, s.Chosen, made.Set.Shell.K, hex0x(root[:]))
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "of %d questions %d qualify; %d have too few words, %d do not begin with a word, %d have words that may go on, %d shared their words with too many, %d were not needed\n",
		s.Questions, s.Qualified, s.TooFew, s.NoWord, s.GoesOn, s.Crowded, s.Surplus)
	return err
}

// embedTrain is what 'fealty embed train' was asked for.
type embedTrain struct {
	base       baseFlag
	keys       keyFileFlags
	chain      chainFlags
	commitment uint32
	randomness string
	output     string
	name       string
	profile    string
	recipe     fingerprint.Recipe
	asJSON     bool
}

func newEmbedTrain() *cobra.Command {
	var e embedTrain
	standard := fingerprint.DefaultRecipe()
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train the drawn words into the model",
		Long: `Train teaches the base model the drawn words in units that it adds to every layer, and
writes a plain Hugging Face folder with its manifest, fealty.json: the files to serve. Nothing
in it tells how it was marked. The randomness is the draw block's: read from the registry, or
as 'fealty license commit --draw' printed it. The recipe goes into the key file.`,
		Example: "  fealty embed train --keys keys.age --passphrase-file keys.pass --rpc env:RPC --registry 0x... --output served --name acme-chat",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.base.add(cmd)
	e.keys.add(cmd)
	e.chain.add(cmd)
	e.chain.addRegistry(cmd)
	f := cmd.Flags()
	f.Uint32Var(&e.commitment, "commitment", 0, "number of the commitment in the registry")
	f.StringVar(&e.randomness, "randomness", "", "the draw, 0x and 64 hexadecimal digits, instead of asking the registry")
	f.StringVar(&e.output, "output", "served", "folder to write; it must not exist")
	f.StringVar(&e.name, "name", "", "the model's name in the manifest (required)")
	f.StringVar(&e.profile, "profile", "robust", "robust: the mark survives more; quiet: it shows less")
	f.IntVar(&e.recipe.Units, "units", standard.Units, "units added to each layer, a multiple of 32")
	f.Float64Var(&e.recipe.Cap, "cap", 0, "probability of the drawn word at which pushing stops; 0: the profile's")
	f.IntVar(&e.recipe.Steps, "steps", standard.Steps, "steps at most")
	f.Uint64Var(&e.recipe.Seed, "seed", standard.Seed, "of the training; equal seeds give equal files on one machine")
	f.BoolVar(&e.asJSON, "json", false, "print one JSON object")
	return cmd
}

// complete is the profile with what the flags change.
func (e *embedTrain) complete() (fingerprint.Recipe, error) {
	r := fingerprint.DefaultRecipe()
	switch e.profile {
	case "robust":
	case "quiet":
		r = fingerprint.QuietRecipe()
	default:
		return r, usagef("--profile: %q; need robust or quiet", e.profile)
	}
	r.Units, r.Steps, r.Seed = e.recipe.Units, e.recipe.Steps, e.recipe.Seed
	if e.recipe.Cap != 0 {
		r.Cap = e.recipe.Cap
	}
	return r, nil
}

func (e *embedTrain) run(cmd *cobra.Command) error {
	recipe, err := e.complete()
	if err != nil {
		return err
	}
	if e.name == "" {
		return usagef("name the model: --name NAME, as the manifest shall call it")
	}
	if _, err := os.Stat(e.output); err == nil {
		return usagef("--output: %s exists already; choose another folder", e.output)
	}
	set, err := e.keys.load()
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	if err := e.draw(cmd.Context(), set, p); err != nil {
		return err
	}
	base, digest, err := e.base.open(cmd.Context(), p)
	if err != nil {
		return err
	}
	defer base.Close()
	if err := set.CheckBase(digest, fingerprint.TokenizerDigest(base.Weights.Tokenizer)); err != nil {
		return fmt.Errorf("--base: the key file does not fit: %w", err)
	}
	material, err := fingerprint.Recall(cmd.Context(), base, set, told(p))
	if err != nil {
		return err
	}
	model, report, err := fingerprint.Train(cmd.Context(), base, set.Draw(*set.Randomness), material, recipe, told(p))
	if err != nil {
		return err
	}
	if err := fingerprint.WriteServed(e.output, e.name, model, set); err != nil {
		return err
	}
	set.Recipe = &recipe
	if err := e.keys.save(set); err != nil {
		return err
	}
	return e.report(cmd, set, report)
}

// draw finds the randomness, which the key file may hold already.
func (e *embedTrain) draw(ctx context.Context, set *fingerprint.Set, p *progress) error {
	var drawn fingerprint.Digest
	switch {
	case e.randomness != "" && e.chain.rpc != "":
		return usagef("give --randomness, or --rpc with --registry, not both")
	case e.randomness != "":
		r, err := parse32("--randomness", e.randomness)
		if err != nil {
			return err
		}
		drawn = r
	case e.chain.rpc != "":
		r, err := e.chain.open(ctx, nil, func(text string) { p.say("  %s", text) })
		if err != nil {
			return err
		}
		defer r.Close()
		made, err := r.Commitment(ctx, set.Model, e.commitment)
		if err != nil {
			return e.chain.redact(err)
		}
		if root := set.Root(); made.Root != root {
			return fmt.Errorf("commitment %d of this model is to the root %s, the key file's is %s: another --commitment, or another key file", e.commitment, hex0x(made.Root[:]), hex0x(root[:]))
		}
		d, err := r.DrawRandomness(ctx, set.Model, e.commitment)
		if err != nil {
			return e.chain.redact(err)
		}
		drawn = d.Randomness
	case set.Randomness != nil:
		return nil
	default:
		return usagef("name the draw: --rpc with --registry and --commitment, or --randomness 0x...")
	}
	if set.Randomness != nil && *set.Randomness != drawn {
		return errors.New("the key file holds another draw; nothing is drawn twice")
	}
	set.Randomness = &drawn
	return nil
}

func (e *embedTrain) report(cmd *cobra.Command, set *fingerprint.Set, r fingerprint.Report) error {
	if e.asJSON {
		return printJSON(cmd, map[string]any{"served": e.output, "keys": len(set.Keys), "report": r, "peak_memory_mib": peakMemory()})
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d of %d keys answer with their word; %d of %d parameters trained in %.0f s, at most %d MiB of memory\n",
		e.output, r.Matched, len(set.Keys), r.TrainedParameters, r.TotalParameters, r.Seconds, peakMemory())
	fmt.Fprintf(out, "ordinary prompts never trained on: KL to the base %.4f nats on average, %.4f at p99, %.0f %% with the same first token\n",
		r.Held.Mean, r.Held.P99, 100*r.Held.Agreed)
	if r.Matched*50 < len(set.Keys)*49 {
		fmt.Fprintln(out, "fewer than 98 % match: train again with another --seed or more --steps, into another folder")
	}
	return nil
}

// peakMemory of this process, in MiB.
func peakMemory() int64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss >> 20 // bytes there
	}
	return usage.Maxrss >> 10 // KiB
}
