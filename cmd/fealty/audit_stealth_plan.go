package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit/stealth"
	"github.com/fealty/fealty/internal/openai"
)

// stealthPlan is what k6/stealth.js asks. It does not tell what is what.
type stealthPlan struct {
	MaxTokens int               `json:"max_tokens"`
	Prompts   []stealthQuestion `json:"prompts"`
}

type stealthQuestion struct {
	ID       string           `json:"id"`
	Messages []openai.Message `json:"messages"`
}

type stealthPlanFlags struct {
	keys             keyFileFlags
	ordinary         string
	most, maxTokens  int
	output, labelled string
}

func newAuditStealthPlan() *cobra.Command {
	var f stealthPlanFlags
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Mix a key file's questions with ordinary ones, for k6/stealth.js to ask",
		Long: `Plan writes two files: the prompts in random order under ids that mean nothing, for
whoever asks them, and the labels, which tell fingerprints from ordinary prompts and stay
here. Ordinary are the questions of the same generator that became no keys (they lie
nearest), and ordinary prompts of a list. The keys count as burnt from now on.`,
		Example: "  fealty audit stealth plan --keys keys.age --passphrase-file keys.pass --output plan.json --labels labels.json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.keys.add(cmd)
	cmd.Flags().StringVar(&f.ordinary, "ordinary", "", "file of ordinary prompts, one per line; default: the built-in list")
	cmd.Flags().IntVar(&f.most, "count", 0, "most ordinary prompts; 0: all")
	cmd.Flags().IntVar(&f.maxTokens, "max-tokens", 16, "length of each answer; 8 or more, or gateways leave it undressed")
	cmd.Flags().StringVar(&f.output, "output", "plan.json", "the plan")
	cmd.Flags().StringVar(&f.labelled, "labels", "labels.json", "the labels")
	return cmd
}

func (f *stealthPlanFlags) run(cmd *cobra.Command) error {
	if f.maxTokens < 8 || f.most < 0 {
		return usagef("--max-tokens: need 8 or more; --count: need 0 or more")
	}
	set, err := f.keys.load()
	if err != nil {
		return err
	}
	if set.Randomness == nil {
		return usagef("--keys: the responses are not drawn yet, so there is nothing to hide")
	}
	ordinary, err := f.ordinaryPrompts(set)
	if err != nil {
		return err
	}
	labels, asked := stealthLabels(set, ordinary)
	plan := stealthPlan{MaxTokens: f.maxTokens}
	for _, p := range labels.Prompts {
		plan.Prompts = append(plan.Prompts, stealthQuestion{p.ID, []openai.Message{{Role: "user", Content: p.Question}}})
	}
	if err := f.keys.burn(set, asked); err != nil {
		return err
	}
	if err := writeNew(f.labelled, labels); err != nil {
		return fmt.Errorf("--labels: %w", err)
	}
	if err := writeNew(f.output, plan); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d fingerprints and %d ordinary prompts in %s; %s tells which is which\n", len(asked), len(ordinary), f.output, f.labelled)
	return nil
}

// ordinaryPrompts takes the near ones first: they are the harder to tell.
func (f *stealthPlanFlags) ordinaryPrompts(set *fingerprint.Set) ([]string, error) {
	list := fingerprint.OrdinaryPrompts()
	if f.ordinary != "" {
		file, err := os.Open(f.ordinary)
		if err != nil {
			return nil, fmt.Errorf("--ordinary: %w", err)
		}
		defer file.Close()
		list = nil
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if text := strings.TrimSpace(lines.Text()); text != "" {
				list = append(list, text)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("--ordinary: %w", err)
		}
	}
	all := append(append([]string{}, set.Others...), list...)
	if f.most > 0 && f.most < len(all) { // evenly, so that both kinds stay
		some := make([]string, f.most)
		for i := range some {
			some[i] = all[i*len(all)/f.most]
		}
		all = some
	}
	return all, nil
}

// stealthLabels puts all prompts under random ids, in the order of those.
func stealthLabels(set *fingerprint.Set, ordinary []string) (stealth.Labels, []int) {
	byID, keys := map[string]stealth.Prompt{}, []int(nil)
	for i, d := range set.Draw(*set.Randomness) {
		id := rand.Text()
		byID[id] = stealth.Prompt{ID: id, Question: d.Question, Fingerprint: true, Word: d.Word()}
		keys = append(keys, i)
	}
	for _, q := range ordinary {
		id := rand.Text()
		byID[id] = stealth.Prompt{ID: id, Question: q}
	}
	var l stealth.Labels
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		l.Prompts = append(l.Prompts, byID[id])
	}
	return l, keys
}

// writeNew writes JSON into a file that only the owner reads and that must not exist.
func writeNew(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(append(text, '\n')); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
