package openai

import (
	"fmt"
	"strings"
)

// roles maps what callers write to what chat templates know: "developer" is
// OpenAI's newer name for "system".
var roles = map[string]string{
	"system": "system", "developer": "system", "user": "user", "assistant": "assistant",
	"tool": "tool", "function": "function",
}

func readMessages(r *Request, m Member) error {
	list, err := Elements(m.Value)
	if err != nil {
		return wrong(m, "an array of messages")
	}
	r.PromptBytes = len(m.Value)
	r.Messages = make([]Message, 0, len(list))
	for i, raw := range list {
		message, err := r.message(fmt.Sprintf("messages[%d]", i), raw)
		if err != nil {
			return err
		}
		r.Messages = append(r.Messages, message)
	}
	return nil
}

func (r *Request) message(at string, raw []byte) (Message, error) {
	members, err := Members(raw)
	if err != nil {
		return Message{}, Invalid(at, "%s is not a message object: %v.", at, err)
	}
	var out Message
	held := false
	for _, m := range members {
		switch m.Name {
		case "role":
			out.Role, err = r.role(at, m)
		case "content":
			held = true
			out.Content, err = r.content(at+".content", m.Value)
		case "tool_calls", "tool_call_id", "function_call":
			held = true
			if !m.Null() {
				r.beyond(at+"."+m.Name, "tool calls are not supported")
			}
		}
		if err != nil {
			return out, err
		}
	}
	if out.Role == "" {
		return out, Invalid(at+".role", "%s has no role. Use system, user or assistant.", at)
	}
	if !held {
		return out, Invalid(at+".content", "%s has no content.", at)
	}
	return out, nil
}

func (r *Request) role(at string, m Member) (string, error) {
	given, err := Text(m.Value)
	if err != nil {
		return "", Invalid(at+".role", "%s.role is %s; it must be a string.", at, clip(m.Value))
	}
	role, known := roles[given]
	if !known {
		return "", Invalid(at+".role", "%s.role is %s. Use system, developer, user, assistant or tool.", at, quote(given))
	}
	if role == "tool" || role == "function" {
		r.beyond(at+".role", "tool results are not supported")
	}
	return role, nil
}

// content is a string, null (an assistant's turn that was a tool call), or parts.
func (r *Request) content(at string, raw []byte) (string, error) {
	switch raw[0] {
	case '"':
		return Text(raw)
	case 'n':
		r.beyond(at, "a message without text is not supported")
		return "", nil
	}
	parts, err := Elements(raw)
	if err != nil {
		return "", Invalid(at, "%s is %s; it must be a string or an array of parts.", at, clip(raw))
	}
	var out strings.Builder
	for i, part := range parts {
		text, err := r.part(fmt.Sprintf("%s[%d]", at, i), part)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

func (r *Request) part(at string, raw []byte) (string, error) {
	members, err := Members(raw)
	if err != nil {
		return "", Invalid(at, "%s is not a content part object: %v.", at, err)
	}
	kind, body := "", []byte(nil)
	for _, m := range members {
		switch m.Name {
		case "type":
			if kind, err = Text(m.Value); err != nil {
				return "", Invalid(at+".type", "%s.type must be a string.", at)
			}
		case "text":
			body = m.Value
		}
	}
	switch {
	case kind == "":
		return "", Invalid(at+".type", "%s has no type. Text parts have the type \"text\".", at)
	case kind != "text":
		r.beyond(at, "only text parts are supported")
		return "", nil
	}
	out, err := Text(body)
	if err != nil {
		return "", Invalid(at+".text", "%s.text must be a string.", at)
	}
	return out, nil
}
