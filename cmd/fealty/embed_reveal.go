package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
)

func newEmbedReveal() *cobra.Command {
	var keys keyFileFlags
	var indices []int
	var count int
	var output string
	cmd := &cobra.Command{
		Use:   "reveal",
		Short: "Open some keys, with proofs that they stand under the committed root",
		Long: `Reveal writes some keys with their Merkle proofs: questions, words, and what proves that they
were committed before the draw. Anyone checks it with 'fealty embed check', against the chain.
The other keys stay secret; the revealed ones are burnt, and the key file says so.`,
		Example: "  fealty embed reveal --keys keys.age --passphrase-file keys.pass --count 4 --output reveal.json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (count > 0) == (len(indices) > 0) {
				return usagef("say which: --count N for the first N that nobody has seen, or --index I,J")
			}
			if output == "" {
				return usagef("name the file: --output FILE")
			}
			set, err := keys.load()
			if err != nil {
				return err
			}
			if count > 0 {
				if indices = fresh(set, count); len(indices) < count {
					return fmt.Errorf("only %d of %d keys are not burnt; %d are wanted", len(indices), len(set.Keys), count)
				}
			}
			opened, err := set.Reveal(indices)
			if err != nil {
				return err
			}
			if err := keys.save(set); err != nil { // first: a reveal that is not noted would be used again
				return err
			}
			if err := writeTo(nil, output, func(w io.Writer) error { return writeReveal(w, opened) }); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d of %d keys, now burnt\n", output, len(opened.Keys), opened.Total)
			return err
		},
	}
	keys.add(cmd)
	cmd.Flags().IntSliceVar(&indices, "index", nil, "the keys to open, from 0")
	cmd.Flags().IntVar(&count, "count", 0, "open so many that are not burnt yet")
	cmd.Flags().StringVar(&output, "output", "", "file to write (required)")
	return cmd
}

func writeReveal(w io.Writer, r *fingerprint.Reveal) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// fresh are the first keys that nobody has seen, up to n.
func fresh(set *fingerprint.Set, n int) (out []int) {
	for i := range set.Keys {
		if !slices.Contains(set.Burnt, i) && len(out) < n {
			out = append(out, i)
		}
	}
	return out
}

// largestReveal bounds what is read, in bytes.
const largestReveal = 16 << 20

func newEmbedCheck() *cobra.Command {
	var chain chainFlags
	var commitment uint32
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a reveal: its proofs, and with --rpc what the chain says of it",
		Long: `Check recomputes the proofs and the draw of a reveal. With --rpc and --registry it asks the
chain whether this root was committed for this model, and whether the draw block's randomness
is the one that drew these words. Without them only the arithmetic is checked.`,
		Example: "  fealty embed check reveal.json --rpc env:RPC --registry 0x...",
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readReveal(args[0])
			if err != nil {
				return err
			}
			if err := r.Check(); err != nil {
				return fmt.Errorf("%w: %w", errNotHeld, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d of %d keys stand under the root %s, and the randomness draws their words\n", len(r.Keys), r.Total, hex0x(r.Root[:]))
			if chain.rpc == "" {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "not asked: whether the chain has this root and this randomness (--rpc, --registry)")
				return err
			}
			return checkOnChain(cmd, &chain, commitment, r)
		},
	}
	chain.add(cmd)
	chain.addRegistry(cmd)
	cmd.Flags().Uint32Var(&commitment, "commitment", 0, "number of the commitment in the registry")
	return cmd
}

func readReveal(path string) (*fingerprint.Reveal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r fingerprint.Reveal
	d := json.NewDecoder(io.LimitReader(f, largestReveal))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s is no reveal: %w", path, err)
	}
	return &r, nil
}

func checkOnChain(cmd *cobra.Command, chain *chainFlags, commitment uint32, r *fingerprint.Reveal) error {
	ctx := cmd.Context()
	registry, err := chain.open(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer registry.Close()
	made, err := registry.Commitment(ctx, r.Model, commitment)
	if err != nil {
		return chain.redact(err)
	}
	if made.Root != r.Root {
		return fmt.Errorf("%w: commitment %d of this model is to another root, %s", errNotHeld, commitment, hex0x(made.Root[:]))
	}
	drawn, err := registry.DrawRandomness(ctx, r.Model, commitment)
	if err != nil {
		return chain.redact(err)
	}
	if drawn.Randomness != r.Randomness {
		return fmt.Errorf("%w: block %d drew other words", errNotHeld, drawn.Block)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the chain has this root since block %d, and block %d drew these words\n", made.CommitBlock, drawn.Block)
	return err
}
