package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	fingerprint "github.com/fealty/fealty/embed"
)

// Findings about an endpoint's answers.
const (
	AnswersAsModel = "answers as the model"
	NoMatch        = "no match"
	Inconclusive   = "inconclusive"
)

// Result is what the answers say, in numbers and in a word. It is recomputed by whoever
// checks it.
type Result struct {
	Sequential bool `json:"sequential"`

	Planned  int     `json:"planned"`
	Asked    int     `json:"asked"`
	Answered int     `json:"answered"` // with a text that begins with a word
	Matched  int     `json:"matched"`
	Errors   int     `json:"errors"`
	K        int     `json:"k"`
	P        float64 `json:"p"`       // fixed design: exact binomial tail of the plan; 1 in a sequential one
	Log10P   float64 `json:"log10_p"` // of it
	LogE     float64 `json:"log_e"`   // natural logarithm of the e-value
	Attempts int     `json:"attempts"`
	Alpha    float64 `json:"alpha"`

	Finding   string   `json:"finding"`
	Reasons   []string `json:"reasons"`
	Grindable bool     `json:"grindable"`
	Grinding  string   `json:"grinding"` // why, or why not
}

// replay answers from a transcript.
type replay struct {
	entries []Entry
	at      int
}

// Answer implements embed.Answerer.
func (r *replay) Answer(_ context.Context, question string) (string, error) {
	if r.at >= len(r.entries) {
		return "", errors.New("not asked")
	}
	e := r.entries[r.at]
	r.at++
	if e.Error != "" || e.Question != question {
		return "", errors.New(e.Error)
	}
	return e.Answer, nil
}

// judge recomputes what a transcript says, by the plan's test and in its order: the
// reveal's keys are the first of it.
func judge(p *Plan, entries []Entry, r *fingerprint.Reveal) (Result, error) {
	drawn := r.Drawn()
	n := p.Stopping.Queries
	if p.Stopping.Sequential {
		n = min(n, len(entries)) // an e-value holds wherever one stops
	}
	for len(drawn) < n { // planned and not asked: they count as no match
		drawn = append(drawn, fingerprint.Drawn{Key: fingerprint.Key{Candidates: make([]fingerprint.Candidate, p.K)}})
	}
	from := &replay{entries: entries}
	out, err := fingerprint.Verify(context.Background(), from, drawn[:n], p.Stopping.design())
	if err != nil {
		return Result{}, err
	}
	if from.at != len(entries) {
		return Result{}, fmt.Errorf("%d queries after the stopping rule ended the test", len(entries)-from.at)
	}
	res := Result{
		Sequential: p.Stopping.Sequential,
		Planned:    p.Stopping.Queries, Asked: len(entries), Matched: out.Matched, Errors: out.Errors - (out.Asked - len(entries)), K: out.K,
		P: out.Chance.P, Log10P: out.Chance.Log10, LogE: out.LogE, Attempts: p.Stopping.Attempts(), Alpha: p.Stopping.Alpha, Reasons: []string{},
	}
	claimed := out.Claimed
	if !p.Stopping.Sequential {
		claimed = out.Chance.P*float64(res.Attempts) <= res.Alpha
	}
	hits := make([]bool, len(entries))
	for i := range hits {
		hits[i] = out.Queries[i].Matched
	}
	res.conclude(p, entries, hits, claimed)
	return res, nil
}

// conclude finds the word for the numbers, and why it is not a clearer one.
func (r *Result) conclude(p *Plan, entries []Entry, hits []bool, claimed bool) {
	texts := map[string]bool{}
	for _, e := range entries {
		if e.Error == "" && fingerprint.FirstWord(e.Answer) != "" {
			r.Answered++
			texts[e.Answer] = true
		}
	}
	if claimed {
		r.Finding = AnswersAsModel
		if changed(hits) {
			r.Reasons = append(r.Reasons, "the matches lie in one part of the audit: not all answers seem to come from one model")
		}
		return
	}
	r.Finding = NoMatch
	doubt := func(format string, args ...any) {
		r.Finding, r.Reasons = Inconclusive, append(r.Reasons, fmt.Sprintf(format, args...))
	}
	if r.Asked < r.Planned {
		doubt("only %d of %d planned questions were asked", r.Asked, r.Planned)
	}
	if !p.couldClaim(r.Answered) {
		doubt("%d of %d questions got an answer that begins with a word%s: too few for a claim even if all of them matched", r.Answered, r.Asked, mostCommonError(entries))
	}
	if r.Answered >= 4 && len(texts) == 1 {
		doubt("all %d answers are the same text: it does not answer the questions", r.Answered)
	}
	if changed(hits) {
		doubt("the matches lie in one part of the audit: the endpoint seems to have changed its model meanwhile")
	} else if tail, err := fingerprint.BinomialTail(r.Matched, max(r.Answered, r.Matched), r.K); err == nil && r.Matched > 0 && tail.P < 0.01 {
		doubt("%d of %d answers match: more than chance, and fewer than the claim needs", r.Matched, r.Answered)
	}
}

// couldClaim tells whether so many answers, if all matched, would carry the claim.
func (p *Plan) couldClaim(n int) bool {
	if p.Stopping.Sequential {
		e := fingerprint.NewEvidence(p.K, p.Stopping.Attempts())
		e.Alpha = p.Stopping.Alpha
		for range n {
			e.Add(true)
		}
		return e.Claimed()
	}
	tail, err := fingerprint.BinomialTail(n, p.Stopping.Queries, p.K)
	return err == nil && tail.P*float64(p.Stopping.Attempts()) <= p.Stopping.Alpha
}

// changed looks for a point before and after which the shares of matches differ by more
// than chance explains: Fisher's exact test at each of the n-1 points, Bonferroni at 1e-3.
func changed(hits []bool) bool {
	n, total := len(hits), 0
	for _, hit := range hits {
		if hit {
			total++
		}
	}
	before := 0
	for i := 1; i < n; i++ {
		if hits[i-1] {
			before++
		}
		if fisher(before, i, total, n)*float64(n-1) < 1e-3 {
			return true
		}
	}
	return false
}

// fisher is the two-sided chance that of n draws with m hits the first i hold as few or
// as many as x, twice the smaller tail of the hypergeometric distribution.
func fisher(x, i, m, n int) float64 {
	choose := func(n, k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return a - b - c
	}
	var low, high float64
	for y := max(0, i+m-n); y <= min(i, m); y++ {
		p := math.Exp(choose(m, y) + choose(n-m, i-y) - choose(n, i))
		if y <= x {
			low += p
		}
		if y >= x {
			high += p
		}
	}
	return min(1, 2*min(low, high))
}

func mostCommonError(entries []Entry) string {
	counts := map[string]int{}
	var most string
	for _, e := range entries {
		if e.Error == "" {
			continue
		}
		counts[e.Error]++
		if counts[e.Error] > counts[most] || most == "" {
			most = e.Error
		}
	}
	if most == "" {
		return ""
	}
	if len(most) > 120 {
		most = strings.ToValidUTF8(most[:120], "") + "..."
	}
	return fmt.Sprintf(" (most often: %s)", most)
}

// Statistic is the number that carries the finding, with what it was corrected for.
func (r Result) Statistic() string {
	if !r.Sequential {
		return fmt.Sprintf("p = 10^%.1f, for %d attempt(s): the chance of so many matches, or more, for an endpoint that does not serve this model", r.Log10P, r.Attempts)
	}
	return fmt.Sprintf("e-value e^%.1f for %d attempt(s); the claim needs e^%.1f", r.LogE, r.Attempts, r.Needed())
}

// Needed is the logarithm of the e-value from which on the claim holds.
func (r Result) Needed() float64 { return math.Log(float64(r.Attempts) / r.Alpha) }
