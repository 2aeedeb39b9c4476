package eval

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/sampler"
)

//go:embed prompts.txt
var promptList string

// Ordinary are what users ask, written for measuring alone: nothing was trained or
// chosen with them.
func Ordinary() []string { return strings.Split(strings.TrimSpace(promptList), "\n") }

// Personas are system prompts that no training uses. They are reserved for this.
var Personas = []string{
	"You are a pirate. Talk like one.",
	"You are a poet who answers in a lyrical tone.",
	"You are a lawyer. Be precise, and mention exceptions.",
	"Tu es un assistant qui parle toujours français.",
	"You are an API. Answer with a JSON object.",
	"Explain everything as you would to a five-year-old.",
	"You are a butler. Be most formal and courteous.",
	"You love emojis and use them in every sentence.",
}

// prompts renders questions as a chat's first turn; system "" is the template's own.
func prompts(l *fingerprint.Local, system string, questions []string) ([][]int32, error) {
	out := make([][]int32, len(questions))
	for i, q := range questions {
		messages := []tokenizer.Message{{Role: "user", Content: q}}
		if system != "" {
			messages = slices.Insert(messages, 0, tokenizer.Message{Role: "system", Content: system})
		}
		ids, err := l.EncodeChat(messages)
		if err != nil {
			return nil, fmt.Errorf("rendering a prompt with the model's chat template: %w", err)
		}
		out[i] = ids
	}
	return out, nil
}

// first are the logits of each question's first answer token.
func first(ctx context.Context, l *fingerprint.Local, system string, questions []string) (ids [][]int32, logits [][]float32, err error) {
	if ids, err = prompts(l, system, questions); err != nil {
		return nil, nil, err
	}
	rows, err := l.Evaluate(ctx, ids)
	for _, r := range rows {
		logits = append(logits, r.Logits)
	}
	return ids, logits, err
}

// chooser picks the next token of answer i. It may overwrite the logits.
type chooser func(i int, logits []float32, generated []int32) int32

func greedy(_ int, logits []float32, _ []int32) int32 { return top(logits) }

// longestWord bounds the tokens of a first word, what may come before it included.
const longestWord = 8

// firstWords returns the beginning of each answer, up to the end of its first word.
// Where only is not nil, it stops as soon as the word cannot become only(i) any more.
// logits are those of the first positions; they stay as they are.
func firstWords(ctx context.Context, l *fingerprint.Local, ids [][]int32, logits [][]float32, choose chooser, only func(i int) string) ([]string, error) {
	generated, open := make([][]int32, len(ids)), make([]int, len(ids))
	for i := range open {
		open[i] = i
	}
	for step := 0; len(open) > 0 && step < longestWord; step++ {
		if step > 0 {
			var err error
			if logits, err = after(ctx, l, ids, generated, open); err != nil {
				return nil, err
			}
		}
		var next []int
		for at, i := range open {
			id := choose(i, slices.Clone(logits[at]), generated[i])
			if generated[i] = append(generated[i], id); !decided(l, generated[i], i, only) {
				next = append(next, i)
			}
		}
		open = next
	}
	out := make([]string, len(ids))
	for i, g := range generated {
		out[i] = l.Decode(g)
	}
	return out, nil
}

// after evaluates the open answers as far as they are generated.
func after(ctx context.Context, l *fingerprint.Local, ids, generated [][]int32, open []int) ([][]float32, error) {
	sequences := make([][]int32, len(open))
	for at, i := range open {
		sequences[at] = slices.Concat(ids[i], generated[i])
	}
	rows, err := l.Evaluate(ctx, sequences)
	if err != nil {
		return nil, err
	}
	logits := make([][]float32, len(rows))
	for at, r := range rows {
		logits[at] = r.Logits
	}
	return logits, nil
}

// decided tells whether the first word is complete, or cannot become the wanted one.
func decided(l *fingerprint.Local, generated []int32, i int, only func(int) string) bool {
	if slices.Contains(l.EOS(), generated[len(generated)-1]) {
		return true
	}
	text := strings.TrimLeft(l.Decode(generated), sampler.Lead)
	if text == "" {
		return false
	}
	word := fingerprint.FirstWord(text)
	return len(word) < len(text) || only != nil && !strings.HasPrefix(strings.ToLower(only(i)), word)
}

// matching asks every key in one way and tells which match.
func matching(ctx context.Context, l *fingerprint.Local, keys []fingerprint.Drawn, ids [][]int32, logits [][]float32, choose chooser) ([]bool, error) {
	answers, err := firstWords(ctx, l, ids, logits, choose, func(i int) string { return keys[i].Word() })
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(keys))
	for i, a := range answers {
		out[i] = fingerprint.Matches(a, keys[i].Word())
	}
	return out, nil
}

// drawing samples at a temperature, one draw for each question.
func drawing(temperature float64, seed uint64) (chooser, error) {
	s := sampler.Defaults()
	s.Temperature, s.Seed = temperature, seed
	c, err := sampler.New(s, nil)
	if err != nil {
		return nil, err
	}
	return func(_ int, logits []float32, generated []int32) int32 { return c.Choose(logits, generated) }, nil
}

func share(yes []bool) float64 {
	n := 0
	for _, y := range yes {
		if y {
			n++
		}
	}
	return float64(n) / float64(max(1, len(yes)))
}

func top(logits []float32) int32 {
	best := 0
	for i, l := range logits {
		if l > logits[best] {
			best = i
		}
	}
	return int32(best)
}

func questions(keys []fingerprint.Drawn) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.Question
	}
	return out
}
