// Package tokenizer turns text into the token ids of one model and back, and conversations into the exact prompt the
// model was trained on.
//
// It speaks byte-level BPE with GPT-2 style pre-tokenisation (the "gpt2" and "smollm" kinds) and the part of Jinja that
// chat templates are made of. Its results are byte-exact with the reference implementations; the fixtures that hold it
// to that are in internal/reference. Other vocabularies (SentencePiece, WordPiece) are refused with an error, never
// approximated.
//
// Start with [New] and [Tokenizer.EncodeChat]. A [Spec] comes from internal/weights (GGUF) or from [ReadHF].
package tokenizer

import (
	"fmt"
	"strings"
)

// None is the value of a special token id that the model does not have.
const None int32 = -1

// Pretokenizer names the rule that cuts text into words before merges apply. The names are llama.cpp's.
type Pretokenizer string

// The rules that this package knows.
const (
	GPT2   Pretokenizer = "gpt2"   // GPT-2's regular expression
	SmolLM Pretokenizer = "smollm" // each numeric character alone, then GPT-2's expression on what lies between
)

// Spec is all that defines a tokenizer, independent of the file format it came from.
type Spec struct {
	Tokens       []string    // by id; ordinary ones in GPT-2's printable byte alphabet ("Ġthe"), special and added ones verbatim
	Merges       [][2]string // in order of rank, in the byte alphabet
	Pretokenizer Pretokenizer
	Special      []int32 // control tokens such as <|im_end|>: ascending; text matches them only where it may
	Added        []int32 // added tokens that are plain text to a user: ascending; always matched
	BOS          int32   // None: the model has none
	EOS          int32
	Pad          int32
	Unknown      int32
	AddBOS       bool   // Encode puts BOS first
	ChatTemplate string // Jinja; empty: the model has none, and Chat fails
	Context      int    // positions the model was trained for; 0: unknown
}

// Message is one turn of a conversation.
type Message struct {
	Role    string
	Content string
}

// validate checks what New relies on, so that a bad file is an error here and not a panic later.
func (s *Spec) validate() error {
	if len(s.Tokens) == 0 {
		return fmt.Errorf("tokenizer: the vocabulary is empty")
	}
	if s.Pretokenizer != GPT2 && s.Pretokenizer != SmolLM {
		return fmt.Errorf("tokenizer: pre-tokenizer %q is not supported (this package knows %q and %q)", s.Pretokenizer, GPT2, SmolLM)
	}
	for _, f := range []struct {
		name string
		id   int32
	}{{"bos", s.BOS}, {"eos", s.EOS}, {"pad", s.Pad}, {"unknown", s.Unknown}} {
		if f.id < None || int(f.id) >= len(s.Tokens) {
			return fmt.Errorf("tokenizer: %s token id %d is outside the vocabulary of %d tokens", f.name, f.id, len(s.Tokens))
		}
	}
	if s.AddBOS && s.BOS == None {
		return fmt.Errorf("tokenizer: a BOS is to be added, but no bos token id is given")
	}
	return s.validateAdded()
}

func (s *Spec) validateAdded() error {
	for _, ids := range [][]int32{s.Special, s.Added} {
		last := None
		for _, id := range ids {
			if id <= last || int(id) >= len(s.Tokens) {
				return fmt.Errorf("tokenizer: special token ids must ascend within the vocabulary of %d tokens; %d does not", len(s.Tokens), id)
			}
			if s.Tokens[id] == "" {
				return fmt.Errorf("tokenizer: special token %d has no text", id)
			}
			last = id
		}
	}
	return nil
}

// ParseMerge splits "Ġ t", the form in which both GGUF and Hugging Face's older files write a merge.
func ParseMerge(line string) ([2]string, bool) {
	left, right, ok := strings.Cut(line, " ")
	return [2]string{left, right}, ok && left != "" && right != "" && !strings.Contains(right, " ")
}
