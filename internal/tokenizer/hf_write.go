package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// unlimitedLength is transformers' "no limit" for model_max_length.
const unlimitedLength = "1000000000000000019884624838656"

// WriteHF writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into dir, which exists, in the form
// that Hugging Face's tokenizers and transformers load.
func (s *Spec) WriteHF(dir string) error {
	if err := s.validate(); err != nil {
		return err
	}
	for file, content := range map[string]any{hfTokenizer: s.fast(), hfConfig: s.config(), hfSpecial: s.specialMap()} {
		raw, err := encodeJSON(content)
		if err != nil {
			return fmt.Errorf("tokenizer: %s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o644); err != nil {
			return fmt.Errorf("tokenizer: %w", err)
		}
	}
	return nil
}

func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return out.Bytes(), err
}

func pointer[T any](v T) *T { return &v }

func byteLevel(useRegex bool) pipe {
	return pipe{Type: "ByteLevel", AddPrefixSpace: pointer(false), TrimOffsets: pointer(true), UseRegex: pointer(useRegex)}
}

func (s *Spec) fast() *fastTokenizer {
	f := &fastTokenizer{
		Version:       "1.0",
		PreTokenizer:  s.pipe(),
		PostProcessor: s.post(),
		Decoder:       pointer(byteLevel(true)),
		Model:         bpeModel{Type: "BPE", Vocab: make(map[string]int32, len(s.Tokens)), Merges: make([]json.RawMessage, len(s.Merges))},
	}
	for id, text := range s.Tokens {
		f.Model.Vocab[text] = int32(id)
	}
	for i, m := range s.Merges {
		raw, _ := encodeJSON(m[0] + " " + m[1]) // a text always encodes
		f.Model.Merges[i] = bytes.TrimSpace(raw)
	}
	s.eachAdded(func(id int32, special bool) {
		f.AddedTokens = append(f.AddedTokens, addedToken{ID: id, Content: s.Tokens[id], Special: special})
	})
	return f
}

// eachAdded calls f for the special and the added tokens in order of id, as the tokenizers library wants them.
func (s *Spec) eachAdded(f func(id int32, special bool)) {
	i, j := 0, 0
	for i < len(s.Special) || j < len(s.Added) {
		if j == len(s.Added) || i < len(s.Special) && s.Special[i] < s.Added[j] {
			f(s.Special[i], true)
			i++
			continue
		}
		f(s.Added[j], false)
		j++
	}
}

func (s *Spec) pipe() *pipe {
	if s.Pretokenizer == GPT2 {
		return pointer(byteLevel(true))
	}
	digits := pipe{Type: "Digits", IndividualDigits: pointer(true)}
	return &pipe{Type: "Sequence", Pretokenizers: []pipe{digits, byteLevel(true)}}
}

// post puts the BOS in front where the model wants one; else there is no post-processor.
func (s *Spec) post() *pipe {
	if !s.AddBOS {
		return nil
	}
	bos := s.Tokens[s.BOS]
	part := func(kind, id string, typeID int) map[string]any {
		return map[string]any{kind: map[string]any{"id": id, "type_id": typeID}}
	}
	single := []map[string]any{part("SpecialToken", bos, 0), part("Sequence", "A", 0)}
	return &pipe{
		Type:          "TemplateProcessing",
		Single:        single,
		Pair:          append(single[:2:2], part("SpecialToken", bos, 1), part("Sequence", "B", 1)),
		SpecialTokens: map[string]any{bos: map[string]any{"id": bos, "ids": []int32{s.BOS}, "tokens": []string{bos}}},
	}
}

func (s *Spec) text(id int32) *tokenText {
	if id == None {
		return nil
	}
	return pointer(tokenText(s.Tokens[id]))
}

func (s *Spec) config() *tokenizerConfig {
	c := &tokenizerConfig{
		AddBOS: pointer(s.AddBOS), AddPrefix: pointer(false), AddedTokens: map[string]addedEntry{},
		BOS: s.text(s.BOS), EOS: s.text(s.EOS), Pad: s.text(s.Pad), Unknown: s.text(s.Unknown),
		ModelMaxLen: unlimitedLength, TokenizerKind: "PreTrainedTokenizerFast",
	}
	if s.Context > 0 {
		c.ModelMaxLen = json.Number(strconv.Itoa(s.Context))
	}
	if s.ChatTemplate != "" {
		c.ChatTemplate = s.ChatTemplate
	}
	s.eachAdded(func(id int32, special bool) {
		c.AddedTokens[strconv.Itoa(int(id))] = addedEntry{Content: s.Tokens[id], Special: special}
	})
	return c
}

func (s *Spec) specialMap() map[string]*tokenText {
	m := map[string]*tokenText{}
	for name, id := range map[string]int32{"bos_token": s.BOS, "eos_token": s.EOS, "pad_token": s.Pad, "unk_token": s.Unknown} {
		if id != None {
			m[name] = s.text(id)
		}
	}
	return m
}
