package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/embed/eval"
)

// trainer runs this program's 'embed train': what a creator would wait for, and the
// memory that it takes, without what evaluating holds.
func trainer(cmd *cobra.Command, base string) eval.Trainer {
	return func(ctx context.Context, dir, name string, r fingerprint.Recipe) (out eval.Training, err error) {
		program, err := thisProgram()
		if err != nil {
			return out, err
		}
		pass := filepath.Join(dir, "pass")
		if err := os.WriteFile(pass, []byte(eval.Passphrase+"\n"), 0o600); err != nil {
			return out, err
		}
		args := append([]string{"embed", "train", "--json", "--base", base, "--keys", filepath.Join(dir, "keys.age"), "--passphrase-file", pass,
			"--output", filepath.Join(dir, "served"), "--name", name}, recipeArgs(r)...)
		var answer bytes.Buffer
		child := exec.CommandContext(ctx, program, args...)
		child.Stdout, child.Stderr = &answer, cmd.ErrOrStderr()
		if err := child.Run(); err != nil {
			return out, fmt.Errorf("training in a process of its own: %w", err)
		}
		var told struct {
			Report fingerprint.Report `json:"report"`
			Memory float64            `json:"peak_memory_mib"`
		}
		if err := json.Unmarshal(answer.Bytes(), &told); err != nil {
			return out, fmt.Errorf("training in a process of its own: its report: %w", err)
		}
		return eval.Training{Report: told.Report, Memory: told.Memory}, nil
	}
}

// thisProgram is what runs now, even if another was built in its place since: an
// evaluation takes long.
func thisProgram() (string, error) {
	const linux = "/proc/self/exe"
	if _, err := os.Stat(linux); err == nil {
		return linux, nil
	}
	return os.Executable()
}

// recipeArgs are the flags of 'embed train' that say this recipe.
func recipeArgs(r fingerprint.Recipe) (args []string) {
	fields := pflag.NewFlagSet("recipe", pflag.ContinueOnError)
	recipeFlags(fields, &r)
	fields.VisitAll(func(f *pflag.Flag) { args = append(args, "--"+f.Name+"="+f.Value.String()) })
	return args
}
