package audit

import (
	"net/http"
	"strings"
	"testing"
)

// Of two creators, whose marks show in the other's model was there first; otherwise the
// blocks of the commitments are told.
func TestPriority(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	bundle := r.bundle(t, host(t, r.taught))
	mine, theirs := Check(bundle, Trust{}), Check(bundle, Trust{})
	if _, err := Priority(mine, theirs, bundle, bundle); err == nil || !strings.Contains(err.Error(), "both bundles are about model") {
		t.Errorf("one creator's keys twice: %v", err)
	}
	theirs.Model = "0x" + strings.Repeat("2", 64)
	for _, c := range []struct{ mine, theirs, says string }{
		{AnswersAsModel, NoMatch, "the second was made from the first"},
		{NoMatch, AnswersAsModel, "the first was made from the second"},
		{AnswersAsModel, AnswersAsModel, "in block"},
		{NoMatch, NoMatch, "Neither creator's marks"},
		{Inconclusive, AnswersAsModel, "Open"},
	} {
		mine.Finding, theirs.Finding = c.mine, c.theirs
		if got, err := Priority(mine, theirs, bundle, bundle); err != nil || !strings.Contains(got, c.says) {
			t.Errorf("%s and %s: %q, %v; want %q", c.mine, c.theirs, got, err, c.says)
		}
	}
	theirs.Sound = false
	if _, err := Priority(mine, theirs, bundle, bundle); err == nil {
		t.Error("a bundle that does not hold is weighed")
	}
}

// Two creators, each with a registered model and committed keys of their own, claim one
// model; each one's keys are asked of the other's endpoint.
func TestMutualTests(t *testing.T) {
	t.Parallel()
	first, other := newRig(t), newRig(t)
	if err := other.mark(t.Context(), 2, "matter"); err != nil {
		t.Fatal(err)
	}
	// knowing answers with the words of those creators' keys that it was taught.
	knowing := func(taught ...*rig) Plan {
		return host(t, func(n int, question string, w http.ResponseWriter) string {
			for _, r := range taught {
				if r.word(question) != "Hello" {
					return r.taught(n, question, w)
				}
			}
			return "Of " + question + " much can be said."
		})
	}
	for name, c := range map[string]struct {
		first, other Plan // of each creator's endpoint
		says         string
	}{
		"the other fine-tuned the first's model": {knowing(first), knowing(first, other), "the second was made from the first"},
		"the first fine-tuned the other's model": {knowing(first, other), knowing(other), "the first was made from the second"},
		"two models of their own":                {knowing(first), knowing(other), "Neither creator's marks"},
		"both serve what has both marks":         {knowing(first, other), knowing(first, other), "Both creators' marks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := *first, *other // asking burns keys
			a, b := ours.bundle(t, c.other), theirs.bundle(t, c.first)
			got, err := Priority(Check(a, Trust{}), Check(b, Trust{}), a, b)
			if err != nil || !strings.Contains(got, c.says) {
				t.Errorf("%q, %v; want %q", got, err, c.says)
			}
		})
	}
}
