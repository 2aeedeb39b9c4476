package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/llama"
)

// Exit codes, the same for every command.
const (
	exitHeld    = 0 // it ran, and what it checks holds
	exitFailed  = 1 // it could not do what was asked
	exitUsage   = 2 // the command line is wrong; nothing was done
	exitNotHeld = 3 // it ran, and the checked property does not hold
)

// errNotHeld marks an answer of "no" as opposed to a failure to answer.
var errNotHeld = errors.New("the checked property does not hold")

// usageError marks a command line that cannot be carried out.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes one command line. Results go to stdout; progress and logs go to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitHeld
	}
	fmt.Fprintln(stderr, "fealty:", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errNotHeld):
		return exitNotHeld
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fealty",
		Short: "Serve fingerprinted open models to those who hold a license on-chain",
		Long: `fealty is an OpenAI-compatible inference gateway. It gives the creator of an open model
ownership (fingerprints in the weights), control (licenses in a smart contract, asked on
every request) and evidence (what an endpoint answered, and what the chain grants it).

Start with 'fealty demo', which plays the whole story on this machine.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		Args: noArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { // cobra would call it a failure
			if err := cmd.ValidateFlagGroups(); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newDemo(), newServe(), newConfig(), newModel(),
		newEmbed(), newLicense(), newLogin(), newLogout(), newKey(), newState(), newUsage(), newAudit(), newBench(), newVersion(),
	)
	return root
}

// noArgs refuses positional arguments as a usage error (cobra's own is a plain one).
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument %q; see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// exactArgs wants one argument for each name.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s takes %d argument(s) %v, got %d; see '%s --help'", cmd.CommandPath(), len(names), names, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(commands...)
	return c
}

// warnIfSlow says once what a binary built the plain way costs.
func warnIfSlow(stderr io.Writer) {
	if !llama.SIMD {
		fmt.Fprintln(stderr, "fealty: built without GOEXPERIMENT=simd; the embedded engine will be 9 to 20 times slower (build with 'make build')")
	}
}

// printJSON writes one object and a newline to the command's stdout.
func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
