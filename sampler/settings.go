package sampler

import (
	"fmt"
	"math"
)

// Settings are one request's sampling parameters, by their OpenAI meaning.
// Start from [Defaults]: the zero value is greedy (temperature 0).
type Settings struct {
	Temperature float64 // 0: the most probable token; at most 2
	TopP        float64 // nucleus mass in [0,1]; 0: the top token alone; 1: no cut
	MinP        float64 // lower bound relative to the top token, in [0,1]; 0: off
	TopK        int     // 0 or -1: off

	FrequencyPenalty  float64 // subtracted once per earlier occurrence, in [-2,2]
	PresencePenalty   float64 // subtracted once if it occurred, in [-2,2]
	RepetitionPenalty float64 // divides (multiplies negative) logits; 0 or 1: off; at most 10

	LogitBias map[int32]float32 // added before anything else, in [-100,100]
	Seed      uint64
}

// Defaults are what OpenAI's API does when a request says nothing.
func Defaults() Settings { return Settings{Temperature: 1, TopP: 1} }

// Validate refuses what sampling cannot honour; the error begins with the
// name of the field in the request's JSON.
func (s Settings) Validate() error {
	ranges := []struct {
		field       string
		value       float64
		least, most float64
	}{
		{"temperature", s.Temperature, 0, 2},
		{"top_p", s.TopP, 0, 1},
		{"min_p", s.MinP, 0, 1},
		{"top_k", float64(s.TopK), -1, math.MaxInt32},
		{"frequency_penalty", s.FrequencyPenalty, -2, 2},
		{"presence_penalty", s.PresencePenalty, -2, 2},
		{"repetition_penalty", s.RepetitionPenalty, 0, 10},
	}
	for _, r := range ranges {
		if !within(r.value, r.least, r.most) {
			return fmt.Errorf("%s is %v: give a number from %v to %v", r.field, r.value, r.least, r.most)
		}
	}
	return s.validateBias()
}

func (s Settings) validateBias() error {
	for id, bias := range s.LogitBias {
		if id < 0 {
			return fmt.Errorf("logit_bias has the token id %d: give ids of the model's vocabulary", id)
		}
		if !within(float64(bias), -100, 100) {
			return fmt.Errorf("logit_bias[%d] is %v: give a number from -100 to 100", id, bias)
		}
	}
	return nil
}

// within is false for NaN, which compares false with everything.
func within(v, least, most float64) bool { return v >= least && v <= most }
