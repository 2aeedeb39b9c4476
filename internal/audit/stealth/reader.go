package stealth

import (
	"fmt"
	"math"
)

// Features are what an observer knows of each prompt, one row per prompt.
type Features struct {
	Names []string
	Rows  [][]float64
}

// Join puts the features of both side by side.
func (f Features) Join(other Features) Features {
	out := Features{Names: append(append([]string{}, f.Names...), other.Names...)}
	for i := range f.Rows {
		out.Rows = append(out.Rows, append(append([]float64{}, f.Rows[i]...), other.Rows[i]...))
	}
	return out
}

// Column is one feature of all prompts.
func (f Features) Column(name string) []float64 {
	out := make([]float64, len(f.Rows))
	for j, n := range f.Names {
		if n == name {
			for i, r := range f.Rows {
				out[i] = r[j]
			}
		}
	}
	return out
}

// Only keeps the rows that are wanted, and their labels.
func (f Features) Only(positive, wanted []bool) (Features, []bool) {
	out, labels := Features{Names: f.Names}, []bool{}
	for i, w := range wanted {
		if w {
			out.Rows, labels = append(out.Rows, f.Rows[i]), append(labels, positive[i])
		}
	}
	return out, labels
}

// Positive are the labels in the order of the prompts.
func (l Labels) Positive() []bool {
	out := make([]bool, len(l.Prompts))
	for i, p := range l.Prompts {
		out[i] = p.Fingerprint
	}
	return out
}

// Openings are the features that need no model: how long answers are, how rare
// their first word is among all of the traffic, and whether it stays the same when
// the prompt is repeated. first cuts the first word out of an answer.
func Openings(byPrompt [][]Sample, first func(string) string) Features {
	count, total := map[string]int{}, 0
	for _, samples := range byPrompt {
		for _, s := range samples {
			count[first(s.Text)]++
			total++
		}
	}
	f := Features{Names: []string{"length", "rarity of the opener", "inconsistency"}}
	for _, samples := range byPrompt {
		own, length := map[string]int{}, 0.0
		for _, s := range samples {
			own[first(s.Text)]++
			length += float64(len(s.Text)) / float64(len(samples))
		}
		rarity, most := 0.0, 0
		for word, n := range own {
			others := float64(count[word] - n) // its own repeats say nothing of the traffic
			rarity += -math.Log((others+0.5)/(float64(total-len(samples))+1)) * float64(n) / float64(len(samples))
			most = max(most, n)
		}
		f.Rows = append(f.Rows, []float64{length, rarity, 1 - float64(most)/float64(max(1, len(samples)))})
	}
	return f
}

// Matched is the share of fingerprints whose answers all begin with their word.
func (l Labels) Matched(byPrompt [][]Sample, matches func(answer, word string) bool) (Interval, error) {
	matched, asked := 0, 0
	for i, p := range l.Prompts {
		if !p.Fingerprint || len(byPrompt[i]) == 0 {
			continue
		}
		asked++
		all := true
		for _, s := range byPrompt[i] {
			all = all && matches(s.Text, p.Word)
		}
		if all {
			matched++
		}
	}
	if asked == 0 {
		return Interval{}, fmt.Errorf("no fingerprint of the labels was answered")
	}
	return Proportion(matched, asked, 0.95), nil
}
