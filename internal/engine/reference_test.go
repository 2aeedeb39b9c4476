package engine

import (
	"slices"
	"sync"
	"testing"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/reference"
	"github.com/fealty/fealty/internal/weights"
)

// nearTie is how close the reference's two best logits must be for the engine to
// be allowed the other one: twice what a logit may differ by (see package llama).
const nearTie = 2e-3

// TestGreedyEqualsReference lets many prompts be answered at once, by greedy
// choice, and wants transformers' continuations, token for token.
func TestGreedyEqualsReference(t *testing.T) {
	if testing.Short() {
		t.Skip("needs SmolLM2")
	}
	path, err := modelstore.SmolLM2(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	source, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := llama.New(source)
	if err != nil {
		t.Fatal(err)
	}
	cases := reference.Greedy(t)
	e := open(t, m, Options{Slots: 8})
	answers := make([][]int32, len(cases))
	var all sync.WaitGroup
	for i, c := range cases {
		g := generate(t, e, Request{Prompt: c.IDs, MaxTokens: len(c.Steps), Choose: chooserFunc(greedy)})
		all.Go(func() {
			var err error
			if answers[i], err = collect(t.Context(), g); err != nil {
				t.Errorf("%q: %v", c.Prompt, err)
			}
		})
	}
	all.Wait()
	equal := 0
	for i, c := range cases {
		if compareGreedy(t, c, answers[i]) {
			equal++
		}
	}
	t.Logf("%d of %d continuations equal; the others differ at a near-tie", equal, len(cases))
	if equal < len(cases)*9/10 {
		t.Errorf("only %d of %d continuations are equal: too many for near-ties", equal, len(cases))
	}
}

// compareGreedy reports whether an answer equals the reference's. It may leave it
// at a near-tie only, and is not compared after that.
func compareGreedy(t *testing.T, c reference.Continuation, got []int32) bool {
	t.Helper()
	var want []int32
	for _, s := range c.Steps {
		want = append(want, s.ID)
	}
	if slices.Equal(got, want) {
		return true
	}
	for i, s := range c.Steps {
		if i >= len(got) {
			t.Errorf("%q: %d tokens, want %d", c.Prompt, len(got), len(want))
			return false
		}
		if got[i] == s.ID {
			continue
		}
		if got[i] != s.Second || s.Logit-s.Other > nearTie {
			t.Errorf("%q: token %d is %d, want %d (logit %v; second is %d with %v)", c.Prompt, i, got[i], s.ID, s.Logit, s.Second, s.Other)
		} else {
			t.Logf("%q: token %d is the second of a near-tie (%v, %v)", c.Prompt, i, s.Logit, s.Other)
		}
		return false
	}
	t.Errorf("%q: %d tokens, want %d", c.Prompt, len(got), len(want))
	return false
}
