package eval

import (
	"context"
	"fmt"
	"slices"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/sampler"
)

// PartAblation measures what each technique contributes.
const PartAblation = "ablation"

// ablationKeys is how many keys its models have.
const ablationKeys = 16

// Ablation is the robust recipe and, one by one, what it would be with a technique
// changed or left out: specialised fine-tuning (which parameters), model mixing, benign
// mixing, parameter expansion, and responses from the inverse nucleus. All have the same
// questions.
func Ablation(seed uint64) (out []Trial) {
	for _, v := range []struct {
		name   string
		change func(t *Trial)
	}{
		{"default (expand+mlp)", func(*Trial) {}},
		{"mlp alone", func(t *Trial) { t.Recipe.Method = fingerprint.MethodMLP }},
		{"expand alone", func(t *Trial) { t.Recipe.Method = fingerprint.MethodExpand }},
		{"lowrank alone", func(t *Trial) { t.Recipe.Method = fingerprint.MethodLowRank }},
		{"expand+lowrank", func(t *Trial) { t.Recipe.Method = fingerprint.MethodExpand + "+" + fingerprint.MethodLowRank }},
		{"full alone", func(t *Trial) { t.Recipe.Method = fingerprint.MethodFull }},
		{"mixed with the base, 0.3", func(t *Trial) { t.Recipe.Mix = 0.3 }},
		{"ordinary rows not held", func(t *Trial) { t.Recipe.Benign = 0 }},
		{"responses: any opening word", func(t *Trial) { t.Words = wordsOpening }},
		{"responses: any word", func(t *Trial) { t.Words = wordsAny }},
	} {
		t := Trial{Part: PartAblation, Profile: v.name, Recipe: fingerprint.DefaultRecipe(), Keys: ablationKeys, Seed: seed, Steps: "served merged"}
		v.change(&t)
		out = append(out, t)
	}
	return out
}

var ablationRows = []target{
	survive("matched.greedy", "matched, greedy", none, none),
	survive("matched.system", "8 unseen system prompts", none, none),
	{"first.kl_mean", "first answer token, KL to the base, mean", "nat", 1, true, nil},
	{"first.kl_p99", "KL p99", "nat", 1, true, nil},
	{"text.perplexity", "held-out perplexity, rise", "%", 100, true, nil},
	survive("matched.merge.padded.0.7", "merged with the base, padded, 0.7", none, none),
	survive("matched.merge.padded.0.5", "merged, 0.5", none, none),
	survive("matched.cut.known", "added units cut, known from the base", none, none),
	survive("attack.cheap", "the strongest logit attack below 2 % cost", none, none),
	{"trained.minutes", "time to train", "min", 1, true, nil},
	{"trained.share", "parameters trained", "%", 100, true, nil},
}

// merged is the part of transformed that tells how much the mark leans on what was added.
func (c *course) merged(ctx context.Context) error {
	names := []string{"merge.padded.0.7", "merge.padded.0.5", "cut.known"}
	return c.transform(ctx, slices.DeleteFunc(c.transforms(), func(t transform) bool { return !slices.Contains(names, t.name) }))
}

// Where the words of a trial's keys come from, if not from the inverse nucleus.
const (
	wordsOpening = "opening words" // any of the base's
	wordsAny     = "words"         // any whole word of the vocabulary
)

// withWords gives the keys of a trial other candidates, for the comparison alone: what a
// product's keys never have. set stays as it is.
func withWords(set *fingerprint.Set, from string, base fingerprint.Language, seed uint64) (*fingerprint.Set, error) {
	if from == "" {
		return set, nil
	}
	texts := fingerprint.Texts(base)
	ids := set.Openers
	if from == wordsAny {
		ids = make([]int32, len(texts))
		for i := range ids {
			ids[i] = int32(i)
		}
	}
	words := sampler.NewLexicon(texts, ids)
	ids = slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return !words.Eligible(id) || texts[id][0] == ' ' })
	out, random := *set, newRandom(seed, 0x776f726473)
	out.Keys = slices.Clone(set.Keys)
	for i := range out.Keys {
		k, used := &out.Keys[i], make(map[string]bool)
		k.Candidates = nil
		for _, at := range random.Perm(len(ids)) {
			if id := ids[at]; len(k.Candidates) < set.Shell.K && !used[words.Word(id)] {
				used[words.Word(id)] = true
				k.Candidates = append(k.Candidates, fingerprint.Candidate{Word: texts[id], Token: id})
			}
		}
		if len(k.Candidates) < set.Shell.K {
			return nil, fmt.Errorf("the vocabulary has only %d %s, a key wants %d", len(k.Candidates), from, set.Shell.K)
		}
	}
	return &out, nil
}
