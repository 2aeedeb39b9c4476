package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/audit"
	"github.com/fealty/fealty/internal/wallet"
)

// trustFlags say what the checker knows by itself.
type trustFlags struct {
	chain     chainFlags
	blocks    []string
	witnesses []string
}

func (f *trustFlags) add(cmd *cobra.Command) {
	f.chain.add(cmd)
	cmd.Flags().StringArrayVar(&f.blocks, "block", nil, "NUMBER=HASH of a block, from a source of your own; once for each")
	cmd.Flags().StringArrayVar(&f.witnesses, "known-witness", nil, "address of a witness that you know to be independent; given, only these count")
}

func (f *trustFlags) read(ctx context.Context, bundle *audit.Sealed) (t audit.Trust, err error) {
	t.Blocks = map[uint64][32]byte{}
	if f.chain.rpc != "" {
		chain, err := f.chain.dialAudit(ctx)
		if err != nil {
			return t, err
		}
		defer chain.Close()
		if t.Blocks, err = chain.Confirm(ctx, bundle); err != nil {
			return t, f.chain.redact(err)
		}
	}
	for _, text := range f.blocks {
		number, hash, _ := strings.Cut(text, "=")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return t, usagef("--block: %q; write NUMBER=0x and 64 hexadecimal digits", text)
		}
		if t.Blocks[n], err = parse32("--block", hash); err != nil {
			return t, err
		}
	}
	for _, text := range f.witnesses {
		address, err := wallet.ParseAddress(text)
		if err != nil {
			return t, usagef("--known-witness: %v", err)
		}
		t.Witnesses = append(t.Witnesses, address)
	}
	return t, nil
}

// auditCheck is what 'fealty audit check' was asked for.
type auditCheck struct {
	trust   trustFlags
	pick    int
	live    string
	picked  []int
	apiKey  string
	connect string
	against string
	asJSON  bool
}

func newAuditCheck() *cobra.Command {
	var c auditCheck
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a bundle: recompute everything in it, and say what is proven and what is claimed",
		Long: `Check recomputes signatures, the order of the questions, leaves, draws, statistics and the
proofs of the chain's state, without any network. With --rpc (a node of your own) or --block it
compares the blocks; without, the chain's state is only claimed.

To see for yourself: --pick N chooses fresh keys at random. The creator opens exactly those
('fealty embed reveal --index ...'), and --live REVEAL --picked I,J,... asks the endpoint.

--against OTHER weighs two creators' claims on one model: FILE holds the first one's keys asked
of the second's endpoint, OTHER the second one's keys asked of the first's.

Exit 0: the bundle holds together (read what it says). Exit 3: it does not.`,
		Example: "  fealty audit check bundle.json --rpc env:RPC\n  fealty audit check bundle.json --pick 8\n" +
			"  fealty audit check bundle.json --live reveal.json --picked 3,17,20 --api-key env:MY_KEY",
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	c.trust.add(cmd)
	f := cmd.Flags()
	f.IntVar(&c.pick, "pick", 0, "choose so many fresh keys to ask live")
	f.StringVar(&c.live, "live", "", "reveal of the keys that you picked: ask them now")
	f.IntSliceVar(&c.picked, "picked", nil, "the keys that you picked")
	f.StringVar(&c.apiKey, "api-key", "", "with --live: env:NAME or file:PATH of your key for the endpoint")
	f.StringVar(&c.connect, "connect", "", "with --live: host:port to connect to, whatever DNS says of the endpoint's host; the bundle's own --connect is not followed")
	f.StringVar(&c.against, "against", "", "another creator's bundle about the same model")
	f.BoolVar(&c.asJSON, "json", false, "print one JSON object")
	return cmd
}

// checked is what check reports as JSON.
type checked struct {
	*audit.Verdict
	Picked   []int         `json:"picked,omitempty"`
	Live     *audit.Result `json:"live,omitempty"` // of the checker's own questions
	Priority string        `json:"priority,omitempty"`
}

func (c *auditCheck) run(cmd *cobra.Command, path string) error {
	bundle, verdict, err := c.trust.check(cmd.Context(), path)
	if err != nil {
		return err
	}
	out := checked{Verdict: verdict}
	if verdict.Sound {
		if err := c.further(cmd, bundle, &out); err != nil {
			return err
		}
	}
	if c.asJSON {
		err = printJSON(cmd, out)
	} else {
		err = out.print(cmd.OutOrStdout())
	}
	if err == nil && !verdict.Sound {
		return fmt.Errorf("%w: %s", errNotHeld, strings.Join(verdict.Problems, "; "))
	}
	return err
}

// check reads a bundle and checks it.
func (f *trustFlags) check(ctx context.Context, path string) (*audit.Sealed, *audit.Verdict, error) {
	bundle, err := audit.ReadSealed(path)
	if err != nil {
		return nil, nil, err
	}
	if v := audit.Check(bundle, audit.Trust{}); !v.Sound {
		return bundle, v, nil
	}
	trust, err := f.read(ctx, bundle)
	if err != nil {
		return nil, nil, err
	}
	return bundle, audit.Check(bundle, trust), nil
}

func (c *auditCheck) further(cmd *cobra.Command, bundle *audit.Sealed, out *checked) (err error) {
	if c.pick > 0 {
		if out.Picked, err = audit.Pick(bundle, c.pick); err != nil {
			return fmt.Errorf("--pick: %w", err)
		}
	}
	if c.live != "" {
		if out.Live, err = c.ask(cmd, bundle); err != nil {
			return fmt.Errorf("--live: %w", err)
		}
	}
	if c.against != "" {
		other, verdict, err := c.trust.check(cmd.Context(), c.against)
		if err != nil {
			return fmt.Errorf("--against: %w", err)
		}
		if out.Priority, err = audit.Priority(out.Verdict, verdict, bundle, other); err != nil {
			return fmt.Errorf("--against: %w", err)
		}
	}
	return nil
}

func (c *auditCheck) ask(cmd *cobra.Command, bundle *audit.Sealed) (*audit.Result, error) {
	reveal, err := readReveal(c.live)
	if err != nil {
		return nil, err
	}
	var credential string
	if c.apiKey != "" {
		if credential, err = secretFlag("--api-key", c.apiKey); err != nil {
			return nil, err
		}
	}
	p := newProgress(cmd.ErrOrStderr())
	p.step("asking")
	result, err := audit.Live(cmd.Context(), bundle, c.picked, reveal, c.connect, credential, p.update)
	return &result, err
}

// print says it in words.
func (c checked) print(w io.Writer) error {
	if !c.Sound {
		_, err := fmt.Fprintf(w, "%s:\n  %s\nIt says nothing about the endpoint.\n", c.Finding, strings.Join(c.Problems, "\n  "))
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s; %s\n%s; %s\n", c.Endpoint, c.Finding, c.License, c.Level, c.Chain)
	fmt.Fprintf(&b, "%d of %d answers match, of %d planned. %s\n", c.Result.Matched, c.Result.Asked, c.Result.Planned, c.Result.Statistic())
	list(&b, "Reasons", c.Result.Reasons)
	var grants, witnesses []string
	for _, g := range c.Grants {
		grants = append(grants, g.Name+": "+g.Status)
	}
	for _, x := range c.Witnesses {
		witnesses = append(witnesses, x.Words())
	}
	list(&b, "Host grants", grants)
	list(&b, "Witnesses", witnesses)
	list(&b, "Proven", c.Proven)
	list(&b, "Claimed", c.Claimed)
	list(&b, "What else could explain it", c.Explanations)
	if c.Picked != nil {
		fmt.Fprintf(&b, "\nFresh keys, picked now: %s. Ask the creator to open exactly these, then check again with --live REVEAL --picked %[1]s\n", strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Picked), " ", ","), "[]"))
	}
	if c.Live != nil {
		fmt.Fprintf(&b, "\nAsked live by you: %d of %d match. %s\n", c.Live.Matched, c.Live.Asked, c.Live.Statistic())
	}
	if c.Priority != "" {
		fmt.Fprintf(&b, "\n%s\n", c.Priority)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func list(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, line := range lines {
		fmt.Fprintf(b, "  - %s\n", line)
	}
}

func newAuditReport() *cobra.Command {
	var trust trustFlags
	var output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "report FILE",
		Short: "Write a bundle's verdict as one page that people can read",
		Long: `Report checks a bundle as 'audit check' does and writes one HTML page that loads nothing from
elsewhere: the verdict with its level, numbers and plots, every question and answer, and how to
check all of it.`,
		Example: "  fealty audit report bundle.json --rpc env:RPC --output report.html",
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usagef("name the page: --output FILE")
			}
			bundle, verdict, err := trust.check(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := writeTo(nil, output, func(w io.Writer) error { return audit.Report(w, bundle, verdict) }); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd, map[string]any{"report": output, "verdict": verdict})
			} else {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", output, verdict.Finding)
			}
			if err == nil && !verdict.Sound {
				return fmt.Errorf("%w: %s", errNotHeld, strings.Join(verdict.Problems, "; "))
			}
			return err
		},
	}
	trust.add(cmd)
	cmd.Flags().StringVar(&output, "output", "", "file to write")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
