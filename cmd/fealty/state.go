package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway/identity"
)

func newState() *cobra.Command {
	var path string
	initialise := &cobra.Command{
		Use:   "init --config FILE",
		Short: "Mark an empty state store as this deployment's",
		Long: `Init marks the state store (redis.state) as the place of API keys, revocations, budgets
and usage. Gateways refuse to serve without the mark, so that a store which lost its data is
never read as "nothing revoked, nothing spent". Run it once for a new deployment, and after
a loss only when you know what was lost. A store that has its mark is left as it is.`,
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
			state, err := identity.OpenState(string(url))
			if err != nil {
				return err
			}
			defer state.Close()
			fresh, err := identity.InitState(cmd.Context(), state)
			if err != nil {
				return fmt.Errorf("state: %w", err)
			}
			answer := "the state store is ready"
			if !fresh {
				answer = "the state store was ready already; nothing changed"
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer)
			return err
		},
	}
	initialise.Flags().StringVar(&path, "config", "", "the gateway's YAML config (required)")
	return group("state", "Prepare the store of keys, budgets and usage", initialise)
}
