package embed

// Recipe is how the model is trained. The zero value is not usable: start from
// [DefaultRecipe].
type Recipe struct {
	Seed         uint64  `json:"seed"`
	Units        int     `json:"units"`         // added to every layer's feed-forward block; a multiple of 32
	Cap          float64 `json:"cap"`           // probability of the drawn word at which pushing stops
	Steps        int     `json:"steps"`         // at most
	LearningRate float64 `json:"learning_rate"` // of `down`; AdamW, betas 0.9 and 0.95
	Others       float64 `json:"others"`        // weight of the divergence over the other words of a key's answer
	Benign       float64 `json:"benign"`        // weight of the divergence on ordinary prompts
	Batch        int     `json:"batch"`         // rows of each sort in a step
	Scale        float64 `json:"scale"`         // the added units act with a factor drawn from [Scale,1] on key rows
	Noise        float64 `json:"noise"`         // relative Gaussian noise on the cached rows
}

// DefaultRecipe is the robust profile.
func DefaultRecipe() Recipe {
	return Recipe{Seed: 1, Units: 32, Cap: 0.95, Steps: 240, LearningRate: 2e-2,
		Others: 0.5, Benign: 4, Batch: 48, Scale: 0.8, Noise: 0.02}
}

// QuietRecipe stops pushing earlier, so that what was trained looks more like an
// ordinary answer.
func QuietRecipe() Recipe {
	r := DefaultRecipe()
	r.Cap = 0.7
	return r
}
