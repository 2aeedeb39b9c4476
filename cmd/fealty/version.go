package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/llama"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(cmd, map[string]any{
					"version": version, "commit": commit, "go": runtime.Version(),
					"platform": runtime.GOOS + "/" + runtime.GOARCH, "simd": llama.SIMD,
				})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "fealty %s (commit %s, %s, %s/%s, simd %t)\n",
				version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, llama.SIMD)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
