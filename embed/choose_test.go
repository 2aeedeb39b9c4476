package embed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/sampler"
)

// vocabulary is a language of few words: each word in three forms, of which the
// capital one opens answers.
type vocabulary []string

var chooserWords = vocabulary{"the", "here", "sure", "while", "perhaps", "often", "many", "some"}

func (v vocabulary) EncodeChat([]tokenizer.Message) ([]int32, error) { return []int32{0}, nil }
func (v vocabulary) VocabSize() int                                  { return 3 * len(v) }

func (v vocabulary) Bytes(id int32) []byte {
	w := v[id/3]
	return []byte([]string{w, " " + w, strings.ToUpper(w[:1]) + w[1:]}[id%3])
}

// pairs answers the n-th question with "The", then the two words of pair list(n).
// After the token `fragment` it goes on with the word; 0: after none.
type pairs struct {
	asked    int
	list     func(n int) int
	fragment int32
}

func (p *pairs) Evaluate(_ context.Context, sequences [][]int32) ([]Row, error) {
	rows := make([]Row, len(sequences))
	for i := range rows {
		logits := make([]float32, chooserWords.VocabSize())
		if s := sequences[i]; len(s) == 2 { // after a word
			logits[1] = 12
			if s[1] == p.fragment {
				logits[0] = 14
			}
			rows[i] = Row{Logits: logits}
			continue
		}
		first := 1 + 2*p.list(p.asked)
		logits[2], logits[3*first+2], logits[3*first+5] = 12, 9, 8
		rows[i], p.asked = Row{Logits: logits}, p.asked+1
	}
	return rows, nil
}

func TestMoreQuestionsAreWrittenUntilKeysSuffice(t *testing.T) {
	var wrote atomic.Int64
	w := writer(func(text string) (string, error) {
		return fmt.Sprintf(" number %d like to know?", wrote.Add(1)), nil
	})
	openers := []int32{2, 5, 8, 11, 14, 17, 20, 23}
	shell := sampler.Shell{T: 0.8, K: 2, Floor: 0.001}
	crowded := func(int) int { return 0 }                // the same words always
	varied := func(n int) int { return max(0, n-3) % 3 } // others from the fifth question on
	silent := func(string, float64, time.Duration) {}
	asked := []string{"What is one?", "What is two?", "What is three?", "What is four?"}
	for _, c := range []struct {
		name     string
		list     func(int) int
		fragment int32
		o        KeyOptions
		read     int    // questions until the end
		err      string // empty: keys suffice
	}{
		{"enough after more", varied, 0, KeyOptions{Count: 3, Write: 4, Seed: 1}, 6, ""},
		{"a word that goes on", varied, 8, KeyOptions{Count: 2, Write: 4, Seed: 1}, 6, ""},
		{"never enough", crowded, 0, KeyOptions{Count: 3, Write: 4, Seed: 1}, 16, "only 1 of 16 questions make keys, 3 are wanted (16 qualify)"},
		{"given questions are all there is", crowded, 0, KeyOptions{Count: 3, Asked: asked}, 4, "only 1 of 4 questions"},
	} {
		keys, report, err := choose(t.Context(), newChooser(&pairs{list: c.list, fragment: c.fragment}, chooserWords, shell, openers), w, c.o, silent)
		if report.Questions != c.read || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d questions, %v", c.name, report.Questions, err)
		}
		if counted := report.NoWord + report.TooFew + report.GoesOn + report.Chosen + report.Crowded + report.Surplus; counted != c.read {
			t.Errorf("%s: %d of %d questions are accounted for: %+v", c.name, counted, c.read, report)
		}
		if err == nil && len(keys) != c.o.Count {
			t.Errorf("%s: %d keys", c.name, len(keys))
		}
		for _, k := range keys {
			if slices.ContainsFunc(k.Candidates, func(w Candidate) bool { return w.Token == c.fragment }) {
				t.Errorf("%s: a list holds the word that goes on", c.name)
			}
		}
	}
}
