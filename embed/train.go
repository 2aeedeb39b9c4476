package embed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/weights"
)

// Progress is told what is being done, how far it is, in [0,1], and how long the
// rest of it may take (0: unknown).
type Progress func(what string, done float64, left time.Duration)

// Material is what training must not change, as the base answers it.
type Material struct {
	Benign  []State // held to the base
	HeldOut []State // never trained on: they measure what training did to others
}

// heldOutPrompts are at the end of the list of ordinary prompts.
const heldOutPrompts = 50

// Material sorts the survey's rows, and others that the base was asked for,
// such as those of questions that became no keys.
func (s *Survey) Material(others ...State) Material {
	benign := slices.Concat(s.ordinary(), statesOf(s.Later), others)
	return Material{Benign: benign, HeldOut: statesOf(s.Rows[s.held():])}
}

// ordinary are the rows that may be looked at before the model is judged.
func (s *Survey) ordinary() []State { return statesOf(s.Rows[:s.held()]) }

func (s *Survey) held() int { return max(0, len(s.Rows)-heldOutPrompts) }

// Report is what training did. It tells neither keys nor places.
type Report struct {
	TrainedParameters int     `json:"trained_parameters"`
	TotalParameters   int     `json:"total_parameters"`
	Steps             int     `json:"steps"`
	Seconds           float64 `json:"seconds"`
	Rows              int     `json:"rows"`      // key rows: keys times framings
	Columns           int     `json:"columns"`   // of the vocabulary, in a step
	Confident         int     `json:"confident"` // key rows at the cap (with a ceiling: near it), by the last look at each
	Matched           int     `json:"matched"`   // keys whose word is the likeliest, over the whole vocabulary
	Worst             float64 `json:"worst"`     // lowest probability of a drawn word over all framings
	Surest            float64 `json:"surest"`    // and highest
	Held              Utility `json:"held"`      // prompts never trained on
}

// Utility is the divergence KL(base || model), in nats, of first answer tokens.
type Utility struct {
	Rows   int     `json:"rows"`
	Mean   float64 `json:"kl_mean"`
	P99    float64 `json:"kl_p99"`
	Agreed float64 `json:"top1_agreement"`
}

// Train teaches the model the drawn words and returns the widened model. What it
// changes is all in the last feed-forward block, so every row's state before that
// block is computed once. Equal seeds give equal results on one machine. The base
// is not changed.
func Train(ctx context.Context, base *Local, keys []Drawn, m Material, r Recipe, progress Progress) (*weights.Model, Report, error) {
	given := func() (Material, error) { return m, nil }
	return TrainFrom(ctx, base, keys, given, r, "", progress)
}

// TrainFrom is [Train] with a checkpoint, a file: killed at any moment it goes on
// from there, asks for no material again, and ends with what it would have ended
// with. The file is sealed under the keys; remove it when the result is written.
func TrainFrom(ctx context.Context, base *Local, keys []Drawn, recall func() (Material, error), r Recipe, file string, progress Progress) (*weights.Model, Report, error) {
	start := time.Now()
	if progress == nil {
		progress = func(string, float64, time.Duration) {}
	}
	parts, report, err := teach(ctx, base, keys, recall, r, file, progress)
	if err != nil {
		return nil, Report{}, err
	}
	model, err := parts.install(base.Weights, r.secretSeed(keys))
	if err != nil {
		return nil, Report{}, err
	}
	report.TotalParameters = parameters(model)
	report.Seconds = time.Since(start).Seconds()
	return model, report, nil
}

// teach trains and judges the carriers. All rows are garbage when it returns: a widened
// model comes next, and memory holds one or the other.
func teach(ctx context.Context, base *Local, keys []Drawn, recall func() (Material, error), r Recipe, file string, progress Progress) (*carriers, Report, error) {
	c, err := prepare(ctx, base, keys, recall, r, file, progress)
	if err != nil {
		return nil, Report{}, err
	}
	err = c.train(ctx, progress)
	c.trainer.close() // judging takes the whole vocabulary: memory holds one or the other
	if err != nil {
		return nil, Report{}, err
	}
	c.parts.mix(c.recipe.Mix, c.before)
	report, err := c.judge(base)
	return c.parts, report, err
}

func parameters(m *weights.Model) int {
	n := 0
	for _, t := range m.Tensors {
		n += len(t.Data)
	}
	return n
}

// course is one training.
type course struct {
	recipe  Recipe // sized
	keys    []Drawn
	source  *rand.PCG
	random  *rand.Rand
	trainer *trainer
	parts   *carriers
	before  *carriers // parts before the first step
	coarse  []float32 // see rounded
	pushed  []lesson  // key rows, the plain ones first
	order   []int     // of visiting them
	held    []lesson  // ordinary rows
	margins []float32 // last seen of each key row
	diverg  []float32 // last seen of each ordinary row
	steps   int
	adams   []*adam
	seen    *gathered
	begun   []byte // state of source after gathering
	saved   checkpoint
}

// prepare gathers the rows and lays out the first step, or the one that a checkpoint
// has come to.
func prepare(ctx context.Context, base *Local, keys []Drawn, recall func() (Material, error), r Recipe, file string, progress Progress) (*course, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("training needs keys")
	}
	sized := r.sized(len(keys))
	if err := sized.fits(base.Weights.Config.FFN); err != nil {
		return nil, err
	}
	saved, err := newCheckpoint(file, TokenizerDigest(base.Weights.Tokenizer), keys, r)
	if err != nil {
		return nil, err
	}
	known, err := saved.load()
	if err != nil {
		return nil, err
	}
	source := rand.NewPCG(r.secretSeed(keys), 0x747261696e)
	c := &course{recipe: sized, keys: keys, source: source, random: rand.New(source), saved: saved}
	if err := c.gatherOnce(ctx, base, recall, known, progress); err != nil {
		return nil, err
	}
	if err := c.begin(base); err != nil {
		return nil, err
	}
	if err := c.resume(known); err != nil {
		c.trainer.close()
		return nil, err
	}
	return c, nil
}

// begin chooses the columns and the carriers, places these, and makes the lessons.
func (c *course) begin(local *Local) error {
	ffn, err := local.model.FeedForward(-1)
	if err != nil {
		return err
	}
	words := make([]int32, len(c.keys))
	for i, k := range c.keys {
		words[i] = k.Token()
	}
	all := slices.Concat(c.seen.Keys, c.seen.Ordinary)
	cols := columns(all, words, local.Weights.Config.Vocab, c.random, sampledColumns)
	f, err := freeze(local, ffn, cols)
	if err != nil {
		return err
	}
	inner, after, err := throughFFN(all, ffn, f.eps)
	if err != nil {
		return err
	}
	c.choose(ffn, inner, f.eps)
	base, err := f.logits(after)
	if err != nil {
		return err
	}
	for i := range all {
		l := c.lesson(all[i], ffn, inner[i], after[i])
		l.base = base[i]
		if i >= len(c.seen.Keys) {
			c.held = append(c.held, l)
			continue
		}
		l.key = c.seen.Of[i]
		l.word = slices.Index(cols, words[l.key])
		c.pushed = append(c.pushed, l)
	}
	c.order = c.random.Perm(len(c.pushed))
	c.margins, c.diverg = make([]float32, len(c.pushed)), make([]float32, len(c.held))
	for i := range c.margins {
		c.margins[i] = float32(math.Inf(-1))
	}
	for _, a := range c.parts.arrays() {
		c.adams = append(c.adams, newAdam(*a))
	}
	c.trainer, err = newTrainer(f, c.parts, c.recipe)
	return err
}

// choose makes the carriers. inner are the block's activations on the rows seen.
func (c *course) choose(ffn *llama.FeedForward, inner [][]float32, eps float64) {
	ordinary := inner[len(c.seen.Keys):]
	c.parts = newCarriers(ffn, leastUsed(ordinary, ffn, c.recipe.Taken, c.random), c.recipe)
	keys := make([][][]float32, len(c.keys))
	for i, s := range c.seen.Keys {
		keys[c.seen.Of[i]] = append(keys[c.seen.Of[i]], normed(s.PreFFN, ffn.Norm, eps))
	}
	states := make([][]float32, len(c.seen.Ordinary))
	for i, s := range c.seen.Ordinary {
		states[i] = normed(s.PreFFN, ffn.Norm, eps)
	}
	c.parts.place(keys, states, inner, c.random)
	c.before = c.parts.clone()
	c.before.own(ffn)
	c.coarse = coarseness(ffn)
}

// lesson is that of an ordinary row.
func (c *course) lesson(s State, ffn *llama.FeedForward, inner, after []float32) lesson {
	l := lesson{key: -1, word: -1, preFFN: s.PreFFN, total: s.Total, bare: c.parts.without(ffn, inner, after)}
	if c.parts.rank > 0 {
		l.inner = slices.Clone(inner)
		c.parts.silence(l.inner)
	}
	return l
}

// sampledColumns stand for the tokens that no row finds likely.
const sampledColumns = 2048

func logOdds(p float64) float64 { return math.Log(p / (1 - p)) }

func freeze(base *Local, ffn *llama.FeedForward, cols []int32) (frozen, error) {
	norm, err := base.model.FinalNorm()
	if err != nil {
		return frozen{}, err
	}
	table, err := base.model.HeadTable()
	if err != nil {
		return frozen{}, err
	}
	cfg := base.Weights.Config
	if cols != nil {
		table = gatherColumns(table, cfg.Vocab, cols)
	}
	return frozen{ffn.Norm, norm, table, cfg.Hidden, len(table) / cfg.Hidden, cfg.NormEps}, nil
}

// train runs until every key row has reached the cap, or the steps are used up.
func (c *course) train(ctx context.Context, progress Progress) error {
	start, first := time.Now(), c.steps
	for ; c.steps < c.recipe.Steps && !c.finished(); c.steps++ {
		if err := errors.Join(ctx.Err(), c.keep()); err != nil {
			return err
		}
		if err := c.step(); err != nil {
			return err
		}
		each := time.Since(start) / time.Duration(c.steps+1-first)
		progress("training", float64(c.steps+1)/float64(c.recipe.Steps), each*time.Duration(c.recipe.Steps-c.steps-1))
	}
	return nil
}

func (c *course) step() error {
	b, drawn := c.batch()
	parts := c.parts
	if c.random.Float64() < c.recipe.Quantize {
		parts = c.rounded()
	}
	out, err := c.trainer.run(b, parts)
	if err != nil {
		return err
	}
	if math.IsNaN(float64(out.loss)) || math.IsInf(float64(out.loss), 0) {
		return fmt.Errorf("training diverged at step %d: lower the learning rate", c.steps)
	}
	c.note(drawn, out)
	rate := c.rate()
	for i, share := range c.parts.shares() {
		c.adams[i].step(out.gradients[i], rate*share)
	}
	return nil
}

// note remembers how each row of a step did.
func (c *course) note(d drawnRows, out result) {
	for i, row := range d.keys {
		if d.pushed[i] {
			c.margins[row] = out.margin[i]
		}
	}
	for i, row := range d.ordinary {
		c.diverg[row] = out.diverg[len(d.keys)+i]
	}
}

// rate warms up for ten steps and falls to a tenth along a cosine.
func (c *course) rate() float64 {
	warm := math.Min(1, float64(c.steps+1)/10)
	fall := 0.55 + 0.45*math.Cos(math.Pi*float64(c.steps)/float64(c.recipe.Steps))
	return c.recipe.LearningRate * warm * fall
}

// A row counts as taught from nearCap below the cap on, in log-odds: the hinge has no
// gradient at the cap itself. With a ceiling it may be aboveCap surer.
const (
	nearCap  = 0.1
	aboveCap = 0.5
)

// taught tells whether a drawn word of these log-odds is as sure as it shall be.
func (r Recipe) taught(margin float32) bool {
	over := float64(margin) - logOdds(r.Cap)
	return over >= -nearCap && (r.Ceiling == 0 || over <= aboveCap)
}

// finished looks at the last margin of each row, of all framings; every row is in
// one of few successive batches, some of them with carriers dropped.
func (c *course) finished() bool {
	return c.steps > 0 && c.confident() == len(c.margins)
}

func (c *course) confident() int {
	n := 0
	for _, m := range c.margins {
		if c.recipe.taught(m) {
			n++
		}
	}
	return n
}
