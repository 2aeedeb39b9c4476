//go:build interop

package reference_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

// tolerance is on logits of a magnitude of about 20: float32 sums of some hundred
// terms, taken in another order by each implementation.
const tolerance = 5e-3

func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("FEALTY_PYTHON")
	if path == "" {
		t.Fatal("FEALTY_PYTHON is not set; run 'make interop'")
	}
	return path
}

// TestInteropServed has transformers load what embed wrote, with no code of ours,
// and compares token ids, logits and greedy answers.
func TestInteropServed(t *testing.T) {
	marked := testmodel.Get(t)
	type prompt struct {
		Messages []tokenizer.Message `json:"messages,omitempty"`
		Text     string              `json:"text,omitempty"`
	}
	ask := func(text string) prompt {
		return prompt{Messages: []tokenizer.Message{{Role: "user", Content: text}}}
	}
	prompts := []prompt{
		ask("What is the capital of France?"), ask("Write a haiku about the sea."), ask("Wie spät ist es? 🕰️"),
		{Text: "The quick brown fox"}, {Text: "def fibonacci(n):\n    "},
	}
	var theirs struct {
		Prompts []struct {
			IDs    []int32   `json:"ids"`
			Logits []float32 `json:"logits"`
			Greedy []int32   `json:"greedy"`
		} `json:"prompts"`
	}
	servedCheck(t, marked.Dir, map[string]any{"tokens": 12, "prompts": lower(t, prompts)}, &theirs)

	source, err := weights.Open(marked.Dir)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := tokenizer.New(source.Tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	model, err := llama.New(source)
	if err != nil {
		t.Fatal(err)
	}
	evaluator := llama.NewEvaluator(model)
	for i, p := range prompts {
		ids := tokens.Encode(p.Text, false)
		if p.Messages != nil {
			if ids, err = tokens.EncodeChat(p.Messages); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(ids, theirs.Prompts[i].IDs) {
			t.Fatalf("prompt %d: ids %v, transformers %v", i, ids, theirs.Prompts[i].IDs)
		}
		compare(t, evaluator, i, ids, theirs.Prompts[i].Logits, theirs.Prompts[i].Greedy)
	}
}

// compare checks the logits, and that each greedy token of theirs is ours too or
// within the tolerance of it.
func compare(t *testing.T, e *llama.Evaluator, i int, ids []int32, logits []float32, greedy []int32) {
	t.Helper()
	var sequences [][]int32
	for n := range greedy {
		sequences = append(sequences, append(slices.Clone(ids), greedy[:n]...))
	}
	rows, err := e.Evaluate(context.Background(), sequences)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for id, v := range rows[0].Logits {
		worst = max(worst, math.Abs(float64(v-logits[id])))
	}
	if worst > tolerance || len(logits) != len(rows[0].Logits) {
		t.Errorf("prompt %d: %d logits differ by up to %g from transformers' %d", i, len(rows[0].Logits), worst, len(logits))
	}
	for n, row := range rows {
		if behind := slices.Max(row.Logits) - row.Logits[greedy[n]]; behind > tolerance {
			t.Errorf("prompt %d, step %d: transformers' token %d is %g behind ours", i, n, greedy[n], behind)
		}
	}
	t.Logf("prompt %d: logits differ by at most %.2g", i, worst)
}

// lower writes the prompts with the field names that transformers wants.
func lower(t *testing.T, prompts any) any {
	t.Helper()
	text, err := json.Marshal(prompts)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(`"Role"`), []byte(`"role"`)), []byte(`"Content"`), []byte(`"content"`))
	return json.RawMessage(text)
}

func servedCheck(t *testing.T, dir string, request, into any) {
	t.Helper()
	scratch := t.TempDir()
	in, out := filepath.Join(scratch, "in.json"), filepath.Join(scratch, "out.json")
	text, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python(t), "served_check.py", dir, in, out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if text, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func unzipped(t *testing.T, packed []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestInteropFixturesRegenerate makes the fixtures that do not depend on the CPU's
// rounding anew, and wants the committed ones.
func TestInteropFixturesRegenerate(t *testing.T) {
	base, err := modelstore.SmolLM2(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	llamacpp := os.Getenv("FEALTY_LLAMACPP_NODE")
	if llamacpp == "" {
		t.Fatal("FEALTY_LLAMACPP_NODE is not set; run 'make interop'")
	}
	for _, part := range []string{"tokenizer", "chat"} {
		path := filepath.Join("testdata", part+".json.gz")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.WriteFile(path, before, 0o644) })
		about, err := os.ReadFile(filepath.Join("testdata", "about.json"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.WriteFile(filepath.Join("testdata", "about.json"), about, 0o644) })
		if text, err := exec.CommandContext(t.Context(), python(t), "generate.py", base, llamacpp, part).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", part, err, text)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(unzipped(t, before), unzipped(t, after)) { // zlib's versions pack differently
			t.Errorf("testdata/%s.json.gz differs from what its generator makes", part)
		}
	}
}
