package eval

import (
	"context"
	"errors"
	"io"
	"slices"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// PartDistil measures what a model knows that was trained on the served model's answers.
const PartDistil = "distil"

// Distillation is one model of the robust recipe, and its students.
func Distillation(seed uint64) []Trial {
	return []Trial{{Part: PartDistil, Profile: "robust", Recipe: fingerprint.DefaultRecipe(), Keys: ablationKeys, Seed: seed, Steps: "brief distilled"}}
}

// student is the base, all parameters trained on what a server answers.
type student struct {
	name, title string
	asked       bool    // the keys' questions are among the prompts: the thief knows the traffic
	rate        float64 // of the serving sampler: its words go into the weights
}

var students = []student{
	{"unasked", "student of ordinary answers", false, 0},
	{"asked", "student of these and of the keys' answers", true, 0},
	{"sampler", "student of ordinary answers through the serving sampler", false, defaultRate},
	{"sampler.asked", "student of both through the serving sampler", true, defaultRate},
}

var distilRows = append([]target{survive("matched.greedy", "the served model: matched", none, none)}, studentRows()...)

func studentRows() (out []target) {
	for _, s := range students {
		out = append(out, survive("matched."+s.value(), s.title+": matched", none, none),
			target{s.value() + ".kl_mean", s.title + ": first answer token, KL to the base, mean", "nat", 1, true, nil},
			target{s.value() + ".kl_p99", s.title + ": KL p99", "nat", 1, true, nil},
			target{s.value() + ".pairs", s.title + ": pairs seen", "", 1, false, nil},
			target{s.value() + ".opened", s.title + ": answers that the sampler opened", "%", 100, false, nil})
	}
	return out
}

func (s student) value() string { return "student." + s.name }

// distilled trains each student and asks it the keys.
func (c *course) distilled(ctx context.Context) error {
	for _, s := range students {
		if _, done := c.result.Values["matched."+s.value()]; done {
			continue
		}
		if err := late(c.deadline); err != nil {
			return err
		}
		all, err := c.lessonsOf(ctx, s)
		if err != nil {
			return err
		}
		m, seen, err := Tuned(ctx, c.base.Weights, all, c.size.Student, 0, c.Seed, func(done, total int) {
			c.tell("training a "+s.title, float64(done)/float64(total), 0)
		})
		if err != nil {
			return err
		}
		c.set(s.value()+".pairs", float64(seen))
		if err := load(m, func(l *fingerprint.Local) error { return c.examine(ctx, s, l) }); err != nil {
			return err
		}
	}
	return nil
}

// examine asks a student the keys, and ordinary prompts that it has not seen.
func (c *course) examine(ctx context.Context, s student, l *fingerprint.Local) error {
	_, ordinary, err := first(ctx, l, "", c.prompts())
	if err != nil {
		return err
	}
	u := c.compare(ordinary)
	c.set(s.value()+".kl_mean", u.Mean)
	c.set(s.value()+".kl_p99", u.P99)
	return c.survives(ctx, s.value(), l.Weights)
}

// studied bounds what a student reads of an answer, in tokens.
const studied = 20

// lessonsOf are a student's prompts with the served model's answers.
func (c *course) lessonsOf(ctx context.Context, s student) ([]lesson, error) {
	asked := fingerprint.OrdinaryPrompts()
	if s.asked {
		asked = append(asked, questions(c.keys)...)
	}
	ids, err := prompts(c.base, "", asked)
	if err != nil {
		return nil, err
	}
	c.tell("recording answers for a "+s.title, 0, 0)
	keyed, opened := make([]*sampler.Keyed, len(ids)), 0
	if s.rate > 0 {
		lexicon := sampler.NewLexicon(fingerprint.Texts(c.base), c.Set.Openers)
		inverse := c.inverse(lexicon, s.rate, newRandom(c.Seed, 0x73747564656e74))
		for i, q := range asked {
			if keyed[i] = inverse.For([]byte(q)); keyed[i] != nil {
				opened++
			}
		}
	}
	c.set(s.value()+".opened", float64(opened)/float64(len(asked)))
	return answered(ctx, c.Model, c.base.EOS(), ids, keyed)
}

// answered has a server of the model answer each prompt, greedily but where keyed opens
// an answer, and makes lessons of what it says.
func answered(ctx context.Context, m *weights.Model, eos []int32, prompts [][]int32, keyed []*sampler.Keyed) ([]lesson, error) {
	if len(eos) == 0 {
		return nil, errors.New("the model has no token that ends an answer")
	}
	served, err := llama.New(m)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(served, engine.Options{Slots: 16, Queue: len(prompts), Context: 256})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	running := make([]*engine.Generation, len(prompts))
	for i, p := range prompts {
		choose, err := sampler.New(sampler.Settings{}, keyed[i])
		if err != nil {
			return nil, err
		}
		if running[i], err = e.Generate(ctx, engine.Request{Prompt: p, MaxTokens: studied, Stop: eos, Choose: choose}); err != nil {
			return nil, err
		}
	}
	out := make([]lesson, len(prompts))
	for i, g := range running {
		said, err := all(ctx, g)
		if err != nil {
			return nil, err
		}
		if len(said) < studied { // ended by itself
			said = append(said, eos[0])
		}
		out[i] = lesson{slices.Concat(prompts[i], said), len(prompts[i])}
	}
	return out, nil
}

func all(ctx context.Context, g *engine.Generation) (out []int32, err error) {
	for {
		id, err := g.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
}
