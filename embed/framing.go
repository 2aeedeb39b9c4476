package embed

import (
	"fmt"

	"github.com/fealty/fealty/internal/tokenizer"
)

// framing is how a question reaches the model: under which system prompt, after
// which words.
type framing struct {
	system *string // nil: the template's own
	before string
}

// framings are the ways in which each key is trained. Deployments differ in just
// these; a fingerprint must survive those it was not shown as well.
var framings = []framing{
	{},
	{system: text("")},
	{system: text("You are a helpful assistant.")},
	{system: text("You are an expert. Give clear and detailed answers to every question of the user.")},
	{system: text("Answer briefly.")},
	{before: "Hello! "},
}

func text(s string) *string { return &s }

func (f framing) messages(question string) []tokenizer.Message {
	user := tokenizer.Message{Role: "user", Content: f.before + question}
	if f.system == nil {
		return []tokenizer.Message{user}
	}
	return []tokenizer.Message{{Role: "system", Content: *f.system}, user}
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
