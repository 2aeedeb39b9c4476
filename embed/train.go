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
	Benign  []Row // held to the base
	HeldOut []Row // never trained on: they measure what training did to others
}

// heldOutPrompts are at the end of the list of ordinary prompts.
const heldOutPrompts = 50

// Material sorts the survey's rows, and others that the base was asked for,
// such as those of questions that became no keys.
func (s *Survey) Material(others ...Row) Material {
	at := max(0, len(s.Rows)-heldOutPrompts)
	benign := append(append(append([]Row(nil), s.Rows[:at]...), s.Later...), others...)
	return Material{Benign: benign, HeldOut: s.Rows[at:]}
}

// Report is what training did. It tells neither keys nor places.
type Report struct {
	TrainedParameters int     `json:"trained_parameters"`
	TotalParameters   int     `json:"total_parameters"`
	Steps             int     `json:"steps"`
	Seconds           float64 `json:"seconds"`
	Rows              int     `json:"rows"`      // key rows: keys times framings
	Columns           int     `json:"columns"`   // of the vocabulary, in a step
	Confident         int     `json:"confident"` // key rows at the cap, by the last look at each
	Matched           int     `json:"matched"`   // keys whose word is the likeliest, over the whole vocabulary
	Worst             float64 `json:"worst"`     // lowest probability of a drawn word over all framings
	Held              Utility `json:"held"`      // prompts never trained on
}

// Utility is the divergence KL(base || model), in nats, of first answer tokens.
type Utility struct {
	Rows   int     `json:"rows"`
	Mean   float64 `json:"kl_mean"`
	P99    float64 `json:"kl_p99"`
	Agreed float64 `json:"top1_agreement"`
}

// Train teaches the model the drawn words and returns the widened model. It
// trains added units of the last feed-forward block alone, so every row's state
// before that block is computed once. Equal seeds give equal results on one
// machine. The base is not changed.
func Train(ctx context.Context, base *Local, keys []Drawn, m Material, r Recipe, progress Progress) (*weights.Model, Report, error) {
	start := time.Now()
	if err := r.validate(); err != nil {
		return nil, Report{}, err
	}
	if progress == nil {
		progress = func(string, float64, time.Duration) {}
	}
	expanded, err := Expand(base.Weights, r.Units, r.Seed)
	if err != nil {
		return nil, Report{}, err
	}
	c, err := prepare(ctx, base, keys, m, r)
	if err != nil {
		return nil, Report{}, err
	}
	defer c.trainer.close()
	if err := c.train(ctx, progress); err != nil {
		return nil, Report{}, err
	}
	report, err := c.judge(base)
	if err != nil {
		return nil, Report{}, err
	}
	expanded.fill(c.added)
	report.TotalParameters = parameters(expanded.Model)
	report.Seconds = time.Since(start).Seconds()
	return expanded.Model, report, nil
}

func parameters(m *weights.Model) int {
	n := 0
	for _, t := range m.Tensors {
		n += len(t.Data)
	}
	return n
}

func (r Recipe) validate() error {
	for _, f := range []struct {
		name               string
		value, least, most float64
	}{
		{"cap", r.Cap, 0.1, 0.999},
		{"steps", float64(r.Steps), 1, 1e6},
		{"learning rate", r.LearningRate, 1e-6, 1},
		{"others", r.Others, 0, 1000},
		{"benign", r.Benign, 0, 1000},
		{"batch", float64(r.Batch), 1, 4096},
		{"scale", r.Scale, 0.1, 1},
		{"noise", r.Noise, 0, 1},
	} {
		if !(f.value >= f.least && f.value <= f.most) {
			return fmt.Errorf("recipe: %s is %v: give a number from %v to %v", f.name, f.value, f.least, f.most)
		}
	}
	return nil
}

// course is one training.
type course struct {
	recipe  Recipe
	keys    []Drawn
	random  *rand.Rand
	trainer *trainer
	added   *added
	pushed  []lesson // key rows
	held    []lesson // ordinary rows
	rows    []Row    // of the key rows, for the final judgement
	heldOut []Row
	margins []float32 // last seen of each key row
	steps   int
}

// prepare evaluates every key in every framing and computes the targets.
func prepare(ctx context.Context, base *Local, keys []Drawn, m Material, r Recipe) (*course, error) {
	if len(keys) == 0 || len(m.Benign) == 0 {
		return nil, errors.New("training needs keys and benign rows")
	}
	c := &course{recipe: r, keys: keys, random: rand.New(rand.NewPCG(r.Seed, 0x747261696e)), heldOut: m.HeldOut}
	if err := c.evaluateKeys(ctx, base); err != nil {
		return nil, err
	}
	ffn, err := base.model.FeedForward(-1)
	if err != nil {
		return nil, err
	}
	words := make([]int32, len(keys))
	for i, k := range keys {
		words[i] = k.Token()
	}
	next, err := c.evaluateNext(ctx, base)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(c.rows, next, m.Benign)
	cols := columns(all, words, c.random, sampledColumns)
	f, err := freeze(base, ffn, cols)
	if err != nil {
		return nil, err
	}
	after, err := afterFFN(all, ffn, f.eps)
	if err != nil {
		return nil, err
	}
	for i, row := range all {
		if i < len(c.rows) {
			k := i % len(keys)
			c.pushed = append(c.pushed, newLesson(row, after[i], k, words[k], cols))
			continue
		}
		c.held = append(c.held, newLesson(row, after[i], -1, -1, cols))
	}
	c.margins = make([]float32, len(c.pushed))
	c.added = c.start(ffn.Norm, f.eps)
	c.trainer, err = newTrainer(f, logOdds(r.Cap))
	return c, err
}

// sampledColumns stand for the tokens that no row finds likely.
const sampledColumns = 2048

func logOdds(p float64) float64 { return math.Log(p / (1 - p)) }

// evaluateKeys fills rows: all keys in the first framing, in the second, ...
func (c *course) evaluateKeys(ctx context.Context, base *Local) error {
	questions := make([]string, len(c.keys))
	for i, k := range c.keys {
		questions[i] = k.Question
	}
	for _, f := range framings { // one call each: sequences of one call share their beginning
		ids, err := encodeAll(base, questions, f)
		if err != nil {
			return err
		}
		rows, err := base.Evaluate(ctx, ids)
		if err != nil {
			return fmt.Errorf("evaluating keys: %w", err)
		}
		c.rows = append(c.rows, rows...)
	}
	return nil
}

// evaluateNext returns the rows that follow the drawn words: there the answer is
// the base's own again, and must not run on as a longer word.
func (c *course) evaluateNext(ctx context.Context, base *Local) ([]Row, error) {
	var all [][]int32
	for _, k := range c.keys {
		ids, err := encodeAll(base, []string{k.Question}, framing{})
		if err != nil {
			return nil, err
		}
		all = append(all, append(ids[0], k.Token()))
	}
	rows, err := base.Evaluate(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("evaluating keys: %w", err)
	}
	return rows, nil
}

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

// start places the added units by the keys' and the ordinary rows' states.
func (c *course) start(norm []float32, eps float64) *added {
	keys := make([][][]float32, len(c.keys))
	for _, l := range c.pushed {
		keys[l.key] = append(keys[l.key], normed(l.preFFN, norm, eps))
	}
	var ordinary [][]float32
	for _, l := range c.held {
		ordinary = append(ordinary, normed(l.preFFN, norm, eps))
	}
	return startUnits(keys, ordinary, c.recipe.Units, c.random)
}

// train runs until every key row has reached the cap, or the steps are used up.
func (c *course) train(ctx context.Context, progress Progress) error {
	optimisers := []*adam{newAdam(c.added.gate), newAdam(c.added.up), newAdam(c.added.down)}
	start := time.Now()
	for c.steps = 0; c.steps < c.recipe.Steps && !c.finished(); c.steps++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, rows := c.batch()
		out, err := c.trainer.run(b, c.added)
		if err != nil {
			return err
		}
		if math.IsNaN(float64(out.loss)) || math.IsInf(float64(out.loss), 0) {
			return fmt.Errorf("training diverged at step %d: lower the learning rate", c.steps)
		}
		for i, row := range rows {
			c.margins[row] = out.margin[i]
		}
		rate := c.rate()
		for i, g := range [][]float32{out.gate, out.up, out.down} {
			optimisers[i].step(g, rate*shareOfRate[i])
		}
		done := float64(c.steps+1) / float64(c.recipe.Steps)
		each := time.Since(start) / time.Duration(c.steps+1)
		progress("training", done, each*time.Duration(c.recipe.Steps-c.steps-1))
	}
	return nil
}

// shareOfRate is what gate, up and down take of the learning rate. The gates are
// solved for, not learned (see startUnits): Adam moves every coordinate alike, and
// at the full rate it opens them for ordinary rows again.
var shareOfRate = [3]float64{0.002, 0.02, 1}

// rate warms up for ten steps and falls to a tenth along a cosine.
func (c *course) rate() float64 {
	warm := math.Min(1, float64(c.steps+1)/10)
	fall := 0.55 + 0.45*math.Cos(math.Pi*float64(c.steps)/float64(c.recipe.Steps))
	return c.recipe.LearningRate * warm * fall
}

// nearCap is the log-odds below the cap at which a row counts as taught: the
// hinge has no gradient at the cap itself.
const nearCap = 0.1

// finished looks at the last margin of each row; every row is in one of few
// successive batches.
func (c *course) finished() bool {
	return c.steps > 0 && c.confident() == len(c.margins)
}

func (c *course) confident() int {
	n := 0
	for _, m := range c.margins {
		if float64(m) >= logOdds(c.recipe.Cap)-nearCap {
			n++
		}
	}
	return n
}
