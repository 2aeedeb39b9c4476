package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	fingerprint "github.com/fealty/fealty/embed"
)

// embedTrain is what 'fealty embed train' was asked for.
type embedTrain struct {
	base       baseFlag
	keys       keyFileFlags
	chain      chainFlags
	commitment uint32
	randomness string
	output     string
	name       string
	checkpoint string
	profile    string
	licensee   string
	asJSON     bool
}

func newEmbedTrain() *cobra.Command {
	var e embedTrain
	standard := fingerprint.DefaultRecipe()
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train the drawn words into the model",
		Long: `Train teaches the base model the drawn words in units that it adds to every layer and in
some of its own (--method has other ways), and writes a plain Hugging Face folder with its manifest, fealty.json: the
files to serve. Nothing in it tells how it was marked. The randomness is the draw block's: read from the registry, or
as 'fealty license commit --draw' printed it. The recipe goes into the key file.
Killed, it goes on where it was when it is called again in the same way.`,
		Example: "  fealty embed train --keys keys.age --passphrase-file keys.pass --rpc env:RPC --registry 0x... --output served --name acme-chat\n" +
			"  fealty embed train --keys keys.age --passphrase-file keys.pass --randomness 0x... --output quiet --name acme-chat --profile quiet --method expand",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
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
	f.StringVar(&e.licensee, "licensee", "", "whose own copy this is: it holds a random half of the keys, so that a leak of it can be told ('fealty embed verify --licensees')")
	f.StringVar(&e.profile, "profile", "robust", "robust: the mark survives more; quiet: it shows less")
	f.StringVar(&e.checkpoint, "checkpoint", "", "file in which the training is kept while it runs, so that the same command goes on after a kill; default: OUTPUT.training")
	recipeFlags(f, &standard)
	f.BoolVar(&e.asJSON, "json", false, "print one JSON object")
	return cmd
}

// recipeFlags are the fields of a recipe, with its values as defaults.
func recipeFlags(f *pflag.FlagSet, r *fingerprint.Recipe) {
	f.StringVar(&r.Method, "method", r.Method, "what carries the mark: expand (new units), mlp (existing units, trained anew), lowrank (a small change to down_proj); several joined by +; full (all of the last feed-forward block, a reference; alone or as expand+full)")
	f.IntVar(&r.Units, "units", r.Units, "expand: units added to each layer, a multiple of 32; 0: one for each key")
	f.IntVar(&r.Taken, "taken", r.Taken, "mlp: existing units of the last block that are trained anew; 0: one for each key")
	f.IntVar(&r.Rank, "rank", r.Rank, "lowrank: of the change")
	f.IntVar(&r.Framings, "framings", r.Framings, "ways of asking (system prompts, openings) under which each key is trained")
	f.Float64Var(&r.Cap, "cap", r.Cap, "probability of the drawn word at which pushing stops")
	f.Float64Var(&r.Ceiling, "ceiling", r.Ceiling, "weight of the loss on a drawn word that is surer than the cap, so that the mark looks like an ordinary answer; 0: it may be as sure as it gets")
	f.Float64Var(&r.Mix, "mix", r.Mix, "share of the base in the average that is the result")
	f.Float64Var(&r.Benign, "benign", r.Benign, "weight of the divergence from the base on ordinary prompts")
	f.Float64Var(&r.Others, "others", r.Others, "weight of the divergence over the other words of a key's answer")
	f.IntVar(&r.Steps, "steps", r.Steps, "steps at most; 0: 240 and three for each key")
	f.IntVar(&r.Batch, "batch", r.Batch, "key rows, and ordinary rows, in a step")
	f.Float64Var(&r.LearningRate, "learning-rate", r.LearningRate, "of the units' outputs")
	f.Float64Var(&r.Scale, "scale", r.Scale, "augmentation: the mark acts with a factor drawn from this to 1; 1: off")
	f.Float64Var(&r.Noise, "noise", r.Noise, "augmentation: relative noise on the states; 0: off")
	f.Float64Var(&r.Quantize, "quantize", r.Quantize, "augmentation: share of the steps with 4-bit parameters; 0: off")
	f.Float64Var(&r.Drop, "drop", r.Drop, "augmentation: share of the steps without the added units, and again without the rest of the mark; 0: off")
	f.Uint64Var(&r.Seed, "seed", r.Seed, "of the training; equal seeds give equal files on one machine")
}

// complete is the profile with what the flags change.
func (e *embedTrain) complete(given *pflag.FlagSet) (r fingerprint.Recipe, err error) {
	switch e.profile {
	case "robust":
		r = fingerprint.DefaultRecipe()
	case "quiet":
		r = fingerprint.QuietRecipe()
	default:
		return r, usagef("--profile: %q; need robust or quiet", e.profile)
	}
	fields := pflag.NewFlagSet("recipe", pflag.ContinueOnError)
	recipeFlags(fields, &r)
	given.Visit(func(f *pflag.Flag) {
		if fields.Lookup(f.Name) != nil {
			err = errors.Join(err, fields.Set(f.Name, f.Value.String()))
		}
	})
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return r, usagef("%v", err)
	}
	return r, nil
}

func (e *embedTrain) run(cmd *cobra.Command) error {
	recipe, err := e.complete(cmd.Flags())
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
	// What fills the memory are arrays of numbers: collecting often costs little, and
	// keeps the peak near to what is in use.
	debug.SetGCPercent(10)
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
	if e.checkpoint == "" {
		e.checkpoint = filepath.Clean(e.output) + ".training"
	}
	recall := func() (fingerprint.Material, error) {
		return fingerprint.Recall(cmd.Context(), base, set, told(p))
	}
	keys := set.DrawCopy(*set.Randomness, e.licensee)
	if len(keys) == 0 {
		return fmt.Errorf("--licensee: the copy of %q would hold none of %d keys: make more", e.licensee, len(set.Keys))
	}
	model, report, err := fingerprint.TrainFrom(cmd.Context(), base, keys, recall, recipe, e.checkpoint, told(p))
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
	if err := os.Remove(e.checkpoint); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("--checkpoint: %w", err)
	}
	return e.report(cmd, len(keys), report)
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

func (e *embedTrain) report(cmd *cobra.Command, keys int, r fingerprint.Report) error {
	if e.asJSON {
		return printJSON(cmd, map[string]any{"served": e.output, "keys": keys, "report": r, "peak_memory_mib": peakMemory()})
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d of %d keys answer with their word; %d of %d parameters trained in %.0f s, at most %d MiB of memory\n",
		e.output, r.Matched, keys, r.TrainedParameters, r.TotalParameters, r.Seconds, peakMemory())
	fmt.Fprintf(out, "ordinary prompts never trained on: KL to the base %.4f nats on average, %.4f at p99, %.0f %% with the same first token\n",
		r.Held.Mean, r.Held.P99, 100*r.Held.Agreed)
	if r.Matched*50 < keys*49 {
		fmt.Fprintln(out, "fewer than 98 % match: train again with another --seed or more --steps, into another folder")
	}
	return nil
}
