package embed

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/fealty/fealty/sampler"
)

// Selection reports what became of the questions. Each is counted once.
type Selection struct {
	Questions int     `json:"questions"`
	Qualified int     `json:"qualified"` // have as many candidates as the shell wants
	NoWord    int     `json:"no_word"`   // the likeliest answer does not begin with a Latin letter
	TooFew    int     `json:"too_few"`   // fewer candidates
	Chosen    int     `json:"chosen"`
	GoesOn    int     `json:"goes_on"`    // qualified, but one of their words could go on as a longer one
	Crowded   int     `json:"crowded"`    // qualified, but one of their words stands in too many lists
	Surplus   int     `json:"surplus"`    // qualified and not needed
	Near      int     `json:"near"`       // chosen, k-th candidate within 2.5 nats of the top token
	MedianGap float64 `json:"median_gap"` // of the chosen: nats between the top token and the k-th candidate
	Likeness  float64 `json:"likeness"`   // of the chosen, the highest: 1 if another question could not be told from it
	Share     float64 `json:"share"`      // Qualified / Questions
	WordShare float64 `json:"word_share"` // of the lists, that hold the most frequent word
	Distinct  int     `json:"distinct"`   // words in all lists together
}

// nearGap is the preferred distance between the top token and the last candidate.
const nearGap = 2.5

// crowdShare is the share of lists in which one word may stand.
const crowdShare = 0.2

// chooser collects questions and picks keys among them: those whose candidates
// lie nearest to the top token, and that are least like other questions. It works
// before any randomness exists that draws words: nothing is dropped later.
type chooser struct {
	evaluator Evaluator
	language  Language
	shell     sampler.Shell
	lexicon   *sampler.Lexicon
	texts     []string
	sure      map[int32]bool // Survey.Sure; nil: none is
	ordinary  []State        // of prompts that keys must not resemble; nil: that does not count

	questions []string
	states    []State
	alike     []float64 // of each question, see likeness; empty: it does not count
	found     []prospect
	counts    Selection // of the questions, before any choice
}

func newChooser(e Evaluator, t Language, sh sampler.Shell, openers []int32) *chooser {
	c := &chooser{evaluator: e, language: t, shell: sh, texts: Texts(t)}
	c.lexicon = sampler.NewLexicon(c.texts, openers)
	return c
}

// ask evaluates questions and keeps those that can make keys.
func (c *chooser) ask(ctx context.Context, questions []string) error {
	prompts, err := encodeAll(c.language, questions, framing{})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(prompts, stateChunk) {
		rows, err := c.evaluator.Evaluate(ctx, chunk)
		if err != nil {
			return fmt.Errorf("evaluating questions: %w", err)
		}
		for _, r := range rows {
			c.consider(questions[len(c.states)-len(c.questions)], softmax(r.Logits))
			c.states = append(c.states, newState(r))
		}
	}
	c.questions = append(c.questions, questions...)
	if len(c.ordinary) > 0 {
		c.alike = likeness(c.states, c.ordinary)
	}
	return nil
}

// rest are the questions that became no keys, and their rows.
func (c *chooser) rest(keys []Key) (questions []string, states []State) {
	chosen := make(map[string]bool)
	for _, k := range keys {
		chosen[k.Question] = true
	}
	for i, q := range c.questions {
		if !chosen[q] {
			questions, states = append(questions, q), append(states, c.states[i])
		}
	}
	return questions, states
}

type prospect struct {
	question string
	row      int     // among the questions
	tokens   []int32 // the candidates
	spare    []int32 // that follow them, for those that turn out to be fragments
	gap      float64
	whole    bool // each candidate is a whole word after this question
}

// spares is how many candidates more than needed are looked at.
const spares = 2

// consider counts one question and keeps it if its shell is full.
func (c *chooser) consider(question string, probs []float32) {
	c.counts.Questions++
	wide := c.shell
	wide.K += spares
	tokens := wide.Candidates(nil, probs, c.lexicon)
	peak := slices.Max(probs)
	switch {
	case len(tokens) >= c.shell.K:
		k := c.shell.K
		gap := math.Log(float64(peak / probs[tokens[k-1]]))
		c.found = append(c.found, prospect{question: question, row: len(c.states), tokens: tokens[:k:k], spare: tokens[k:], gap: gap})
		c.counts.Qualified++
	case !c.lexicon.Latin(int32(slices.Index(probs, peak))):
		c.counts.NoWord++
	default:
		c.counts.TooFew++
	}
}

// crowdCost is what an earlier list with the same word counts against a
// question, in nats of gap.
const crowdCost = 0.3

// pick chooses n keys of whole words. An opening word may still go on after some
// question ("Good" as "Goodness" where goodness is the matter), and an answer that
// does so matches nothing: the next candidate takes its place, or another question.
func (c *chooser) pick(ctx context.Context, n int) ([]Key, Selection, error) {
	for {
		keys, report := c.take(n)
		if len(keys) < n {
			return keys, report, nil
		}
		looked, err := c.confirm(ctx, keys)
		if err != nil || !looked {
			return keys, report, err
		}
	}
}

// confirm asks the base how it goes on after each word of these keys that is not sure,
// and reports whether there was anything to ask.
func (c *chooser) confirm(ctx context.Context, keys []Key) (looked bool, err error) {
	chosen := make(map[string]bool)
	for _, k := range keys {
		chosen[k.Question] = true
	}
	var sequences [][]int32
	for _, p := range c.found {
		if !chosen[p.question] || p.whole {
			continue
		}
		looked = true
		prompts, err := encodeAll(c.language, []string{p.question}, framing{})
		if err != nil {
			return false, err
		}
		for _, id := range p.unsure(c.sure) {
			sequences = append(sequences, append(slices.Clone(prompts[0]), id))
		}
	}
	var rows []Row
	if len(sequences) > 0 {
		if rows, err = c.evaluator.Evaluate(ctx, sequences); err != nil {
			return false, fmt.Errorf("telling words from fragments: %w", err)
		}
	}
	for i := range c.found {
		if p := &c.found[i]; chosen[p.question] && !p.whole {
			n := len(p.unsure(c.sure))
			p.settle(rows[:n], c)
			rows = rows[n:]
		}
	}
	before := len(c.found)
	c.found = slices.DeleteFunc(c.found, func(p prospect) bool { return len(p.tokens) < c.shell.K })
	c.counts.GoesOn += before - len(c.found)
	return looked, nil
}

// unsure are the tokens that need a look, spares included.
func (p prospect) unsure(sure map[int32]bool) (out []int32) {
	for _, id := range slices.Concat(p.tokens, p.spare) {
		if !sure[id] {
			out = append(out, id)
		}
	}
	return out
}

// settle keeps the first candidates that are whole words, given what follows the unsure.
func (p *prospect) settle(rows []Row, c *chooser) {
	fragments := make(map[int32]bool)
	for i, id := range p.unsure(c.sure) {
		fragments[id] = wordEnds(softmax(rows[i].Logits), c.texts) < wholeWordShare
	}
	all := slices.DeleteFunc(slices.Concat(p.tokens, p.spare), func(id int32) bool { return fragments[id] })
	p.tokens, p.spare, p.whole = all[:min(len(all), c.shell.K)], nil, true
}

// likeCost is what a likeness of 1 counts against a question, in nats of gap.
const likeCost = 12.0

func (c *chooser) likeness(p prospect) float64 {
	if len(c.alike) == 0 {
		return 0
	}
	return c.alike[p.row]
}

// take chooses n keys, one after the other: the nearest candidates, and words that
// few lists hold yet. A question of which a word has reached its share is out, so
// there may be fewer; the next take, after more were asked, starts anew.
func (c *chooser) take(n int) ([]Key, Selection) {
	var keys []Key
	var gaps []float64
	left, report := slices.Clone(c.found), c.counts
	used := make(map[string]int)
	most := max(1, int(crowdShare*float64(n)))
	for len(keys) < n {
		before := len(left)
		left = slices.DeleteFunc(left, func(p prospect) bool { return c.crowded(p, used, most) })
		report.Crowded += before - len(left)
		if len(left) == 0 {
			break
		}
		best := c.cheapest(left, used)
		keys = append(keys, c.key(left[best], used))
		gaps = append(gaps, left[best].gap)
		report.Likeness = max(report.Likeness, c.likeness(left[best]))
		left = slices.Delete(left, best, best+1)
	}
	report.Surplus = len(left)
	report.summarise(gaps, used)
	return keys, report
}

func (c *chooser) cheapest(among []prospect, used map[string]int) int {
	best, least := 0, math.Inf(1)
	for i, p := range among {
		cost := p.gap + likeCost*c.likeness(p)
		for _, id := range p.tokens {
			cost += crowdCost * float64(used[c.lexicon.Word(id)])
		}
		if cost < least {
			best, least = i, cost
		}
	}
	return best
}

func (c *chooser) crowded(p prospect, used map[string]int, most int) bool {
	return slices.ContainsFunc(p.tokens, func(id int32) bool { return used[c.lexicon.Word(id)] >= most })
}

func (c *chooser) key(p prospect, used map[string]int) Key {
	k := Key{Question: p.question, Secret: newSecret()}
	for _, id := range p.tokens {
		used[c.lexicon.Word(id)]++
		k.Candidates = append(k.Candidates, Candidate{c.texts[id], id})
	}
	return k
}

// summarise describes the chosen: their gaps, and in how many lists each word stands.
func (r *Selection) summarise(gaps []float64, used map[string]int) {
	slices.Sort(gaps)
	r.Chosen, r.Distinct = len(gaps), len(used)
	r.Share = float64(r.Qualified) / float64(max(1, r.Questions))
	for _, n := range used {
		r.WordShare = max(r.WordShare, float64(n)/float64(max(1, r.Chosen)))
	}
	for _, g := range gaps {
		if g <= nearGap {
			r.Near++
		}
	}
	if len(gaps) > 0 {
		r.MedianGap = gaps[len(gaps)/2]
	}
}
