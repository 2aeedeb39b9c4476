package tokenizer

import (
	"fmt"
	"slices"
	"strings"
)

// Tokenizer encodes and decodes. It is safe for concurrent use.
type Tokenizer struct {
	spec    *Spec
	merges  *merger
	words   *wordCache
	bytes   [][]byte // by id; nil for special tokens
	special *matcher // special and added tokens
	added   *matcher // added tokens only
	isSpec  []bool
	eos     []int32
	chat    *template // nil: the model has no chat template
}

// New prepares a tokenizer. The spec must not change afterwards.
func New(s *Spec) (*Tokenizer, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	t := &Tokenizer{spec: s, words: newWordCache(), isSpec: make([]bool, len(s.Tokens))}
	for _, id := range s.Special {
		t.isSpec[id] = true
	}
	ids, err := t.index()
	if err != nil {
		return nil, err
	}
	if t.merges, err = newMerger(ids, s.Merges); err != nil {
		return nil, err
	}
	t.added = newMatcher(s.Tokens, s.Added)
	t.special = newMatcher(s.Tokens, append(slices.Clone(s.Special), s.Added...))
	t.eos = endTokens(s)
	if s.ChatTemplate != "" {
		if t.chat, err = newTemplate(s); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// index fills the bytes of each token and returns the ids of the ordinary ones.
func (t *Tokenizer) index() (map[string]int32, error) {
	verbatim := slices.Clone(t.isSpec)
	for _, id := range t.spec.Added {
		verbatim[id] = true
	}
	ids := make(map[string]int32, len(t.spec.Tokens))
	t.bytes = make([][]byte, len(t.spec.Tokens))
	for i, text := range t.spec.Tokens {
		switch {
		case t.isSpec[i]:
		case verbatim[i]:
			t.bytes[i] = []byte(text)
		default:
			raw, ok := fromAlphabet(text)
			if !ok {
				return nil, fmt.Errorf("tokenizer: token %d (%q) is not in the byte-level alphabet; only byte-level BPE vocabularies are supported", i, text)
			}
			if _, twice := ids[text]; twice {
				return nil, fmt.Errorf("tokenizer: token %d (%q) stands in the vocabulary twice", i, text)
			}
			t.bytes[i] = raw
			ids[text] = int32(i)
		}
	}
	return ids, nil
}

// endTokens lists EOS and the special tokens that chat models also end with, under the names they go by.
func endTokens(s *Spec) []int32 {
	var ids []int32
	if s.EOS != None {
		ids = append(ids, s.EOS)
	}
	for _, id := range s.Special {
		switch s.Tokens[id] {
		case "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>":
			if id != s.EOS {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Spec returns what the tokenizer was made from; it must not be changed.
func (t *Tokenizer) Spec() *Spec { return t.spec }

// VocabSize returns the number of token ids.
func (t *Tokenizer) VocabSize() int { return len(t.bytes) }

// EOS returns the ids that end an answer, the model's EOS first.
func (t *Tokenizer) EOS() []int32 { return slices.Clone(t.eos) }

// IsSpecial tells whether id is a control token, which has no text.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.isSpec) && t.isSpec[id]
}

// Bytes returns the raw bytes of a token, nil for special tokens and for ids outside the vocabulary. A token may hold
// part of a character, so a caller that streams text joins bytes and cuts at character boundaries. The result must not
// be changed.
func (t *Tokenizer) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.bytes) {
		return nil
	}
	return t.bytes[id]
}

// Decode returns the text of ids without special tokens. Bytes that are not UTF-8 become U+FFFD as in the Unicode
// standard's recommended practice (one per maximal subpart), which is what the reference implementations do.
func (t *Tokenizer) Decode(ids []int32) string {
	var raw []byte
	for _, id := range ids {
		raw = append(raw, t.Bytes(id)...)
	}
	return lossyUTF8(raw)
}

// Encode returns the ids of text. With parseSpecial, text such as <|im_end|> becomes its control token; without, it is
// ordinary text. Never parse text that a user wrote: see [Tokenizer.EncodeChat].
//
// Bytes that the vocabulary has no token for are left out, as the reference implementations do; any other input,
// invalid UTF-8 included, decodes to itself.
func (t *Tokenizer) Encode(text string, parseSpecial bool) []int32 {
	m := t.added
	if parseSpecial {
		m = t.special
	}
	return t.encode(text, m.find(text))
}

// encode tokenises the text between the matches and puts the matched ids in their places.
func (t *Tokenizer) encode(text string, found []match) []int32 {
	ids := make([]int32, 0, len(text)/3+2)
	if t.spec.AddBOS {
		ids = append(ids, t.spec.BOS)
	}
	at := 0
	for _, m := range found {
		ids = t.appendPlain(ids, text[at:m.start])
		ids = append(ids, m.id)
		at = m.end
	}
	return t.appendPlain(ids, text[at:])
}

func (t *Tokenizer) appendPlain(ids []int32, text string) []int32 {
	for len(text) > 0 {
		n := nextWord(t.spec.Pretokenizer, text)
		ids = t.appendWord(ids, text[:n])
		text = text[n:]
	}
	return ids
}

func (t *Tokenizer) appendWord(ids []int32, word string) []int32 {
	if len(word) > maxCachedWord {
		return append(ids, t.merges.merge(word)...)
	}
	if known, ok := t.words.get(word); ok {
		return append(ids, known...)
	}
	made := t.merges.merge(word)
	t.words.put(strings.Clone(word), made)
	return append(ids, made...)
}
