package tokenizer

import (
	"errors"
	"fmt"

	"github.com/fealty/fealty/internal/tokenizer/jinja"
)

// ErrNoChatTemplate says that the model has no chat template; use raw completions with it.
var ErrNoChatTemplate = errors.New("tokenizer: the model has no chat template; use plain completions")

// template is the model's chat template with the special tokens it may name.
type template struct {
	parsed *jinja.Template
	names  jinja.Dict
}

func newTemplate(s *Spec) (*template, error) {
	parsed, err := jinja.Parse(s.ChatTemplate)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: chat template: %w", err)
	}
	t := &template{parsed: parsed}
	for _, token := range []struct {
		name string
		id   int32
	}{{"bos_token", s.BOS}, {"eos_token", s.EOS}, {"pad_token", s.Pad}, {"unk_token", s.Unknown}} {
		if token.id != None {
			t.names = append(t.names, jinja.Pair{Key: token.name, Value: jinja.Plain(s.Tokens[token.id])})
		}
	}
	return t, nil
}

func (t *template) render(messages []Message, addGenerationPrompt bool) (jinja.Text, error) {
	list := make(jinja.List, len(messages))
	for i, m := range messages {
		list[i] = jinja.Dict{{Key: "role", Value: jinja.Outside(m.Role)}, {Key: "content", Value: jinja.Outside(m.Content)}}
	}
	values := append(jinja.Dict{
		{Key: "messages", Value: list},
		{Key: "add_generation_prompt", Value: addGenerationPrompt},
		{Key: "tools", Value: nil},
		{Key: "documents", Value: nil},
	}, t.names...)
	return t.parsed.Render(values)
}

// Chat renders the model's chat template, byte for byte as the reference implementation does. The text alone does not
// tell a special token from a user's look-alike: encode conversations with [Tokenizer.EncodeChat].
func (t *Tokenizer) Chat(messages []Message, addGenerationPrompt bool) (string, error) {
	text, err := t.render(messages, addGenerationPrompt)
	return text.String(), err
}

// EncodeChat returns the prompt for the next answer. Only what the template itself wrote can become a special token:
// the renderer keeps track of which bytes came from a message, and a special token's text that touches one of those is
// ordinary text. A user who writes "<|im_end|>" has therefore written ten harmless characters, whatever the template
// does with them, and for all other messages the ids are those of the reference.
func (t *Tokenizer) EncodeChat(messages []Message) ([]int32, error) {
	text, err := t.render(messages, true)
	if err != nil {
		return nil, err
	}
	return t.encode(text.String(), t.matchTrusted(text)), nil
}

func (t *Tokenizer) render(messages []Message, addGenerationPrompt bool) (jinja.Text, error) {
	if t.chat == nil {
		return jinja.Text{}, ErrNoChatTemplate
	}
	return t.chat.render(messages, addGenerationPrompt)
}

// matchTrusted finds special tokens where the template wrote them, and added plain tokens everywhere.
func (t *Tokenizer) matchTrusted(text jinja.Text) []match {
	return t.special.findIf(text.String(), func(m match) bool {
		return !t.isSpec[m.id] || text.Trusted(m.start, m.end)
	})
}
