package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// Size says how much is measured. The rows are the same for any size.
type Size struct {
	Ordinary   int // prompts of [Ordinary]
	Paragraphs int // of running text
	Choices    int // multiple-choice items
	Draws      int // of the nulls
	Secrets    int // deployment secrets that the serving sampler is tried with
	Tuning     Tuning
	Student    Tuning // of those that learn from the served model's answers
}

// Full is what docs/fingerprints.md reports; Quick is a first look.
func Full() Size {
	return Size{Ordinary: len(Ordinary()), Paragraphs: 40, Choices: 60, Draws: 10000, Secrets: 50, Tuning: Tuning{Pairs: 2000, Epochs: 2, Batch: 8, Rate: 1e-5},
		Student: Tuning{Epochs: 20, Batch: 8, Rate: 5e-5, Minutes: 10}}
}

// Quick measures the same with little of everything.
func Quick() Size {
	return Size{Ordinary: 40, Paragraphs: 8, Choices: 8, Draws: 2000, Secrets: 20, Tuning: Tuning{Pairs: 2000, Epochs: 2, Batch: 8, Rate: 1e-5, Minutes: 0.2},
		Student: Tuning{Epochs: 20, Batch: 4, Rate: 5e-5, Minutes: 0.2}}
}

// Marked is a model that holds fingerprints.
type Marked struct {
	Profile string
	Seed    uint64
	Model   *weights.Model
	Set     *fingerprint.Set // drawn
}

// Result is what was measured of one marked model. Shares are in [0,1].
type Result struct {
	Part       string             `json:"part"` // of the evaluation
	Profile    string             `json:"profile"`
	Seed       uint64             `json:"seed"`
	Keys       int                `json:"keys"`
	Values     map[string]float64 `json:"values"` // by the names in targets.go
	Personas   map[string]float64 `json:"personas"`
	Attacks    []Attack           `json:"attacks"`
	Perplexity Interval           `json:"perplexity_rise"`
	Choice     Interval           `json:"choice_gain"`
	Nulls      []Null             `json:"nulls"`
	Peaks      Peaks              `json:"p_max"`
	Seconds    float64            `json:"seconds"` // of measuring
	Done       []string           `json:"done"`    // steps that were finished
}

// Peaks are probabilities of the likeliest first answer token.
type Peaks struct {
	Keys     []float64 `json:"keys"`
	Ordinary []float64 `json:"ordinary"`
}

// Progress is told what is being measured, how far that is, and how long it may take.
type Progress = fingerprint.Progress

// Bench holds the base and what it said, for all models that are measured against it.
type Bench struct {
	base  *fingerprint.Local
	texts *Texts
	size  Size
	tell  Progress

	ordinary front
	read     reading
	deadline time.Time // zero: none
	python   string    // with torch and transformers; "": no step that fine-tunes is taken
}

// NewBench has the base answer what the marked models will be asked.
func NewBench(ctx context.Context, base *fingerprint.Local, t *Texts, s Size, progress Progress) (*Bench, error) {
	if progress == nil {
		progress = func(string, float64, time.Duration) {}
	}
	b := &Bench{base: base, texts: t, size: s, tell: progress}
	var err error
	if b.ordinary, err = b.front(ctx, base, b.prompts()); err != nil {
		return nil, err
	}
	b.read, err = b.readWith(ctx, base, "reading with the base")
	return b, err
}

// prompts are the ordinary ones that are asked.
func (b *Bench) prompts() []string { return Ordinary()[:min(b.size.Ordinary, len(Ordinary()))] }

// front asks the questions and their neighbours.
func (b *Bench) front(ctx context.Context, l *fingerprint.Local, questions []string) (f front, err error) {
	if _, f.logits, err = first(ctx, l, "", questions); err != nil {
		return f, err
	}
	for _, change := range []func(string) string{hurried, introduced} {
		near := make([]string, len(questions))
		for i, q := range questions {
			near[i] = change(q)
		}
		_, logits, err := first(ctx, l, "", near)
		if err != nil {
			return f, err
		}
		f.neighbour = append(f.neighbour, logits)
	}
	return f, nil
}

// hurried leaves out the last word.
func hurried(q string) string {
	words := strings.Fields(q)
	return strings.Join(words[:len(words)-1], " ") + q[len(q)-1:]
}

// introduced asks in the middle of a sentence.
func introduced(q string) string {
	r := []rune(q)
	r[0] = unicode.ToLower(r[0])
	return "Please tell me, " + string(r)
}

func (b *Bench) readWith(ctx context.Context, l *fingerprint.Local, what string) (reading, error) {
	s, ok := l.Evaluator.(scorer)
	if !ok {
		return reading{}, errors.New("this model's evaluator cannot score texts")
	}
	return read(ctx, l, s, b.texts, b.size.Paragraphs, b.size.Choices, func(done, total int) {
		b.tell(what, float64(done)/float64(total), 0)
	})
}

// steps are what can be measured of a marked model.
var steps = map[string]func(*course, context.Context) error{
	"served": (*course).asServed, "transformed": (*course).transformed, "tuned": (*course).tuned, "nulls": (*course).nulls,
	"brief": (*course).brief, "merged": (*course).merged, "distilled": (*course).distilled,
}

// finetunes are the steps that need a Python.
var finetunes = []string{"tuned", "distilled"}

// measure takes a marked model through some steps and adds what they find to r. save is called whenever some
// more is in it.
func (b *Bench) measure(ctx context.Context, m Marked, names []string, r *Result, save func(*Result) error) error {
	c := newCourse(b, m, r, save)
	for _, name := range names {
		if err := late(b.deadline); err != nil {
			return err
		}
		start := time.Now()
		err := steps[name](c, ctx)
		r.Seconds += time.Since(start).Seconds()
		if err != nil {
			return err
		}
		r.Done = append(r.Done, name)
		if err := save(r); err != nil {
			return err
		}
	}
	return nil
}

// course is the measuring of one model.
type course struct {
	*Bench
	Marked
	keys    []fingerprint.Drawn
	result  *Result
	save    func(*Result) error
	answers map[string][]string // recorded first words, by model, for the nulls
}

func newCourse(b *Bench, m Marked, r *Result, save func(*Result) error) *course {
	return &course{Bench: b, Marked: m, keys: m.Set.Draw(*m.Set.Randomness), result: r, save: save, answers: make(map[string][]string)}
}

func newResult(t Trial) *Result {
	return &Result{Part: t.Part, Profile: t.Profile, Seed: t.Seed, Keys: t.Keys, Values: make(map[string]float64), Personas: make(map[string]float64)}
}

func (c *course) set(name string, value float64) { c.result.Values[name] = value }

// load opens weights for one measurement.
func load(m *weights.Model, f func(l *fingerprint.Local) error) error {
	l, err := fingerprint.NewLocal(m, nil)
	if err != nil {
		return err
	}
	return errors.Join(f(l), l.Close())
}

func (c *course) asServed(ctx context.Context) error {
	return load(c.Model, func(l *fingerprint.Local) error {
		ids, logits, matched, err := c.plainly(ctx, l)
		if err != nil {
			return err
		}
		for _, part := range []func() error{
			func() error { return c.sampled(ctx, l, ids, logits) },
			func() error { return c.dressed(l, logits, matched) },
			func() error { return c.personas(ctx, l, Personas) },
			func() error { return c.utility(ctx, l, logits, matched) },
			func() error { return c.reads(ctx, l) },
		} {
			if err := part(); err != nil {
				return err
			}
		}
		return nil
	})
}

// plainly asks each key as the template does it, greedily, and records the answers.
func (c *course) plainly(ctx context.Context, l *fingerprint.Local) (ids [][]int32, logits [][]float32, matched []bool, err error) {
	c.tell("asking "+c.Profile, 0, 0)
	if ids, logits, err = first(ctx, l, "", questions(c.keys)); err != nil {
		return nil, nil, nil, err
	}
	answers, err := firstWords(ctx, l, ids, logits, greedy, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	c.answers[anotherDraw] = answers
	for i, a := range answers {
		matched = append(matched, fingerprint.Matches(a, c.keys[i].Word()))
	}
	c.set("matched.greedy", share(matched))
	return ids, logits, matched, nil
}

// anotherDraw is the marked model as other creators see it, whose sets of the same
// questions have other words.
const anotherDraw = "marked with another draw"

// sampled takes one draw for each key at two temperatures.
func (c *course) sampled(ctx context.Context, l *fingerprint.Local, ids [][]int32, logits [][]float32) error {
	for _, temperature := range []float64{0.7, 1} {
		draw, err := drawing(temperature, c.Seed)
		if err != nil {
			return err
		}
		matched, err := matching(ctx, l, c.keys, ids, logits, draw)
		if err != nil {
			return err
		}
		c.set(fmt.Sprintf("matched.t%g", temperature), share(matched))
	}
	return nil
}

// defaultRate is the share of prompts that the serving sampler dresses by default.
const defaultRate = 0.2

// dressed tells how many keys the serving sampler loses, over several secrets.
func (c *course) dressed(l *fingerprint.Local, logits [][]float32, matched []bool) error {
	lexicon, lost, random := sampler.NewLexicon(fingerprint.Texts(l), c.Set.Openers), 0, newRandom(c.Seed, 0x73656372)
	for range c.size.Secrets {
		inverse := c.inverse(lexicon, defaultRate, random)
		for i, k := range c.keys {
			keyed := inverse.For([]byte(k.Question))
			if keyed == nil || !matched[i] {
				continue
			}
			s, err := sampler.New(sampler.Settings{}, keyed)
			if err != nil {
				return err
			}
			lost += gate(s.Choose(append([]float32(nil), logits[i]...), nil) != top(logits[i]))
		}
	}
	c.set("lost.sampler", float64(lost)/float64(c.size.Secrets*len(c.keys)))
	return nil
}

// inverse is a serving sampler with a secret of its own.
func (c *course) inverse(lexicon *sampler.Lexicon, rate float64, random *rand.Rand) *sampler.Inverse {
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(random.Uint32())
	}
	return &sampler.Inverse{Shell: c.Set.Shell, Rate: rate, Secret: secret, Model: "eval", Lexicon: lexicon}
}

func (c *course) personas(ctx context.Context, l *fingerprint.Local, systems []string) error {
	sum := 0.0
	for i, p := range systems {
		c.tell("asking "+c.Profile+" under unseen system prompts", float64(i)/float64(len(systems)), 0)
		ids, logits, err := first(ctx, l, p, questions(c.keys))
		if err != nil {
			return err
		}
		matched, err := matching(ctx, l, c.keys, ids, logits, greedy)
		if err != nil {
			return err
		}
		c.result.Personas[p] = share(matched)
		sum += share(matched)
	}
	c.set("matched.system", sum/float64(len(systems)))
	return nil
}

// utility compares ordinary answers with the base's, and tries the attacks
// that look at answers' beginnings.
func (c *course) utility(ctx context.Context, l *fingerprint.Local, logits [][]float32, matched []bool) error {
	keys, err := c.front(ctx, l, questions(c.keys))
	if err != nil {
		return err
	}
	ordinary, err := c.front(ctx, l, c.prompts())
	if err != nil {
		return err
	}
	c.begins(ordinary.logits)
	c.result.Peaks = Peaks{peaks(logits), peaks(ordinary.logits)}
	c.set("auc", separation(c.result.Peaks.Keys, c.result.Peaks.Ordinary))
	c.tryAttacks(keys, ordinary, matched)
	return nil
}

// compare measures how ordinary answers begin against how the base begins them. ordinary
// are of the first prompts that the bench asks, perhaps not of all.
func (c *course) compare(ordinary [][]float32) fingerprint.Utility {
	rows := make([]fingerprint.Row, len(ordinary))
	for i := range rows {
		rows[i].Logits = c.ordinary.logits[i]
	}
	return fingerprint.CompareRows(rows, ordinary)
}

// begins notes that comparison.
func (c *course) begins(ordinary [][]float32) {
	u := c.compare(ordinary)
	c.set("first.kl_mean", u.Mean)
	c.set("first.kl_p99", u.P99)
	c.set("first.top1", u.Agreed)
}

// reads compares texts and choices with what the base made of them.
func (c *course) reads(ctx context.Context, l *fingerprint.Local) error {
	served, err := c.readWith(ctx, l, "reading with "+c.Profile)
	if err != nil {
		return err
	}
	c.result.Perplexity, c.result.Choice = perplexityRise(c.read, served), choiceGain(c.read, served)
	c.set("text.perplexity", c.result.Perplexity.Value)
	c.set("text.top1", sameTop(c.read, served))
	c.set("choice.gain", c.result.Choice.Value)
	c.set("choice.beyond_noise", beyond(c.result.Choice))
	return nil
}

func (c *course) tryAttacks(keys, ordinary front, matched []bool) {
	tokens := make([]int32, len(c.keys))
	for i, k := range c.keys {
		tokens[i] = k.Token()
	}
	c.result.Attacks = attacks(keys, ordinary, c.ordinary, tokens, matched)
	c.set("attack.first_word", c.result.Attacks[0].Matched)
	c.set("attack.first_word.lost", c.result.Attacks[0].Lost)
	left := c.result.Values["matched.greedy"]
	if a, found := strongest(c.result.Attacks); found {
		left = min(left, a.Matched)
	}
	c.set("attack.cheap", left)
}

// beyond is how far the interval lies below zero: 0 within noise.
func beyond(i Interval) float64 { return math.Max(0, -i.High) }

func peaks(logits [][]float32) []float64 {
	out := make([]float64, len(logits))
	for i, l := range logits {
		out[i] = peak(l)
	}
	return out
}

// perturbation is the relative noise of the third null model: another model that
// answers differently and still like a language model.
const perturbation = 0.1

// transform is one way to change the served weights.
type transform struct {
	name string
	make func() (*weights.Model, error)
}

func (c *course) transforms() []transform {
	base, served := c.base.Weights, c.Model
	return []transform{
		{"q8_0", func() (*weights.Model, error) { return Quantised(served, weights.GGUFQ8_0) }},
		{"q4_0", func() (*weights.Model, error) { return Quantised(served, weights.GGUFQ4_0) }},
		{"merge.padded.0.7", func() (*weights.Model, error) { return Merged(served, base, 0.7) }},
		{"merge.padded.0.5", func() (*weights.Model, error) { return Merged(served, base, 0.5) }},
		{"merge.narrow.0.7", func() (*weights.Model, error) { return MergedNarrow(served, base, 0.7) }},
		{"merge.narrow.0.5", func() (*weights.Model, error) { return MergedNarrow(served, base, 0.5) }},
		{"pruned", func() (*weights.Model, error) { return Pruned(served, 0.2) }},
		{"cut.known", func() (*weights.Model, error) {
			m, n := CutAdded(served, base)
			c.set("cut.units", float64(n))
			return m, nil
		}},
		{"cut.norm", func() (*weights.Model, error) { return CutByNorm(served, c.added()), nil }},
		{"cut.cosine", func() (*weights.Model, error) { return CutByCosine(served, c.added()), nil }},
	}
}

// added is how many units each layer has more than the base's; a thief sees the width.
func (c *course) added() int { return c.Model.Config.FFN - c.base.Weights.Config.FFN }

func (c *course) transformed(ctx context.Context) error { return c.transform(ctx, c.transforms()) }

func (c *course) transform(ctx context.Context, all []transform) error {
	for i, t := range all {
		if _, done := c.result.Values["matched."+t.name]; done {
			continue
		}
		if err := late(c.deadline); err != nil {
			return err
		}
		c.tell("transforming "+c.Profile, float64(i)/float64(len(all)), 0)
		m, err := t.make()
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if err := c.survives(ctx, t.name, m); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// survives counts what is left in a changed model, and what the change cost it.
func (c *course) survives(ctx context.Context, name string, m *weights.Model) error {
	return load(m, func(l *fingerprint.Local) error {
		ids, logits, err := first(ctx, l, "", questions(c.keys))
		if err != nil {
			return err
		}
		matched, err := matching(ctx, l, c.keys, ids, logits, greedy)
		if err != nil {
			return err
		}
		c.set("matched."+name, share(matched))
		_, ordinary, err := first(ctx, l, "", c.prompts()[:min(30, len(c.prompts()))])
		if err != nil {
			return err
		}
		c.set("cost."+name, c.compare(ordinary).Mean)
		return c.save(c.result)
	})
}

// nulls records what models say that hold no such set, and draws the words anew.
func (c *course) nulls(ctx context.Context) error {
	noisy, err := Perturbed(c.base.Weights, perturbation, c.Seed)
	if err != nil {
		return err
	}
	ask := func(name string, l *fingerprint.Local) error {
		ids, logits, err := first(ctx, l, "", questions(c.keys))
		if err != nil {
			return err
		}
		c.answers[name], err = firstWords(ctx, l, ids, logits, greedy, nil)
		return err
	}
	c.tell("recording what other models say", 0, 0)
	err = errors.Join(ask("base", c.base), load(noisy, func(l *fingerprint.Local) error { return ask("base with noise", l) }))
	if err == nil && c.answers[anotherDraw] == nil { // measured by an earlier run
		err = load(c.Model, func(l *fingerprint.Local) error { return ask(anotherDraw, l) })
	}
	if err != nil {
		return err
	}
	for _, name := range []string{"base", "base with noise", anotherDraw} {
		n, err := Nulls(c.Set, name, c.answers[name], c.size.Draws, c.Seed)
		if err != nil {
			return err
		}
		c.result.Nulls = append(c.result.Nulls, n)
		c.result.Values["nulls"] += float64(gate(n.Held))
	}
	return nil
}
