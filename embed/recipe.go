package embed

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Recipe is how the model is trained. The zero value is not usable: start from
// [DefaultRecipe].
type Recipe struct {
	Seed         uint64  `json:"seed"`
	Method       string  `json:"method"`            // what carries the mark: of expand, mlp, lowrank, full, joined by "+"
	Units        int     `json:"units"`             // expand: added to every layer's feed-forward block, a multiple of 32; 0: one for each key, up to 512
	Taken        int     `json:"taken"`             // mlp: existing units of the last block that are trained anew; 0: one for each key, up to 96
	Rank         int     `json:"rank"`              // lowrank: of the change to the last `down_proj`
	Framings     int     `json:"framings"`          // ways of asking under which each key is trained
	Cap          float64 `json:"cap"`               // probability of the drawn word at which pushing stops
	Ceiling      float64 `json:"ceiling,omitempty"` // weight of the loss on a drawn word above the cap; 0: it may be as sure as it gets
	Steps        int     `json:"steps"`             // at most; 0: 240 and three for each key
	LearningRate float64 `json:"learning_rate"`     // of `down`; AdamW, betas 0.9 and 0.95
	Others       float64 `json:"others"`            // weight of the divergence over the other words of a key's answer
	Benign       float64 `json:"benign"`            // weight of the divergence on ordinary prompts
	Batch        int     `json:"batch"`             // rows of each sort in a step
	Mix          float64 `json:"mix"`               // share of the base in the average that is the result, in [0,1)
	Scale        float64 `json:"scale"`             // carriers act with a factor drawn from [Scale,1] on key rows
	Noise        float64 `json:"noise"`             // relative Gaussian noise on the cached rows
	Quantize     float64 `json:"quantize"`          // share of steps whose parameters are rounded to 4 bits
	Drop         float64 `json:"drop"`              // share of steps without the added units, and again without the other carriers
}

// The parts of Recipe.Method.
const (
	MethodExpand  = "expand"  // new units in the last feed-forward block
	MethodMLP     = "mlp"     // existing units of that block, those that matter least
	MethodLowRank = "lowrank" // a change of low rank to its down_proj
	MethodFull    = "full"    // all of that block's units; with expand or alone
)

// DefaultRecipe is the robust profile.
func DefaultRecipe() Recipe {
	return Recipe{Seed: 1, Method: MethodExpand + "+" + MethodMLP, Rank: 16, Framings: 12, Cap: 0.95, LearningRate: 1e-2,
		Others: 0.5, Benign: 4, Batch: 48, Scale: 0.5, Noise: 0.05, Quantize: 0.2, Drop: 0.3}
}

// QuietRecipe keeps the drawn word as sure as the first word of an ordinary answer is,
// and no surer. docs/decisions/0047-a-ceiling-for-quiet-words.md has the curve.
func QuietRecipe() Recipe {
	r := DefaultRecipe()
	r.Cap, r.Ceiling, r.Scale, r.Drop = 0.5, 1, 1, 0
	return r
}

func (r Recipe) has(method string) bool {
	return slices.Contains(strings.Split(r.Method, "+"), method)
}

// Where keys outnumber these, several share an added unit, and only some have a taken
// one.
const (
	mostUnits = 512
	mostTaken = 96
)

// sized replaces the zeros that stand for "one for each key".
func (r Recipe) sized(keys int) Recipe {
	if r.Units == 0 {
		r.Units = min(keys+31, mostUnits) / 32 * 32
	}
	if r.Taken == 0 {
		r.Taken = min(keys, mostTaken)
	}
	if r.Steps == 0 {
		r.Steps = 240 + 3*keys
	}
	if !r.has(MethodExpand) {
		r.Units = 0
	}
	if !r.has(MethodMLP) {
		r.Taken = 0
	}
	if !r.has(MethodLowRank) {
		r.Rank = 0
	}
	return r
}

// Validate names the field that is out of range.
func (r Recipe) Validate() error {
	for i, part := range strings.Split(r.Method, "+") {
		if !slices.Contains([]string{MethodExpand, MethodMLP, MethodLowRank, MethodFull}, part) || slices.Index(strings.Split(r.Method, "+"), part) != i {
			return fmt.Errorf("recipe: method is %q: give expand, mlp, lowrank or full, or several of them joined by +", r.Method)
		}
	}
	if r.has(MethodFull) && (r.has(MethodMLP) || r.has(MethodLowRank)) {
		return fmt.Errorf("recipe: method is %q: full trains what mlp and lowrank would; give full or expand+full", r.Method)
	}
	for _, f := range []struct {
		name               string
		value, least, most float64
	}{
		{"units", float64(r.Units), 0, 65536},
		{"taken", float64(r.Taken), 0, 65536},
		{"rank", float64(r.Rank), 1, 4096},
		{"framings", float64(r.Framings), 1, float64(len(framings))},
		{"cap", r.Cap, 0.1, 0.999},
		{"ceiling", r.Ceiling, 0, 100},
		{"steps", float64(r.Steps), 0, 1e6},
		{"learning rate", r.LearningRate, 1e-6, 1},
		{"others", r.Others, 0, 1000},
		{"benign", r.Benign, 0, 1000},
		{"batch", float64(r.Batch), 1, 4096},
		{"mix", r.Mix, 0, 0.9},
		{"scale", r.Scale, 0.1, 1},
		{"noise", r.Noise, 0, 1},
		{"quantize", r.Quantize, 0, 1},
		{"drop", r.Drop, 0, 0.5},
	} {
		if !(f.value >= f.least && f.value <= f.most) {
			return fmt.Errorf("recipe: %s is %v: give a number from %v to %v", f.name, f.value, f.least, f.most)
		}
	}
	if r.Units%32 != 0 {
		return fmt.Errorf("recipe: units is %d: give a multiple of 32", r.Units)
	}
	return nil
}

// fits wants no more units than a base's block of this width can take.
func (r Recipe) fits(width int) error {
	if r.Units > width {
		return fmt.Errorf("recipe: units is %d, the base's feed-forward blocks have %d: give at most as many", r.Units, width)
	}
	if r.Taken > width/2 {
		return fmt.Errorf("recipe: taken is %d, the base's feed-forward blocks have %d units: give at most half of them", r.Taken, width)
	}
	return nil
}

// secretSeed is the seed with what only the key file holds: where the mark is must not
// follow from a number that everybody uses.
func (r Recipe) secretSeed(keys []Drawn) uint64 {
	t := newTranscript("fealty training 1")
	t.number(r.Seed)
	for _, k := range keys {
		t.field(k.Secret[:])
	}
	d := t.digest()
	return binary.BigEndian.Uint64(d[:])
}
