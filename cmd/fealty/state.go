package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway/identity/state"
)

func newState() *cobra.Command {
	var path string
	var asJSON bool
	initialise := &cobra.Command{
		Use:   "init --config FILE",
		Short: "Mark an empty state store as this deployment's",
		Long: `Init marks the state store (redis.state) as the place of API keys, revocations, budgets
and usage. Gateways refuse to serve without the mark, so that a store which lost its data is
never read as "nothing revoked, nothing spent". Run it once for a new deployment.

A gateway that finds the store emptied or rolled back to an old copy takes the mark away, and
all gateways answer 503 state_unavailable. Restore a newer copy, or run init again to accept
what the store holds now: keys made since the copy are gone, keys revoked since then work
again, and what was used since then may be used once more. Running gateways go on by
themselves. A store that has its mark is left as it is.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
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
			done, err := state.Init(cmd.Context(), client)
			if err != nil {
				return fmt.Errorf("state: %w", err)
			}
			if asJSON {
				return printJSON(cmd, map[string]any{"fresh": done.Fresh, "lost": done.Lost})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), initAnswer(done))
			return err
		},
	}
	initialise.Flags().StringVar(&path, "config", "", "the gateway's YAML config (required)")
	initialise.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return group("state", "Prepare the store of keys, budgets and usage", initialise)
}

func initAnswer(done state.Initialised) string {
	switch {
	case !done.Fresh:
		return "the state store was ready already; nothing changed"
	case done.Lost != "":
		return "the state store is ready again (" + done.Lost + "). What it holds now counts: keys that were revoked after this copy was made are valid again; revoke them anew"
	}
	return "the state store is ready"
}
