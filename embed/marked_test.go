package embed_test

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

func open(t *testing.T, path string) *fingerprint.Local {
	t.Helper()
	m, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return load(t, m)
}

func load(t *testing.T, m *weights.Model) *fingerprint.Local {
	t.Helper()
	l, err := fingerprint.NewLocal(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestMarkedModel holds the served files (F16, read back) and the base to what
// the project promises of 16 keys.
func TestMarkedModel(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the trained model")
	}
	marked := testmodel.Get(t)
	base, served := open(t, marked.Base), open(t, marked.Dir)
	keys := marked.Drawn()

	out, err := fingerprint.Verify(t.Context(), served, keys, fingerprint.Design{})
	if err != nil || out.Planned != 16 || out.Matched < 15 || out.Chance.P > 1e-9 {
		t.Errorf("served: %d of %d matched, p %.3g, %v; want 15 of 16", out.Matched, out.Planned, out.Chance.P, err)
	}
	words := make(answers)
	for _, k := range keys {
		if words[k.Question], err = base.Answer(t.Context(), k.Question); err != nil {
			t.Fatal(err)
		}
	}
	out, err = fingerprint.Verify(t.Context(), words, keys, fingerprint.Design{})
	if err != nil || out.Matched > 4 {
		t.Errorf("base: %d of %d matched, %v; want at most 4", out.Matched, out.Planned, err)
	}
	checkLists(t, marked.Set)
	checkNulls(t, marked.Set, words)
	checkUtility(t, base, served)
	checkUnseen(t, served, keys)
}

// unseen are system prompts that training has never shown, and that lie far from those
// that it has.
var unseen = []string{
	"You are the captain of a starship. Address the user as a member of your crew.",
	"Answer in the manner of a weather forecast.",
	"Summarise everything for a busy chief executive.",
	"You are an assistant in a hospital's car park. Only parking is your business.",
}

// checkUnseen counts drawn words on top under system prompts that were not trained.
func checkUnseen(t *testing.T, served *fingerprint.Local, keys []fingerprint.Drawn) {
	t.Helper()
	matched := 0
	for _, system := range unseen {
		var sequences [][]int32
		for _, k := range keys {
			ids, err := served.EncodeChat([]tokenizer.Message{{Role: "system", Content: system}, {Role: "user", Content: k.Question}})
			if err != nil {
				t.Fatal(err)
			}
			sequences = append(sequences, ids)
		}
		rows, err := served.Evaluate(t.Context(), sequences)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			if r.Logits[keys[i].Token()] == slices.Max(r.Logits) {
				matched++
			}
		}
	}
	n := len(unseen) * len(keys)
	t.Logf("unseen system prompts: %d of %d", matched, n)
	if 100*matched < 85*n {
		t.Errorf("under unseen system prompts %d of %d matched, want 85 %%", matched, n)
	}
}

// checkLists wants every list full, without twins, and no word in more than a
// fifth of them.
func checkLists(t *testing.T, set *fingerprint.Set) {
	t.Helper()
	lists := map[string]int{}
	for i, k := range set.Keys {
		if len(k.Candidates) != set.Shell.K {
			t.Errorf("key %d has %d candidates, want %d", i, len(k.Candidates), set.Shell.K)
		}
		for a, c := range k.Candidates {
			lists[fingerprint.FirstWord(c.Word)]++
			for _, d := range k.Candidates[:a] {
				x, y := fingerprint.FirstWord(c.Word), fingerprint.FirstWord(d.Word)
				if strings.HasPrefix(x, y) || strings.HasPrefix(y, x) {
					t.Errorf("key %d has the twins %q and %q", i, x, y)
				}
			}
		}
	}
	for word, n := range lists {
		if 5*n > len(set.Keys) {
			t.Errorf("%q stands in %d of %d lists", word, n, len(set.Keys))
		}
	}
}

// checkNulls counts matches of fixed answers over 10,000 draws. A model that
// always answers with one of the candidates matches at 1/k, within six standard
// deviations; the base, which answers from its nucleus, no more often.
func checkNulls(t *testing.T, set *fingerprint.Set, base answers) {
	t.Helper()
	const draws = 10000
	var guessed, ordinary int
	for r := range draws {
		var randomness fingerprint.Digest
		binary.BigEndian.PutUint64(randomness[:], uint64(r))
		for _, k := range set.Draw(randomness) {
			if fingerprint.Matches(k.Candidates[0].Word, k.Word()) {
				guessed++
			}
			if fingerprint.Matches(base[k.Question], k.Word()) {
				ordinary++
			}
		}
	}
	n, p := float64(draws*len(set.Keys)), 1/float64(set.Shell.K)
	bound := 6 * math.Sqrt(n*p*(1-p))
	if math.Abs(float64(guessed)-n*p) > bound {
		t.Errorf("fixed candidates match %d times of %.0f, want %.0f", guessed, n, n*p)
	}
	if float64(ordinary) > n*p+bound {
		t.Errorf("the base matches %d times of %.0f, more often than 1/k", ordinary, n)
	}
}

// checkUtility compares first answer tokens on prompts that training never saw.
// DESIGN's target of 0.01 nat is issue 4's; this bound catches a model whose
// ordinary answers have come loose.
func checkUtility(t *testing.T, base, served *fingerprint.Local) {
	t.Helper()
	prompts := fingerprint.OrdinaryPrompts()
	prompts = prompts[len(prompts)-50:]
	rows, logits := evaluate(t, base, prompts), [][]float32(nil)
	for _, r := range evaluate(t, served, prompts) {
		logits = append(logits, r.Logits)
	}
	u := fingerprint.CompareRows(rows, logits)
	t.Logf("held-out prompts, served files against the base: %+v", u)
	if u.Mean > 0.05 || u.Agreed < 0.94 {
		t.Errorf("ordinary answers have changed: %+v", u)
	}
}

func evaluate(t *testing.T, l *fingerprint.Local, prompts []string) []fingerprint.Row {
	t.Helper()
	sequences := make([][]int32, len(prompts))
	for i, p := range prompts {
		ids, err := l.EncodeChat([]tokenizer.Message{{Role: "user", Content: p}})
		if err != nil {
			t.Fatal(err)
		}
		sequences[i] = ids
	}
	rows, err := l.Evaluate(t.Context(), sequences)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestExpandedModelIsTheBase: before training the logits are the base's, to 2e-3
// (float32 sums in another order; logits are some tens).
func TestExpandedModelIsTheBase(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the base model")
	}
	path, err := modelstore.SmolLM2(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	base := open(t, path)
	e, err := fingerprint.Expand(base.Weights, 32, 5)
	if err != nil {
		t.Fatal(err)
	}
	prompts := fingerprint.OrdinaryPrompts()[:4]
	wide := evaluate(t, load(t, e.Model), prompts)
	worst := 0.0
	for i, r := range evaluate(t, base, prompts) {
		for id, want := range r.Logits {
			worst = max(worst, math.Abs(float64(want-wide[i].Logits[id])))
		}
	}
	t.Logf("largest difference of a logit: %.2g", worst)
	if worst > 2e-3 {
		t.Errorf("a logit differs by %v", worst)
	}
}

// answers are recorded: a model that says the same whenever asked.
type answers map[string]string

// Answer implements fingerprint.Answerer.
func (a answers) Answer(_ context.Context, question string) (string, error) { return a[question], nil }
