package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

func newEmbedVerify() *cobra.Command {
	var a auditFlags
	cmd := &cobra.Command{
		Use:   "verify TARGET",
		Short: "Count the fingerprints in weights on disk, or in what an endpoint answers",
		Long: `Verify asks the questions of a key file and counts how many answers begin with the drawn
word. TARGET is a GGUF file or a model folder, or the URL of an OpenAI-style endpoint, for
which it does what 'fealty audit verify' does and burns the keys. With --completions it asks
/v1/completions, in the words that the base's chat template makes of the questions.

With --licensees it also says whose copy a leak was made of: each licensee's copy holds a
random half of the keys ('fealty embed train --licensee'). The chance that any innocent one
is named is at most --alpha, however many of them put their copies together.`,
		Example: "  fealty embed verify served --keys keys.age --passphrase-file keys.pass\n" +
			"  fealty embed verify https://suspect.example.com/v1 --api-key env:SUSPECT_KEY --keys keys.age --passphrase-file keys.pass --sequential",
		Args: exactArgs("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], "http://") || strings.HasPrefix(args[0], "https://") {
				return a.run(cmd, args[0])
			}
			return a.runLocal(cmd, args[0])
		},
	}
	a.add(cmd)
	a.base.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&a.completions, "completions", false, "ask /v1/completions instead of /v1/chat/completions")
	f.Float64Var(&a.timeout, "timeout", 60, "seconds to wait for each answer")
	f.StringVar(&a.licensees, "licensees", "", "file with a licensee per line, of all that got a copy of their own: say whose leaked")
	f.Float64Var(&a.alpha, "alpha", 0.01, "chance that any innocent licensee is named")
	return cmd
}

// runLocal asks weights that one holds. Nobody else sees the questions.
func (a *auditFlags) runLocal(cmd *cobra.Command, path string) error {
	if a.model != "" || a.apiKey != "" || a.completions {
		return usagef("--model, --api-key and --completions are for endpoints; %s is a path", path)
	}
	set, err := a.open(cmd)
	if err != nil {
		return err
	}
	source, err := weights.Open(path)
	if err != nil {
		return err
	}
	if set.Tokenizer != fingerprint.TokenizerDigest(source.Tokenizer) {
		fmt.Fprintln(cmd.ErrOrStderr(), "fealty: these weights have another tokenizer or chat template than the keys were made for; matches still count")
	}
	p := newProgress(cmd.ErrOrStderr())
	local, err := fingerprint.NewLocal(source, nil)
	if err != nil {
		return err
	}
	defer local.Close()
	v, err := verifyWith(cmd.Context(), local.As(a.asking), verdict{Endpoint: path, Model: source.Name}, set, a.design(), p)
	return a.report(cmd, v, a.accuse(&v, set, err))
}

// accuse fills in whose copy answers so.
func (a *auditFlags) accuse(v *verdict, set *fingerprint.Set, err error) error {
	if err != nil || a.licensees == "" {
		return err
	}
	names, err := readLicensees(a.licensees)
	if err != nil {
		return err
	}
	v.Suspicions, err = set.Accuse(v.MatchedKeys(), names, a.alpha)
	return err
}

func readLicensees(path string) (names []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--licensees: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, name)
		}
	}
	return names, lines.Err()
}

func (a *auditFlags) reportSuspicions(cmd *cobra.Command, v verdict) {
	if a.licensees == "" {
		return
	}
	accused := 0
	for _, s := range v.Suspicions {
		if s.Accused {
			accused++
			fmt.Fprintf(cmd.OutOrStdout(), "copy of %s: holds %d of the %d matched keys, chance %.3g for any innocent licensee\n", s.Licensee, s.Shared, s.Matched, s.Chance.P)
		}
	}
	if accused == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "no licensee is named: none of %d holds so many of the %d matched keys that alpha %g allows it\n", len(v.Suspicions), v.Matched, a.alpha)
	}
}

// renderer makes a completion's prompt of messages, as the base's chat template does.
func (a *auditFlags) renderer(cmd *cobra.Command, set *fingerprint.Set) (func([]openai.Message) (string, error), error) {
	path, err := a.base.resolve(cmd.Context(), newProgress(cmd.ErrOrStderr()))
	if err != nil {
		return nil, err
	}
	base, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	if set.Tokenizer != fingerprint.TokenizerDigest(base.Tokenizer) {
		return nil, fmt.Errorf("--base: %s has another tokenizer or chat template than the keys were made for; name the keys' base", path)
	}
	t, err := tokenizer.New(base.Tokenizer)
	if err != nil {
		return nil, err
	}
	return func(messages []openai.Message) (string, error) {
		var turns []tokenizer.Message
		for _, m := range messages {
			turns = append(turns, tokenizer.Message{Role: m.Role, Content: m.Content})
		}
		return t.Chat(turns, true)
	}, nil
}
