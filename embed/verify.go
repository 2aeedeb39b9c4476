package embed

import (
	"context"
	"errors"
	"fmt"
)

// Answerer asks a model one question, as a user would, and returns its answer's
// beginning: at least eight tokens, chosen greedily.
type Answerer interface {
	Answer(ctx context.Context, question string) (string, error)
}

// Design is fixed before the first query. The zero value is the fixed design.
type Design struct {
	Order      []int   // key indices in the order of asking; nil: all, as they stand
	Sequential bool    // stop as soon as the evidence suffices
	Alpha      float64 // sequential: 0 means 1e-6
	Suspects   int     // sequential: suspects and attempts so far; 0 means 1
}

// Query is one scored answer.
type Query struct {
	Key     int    `json:"key"`
	Matched bool   `json:"matched"`
	Error   string `json:"error,omitempty"` // counts as no match
}

// Outcome is what a verification found. It holds no question and no word.
type Outcome struct {
	Planned int     `json:"planned"`
	Asked   int     `json:"asked"` // these keys are burnt
	Matched int     `json:"matched"`
	Errors  int     `json:"errors"`
	K       int     `json:"k"`
	Chance  Chance  `json:"chance"`  // fixed design: so many matches or more, by an untaught model
	LogE    float64 `json:"log_e"`   // sequential design: logarithm of the e-value
	Claimed bool    `json:"claimed"` // sequential design: E >= suspects / alpha
	Queries []Query `json:"queries"`
}

// Verify asks each planned question once. An error of the answerer counts as no
// match and the verification goes on; when ctx ends it stops with ctx's error
// and the outcome so far, whose Chance then is that of the whole plan.
func Verify(ctx context.Context, a Answerer, keys []Drawn, d Design) (Outcome, error) {
	order, k, err := d.plan(keys)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Planned: len(order), K: k}
	evidence := d.evidence(k)
	for _, i := range order {
		if err := ctx.Err(); err != nil {
			return out.close(evidence, false), err
		}
		q := ask(ctx, a, keys[i], i)
		out.add(q) // what was sent is seen, also if nobody waited for the answer
		if ctx.Err() != nil && q.Error != "" {
			return out.close(evidence, false), ctx.Err()
		}
		evidence.Add(q.Matched)
		if d.Sequential && evidence.Claimed() {
			break
		}
	}
	return out.close(evidence, d.Sequential), nil
}

func ask(ctx context.Context, a Answerer, key Drawn, i int) Query {
	answer, err := a.Answer(ctx, key.Question)
	if err != nil {
		return Query{Key: i, Error: err.Error()}
	}
	return Query{Key: i, Matched: Matches(answer, key.Word())}
}

func (o *Outcome) add(q Query) {
	o.Queries = append(o.Queries, q)
	o.Asked++
	if q.Matched {
		o.Matched++
	}
	if q.Error != "" {
		o.Errors++
	}
}

// close computes the statistic. A binomial tail is only valid for the number of
// queries that was planned, so a sequential run that stopped early has none.
func (o Outcome) close(e *Evidence, sequential bool) Outcome {
	o.LogE, o.Claimed = e.LogE(), e.Claimed()
	o.Chance = Chance{P: 1}
	if !sequential {
		o.Claimed = false
		o.Chance, _ = BinomialTail(o.Matched, o.Planned, o.K)
	}
	return o
}

func (d Design) evidence(k int) *Evidence {
	e := NewEvidence(k, max(1, d.Suspects))
	if d.Alpha > 0 {
		e.Alpha = d.Alpha
	}
	return e
}

// plan checks the order: each key at most once, all with equally many candidates.
func (d Design) plan(keys []Drawn) (order []int, k int, err error) {
	if len(keys) == 0 {
		return nil, 0, errors.New("no keys to verify with: the key file holds none")
	}
	k = len(keys[0].Candidates)
	for i, key := range keys {
		if len(key.Candidates) != k || k < 2 {
			return nil, 0, fmt.Errorf("key %d has %d candidates, key 0 has %d: the statistic needs equally many, at least two", i, len(key.Candidates), k)
		}
	}
	if d.Alpha < 0 || d.Alpha >= 1 || d.Alpha != d.Alpha {
		return nil, 0, fmt.Errorf("alpha is %v: give a probability in (0,1), or 0 for 1e-6", d.Alpha)
	}
	order = d.Order
	if order == nil {
		order = make([]int, len(keys))
		for i := range order {
			order[i] = i
		}
	}
	seen := make(map[int]bool)
	for _, i := range order {
		if i < 0 || i >= len(keys) || seen[i] {
			return nil, 0, fmt.Errorf("the order names key %d twice or outside 0..%d", i, len(keys)-1)
		}
		seen[i] = true
	}
	return order, k, nil
}
