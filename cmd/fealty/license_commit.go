package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/licensecheck/registry"
)

// committed is what license commit adds to its report.
type committed struct {
	Index      uint32 `json:"index"`
	Root       string `json:"root"`
	DrawBlock  uint64 `json:"draw_block"`
	Randomness string `json:"randomness,omitempty"` // 0x...: the draw, once it is known
	BlockHash  string `json:"draw_block_hash,omitempty"`
}

// commitCommand is what license commit was asked for.
type commitCommand struct {
	transaction
	root  string
	keys  keyFileFlags
	index int
	draw  bool
}

func newCommit() *cobra.Command {
	var c commitCommand
	cmd := &cobra.Command{
		Use: "commit", Short: "Commit to the fingerprint keys, so that a later block draws their responses", Args: noArgs,
		Long: `Commit puts the root of the fingerprint candidates on the chain. A later block, which nobody
can choose, then draws the responses. --draw waits for that block and records its randomness in
the registry, for proofs; anyone can do that later with --index, as long as the chain remembers
the block's hash (256 blocks, 8191 on Ethereum). A commitment is never replaced: each further
one stays on record beside the others.`,
		Example: "  fealty license commit --keys keys.age --keys-passphrase-file keys.pass --draw" + walletExample +
			"\n  fealty license commit --root 0x..." + walletExample +
			"\n  fealty license commit --index 0 --draw" + walletExample,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	cmd.Flags().StringVar(&c.root, "root", "", "the root, 0x and 64 hexadecimal digits; instead of a key file")
	c.keys.addAs(cmd, "keys-passphrase-file")
	cmd.Flags().IntVar(&c.index, "index", -1, "an earlier commitment, to draw for instead of making one")
	cmd.Flags().BoolVar(&c.draw, "draw", false, "wait for the draw block and record its randomness")
	return c.onModel(cmd)
}

func (c *commitCommand) run(cmd *cobra.Command) error {
	if c.index >= 0 {
		if !c.draw || c.root != "" || c.keys.path != "" {
			return usagef("--index names an earlier commitment: give --draw with it, and neither --root nor --keys")
		}
		return c.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
			made, err := r.Commitment(ctx, c.model, uint32(c.index))
			if err != nil {
				return mined{}, registry.Receipt{}, err
			}
			return c.record(ctx, r, made)
		})
	}
	root, err := c.committedRoot()
	if err != nil {
		return err
	}
	return c.send(cmd, func(ctx context.Context, r *registry.Registry) (mined, registry.Receipt, error) {
		made, receipt, err := r.CommitKeys(ctx, c.model, root)
		if err != nil || !c.draw {
			what := fmt.Sprintf("commitment %d made; block %d draws the responses", made.Index, made.DrawBlock)
			return mined{What: what, committed: describeCommitment(made)}, receipt, err
		}
		newProgress(cmd.ErrOrStderr()).say("  commitment %d is in block %d; if this is interrupted, go on with --index %d --draw", made.Index, receipt.Block, made.Index)
		return c.record(ctx, r, made)
	})
}

// committedRoot is the root to commit to, after a look at what it belongs to.
func (c *commitCommand) committedRoot() (root [32]byte, err error) {
	switch {
	case (c.root != "") == (c.keys.path != ""):
		return root, usagef("name what to commit to: --keys FILE with --keys-passphrase-file FILE, or --root 0x...")
	case c.root != "":
		return parse32("--root", c.root)
	}
	model, err := c.chain.modelID()
	if err != nil {
		return root, err
	}
	set, err := c.keys.load()
	if err != nil {
		return root, err
	}
	if set.Model != model {
		return root, fmt.Errorf("--keys: the key file is for model 0x%x, not for --model; its leaves hold the id, so make the keys for this model", set.Model)
	}
	if set.Randomness != nil {
		return root, errors.New("--keys: the key file's responses are drawn already; a commitment now would prove nothing")
	}
	return set.Root(), nil
}

func (c *commitCommand) record(ctx context.Context, r *registry.Registry, made registry.Commitment) (mined, registry.Receipt, error) {
	d, err := r.DrawRandomness(ctx, c.model, made.Index)
	if err != nil {
		return mined{}, registry.Receipt{}, err
	}
	receipt, err := r.RecordDraw(ctx, c.model, made.Index, d)
	told := describeCommitment(made)
	told.Randomness, told.BlockHash = hex0x(d.Randomness[:]), hex0x(d.BlockHash[:])
	return mined{What: fmt.Sprintf("block %d drew %s for commitment %d; recorded", d.Block, told.Randomness, made.Index), committed: told}, receipt, err
}

func describeCommitment(c registry.Commitment) *committed {
	return &committed{Index: c.Index, Root: hex0x(c.Root[:]), DrawBlock: c.DrawBlock}
}
