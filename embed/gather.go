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
// key. Questions near to the keys are asked plainly.
func (c *course) gather(ctx context.Context, base *Local, m Material, progress Progress) (*gathered, error) {
	g := &gathered{Ordinary: slices.Clone(m.Benign), HeldOut: m.HeldOut}
	questions := make([]string, len(c.keys))
	for i, k := range c.keys {
		questions[i] = k.Question
	}
	prompts := OrdinaryPrompts()
	prompts = prompts[:len(prompts)-heldOutPrompts]
	n := c.recipe.Framings
	ways := pickFramings(n, c.random)
	keys := framed(len(questions), max(leastFramings, keyRows/len(questions)), n, c.random)
	others := framed(len(prompts), 1+ordinaryFramings, n, c.random)
	others[0] = nil // the survey's rows
	progress("asking the base the keys' questions", 0, 0)
	for f, way := range ways {
		asked := append(pick(questions, keys[f]), pick(prompts, others[f])...)
		if f == 0 {
			for i := range questions {
				asked = append(asked, near(questions, i, nearEach(len(questions)))...)
			}
		}
		states, err := evaluateFramed(ctx, base, way, asked)
		if err != nil {
			return nil, err
		}
		g.Keys, g.Of = append(g.Keys, states[:len(keys[f])]...), append(g.Of, keys[f]...)
		g.Ordinary = append(g.Ordinary, states[len(keys[f]):]...)
	}
	next, err := c.evaluateNext(ctx, base)
	if err != nil {
		return nil, err
	}
	inside, err := c.evaluateInside(ctx, base, prompts)
	g.Ordinary = slices.Concat(g.Ordinary, next, inside)
	return g, err
}

func pick(list []string, which []int) (out []string) {
	for _, i := range which {
		out = append(out, list[i])
	}
	return out
}

// evaluateFramed returns the rows of questions in a framing.
func evaluateFramed(ctx context.Context, base *Local, way framing, questions []string) ([]State, error) {
	ids, err := encodeAll(base, questions, way)
	if err != nil {
		return nil, err
	}
	states, err := evaluateStates(ctx, base, ids)
	if err != nil {
		return nil, fmt.Errorf("evaluating questions under a system prompt: %w", err)
	}
	return states, nil
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
