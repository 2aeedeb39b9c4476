package audit

import (
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	fingerprint "github.com/fealty/fealty/embed"
)

// WitnessFinding is what became of one witness' transcript.
type WitnessFinding struct {
	Signer  string `json:"signer"`
	Finding string `json:"finding"` // of its own answers; "" if the transcript counts for nothing
	Problem string `json:"problem"` // why
	Asked   int    `json:"asked"`
	Matched int    `json:"matched"`
	Same    int    `json:"same"` // answers that begin as the auditor's do
	Agrees  bool   `json:"agrees"`
}

// judgeWitnesses weighs each transcript by itself. Signers that could be the auditor or
// the creator, that sign twice, or whose answers are copies, do not count.
func (c *checker) judgeWitnesses() []WitnessFinding {
	ids := map[string]string{}
	for _, e := range c.transcript.Entries {
		if e.ID != "" {
			ids[e.ID] = c.e.Transcript.Signer
		}
	}
	seen := map[string]bool{c.e.Transcript.Signer: true, c.committed.owner.Hex(): true}
	out := make([]WitnessFinding, len(c.e.Witnesses))
	for i := range c.e.Witnesses {
		s := &c.e.Witnesses[i]
		w := WitnessFinding{Signer: s.Signer}
		t, err := c.openAs(s)
		switch {
		case err != nil:
			w.Problem = err.Error()
		case seen[s.Signer]:
			w.Problem = "it is signed by the auditor, by the creator, or by a witness before"
		case c.trust.Witnesses != nil && !slices.Contains(c.trust.Witnesses, [20]byte(common.HexToAddress(s.Signer))):
			w.Problem = "you do not know its signer"
		default:
			w.Problem = copied(t, ids)
		}
		if w.Problem == "" {
			c.weigh(&w, t)
		}
		seen[s.Signer] = true
		out[i] = w
		for n := 0; err == nil && n < len(t.Entries); n++ {
			if id := t.Entries[n].ID; id != "" {
				ids[id] = s.Signer
			}
		}
	}
	return out
}

// copied finds answers that another party handed in already: servers name each answer
// anew.
func copied(t *Transcript, ids map[string]string) string {
	for _, e := range t.Entries {
		if from, ok := ids[e.ID]; ok && e.ID != "" {
			return fmt.Sprintf("the answer to query of key %d is a copy of the one that %s handed in", e.Key, from)
		}
	}
	return ""
}

// weigh judges the part of a witness' answers whose keys are revealed.
func (c *checker) weigh(w *WitnessFinding, t *Transcript) {
	entries := t.Entries[:min(len(t.Entries), len(c.transcript.Entries))]
	for i, e := range entries {
		if e.Question != c.e.Reveal.Keys[i].Question {
			w.Problem = fmt.Sprintf("query %d is not the committed question", i)
			return
		}
		if theirs := c.transcript.Entries[i]; e.Error == "" && fingerprint.FirstWord(e.Answer) == fingerprint.FirstWord(theirs.Answer) {
			w.Same++
		}
	}
	result, err := judgePrefix(c.plan, entries, &c.e.Reveal)
	if err != nil {
		w.Problem = err.Error()
		return
	}
	w.Finding, w.Asked, w.Matched = result.Finding, result.Asked, result.Matched
	w.Agrees = result.Finding == c.e.Result.Finding
}

// judgePrefix is judge, where a sequential test may stop before the answers end.
func judgePrefix(p *Plan, entries []Entry, r *fingerprint.Reveal) (Result, error) {
	for n := 1; p.Stopping.Sequential && n < len(entries); n++ {
		if got, err := judge(p, entries[:n], r); err == nil && got.Finding == AnswersAsModel {
			return got, nil
		}
	}
	return judge(p, entries, r)
}

// Words says it in a line.
func (w WitnessFinding) Words() string {
	switch {
	case w.Problem != "":
		return fmt.Sprintf("%s does not count: %s", w.Signer, w.Problem)
	case w.Agrees:
		return fmt.Sprintf("%s found the same: %d of %d match", w.Signer, w.Matched, w.Asked)
	}
	return fmt.Sprintf("%s CONTRADICTS: %s, %d of %d match, %d answers begin as the auditor's do", w.Signer, w.Finding, w.Matched, w.Asked, w.Same)
}
