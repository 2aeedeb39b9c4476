package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// The files of a Hugging Face tokenizer.
const (
	hfTokenizer = "tokenizer.json"
	hfConfig    = "tokenizer_config.json"
	hfSpecial   = "special_tokens_map.json"
	hfTemplate  = "chat_template.jinja" // newer models keep the template here
)

// HFFiles lists what WriteHF writes.
func HFFiles() []string { return []string{hfTokenizer, hfConfig, hfSpecial} }

// maxHFFile bounds each file in bytes. The largest vocabularies in use take some 35 MB.
const maxHFFile = 128 << 20

// fastTokenizer is tokenizer.json as the tokenizers library defines it.
type fastTokenizer struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  *pipe           `json:"pre_tokenizer"`
	PostProcessor *pipe           `json:"post_processor"`
	Decoder       *pipe           `json:"decoder"`
	Model         bpeModel        `json:"model"`
}

type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// pipe is a pre-tokenizer, a decoder or a post-processor.
type pipe struct {
	Type             string           `json:"type"`
	Pretokenizers    []pipe           `json:"pretokenizers,omitempty"`
	IndividualDigits *bool            `json:"individual_digits,omitempty"`
	AddPrefixSpace   *bool            `json:"add_prefix_space,omitempty"`
	TrimOffsets      *bool            `json:"trim_offsets,omitempty"`
	UseRegex         *bool            `json:"use_regex,omitempty"`
	Single           []map[string]any `json:"single,omitempty"`
	Pair             []map[string]any `json:"pair,omitempty"`
	SpecialTokens    map[string]any   `json:"special_tokens,omitempty"`
}

type bpeModel struct {
	Type          string            `json:"type"`
	Dropout       *float64          `json:"dropout"`
	UnkToken      *string           `json:"unk_token"`
	SubwordPrefix *string           `json:"continuing_subword_prefix"`
	WordSuffix    *string           `json:"end_of_word_suffix"`
	FuseUnk       bool              `json:"fuse_unk"`
	ByteFallback  bool              `json:"byte_fallback"`
	IgnoreMerges  bool              `json:"ignore_merges"`
	Vocab         map[string]int32  `json:"vocab"`
	Merges        []json.RawMessage `json:"merges"`
}

// tokenizerConfig is tokenizer_config.json, as far as it matters here.
type tokenizerConfig struct {
	AddBOS        *bool                 `json:"add_bos_token,omitempty"`
	AddPrefix     *bool                 `json:"add_prefix_space,omitempty"`
	AddedTokens   map[string]addedEntry `json:"added_tokens_decoder,omitempty"`
	BOS           *tokenText            `json:"bos_token"`
	ChatTemplate  any                   `json:"chat_template,omitempty"`
	CleanUp       bool                  `json:"clean_up_tokenization_spaces"`
	EOS           *tokenText            `json:"eos_token"`
	ModelMaxLen   json.Number           `json:"model_max_length,omitempty"`
	Pad           *tokenText            `json:"pad_token"`
	TokenizerKind string                `json:"tokenizer_class"`
	Unknown       *tokenText            `json:"unk_token"`
}

type addedEntry struct {
	Content    string `json:"content"`
	LStrip     bool   `json:"lstrip"`
	Normalized bool   `json:"normalized"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
	Special    bool   `json:"special"`
}

// tokenText is a token's text, written plainly or as an object with a "content".
type tokenText string

func (t *tokenText) UnmarshalJSON(raw []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if len(raw) > 0 && raw[0] == '{' {
		err := json.Unmarshal(raw, &object)
		*t = tokenText(object.Content)
		return err
	}
	return json.Unmarshal(raw, (*string)(t))
}

// ReadHF reads tokenizer.json and tokenizer_config.json of a byte-level BPE tokenizer.
func ReadHF(dir string) (*Spec, error) {
	var fast fastTokenizer
	if err := readJSON(dir, hfTokenizer, &fast); err != nil {
		return nil, err
	}
	s, err := fast.spec()
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(dir, hfTokenizer), err)
	}
	var config tokenizerConfig
	if err := readJSON(dir, hfConfig, &config); err != nil {
		return nil, err
	}
	if err := config.fill(s); err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(dir, hfConfig), err)
	}
	if s.ChatTemplate == "" {
		raw, err := readBounded(filepath.Join(dir, hfTemplate))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		s.ChatTemplate = string(raw)
	}
	return s, s.validate()
}

func readJSON(dir, file string, into any) error {
	path := filepath.Join(dir, file)
	raw, err := readBounded(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxHFFile+1))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if len(raw) > maxHFFile {
		return nil, fmt.Errorf("tokenizer: %s has more than %d bytes", path, maxHFFile)
	}
	return raw, nil
}

func (f *fastTokenizer) spec() (*Spec, error) {
	if err := f.plain(); err != nil {
		return nil, err
	}
	s := &Spec{BOS: None, EOS: None, Pad: None, Unknown: None}
	var err error
	if s.Pretokenizer, err = f.pretokenizer(); err != nil {
		return nil, err
	}
	if s.Tokens, err = f.tokens(); err != nil {
		return nil, err
	}
	for _, t := range f.AddedTokens {
		if t.Special {
			s.Special = append(s.Special, t.ID)
		} else {
			s.Added = append(s.Added, t.ID)
		}
	}
	slices.Sort(s.Special)
	slices.Sort(s.Added)
	if s.BOS, err = f.front(); err != nil {
		return nil, err
	}
	s.AddBOS = s.BOS != None
	s.Merges, err = f.merges()
	return s, err
}

// front returns the token that the post-processor puts in front of a text, or None.
func (f *fastTokenizer) front() (int32, error) {
	post := f.PostProcessor
	if post == nil || post.Type == "ByteLevel" {
		return None, nil
	}
	if post.Type == "TemplateProcessing" && len(post.Single) == 2 {
		token, isToken := post.Single[0]["SpecialToken"].(map[string]any)
		_, isText := post.Single[1]["Sequence"]
		for _, t := range f.AddedTokens {
			if isToken && isText && token["id"] == t.Content {
				return t.ID, nil
			}
		}
	}
	return None, errors.New("post_processor is neither \"ByteLevel\" nor a \"TemplateProcessing\" that puts one token in front; others are not supported")
}

// plain refuses the settings that would change the ids and that this package does not have.
func (f *fastTokenizer) plain() error {
	m := f.Model
	switch {
	case m.Type != "BPE":
		return fmt.Errorf("model.type is %q; only \"BPE\" is supported", m.Type)
	case m.ByteFallback, m.IgnoreMerges, m.Dropout != nil && *m.Dropout != 0:
		return errors.New("model.byte_fallback, model.ignore_merges and model.dropout are not supported")
	case m.SubwordPrefix != nil && *m.SubwordPrefix != "", m.WordSuffix != nil && *m.WordSuffix != "":
		return errors.New("model.continuing_subword_prefix and model.end_of_word_suffix are not supported")
	case len(f.Normalizer) > 0 && string(f.Normalizer) != "null":
		return errors.New("normalizer is set; only byte-level tokenizers without one are supported")
	case f.Decoder == nil || f.Decoder.Type != "ByteLevel":
		return errors.New("decoder is not \"ByteLevel\"; only byte-level tokenizers are supported")
	}
	for _, t := range f.AddedTokens {
		if t.SingleWord || t.LStrip || t.RStrip || t.Normalized && t.Special {
			return fmt.Errorf("added_tokens: %q sets single_word, lstrip, rstrip or normalized, which is not supported", t.Content)
		}
	}
	return nil
}

func (f *fastTokenizer) pretokenizer() (Pretokenizer, error) {
	steps := []pipe{}
	if p := f.PreTokenizer; p != nil && p.Type == "Sequence" {
		steps = p.Pretokenizers
	} else if p != nil {
		steps = []pipe{*p}
	}
	if len(steps) == 0 || !steps[len(steps)-1].isGPT2() {
		return "", errors.New("pre_tokenizer is not \"ByteLevel\" with GPT-2's expression; others are not supported")
	}
	switch {
	case len(steps) == 1:
		return GPT2, nil
	case len(steps) == 2 && steps[0].Type == "Digits" && isTrue(steps[0].IndividualDigits, false):
		return SmolLM, nil
	}
	return "", errors.New("pre_tokenizer is a sequence that is not supported (known: individual Digits, then ByteLevel)")
}

func (p pipe) isGPT2() bool {
	return p.Type == "ByteLevel" && isTrue(p.UseRegex, true) && !isTrue(p.AddPrefixSpace, true)
}

func isTrue(b *bool, absent bool) bool {
	if b == nil {
		return absent
	}
	return *b
}

// tokens lays out the vocabulary by id; ids must be dense.
func (f *fastTokenizer) tokens() ([]string, error) {
	all := make(map[int32]string, len(f.Model.Vocab)+len(f.AddedTokens))
	for text, id := range f.Model.Vocab {
		if other, twice := all[id]; twice {
			return nil, fmt.Errorf("model.vocab gives id %d to both %q and %q", id, other, text)
		}
		all[id] = text
	}
	for _, t := range f.AddedTokens {
		if other, known := all[t.ID]; known && other != t.Content {
			return nil, fmt.Errorf("added_tokens gives id %d to %q, which is %q in model.vocab", t.ID, t.Content, other)
		}
		all[t.ID] = t.Content
	}
	list := make([]string, len(all))
	for id, text := range all {
		if id < 0 || int(id) >= len(list) {
			return nil, fmt.Errorf("model.vocab: id %d lies outside the %d tokens; ids must have no gaps", id, len(list))
		}
		list[id] = text
	}
	return list, nil
}

// merges reads both forms: "a b" and, in newer files, ["a", "b"].
func (f *fastTokenizer) merges() ([][2]string, error) {
	list := make([][2]string, len(f.Model.Merges))
	for i, raw := range f.Model.Merges {
		var line string
		var parts []string
		ok := false
		if json.Unmarshal(raw, &line) == nil {
			list[i], ok = ParseMerge(line)
		} else if json.Unmarshal(raw, &parts) == nil && len(parts) == 2 {
			list[i], ok = [2]string{parts[0], parts[1]}, true
		}
		if !ok {
			return nil, fmt.Errorf("model.merges: entry %d is not two tokens", i)
		}
	}
	return list, nil
}

// fill adds what tokenizer_config.json says.
func (c *tokenizerConfig) fill(s *Spec) error {
	ids := make(map[string]int32, len(s.Tokens))
	for id, text := range s.Tokens {
		ids[text] = int32(id)
	}
	for _, token := range []struct {
		field string
		text  *tokenText
		id    *int32
	}{{"bos_token", c.BOS, &s.BOS}, {"eos_token", c.EOS, &s.EOS}, {"pad_token", c.Pad, &s.Pad}, {"unk_token", c.Unknown, &s.Unknown}} {
		if token.text == nil {
			continue
		}
		id, ok := ids[string(*token.text)]
		if !ok {
			return fmt.Errorf("%s is %q, which is not in the vocabulary", token.field, *token.text)
		}
		*token.id = id
	}
	s.AddBOS = s.AddBOS || c.AddBOS != nil && *c.AddBOS
	if n, err := c.ModelMaxLen.Int64(); err == nil && n > 0 && n < 1<<31 {
		s.Context = int(n) // absent, or the 1e30 that stands for "unknown", leaves 0
	}
	template, err := c.template()
	s.ChatTemplate = template
	return err
}

// template takes the only template, or of several the one named default.
func (c *tokenizerConfig) template() (string, error) {
	switch v := c.ChatTemplate.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []any:
		for _, e := range v {
			if entry, ok := e.(map[string]any); ok && entry["name"] == "default" {
				if text, ok := entry["template"].(string); ok {
					return text, nil
				}
			}
		}
	}
	return "", errors.New("chat_template is neither a text nor a list with one named \"default\"")
}
