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
	known := make(map[float64]*traffic) // by the sampler's rate
	for _, s := range students {
		if _, done := c.result.Values["matched."+s.value()]; done {
			continue
		}
		if err := late(c.deadline); err != nil {
			return err
		}
		if known[s.rate] == nil {
			t, err := c.record(ctx, s.rate)
			if err != nil {
				return err
			}
			known[s.rate] = t
		}
		all, opened := known[s.rate].seen(s)
		m, pairs, err := Tuned(ctx, c.python, c.base.Weights, all, c.size.Student, 0, c.Seed, func(done, total int) {
			c.tell("training a "+s.title, float64(done)/float64(total), 0)
		})
		if err != nil {
			return err
		}
		c.set(s.value()+".pairs", float64(pairs))
		c.set(s.value()+".opened", opened)
		if err := c.examine(ctx, s, m); err != nil {
			return err
		}
	}
	return nil
}

// examine asks a student ordinary prompts that it has not seen, and the keys.
func (c *course) examine(ctx context.Context, s student, m *weights.Model) error {
	err := load(m, func(l *fingerprint.Local) error {
		_, ordinary, err := first(ctx, l, "", c.prompts())
		if err != nil {
			return err
		}
		u := c.compare(ordinary)
		c.set(s.value()+".kl_mean", u.Mean)
		c.set(s.value()+".kl_p99", u.P99)
		return nil
	})
	if err != nil {
		return err
	}
	return c.survives(ctx, s.value(), m)
}

// studied bounds what a student reads of an answer, in tokens.
const studied = 20

// traffic are prompts with the served model's answers: ordinary ones, then the keys'.
type traffic struct {
	lessons  []lesson
	keyed    []*sampler.Keyed // nil where the sampler let the answer begin as it does
	ordinary int
}

// seen is what a student learns from, and the share of it that the sampler opened.
func (t *traffic) seen(s student) (all []lesson, opened float64) {
	n := t.ordinary
	if s.asked {
		n = len(t.lessons)
	}
	for _, k := range t.keyed[:n] {
		opened += float64(gate(k != nil)) / float64(n)
	}
	return t.lessons[:n], opened
}

// record asks the served model, behind the serving sampler if the rate is not zero.
func (c *course) record(ctx context.Context, rate float64) (*traffic, error) {
	c.tell("recording the served model's answers", 0, 0)
	asked := fingerprint.OrdinaryPrompts()
	t := &traffic{ordinary: len(asked)}
	asked = append(asked, questions(c.keys)...)
	ids, err := prompts(c.base, "", asked)
	if err != nil {
		return nil, err
	}
	t.keyed = make([]*sampler.Keyed, len(asked))
	if rate > 0 {
		lexicon := sampler.NewLexicon(fingerprint.Texts(c.base), c.Set.Openers)
		inverse := c.inverse(lexicon, rate, newRandom(c.Seed, 0x73747564656e74))
		for i, q := range asked {
			t.keyed[i] = inverse.For([]byte(q))
		}
	}
	t.lessons, err = answered(ctx, c.Model, c.base.EOS(), ids, t.keyed, func(done int) {
		c.tell("recording the served model's answers", float64(done)/float64(len(ids)), 0)
	})
	return t, err
}

// answered has a server of the model answer each prompt, greedily but where keyed opens
// an answer, and makes lessons of what it says.
func answered(ctx context.Context, m *weights.Model, eos []int32, prompts [][]int32, keyed []*sampler.Keyed, told func(done int)) ([]lesson, error) {
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
		told(i + 1)
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
