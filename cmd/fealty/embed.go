package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
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
	f.IntVar(&e.write, "write", 0, "questions that the base writes to choose from; 0: five for each key")
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
