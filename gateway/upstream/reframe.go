package upstream

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/fealty/fealty/internal/openai"
)

// opening is the first word of an answer that a server continues. It makes one answer
// of the word and the continuation: the continuation's own, with the word before its
// text and the usage of both.
type opening struct {
	id     int32
	word   string
	prompt int  // tokens, of the caller's prompt; 0: not known
	echo   bool // the server may say the word again before its continuation, which its count of tokens leaves out
	placed bool // the word stands in what was read so far
}

// request is the caller's as the second step sends it.
func (o *opening) request(r *openai.Request, kind string) []openai.Change {
	out := []openai.Change{{Name: "max_tokens"}, {Name: "max_completion_tokens"}}
	raw := r.Prefix(r.PromptBytes)
	if r.Kind == openai.Completion {
		return append(out, openai.Change{Name: "prompt", Value: o.prompted(r.Prompts[0])})
	}
	o.echo = kind == LlamaCPP
	turn := string(openai.AppendText([]byte(`,{"role":"assistant","content":`), o.word)) + "}]"
	out = append(out, openai.Change{Name: "messages", Value: string(raw[:len(raw)-1]) + turn})
	if kind == VLLM {
		out = append(out, openai.Change{Name: "add_generation_prompt", Value: "false"}, openai.Change{Name: "continue_final_message", Value: "true"})
	}
	return out
}

// prompted is the prompt with the word after it, as JSON.
func (o *opening) prompted(p openai.Prompt) string {
	if p.Tokens == nil {
		return string(openai.AppendText(nil, p.Text+o.word))
	}
	out := []byte{'['}
	for _, id := range p.Tokens {
		out = append(strconv.AppendInt(out, int64(id), 10), ',')
	}
	return string(strconv.AppendInt(out, int64(o.id), 10)) + "]"
}

// delivered is the usage of the whole answer, of that of its continuation.
func (o *opening) delivered(u openai.Usage) openai.Usage {
	if o == nil {
		return u
	}
	if o.prompt > 0 {
		u.PromptTokens = o.prompt
	}
	return openai.Spent(u.PromptTokens, u.CompletionTokens+1)
}

// event is one of the stream's as the client sees it: the first with a choice gets the
// word (of a server that may echo it, the first with text), one with a usage gets the whole answer's; of others every byte stays.
func (o *opening) event(e openai.Event, used openai.Usage) ([]byte, error) {
	if e.Data == nil || string(e.Data) == openai.Done || o.placed && !bytes.Contains(e.Data, []byte(`"usage"`)) {
		return e.Raw, nil
	}
	data := e.Data
	if !o.placed {
		var err error
		if data, err = o.place(data, "delta"); err != nil {
			return nil, err
		}
	}
	data, err := spend(data, used)
	if err != nil {
		return nil, err
	}
	return openai.AppendEvent(nil, bytes.ReplaceAll(data, []byte("\n"), []byte(" "))), nil
}

// whole is event for an answer that is not streamed.
func (o *opening) whole(body []byte, used openai.Usage) ([]byte, error) {
	body, err := o.place(body, "message")
	if err != nil {
		return nil, err
	}
	if !o.placed {
		return nil, errors.New("the upstream's continuation has no choice")
	}
	return spend(body, used)
}

// place puts the word before the first choice's text, if there is a choice. In chat the
// text stands below the name.
func (o *opening) place(reply []byte, name string) ([]byte, error) {
	return edit(reply, "choices", func(list []byte) ([]byte, error) {
		if len(list) == 0 || list[0] != '[' {
			return list, nil
		}
		choices, err := openai.Elements(list)
		if err != nil || len(choices) == 0 {
			return list, err
		}
		if choices[0], err = o.placeIn(choices[0], name); err != nil {
			return nil, err
		}
		return slices.Concat([]byte{'['}, bytes.Join(choices, []byte{','}), []byte{']'}), nil
	})
}

func (o *opening) placeIn(choice []byte, name string) ([]byte, error) {
	members, err := openai.Members(choice)
	if err != nil {
		return nil, err
	}
	if o.echo && name == "delta" {
		due, err := saysOrEnds(members)
		if err != nil || !due {
			return choice, err
		}
	}
	o.placed = true
	if slices.ContainsFunc(members, func(m openai.Member) bool { return m.Name == "text" }) {
		return edit(choice, "text", o.before)
	}
	return edit(choice, name, func(inner []byte) ([]byte, error) { return edit(inner, "content", o.before) })
}

// saysOrEnds tells whether a choice of a stream has text, or is its last.
func saysOrEnds(choice []openai.Member) (bool, error) {
	for _, m := range choice {
		if m.Name == "finish_reason" && string(m.Value) != "null" {
			return true, nil
		}
		if m.Name != "delta" || string(m.Value) == "null" {
			continue
		}
		delta, err := openai.Members(m.Value)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(delta, func(m openai.Member) bool {
			return m.Name == "content" && string(m.Value) != "null" && string(m.Value) != `""`
		}) {
			return true, nil
		}
	}
	return false, nil
}

// before is the word and then the text.
func (o *opening) before(raw []byte) ([]byte, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return openai.AppendText(nil, o.word), nil
	}
	text, err := openai.Text(raw)
	if err != nil {
		return nil, err
	}
	if o.echo && strings.HasPrefix(text, o.word) {
		return raw, nil
	}
	return openai.AppendText(nil, o.word+text), nil
}

// spend writes the usage where the reply has one.
func spend(reply []byte, used openai.Usage) ([]byte, error) {
	return edit(reply, "usage", func(raw []byte) (_ []byte, err error) {
		if len(raw) == 0 || raw[0] != '{' {
			return raw, nil
		}
		for _, count := range []struct {
			name  string
			value int
		}{{"prompt_tokens", used.PromptTokens}, {"completion_tokens", used.CompletionTokens}, {"total_tokens", used.TotalTokens}} {
			raw, err = edit(raw, count.name, func([]byte) ([]byte, error) { return strconv.AppendInt(nil, int64(count.value), 10), nil })
			if err != nil {
				return nil, err
			}
		}
		return raw, nil
	})
}

// edit changes the value of one member of an object, given as raw JSON; nil is an
// absent one, before and after. An absent object is an empty one.
func edit(object []byte, name string, change func([]byte) ([]byte, error)) ([]byte, error) {
	if len(object) == 0 || string(object) == "null" {
		object = []byte("{}")
	}
	members, err := openai.Members(object)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Name == name {
			value, err := change(m.Value)
			return slices.Concat(object[:m.Start], value, object[m.End():]), err
		}
	}
	value, err := change(nil)
	if err != nil || value == nil {
		return object, err
	}
	first := bytes.IndexByte(object, '{') + 1
	added := append(append(openai.AppendText(nil, name), ':'), value...)
	if len(members) > 0 {
		added = append(added, ',')
	}
	return slices.Concat(object[:first], added, object[first:]), nil
}
