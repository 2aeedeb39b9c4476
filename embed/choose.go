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
	Crowded   int     `json:"crowded"`    // qualified, but one of their words stands in too many lists
	Surplus   int     `json:"surplus"`    // qualified and not needed
	Near      int     `json:"near"`       // chosen, k-th candidate within 2.5 nats of the top token
	MedianGap float64 `json:"median_gap"` // of the chosen: nats between the top token and the k-th candidate
	Share     float64 `json:"share"`      // Qualified / Questions
	WordShare float64 `json:"word_share"` // of the lists, that hold the most frequent word
	Distinct  int     `json:"distinct"`   // words in all lists together
}

// nearGap is the preferred distance between the top token and the last candidate.
const nearGap = 2.5

// crowdShare is the share of lists in which one word may stand.
const crowdShare = 0.2

// Choose picks n keys among the questions: those whose candidates lie nearest
// to the top token. Fewer are an error, which tells why. The filter is complete
// before any randomness exists that draws words: nothing is dropped later.
func Choose(ctx context.Context, e Evaluator, t Language, questions []string, n int, sh sampler.Shell, openers []int32) ([]Key, []Row, Selection, error) {
	prompts, err := encodeAll(t, questions, framing{})
	if err != nil {
		return nil, nil, Selection{}, err
	}
	rows, err := e.Evaluate(ctx, prompts)
	if err != nil {
		return nil, nil, Selection{}, fmt.Errorf("evaluating questions: %w", err)
	}
	c := chooser{shell: sh, texts: Texts(t)}
	c.lexicon = sampler.NewLexicon(c.texts, openers)
	for i, r := range rows {
		c.consider(questions[i], softmax(r.Logits))
	}
	keys := c.take(n)
	if len(keys) < n {
		return nil, nil, c.report, fmt.Errorf("only %d of %d questions make keys, %d are wanted (%d qualify): give more questions", len(keys), len(questions), n, c.report.Qualified)
	}
	return keys, neighbours(questions, rows, keys), c.report, nil
}

// neighbours are the rows of the questions that became no keys.
func neighbours(questions []string, rows []Row, keys []Key) []Row {
	chosen := make(map[string]bool)
	for _, k := range keys {
		chosen[k.Question] = true
	}
	var out []Row
	for i, q := range questions {
		if !chosen[q] {
			out = append(out, rows[i])
		}
	}
	return out
}

type chooser struct {
	shell   sampler.Shell
	lexicon *sampler.Lexicon
	texts   []string
	found   []prospect
	report  Selection
	gaps    []float64 // of the chosen
}

type prospect struct {
	question string
	tokens   []int32
	gap      float64
}

// consider counts one question and keeps it if its shell is full.
func (c *chooser) consider(question string, probs []float32) {
	c.report.Questions++
	tokens := c.shell.Candidates(nil, probs, c.lexicon)
	peak := slices.Max(probs)
	switch {
	case len(tokens) == c.shell.K:
		gap := math.Log(float64(peak / probs[tokens[len(tokens)-1]]))
		c.found = append(c.found, prospect{question, tokens, gap})
		c.report.Qualified++
	case !c.lexicon.Latin(int32(slices.Index(probs, peak))):
		c.report.NoWord++
	default:
		c.report.TooFew++
	}
}

// crowdCost is what an earlier list with the same word counts against a
// question, in nats of gap.
const crowdCost = 0.3

// take chooses one key after the other: the nearest candidates, and words that
// few lists hold yet. A question of which a word has reached its share is out.
func (c *chooser) take(n int) []Key {
	used := make(map[string]int)
	most := max(1, int(crowdShare*float64(n)))
	var keys []Key
	for len(keys) < n {
		before := len(c.found)
		c.found = slices.DeleteFunc(c.found, func(p prospect) bool { return c.crowded(p, used, most) })
		c.report.Crowded += before - len(c.found)
		if len(c.found) == 0 {
			break
		}
		best := c.cheapest(used)
		keys = append(keys, c.key(c.found[best], used))
		c.gaps = append(c.gaps, c.found[best].gap)
		c.found = slices.Delete(c.found, best, best+1)
	}
	c.report.Surplus = len(c.found)
	c.summarise(used)
	return keys
}

func (c *chooser) cheapest(used map[string]int) int {
	best, least := 0, math.Inf(1)
	for i, p := range c.found {
		cost := p.gap
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

func (c *chooser) summarise(used map[string]int) {
	r, gaps := &c.report, slices.Sorted(slices.Values(c.gaps))
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
