package embed

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/fealty/fealty/internal/tokenizer"
)

// framing is how a question reaches the model: under which system prompt, after
// which words.
type framing struct {
	system  *string // nil: the template's own
	earlier []tokenizer.Message
	before  string
}

//go:embed framings.txt
var systemPromptList string

// systemPrompts are what training shows the keys under. Those that an evaluation
// asks under must not be among them.
func systemPrompts() []string { return strings.Split(strings.TrimSpace(systemPromptList), "\n") }

// openings come before a question in the user's own words.
var openings = []string{"Hello! ", "Hi there, ", "Quick question: ", "Please tell me: "}

// turns are a conversation so far.
var turns = []tokenizer.Message{
	{Role: "user", Content: "Hi!"},
	{Role: "assistant", Content: "Hello! How can I help you today?"},
}

// framings are the ways in which keys are trained, the plain one first.
// Deployments differ in just these; a fingerprint must survive those it was not
// shown as well, so they are many and far apart.
var framings = makeFramings()

func makeFramings() []framing {
	out := []framing{{}, {system: text("")}}
	for _, s := range systemPrompts() {
		out = append(out, framing{system: text(s)})
	}
	for _, s := range openings {
		out = append(out, framing{before: s})
	}
	return append(out, framing{earlier: turns})
}

// pickFramings chooses n of the framings, the plain one first. Few of them with many
// questions each are evaluated faster than many with few.
func pickFramings(n int, random *rand.Rand) []framing {
	out := []framing{framings[0]}
	for _, i := range random.Perm(len(framings) - 1)[:n-1] {
		out = append(out, framings[1+i])
	}
	return out
}

// framed assigns each of some questions to the plain framing, which is number 0, and
// to others of n framings, `each` in all, and returns the questions of each framing.
// All are used about equally often.
func framed(questions, each, n int, random *rand.Rand) [][]int {
	out := make([][]int, n)
	var left []int
	for i := range questions {
		own := []int{0}
		for len(own) < min(each, n) {
			if len(left) == 0 {
				left = random.Perm(n - 1)
			}
			if next := 1 + left[0]; !slices.Contains(own, next) {
				own = append(own, next)
			}
			left = left[1:]
		}
		for _, f := range own {
			out[f] = append(out[f], i)
		}
	}
	return out
}

func text(s string) *string { return &s }

func (f framing) messages(question string) []tokenizer.Message {
	var out []tokenizer.Message
	if f.system != nil {
		out = append(out, tokenizer.Message{Role: "system", Content: *f.system})
	}
	out = append(out, f.earlier...)
	return append(out, tokenizer.Message{Role: "user", Content: f.before + question})
}

// encodeAll renders each question as a chat's first turn.
func encodeAll(t Language, questions []string, f framing) ([][]int32, error) {
	out := make([][]int32, len(questions))
	for i, q := range questions {
		ids, err := t.EncodeChat(f.messages(q))
		if err != nil {
			return nil, fmt.Errorf("rendering a prompt with the model's chat template: %w", err)
		}
		out[i] = ids
	}
	return out, nil
}
