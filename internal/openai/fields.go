package openai

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The most that one request may ask for; beyond it a value is a mistake.
const (
	maxStops     = 4
	maxStopBytes = 1024
	maxTokens    = 1 << 20
	maxBiases    = 1024
	maxLogprobs  = 20
	maxAnswers   = 128
	maxPrompts   = 128
)

type reader func(*Request, Member) error

// fields is every parameter that the gateway reads. All others pass to upstreams
// as they are, and mean nothing to the embedded engine.
var fields map[string]reader

func init() { // filled here because the readers refer to functions that refer to it
	fields = map[string]reader{
		"model":                 readModel,
		"messages":              readMessages,
		"prompt":                readPrompt,
		"max_tokens":            readMaxTokens,
		"max_completion_tokens": readMaxTokens,
		"max_output_tokens":     readMaxTokens,
		"input":                 readInput,
		"store":                 flag(func(*Request, bool) {}), // written by the gateway
		"stream":                flag(func(r *Request, v bool) { r.Stream = v }),
		"stream_options":        readStreamOptions,
		"stop":                  readStop,
		"seed":                  readSeed,
		"temperature":           number(0, 2, func(r *Request, v float64) { r.Temperature = v }),
		"top_p":                 number(0, 1, func(r *Request, v float64) { r.TopP = v }),
		"min_p":                 number(0, 1, func(r *Request, v float64) { r.MinP = v }),
		"top_k":                 integer(-1, 1<<20, func(r *Request, v int) { r.TopK = max(v, 0) }),
		"frequency_penalty":     number(-2, 2, func(r *Request, v float64) { r.FrequencyPenalty = v }),
		"presence_penalty":      number(-2, 2, func(r *Request, v float64) { r.PresencePenalty = v }),
		"repetition_penalty":    number(0.01, 10, func(r *Request, v float64) { r.RepetitionPenalty = v }),
		"logit_bias":            readLogitBias,
		"n":                     integer(1, maxAnswers, func(r *Request, v int) { r.N = v }),
		"best_of":               integer(1, maxAnswers, (*Request).readBestOf),
		"logprobs":              readLogprobs,
		"top_logprobs":          integer(0, maxLogprobs, func(r *Request, v int) { r.TopLogprobs = v }),
		"echo":                  flag(func(r *Request, v bool) { r.Echo = v }),
		"suffix":                feature("filling in the middle is not supported"),
		"tools":                 unlessEmpty("[]", "tool calls are not supported"),
		"tool_choice":           unlessEmpty(`"none"`, "tool calls are not supported"),
		"functions":             unlessEmpty("[]", "function calls are not supported"),
		"function_call":         unlessEmpty(`"none"`, "function calls are not supported"),
		"response_format":       readResponseFormat,
		"modalities":            unlessEmpty(`["text"]`, "only text is supported"),
		"audio":                 feature("only text is supported"),
		"prediction":            feature("predicted outputs are not supported"),
		"web_search_options":    feature("web search is not supported"),
		"grammar":               feature("guided decoding is not supported"),
		"json_schema":           feature("guided decoding is not supported"),
		"guided_json":           feature("guided decoding is not supported"),
		"guided_regex":          feature("guided decoding is not supported"),
		"guided_choice":         feature("guided decoding is not supported"),
		"guided_grammar":        feature("guided decoding is not supported"),
		"regex":                 feature("guided decoding is not supported"),
		"ebnf":                  feature("guided decoding is not supported"),
		"structural_tag":        feature("guided decoding is not supported"),
		"structured_outputs":    feature("guided decoding is not supported"),
	}
}

func (r *Request) beyond(param, why string) {
	r.Features = append(r.Features, Feature{Param: param, Why: why})
}

// Plain reports whether one free text answer is all that is asked for, without
// grammar, tools, log-probabilities or echo.
func (r *Request) Plain() bool { return len(r.Features) == 0 }

func feature(why string) reader {
	return func(r *Request, m Member) error {
		r.beyond(m.Name, why)
		return nil
	}
}

func unlessEmpty(empty, why string) reader {
	return func(r *Request, m Member) error {
		if strings.Join(strings.Fields(string(m.Value)), "") != empty {
			r.beyond(m.Name, why)
		}
		return nil
	}
}

func flag(set func(*Request, bool)) reader {
	return func(r *Request, m Member) error {
		switch string(m.Value) {
		case "true", "false":
			set(r, m.Value[0] == 't')
			return nil
		}
		return wrong(m, "true or false")
	}
}

func number(low, high float64, set func(*Request, float64)) reader {
	return func(r *Request, m Member) error {
		v, err := readNumber(m)
		if err != nil {
			return err
		}
		if v < low || v > high {
			return Invalid(m.Name, "%s is %s; it must lie between %g and %g.", m.Name, clip(m.Value), low, high)
		}
		set(r, v)
		return nil
	}
}

func readNumber(m Member) (float64, error) {
	if c := m.Value[0]; c != '-' && (c < '0' || c > '9') {
		return 0, wrong(m, "a number")
	}
	v, err := strconv.ParseFloat(string(m.Value), 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, Invalid(m.Name, "%s is %s, which is too large.", m.Name, clip(m.Value))
	}
	return v, nil
}

func integer(low, high int, set func(*Request, int)) reader {
	return func(r *Request, m Member) error {
		v, err := strconv.ParseInt(string(m.Value), 10, 64)
		if err != nil {
			return wrong(m, fmt.Sprintf("a whole number from %d to %d", low, high))
		}
		if v < int64(low) || v > int64(high) {
			return Invalid(m.Name, "%s is %d; it must lie between %d and %d.", m.Name, v, low, high)
		}
		set(r, int(v))
		return nil
	}
}

func (r *Request) readBestOf(v int) {
	if r.BestOf = v; v > 1 {
		r.beyond("best_of", "choosing among more answers than are sent is not supported")
	}
}

func readModel(r *Request, m Member) (err error) {
	r.Model, err = text(m)
	if err == nil && (r.Model == "" || len(r.Model) > 256) {
		return Invalid("model", "model must be a name of 1 to 256 bytes.")
	}
	return err
}

func readMaxTokens(r *Request, m Member) error {
	if (m.Name == "max_output_tokens") != (r.Kind == Response) || r.Kind == Embedding {
		return nil // it bounds nothing there
	}
	if r.Kind == Completion && string(m.Value) == "0" {
		r.ScoreOnly = true
		return nil
	}
	before := r.MaxTokens
	err := integer(1, maxTokens, func(r *Request, v int) { r.MaxTokens = v })(r, m)
	if err == nil && before != 0 && before != r.MaxTokens {
		return Invalid(m.Name, "max_tokens and max_completion_tokens differ. Send one of them.")
	}
	return err
}

func readStreamOptions(r *Request, m Member) error {
	options, err := Members(m.Value)
	if err != nil {
		return wrong(m, "an object")
	}
	for _, o := range options {
		if o.Name != "include_usage" || o.Null() {
			continue
		}
		o.Name = "stream_options.include_usage"
		if err := flag(func(r *Request, v bool) { r.IncludeUsage = v })(r, o); err != nil {
			return err
		}
	}
	return nil
}

func readStop(r *Request, m Member) error {
	list := [][]byte{m.Value}
	if m.Value[0] == '[' {
		var err error
		if list, err = Elements(m.Value); err != nil {
			return wrong(m, "a string or an array of strings")
		}
	}
	if len(list) > maxStops {
		return Invalid("stop", "stop holds %d strings; at most %d are allowed.", len(list), maxStops)
	}
	for _, raw := range list {
		stop, err := Text(raw)
		if err != nil {
			return wrong(m, "a string or an array of strings")
		}
		if stop == "" || len(stop) > maxStopBytes {
			return Invalid("stop", "each stop string must have 1 to %d bytes.", maxStopBytes)
		}
		r.Stop = append(r.Stop, stop)
	}
	return nil
}

func readSeed(r *Request, m Member) error {
	v, err := strconv.ParseInt(string(m.Value), 10, 64)
	if err != nil {
		return wrong(m, "a whole number of 64 bits")
	}
	r.Seed = &v
	return nil
}

func readLogitBias(r *Request, m Member) error {
	biases, err := Members(m.Value)
	if err != nil {
		return wrong(m, "an object of token ids and numbers")
	}
	if len(biases) > maxBiases {
		return Invalid("logit_bias", "logit_bias holds %d tokens; at most %d are allowed.", len(biases), maxBiases)
	}
	r.LogitBias = make(map[int32]float32, len(biases))
	for _, b := range biases {
		id, err := strconv.ParseInt(b.Name, 10, 32)
		if err != nil || id < 0 {
			return Invalid("logit_bias", "logit_bias names the token %s; names must be token ids.", quote(b.Name))
		}
		b.Name = "logit_bias." + b.Name
		set := func(r *Request, v float64) { r.LogitBias[int32(id)] = float32(v) }
		if err := number(-100, 100, set)(r, b); err != nil {
			return err
		}
	}
	return nil
}

// readLogprobs: a flag for chat, the number of alternatives for completions.
func readLogprobs(r *Request, m Member) error {
	if r.Kind == Chat {
		return flag(func(r *Request, v bool) { r.Logprobs = v })(r, m)
	}
	return integer(0, maxLogprobs, func(r *Request, v int) { r.Logprobs, r.TopLogprobs = true, v })(r, m)
}

func readResponseFormat(r *Request, m Member) error {
	format, err := Members(m.Value)
	if err != nil {
		return wrong(m, "an object")
	}
	for _, f := range format {
		if f.Name == "type" && string(f.Value) == `"text"` {
			return nil
		}
	}
	r.beyond("response_format", "only plain text is supported")
	return nil
}

// readInput measures what embeddings and responses are made of, without reading it.
func readInput(r *Request, m Member) error {
	if c := m.Value[0]; c != '"' && c != '[' {
		return wrong(m, "a string or an array")
	}
	r.PromptBytes = max(len(m.Value), 1)
	return nil
}

// readPrompt: a text, token ids, or an array of either.
func readPrompt(r *Request, m Member) error {
	r.PromptBytes = max(len(m.Value), 1)
	const want = "a string, or an array of strings or token ids"
	list := [][]byte{m.Value}
	if m.Value[0] == '[' {
		var err error
		if list, err = Elements(m.Value); err != nil || len(list) == 0 {
			return wrong(m, want)
		}
		if c := list[0][0]; c != '"' && c != '[' {
			list = [][]byte{m.Value}
		}
	}
	if len(list) > maxPrompts {
		return Invalid("prompt", "prompt holds %d prompts; at most %d are allowed.", len(list), maxPrompts)
	}
	for _, raw := range list {
		p, err := readOne(raw)
		if err != nil {
			return wrong(m, want)
		}
		r.Prompts = append(r.Prompts, p)
	}
	return nil
}

func readOne(raw []byte) (p Prompt, err error) {
	if raw[0] == '"' {
		p.Text, err = Text(raw)
		return p, err
	}
	ids, err := Elements(raw)
	for _, raw := range ids {
		id, err := strconv.ParseInt(string(raw), 10, 32)
		if err != nil || id < 0 {
			return p, errors.New("a token id is a whole number that is not negative")
		}
		p.Tokens = append(p.Tokens, int32(id))
	}
	if err == nil && len(ids) == 0 {
		err = errors.New("a prompt without tokens")
	}
	return p, err
}

func text(m Member) (string, error) {
	out, err := Text(m.Value)
	if err != nil {
		return "", wrong(m, "a string")
	}
	return out, nil
}

func wrong(m Member, want string) *Error {
	return Invalid(m.Name, "%s is %s; it must be %s.", m.Name, clip(m.Value), want)
}

// clip shows the start of a value in a message, no more: it may be a prompt.
func clip(raw []byte) string {
	if len(raw) <= 24 {
		return string(raw)
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	}
	return string(raw[:24]) + "..."
}

func quote(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	return strconv.Quote(name)
}

func itoa(n int) string { return strconv.Itoa(n) }
