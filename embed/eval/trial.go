package eval

import (
	"fmt"
	"slices"
	"strings"

	fingerprint "github.com/fealty/fealty/embed"
)

// Trial is one model that is made to be measured, and what is measured of it.
type Trial struct {
	Part    string // of the evaluation: whose table the result is in
	Profile string // what the table calls it
	Recipe  fingerprint.Recipe
	Keys    int
	Seed    uint64 // of questions, draw and training
	Words   string // where the answers' words come from, see withWords; "": the inverse nucleus
	Steps   string // what is measured: names in steps, separated by spaces
}

// The parts of an evaluation.
const PartTargets = "targets"

// Named is a recipe under its profile's name.
type Named struct {
	Profile string
	Recipe  fingerprint.Recipe
}

// Profiles are the two that the targets are for.
func Profiles() []Named {
	return []Named{{"robust", fingerprint.DefaultRecipe()}, {"quiet", fingerprint.QuietRecipe()}}
}

// Targets measures each recipe by each seed. All of the first seed come first: who has
// no time for more knows something of each. The last seeds are also fine-tuned, which
// takes longer than all else.
func Targets(recipes []Named, keys int, seeds []uint64, tuned int) (out []Trial) {
	for i, seed := range seeds {
		steps := "served transformed nulls"
		if i >= len(seeds)-tuned {
			steps += " tuned"
		}
		for _, n := range recipes {
			out = append(out, Trial{Part: PartTargets, Profile: n.Profile, Recipe: n.Recipe, Keys: keys, Seed: seed, Steps: steps})
		}
	}
	return out
}

// trained is the step that every trial begins with.
const trained = "trained"

// missing are the steps that r does not hold.
func (t Trial) missing(r *Result) []string {
	all := append([]string{trained}, strings.Fields(t.Steps)...)
	return slices.DeleteFunc(all, func(step string) bool { return slices.Contains(r.Done, step) })
}

// name of the trial's files.
func (t Trial) name() string {
	label := t.Profile
	if t.Part != PartTargets {
		label = t.Part + "-" + label
	}
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, strings.ToLower(label))
	return fmt.Sprintf("%s-%d", plain, t.Seed)
}

// Missing says what was not measured.
type Missing struct {
	Part    string   `json:"part"`
	Profile string   `json:"profile"`
	Seed    uint64   `json:"seed"`
	Steps   []string `json:"steps"`
	Reason  string   `json:"reason"`
}
