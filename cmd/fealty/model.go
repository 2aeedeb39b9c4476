package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/weights"
)

func newModel() *cobra.Command {
	pull := &cobra.Command{
		Use: "pull", Short: "Fetch the default small model into the cache; prints its path", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := modelstore.SmolLM2(cmd.Context(), newProgress(cmd.ErrOrStderr()).line)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
	var asJSON bool
	info := &cobra.Command{
		Use: "info PATH", Short: "Say what a GGUF file or model folder holds, and whether its manifest is true", Args: exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error { return describeModel(cmd, args[0], asJSON) },
	}
	info.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return group("model", "Fetch and look at model weights", pull, info)
}

func describeModel(cmd *cobra.Command, path string, asJSON bool) error {
	m, err := weights.Open(path)
	if err != nil {
		return err
	}
	parameters := 0
	for _, t := range m.Tensors {
		parameters += len(t.Data)
	}
	manifest := "none"
	if _, err := weights.ReadManifest(path); err == nil {
		if err := weights.VerifyManifest(path); err != nil {
			return err
		}
		manifest = "holds"
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if asJSON {
		return printJSON(cmd, map[string]any{"name": m.Name, "parameters": parameters, "config": m.Config, "manifest": manifest})
	}
	c := m.Config
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d parameters, %d layers of width %d with %d feed-forward units, %d words, context %d; manifest: %s\n",
		m.Name, parameters, c.Layers, c.Hidden, c.FFN, c.Vocab, c.Context, manifest)
	return err
}
