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
	return group("model", "Fetch, look at and convert model weights", pull, info, newModelExport())
}

func newModelExport() *cobra.Command {
	var kind, output string
	var replace bool
	cmd := &cobra.Command{
		Use:   "export PATH --gguf TYPE --output FILE",
		Short: "Write a model as one GGUF file, for llama.cpp and what is built on it",
		Long: `Export reads a model folder or a GGUF file and writes a GGUF file of the type f16, q8_0
or q4_0. Fingerprints come along: check with 'fealty embed verify' on the new file. Its SHA-256
is not in fealty.json: a gateway attests what the folder holds.`,
		Example: "  fealty model export served --gguf q8_0 --output served-q8_0.gguf",
		Args:    exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind == "" || output == "" {
				return usagef("name the type and the file: --gguf f16|q8_0|q4_0 --output FILE")
			}
			m, err := weights.Open(args[0])
			if err != nil {
				return err
			}
			if err := weights.WriteGGUF(output, m, weights.Quant(kind), replace); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), output)
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "gguf", "", "f16, q8_0 or q4_0 (required)")
	cmd.Flags().StringVar(&output, "output", "", "file to write (required)")
	cmd.Flags().BoolVar(&replace, "replace", false, "replace the file if it exists")
	return cmd
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
