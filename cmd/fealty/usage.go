package main

import (
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway/identity/state"
	ledger "github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/atomicfile"
)

func newUsage() *cobra.Command {
	return group("usage", "Read the ledger of what was used", newUsageExport())
}

// usageExport is what 'fealty usage export' was asked for.
type usageExport struct {
	config, from, to, output string
	asJSON, sum              bool
}

func newUsageExport() *cobra.Command {
	var o usageExport
	cmd := &cobra.Command{
		Use:   "export --config FILE",
		Short: "Write the usage ledger as CSV",
		Long: `Export reads the state store that the config names and writes one line per request:
time, request, subject, key, model, version, prompt tokens, completion tokens, status. The
subject is the licensee as the registry knows it; no prompt and no credential is in the
ledger. --sum writes one line per day, model, subject and key instead. Days are UTC. What a
running gateway has not written yet, some milliseconds of it, is not in it.`,
		Example: `  fealty usage export --config serve.yaml --from 2026-11-01 --to 2026-11-30 --output november.csv
  fealty usage export --config serve.yaml --sum --json | jq .completion_tokens`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	today := time.Now().UTC().Format(time.DateOnly)
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the gateway's YAML config (required)")
	f.StringVar(&o.from, "from", today, "first day")
	f.StringVar(&o.to, "to", today, "last day")
	f.StringVar(&o.output, "output", "", "file to write; default: standard output")
	f.BoolVar(&o.sum, "sum", false, "one line per day, model, subject and key")
	f.BoolVar(&o.asJSON, "json", false, "a JSON object per line instead of CSV")
	f.Bool("csv", true, "CSV, which is the default")
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	return cmd
}

func (o *usageExport) run(cmd *cobra.Command) error {
	days, err := o.days()
	if err != nil {
		return err
	}
	cfg, err := loadConfig(o.config)
	if err != nil {
		return err
	}
	url, err := cfg.Redis.State.Resolve()
	if err != nil {
		return err
	}
	client, err := state.Open(string(url))
	if err != nil {
		return err
	}
	defer client.Close()
	lines := 0
	err = writeTo(cmd.OutOrStdout(), o.output, func(w io.Writer) error {
		lines, err = o.write(cmd.Context(), ledger.NewReader(client), days, w)
		return err
	})
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d lines of %d days\n", lines, len(days))
	}
	return err
}

func (o *usageExport) days() ([]time.Time, error) {
	from, err := time.Parse(time.DateOnly, o.from)
	if err != nil {
		return nil, usagef("--from: %q is no day such as 2026-01-31", o.from)
	}
	to, err := time.Parse(time.DateOnly, o.to)
	if err != nil {
		return nil, usagef("--to: %q is no day such as 2026-01-31", o.to)
	}
	var days []time.Time
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		if days = append(days, day); len(days) > 3660 {
			return nil, usagef("--from and --to cover more than ten years; export a part")
		}
	}
	if len(days) == 0 {
		return nil, usagef("--to: %s is before --from, %s", o.to, o.from)
	}
	return days, nil
}

// usageLine is one line of the export: of a request, or with --sum of all requests
// of a day, model, subject and key.
type usageLine struct {
	Time             string `json:"time"`
	Request          string `json:"request,omitempty"`
	Subject          string `json:"subject"`
	Key              string `json:"key"`
	Model            string `json:"model"`
	Version          uint32 `json:"version,omitempty"`
	Requests         int    `json:"requests,omitempty"`
	PromptTokens     int    `json:"prompt_tokens"`
	CompletionTokens int    `json:"completion_tokens"`
	Status           string `json:"status,omitempty"`
}

func lineOf(e ledger.Entry) usageLine {
	return usageLine{
		Time: e.Time.UTC().Format(time.RFC3339Nano), Request: e.Request, Subject: "0x" + hex.EncodeToString(e.Subject[:]),
		Key: e.KeyID, Model: e.Model, Version: e.Version,
		PromptTokens: e.PromptTokens, CompletionTokens: e.CompletionTokens, Status: e.Status,
	}
}

func (o *usageExport) columns() []string {
	if o.sum {
		return []string{"day", "subject", "key", "model", "requests", "prompt_tokens", "completion_tokens"}
	}
	return []string{"time", "request", "subject", "key", "model", "version", "prompt_tokens", "completion_tokens", "status"}
}

func (o *usageExport) fields(l usageLine) []string {
	prompt, completion := strconv.Itoa(l.PromptTokens), strconv.Itoa(l.CompletionTokens)
	if o.sum {
		return []string{l.Time, l.Subject, l.Key, l.Model, strconv.Itoa(l.Requests), prompt, completion}
	}
	return []string{l.Time, l.Request, l.Subject, l.Key, l.Model, strconv.Itoa(int(l.Version)), prompt, completion, l.Status}
}

func (o *usageExport) write(ctx context.Context, r ledger.Reader, days []time.Time, w io.Writer) (lines int, err error) {
	table, objects := csv.NewWriter(w), json.NewEncoder(w)
	put := func(l usageLine) error {
		lines++
		if o.asJSON {
			return objects.Encode(l)
		}
		return table.Write(o.fields(l))
	}
	if !o.asJSON {
		if err := table.Write(o.columns()); err != nil {
			return 0, err
		}
	}
	for _, day := range days {
		if o.sum {
			err = sumDay(ctx, r, day, put)
		} else {
			err = r.Entries(ctx, day, func(e ledger.Entry) error { return put(lineOf(e)) })
		}
		if err != nil {
			return lines, err
		}
	}
	table.Flush()
	return lines, table.Error()
}

// sumDay adds up the entries of one day.
func sumDay(ctx context.Context, r ledger.Reader, day time.Time, put func(usageLine) error) error {
	type holder struct{ model, subject, key string }
	sums := map[holder]*usageLine{}
	err := r.Entries(ctx, day, func(e ledger.Entry) error {
		l := lineOf(e)
		h := holder{l.Model, l.Subject, l.Key}
		if sums[h] == nil {
			sums[h] = &usageLine{Time: day.Format(time.DateOnly), Subject: l.Subject, Key: l.Key, Model: l.Model}
		}
		s := sums[h]
		s.Requests++
		s.PromptTokens += l.PromptTokens
		s.CompletionTokens += l.CompletionTokens
		return nil
	})
	if err != nil {
		return err
	}
	var all []*usageLine
	for _, s := range sums {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *usageLine) int {
		return strings.Compare(a.Model+" "+a.Subject+" "+a.Key, b.Model+" "+b.Subject+" "+b.Key)
	})
	for _, s := range all {
		if err := put(*s); err != nil {
			return err
		}
	}
	return nil
}

// writeTo writes to a file, which appears whole or not at all, or to out.
func writeTo(out io.Writer, path string, write func(io.Writer) error) error {
	if path == "" {
		return write(out)
	}
	return atomicfile.Write(path, 0o644, func(f *os.File) error { return write(f) })
}
