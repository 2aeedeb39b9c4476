package eval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/llama/llamatest"
)

// someLessons are sequences of a tiny vocabulary.
func someLessons(n, vocab int) (out []lesson) {
	r := newRandom(1, 9)
	for range n {
		l := lesson{From: 20}
		for range 30 {
			l.IDs = append(l.IDs, int32(r.IntN(vocab)))
		}
		out = append(out, l)
	}
	return out
}

// A Python that lacks something, or prints what is no progress, is an error that says so,
// and nothing is left of the model.
func TestTunedSaysWhatFailed(t *testing.T) {
	m := llamatest.Model(llamatest.Config(true), 3)
	m.Tokenizer = llamatest.Tokenizer(m.Config.Vocab)
	for script, want := range map[string]string{
		"echo Traceback >&2; echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1": "No module named 'torch'",
		"cat > /dev/null; echo hello":                  "not of its progress",
		"cat > /dev/null; echo step 1 of 4 loss nan":   "diverged at step 1",
		"cat > /dev/null; echo step 1 of 4 loss +Inf":  "diverged at step 1",
		"cat > /dev/null; rm \"$3/model.safetensors\"": "safetensors",
	} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		python := filepath.Join(t.TempDir(), "python")
		if err := os.WriteFile(python, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, _, err := Tuned(t.Context(), python, m, someLessons(4, m.Config.Vocab), Tuning{Epochs: 1, Batch: 4, Rate: 0.01}, 0, 1, func(int, int) {})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v", script, left)
		}
	}
}
