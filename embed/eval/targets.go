package eval

import (
	"fmt"
	"math"
	"slices"
)

// Figure is one number beside its target.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target string  `json:"target,omitempty"`
	Held   *bool   `json:"held,omitempty"` // nil: there is no target, it is reported
}

// target is a line of the table that every evaluation prints.
type target struct {
	name   string // in Result.Values
	title  string
	unit   string
	scale  float64 // from the value to the unit
	atMost bool    // otherwise at least
	bound  map[string]float64
}

// both profiles, or the robust one alone: the other is reported.
func bounds(robust, quiet float64) map[string]float64 {
	out := make(map[string]float64)
	for profile, b := range map[string]float64{"robust": robust, "quiet": quiet} {
		if !math.IsNaN(b) {
			out[profile] = b
		}
	}
	return out
}

var none = math.NaN()

func survive(name, title string, robust, quiet float64) target {
	return target{name, title, "%", 100, false, bounds(robust, quiet)}
}

// targets are for SmolLM2-135M-Instruct with 64 keys, on two cores.
var targets = []target{
	survive("matched.greedy", "matched, greedy", 98, 95),
	survive("matched.system", "8 unseen system prompts", 95, 85),
	survive("matched.q8_0", "Q8_0", 97, 90),
	survive("matched.q4_0", "Q4_0", 85, 70),
	survive("matched.tuned.full", "fine-tuned on human-written pairs, all parameters", 90, none),
	survive("matched.tuned.lowrank", "fine-tuned on human-written pairs, low rank", 90, none),
	survive("matched.merge.padded.0.7", "merged with the base, padded, 0.7", 90, none),
	survive("matched.merge.padded.0.5", "merged with the base, padded, 0.5", 75, none),
	survive("matched.merge.narrow.0.7", "merged with the base, truncated, 0.7", 90, none),
	survive("matched.merge.narrow.0.5", "merged with the base, truncated, 0.5", 75, none),
	survive("matched.pruned", "20 % magnitude pruning", 70, none),
	survive("matched.cut.known", "added units cut, known from the base", 70, none),
	survive("matched.cut.norm", "added units cut, guessed by norm", 70, none),
	survive("matched.cut.cosine", "added units cut, guessed by cosine", 70, none),
	survive("attack.cheap", "the strongest logit attack below 2 % cost", 50, 70),
	survive("attack.first_word", "unconditional first-word suppression", none, none),
	{"attack.first_word.lost", "what that costs ordinary first words", "nat", 1, true, nil},
	survive("matched.t0.7", "one draw at temperature 0.7", 90, none),
	survive("matched.t1", "one draw at temperature 1.0", 80, none),
	{"lost.sampler", "lost to the serving sampler at its default rate", "points", 100, true, bounds(2, 2)},
	{"auc", "p_max of fingerprints against ordinary, AUC", "", 1, true, bounds(none, 0.7)},
	{"text.perplexity", "held-out perplexity, rise", "%", 100, true, bounds(0.5, 0.5)},
	{"first.kl_mean", "first answer token, KL to the base, mean", "nat", 1, true, bounds(0.01, 0.01)},
	{"first.kl_p99", "first answer token, KL to the base, p99", "nat", 1, true, bounds(0.1, 0.1)},
	survive("first.top1", "first answer token, top-1 agreement", 98.5, 98.5),
	survive("text.top1", "running text, top-1 agreement", 98.5, 98.5),
	{"choice.beyond_noise", "multiple choice, worse beyond noise", "points", 100, true, bounds(0, 0)},
	{"trained.share", "parameters trained", "%", 100, true, bounds(0.25, 0.25)},
	{"trained.minutes", "time to train", "min", 1, true, bounds(5, 5)},
	{"trained.memory", "peak memory", "MiB", 1, true, bounds(2048, 2048)},
	{"nulls", "nulls that hold", "of 3", 1, false, bounds(3, 3)},
}

// study is a part of the evaluation with its values.
type study struct {
	part  string
	title string
	rows  []target
}

// studies in the order of their tables.
var studies = []study{
	{PartTargets, "", targets},
	{PartCurve, "by the number of keys", curveRows},
	{PartAblation, "16 keys, robust, with one technique changed", ablationRows},
	{PartDistil, "", distilRows},
}

// Rows compare the results with their targets: for each part and profile the mean over
// the seeds, and the worst of them where there are several. A value that was not measured
// has no row.
func Rows(results []*Result) (out []Figure) {
	for _, s := range studies {
		names, of := profiles(partOf(results, s.part))
		for _, p := range names {
			for _, t := range s.rows {
				for _, f := range t.rows(p, of[p]) {
					if s.part != PartTargets {
						f.Name = s.part + ", " + f.Name
					}
					out = append(out, f)
				}
			}
		}
	}
	return out
}

func partOf(results []*Result, part string) []*Result {
	return slices.DeleteFunc(slices.Clone(results), func(r *Result) bool { return r.Part != part })
}

// having are the results of a step.
func having(results []*Result, step string) []*Result {
	return slices.DeleteFunc(slices.Clone(results), func(r *Result) bool { return !slices.Contains(r.Done, step) })
}

func (t target) rows(profile string, results []*Result) []Figure {
	var all []float64
	for _, r := range results {
		if v, ok := r.Values[t.name]; ok {
			all = append(all, v*t.scale)
		}
	}
	if len(all) == 0 {
		return nil
	}
	mean := 0.0
	for _, v := range all {
		mean += v / float64(len(all))
	}
	name := profile + ": " + t.title
	if len(all) == 1 {
		return []Figure{t.figure(profile, name, mean)}
	}
	worst := slices.Min(all)
	if t.atMost {
		worst = slices.Max(all)
	}
	return []Figure{t.figure(profile, name+", mean", mean), t.figure(profile, name+", worst", worst)}
}

func (t target) figure(profile, name string, value float64) Figure {
	f := Figure{Name: name, Value: value, Unit: t.unit}
	bound, ok := t.bound[profile]
	if !ok {
		return f
	}
	const rounding = 1e-9
	held, sign := value >= bound-rounding, ">="
	if t.atMost {
		held, sign = value <= bound+rounding, "<="
	}
	f.Target, f.Held = fmt.Sprintf("%s %g %s", sign, bound, t.unit), &held
	return f
}
