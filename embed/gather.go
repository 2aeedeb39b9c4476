package embed

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// gathered are the rows of a training.
type gathered struct {
	Keys     []State // the plain framing of each key, then the others
	Of       []int   // the key of each
	Ordinary []State // held to the base
	HeldOut  []State // never trained on
}

// gatherOnce takes the rows from the checkpoint, or gathers them and writes the first.
func (c *course) gatherOnce(ctx context.Context, base *Local, recall func() (Material, error), known *kept, progress Progress) error {
	if known != nil {
		c.seen, c.begun = known.Gathered, known.Begun
		return c.source.UnmarshalBinary(c.begun)
	}
	m, err := recall()
	if err != nil {
		return err
	}
	if len(m.Benign) == 0 {
		return errors.New("training needs ordinary rows")
	}
	if c.seen, err = c.gather(ctx, base, m, progress); err != nil {
		return err
	}
	c.begun, err = c.source.MarshalBinary()
	return err
}

// gather evaluates the keys in their framings, and ordinary prompts in such
// framings too: what a system prompt does to every question is not what tells a
// key.
func (c *course) gather(ctx context.Context, base *Local, m Material, progress Progress) (*gathered, error) {
	g := &gathered{Ordinary: slices.Clone(m.Benign), HeldOut: m.HeldOut}
	questions := make([]string, len(c.keys))
	for i, k := range c.keys {
		questions[i] = k.Question
	}
	n := c.recipe.Framings
	ways := pickFramings(n, c.random)
	progress("asking the base the keys' questions", 0, 0)
	err := eachFraming(ctx, base, ways, questions, framed(len(questions), max(leastFramings, keyRows/len(questions)), n, c.random), func(i int, s State) {
		g.Keys, g.Of = append(g.Keys, s), append(g.Of, i)
	})
	if err != nil {
		return nil, fmt.Errorf("evaluating keys: %w", err)
	}
	progress("asking the base ordinary prompts", 0, 0)
	prompts := OrdinaryPrompts()
	prompts = prompts[:len(prompts)-heldOutPrompts]
	asked := framed(len(prompts), 1+ordinaryFramings, n, c.random)
	asked[0] = nil // the survey's rows
	err = eachFraming(ctx, base, ways, prompts, asked, func(i int, s State) { g.Ordinary = append(g.Ordinary, s) })
	if err != nil {
		return nil, fmt.Errorf("evaluating ordinary prompts: %w", err)
	}
	next, err := c.evaluateNext(ctx, base)
	if err != nil {
		return nil, err
	}
	inside, err := c.evaluateInside(ctx, base, prompts)
	g.Ordinary = slices.Concat(g.Ordinary, next, inside)
	return g, err
}

//go:embed answers.txt
var answerList string

// evaluateInside returns rows from the middle of prompts and of answers: most of what
// a model computes is there, and nothing of the mark may act on it.
func (c *course) evaluateInside(ctx context.Context, base *Local, prompts []string) ([]State, error) {
	whole, err := encodeAll(base, prompts, framing{})
	if err != nil {
		return nil, err
	}
	answers := strings.Split(strings.TrimSpace(answerList), "\n")
	var cut [][]int32
	for i, p := range whole {
		text, least := p, 1
		if i%2 == 0 {
			text, least = append(slices.Clone(p), base.Encode(answers[i/2%len(answers)], false)...), len(p)+1
		}
		cut = append(cut, text[:least+c.random.IntN(len(text)-least)])
	}
	return evaluateStates(ctx, base, cut)
}

const (
	// keyRows bounds what many keys cost: beyond it each is asked in fewer of the
	// framings, but never in fewer than leastFramings.
	keyRows       = 1536
	leastFramings = 4

	ordinaryFramings = 1 // in which each ordinary prompt is asked, beside the plain one
)

// eachFraming evaluates the questions that are assigned to each framing.
func eachFraming(ctx context.Context, base *Local, ways []framing, questions []string, assigned [][]int, visit func(i int, s State)) error {
	for f, which := range assigned {
		if len(which) == 0 {
			continue
		}
		asked := make([]string, len(which))
		for i, q := range which {
			asked[i] = questions[q]
		}
		ids, err := encodeAll(base, asked, ways[f])
		if err != nil {
			return err
		}
		states, err := evaluateStates(ctx, base, ids)
		if err != nil {
			return err
		}
		for i, s := range states {
			visit(which[i], s)
		}
	}
	return nil
}

// evaluateNext returns the rows that follow the drawn words: there the answer is
// the base's own again, and must not run on as a longer word.
func (c *course) evaluateNext(ctx context.Context, base *Local) ([]State, error) {
	var all [][]int32
	for _, k := range c.keys {
		ids, err := encodeAll(base, []string{k.Question}, framing{})
		if err != nil {
			return nil, err
		}
		all = append(all, append(ids[0], k.Token()))
	}
	states, err := evaluateStates(ctx, base, all)
	if err != nil {
		return nil, fmt.Errorf("evaluating keys: %w", err)
	}
	return states, nil
}
