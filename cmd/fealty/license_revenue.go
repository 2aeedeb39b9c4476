package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
)

// revenueCommand is what license revenue was asked for.
type revenueCommand struct {
	chain         chainFlags
	from, to      uint64
	since, before string
	asCSV, asJSON bool
}

func newRevenue() *cobra.Command {
	var c revenueCommand
	cmd := &cobra.Command{
		Use: "revenue", Short: "Add up what was paid for a model, per plan and token, from the chain's events", Args: noArgs,
		Long: `Revenue adds up the purchases that the registry recorded. The payments went to whoever owned
the model at the time; licenses granted without a sale are not in it. Amounts are in the
token's smallest unit. Times are RFC 3339 or a day, which begins at 00:00 UTC.`,
		Example: "  fealty license revenue --since 2026-11-01 --before 2026-12-01 --csv --rpc env:RPC_URL --registry 0x... --model 0x...",
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.Uint64Var(&c.from, "from-block", 0, "first block; the registry's deployment if not given")
	f.Uint64Var(&c.to, "to-block", 0, "last block; the newest if not given")
	f.StringVar(&c.since, "since", "", "first time, instead of --from-block")
	f.StringVar(&c.before, "before", "", "the time at which it ends, itself not included, instead of --to-block")
	f.BoolVar(&c.asCSV, "csv", false, "print CSV")
	f.BoolVar(&c.asJSON, "json", false, "print one JSON object")
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	cmd.MarkFlagsMutuallyExclusive("from-block", "since")
	cmd.MarkFlagsMutuallyExclusive("to-block", "before")
	c.chain.add(cmd)
	c.chain.addRegistry(cmd)
	c.chain.addModel(cmd)
	return cmd
}

// income is what license revenue reports.
type income struct {
	Registry  string      `json:"registry"`
	ChainID   uint64      `json:"chain_id"`
	Model     string      `json:"model"`
	FromBlock uint64      `json:"from_block"`
	ToBlock   uint64      `json:"to_block"`
	Rows      []incomeRow `json:"rows"`
}

type incomeRow struct {
	Plan      uint32 `json:"plan"`
	Token     string `json:"token"` // empty: the chain's coin
	Purchases uint64 `json:"purchases"`
	Total     string `json:"total"` // in the token's smallest unit
}

func (c *revenueCommand) run(cmd *cobra.Command) error {
	times, err := c.times()
	if err != nil {
		return err
	}
	model, err := c.chain.modelID()
	if err != nil {
		return err
	}
	r, err := c.chain.open(cmd.Context(), nil, newProgress(cmd.ErrOrStderr()).line)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Model(cmd.Context(), model); err != nil {
		return c.chain.redact(err)
	}
	in := income{Registry: wallet.AddressText(r.Address()), ChainID: r.ChainID(), Model: hex0x(model[:]), Rows: []incomeRow{}}
	if in.FromBlock, in.ToBlock, err = c.blocks(cmd.Context(), r, cmd.Flags().Changed("to-block"), times); err != nil {
		return c.chain.redact(err)
	}
	rows, err := r.Revenue(cmd.Context(), model, in.FromBlock, in.ToBlock)
	if err != nil {
		return c.chain.redact(err)
	}
	for _, row := range rows {
		token := ""
		if row.Token != [20]byte{} {
			token = wallet.AddressText(row.Token)
		}
		in.Rows = append(in.Rows, incomeRow{row.Plan, token, row.Purchases, row.Total.String()})
	}
	return c.print(cmd, in)
}

// times are --since and --before; zero: not given.
func (c *revenueCommand) times() (times [2]time.Time, err error) {
	for i, f := range []struct{ name, text string }{{"--since", c.since}, {"--before", c.before}} {
		if f.text == "" {
			continue
		}
		if times[i], err = time.Parse(time.RFC3339, f.text); err == nil {
			continue
		}
		if times[i], err = time.Parse(time.DateOnly, f.text); err != nil {
			return times, usagef("%s: %.40q is no time; write 2026-11-22 or 2026-11-22T10:00:00Z", f.name, f.text)
		}
	}
	return times, nil
}

// blocks turns the flags into a range. Its end is one below its start where it is empty.
func (c *revenueCommand) blocks(ctx context.Context, r *registry.Registry, toSet bool, times [2]time.Time) (from, to uint64, err error) {
	from, to = max(c.from, r.DeployedAt()), c.to
	if !times[0].IsZero() {
		if from, err = r.BlockAt(ctx, times[0]); err != nil {
			return 0, 0, err
		}
	}
	newest, _, err := r.Block(ctx)
	if err != nil {
		return 0, 0, err
	}
	if !toSet {
		to = newest
	}
	if !times[1].IsZero() {
		end, err := r.BlockAt(ctx, times[1])
		if err != nil {
			return 0, 0, err
		}
		to = end - 1
	}
	if to > newest {
		return 0, 0, usagef("--to-block: %d is above the newest block, %d", to, newest)
	}
	return from, to, nil
}

func (c *revenueCommand) print(cmd *cobra.Command, in income) error {
	if c.asJSON {
		return printJSON(cmd, in)
	}
	out := cmd.OutOrStdout()
	if c.asCSV {
		w := csv.NewWriter(out)
		_ = w.Write([]string{"plan", "token", "purchases", "total", "from_block", "to_block"})
		for _, row := range in.Rows {
			_ = w.Write([]string{ // Error tells below
				strconv.FormatUint(uint64(row.Plan), 10), row.Token, strconv.FormatUint(row.Purchases, 10), row.Total,
				strconv.FormatUint(in.FromBlock, 10), strconv.FormatUint(in.ToBlock, 10),
			})
		}
		w.Flush()
		return w.Error()
	}
	fmt.Fprintf(out, "blocks %d to %d\n", in.FromBlock, in.ToBlock)
	if len(in.Rows) == 0 {
		_, err := fmt.Fprintln(out, "  no purchases")
		return err
	}
	for _, row := range in.Rows {
		unit := "wei"
		if row.Token != "" {
			unit = "of " + row.Token
		}
		if _, err := fmt.Fprintf(out, "  plan %d: %d purchases, %s %s\n", row.Plan, row.Purchases, row.Total, unit); err != nil {
			return err
		}
	}
	return nil
}
