package embed

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Reveal opens some keys of a committed set: with it and the root on the chain anyone
// checks that these questions and words were fixed before the randomness that drew
// them. It opens the secrets of these keys alone. Keys that are revealed are burnt.
type Reveal struct {
	Format     int      `json:"format"`
	Model      Digest   `json:"model"` // modelId in the registry
	Root       Digest   `json:"root"`
	Randomness Digest   `json:"randomness"` // that drew the words; the chain must confirm it
	Salt       Digest   `json:"salt"`
	Total      int      `json:"total"` // keys under the root, as the creator says: a proof only shows a tree of about this size
	Keys       []Opened `json:"keys"`
}

// Opened is one revealed key.
type Opened struct {
	Index      int      `json:"index"`
	Question   string   `json:"question"`
	Candidates []string `json:"candidates"`
	Word       string   `json:"word"` // the drawn one
	Secret     Digest   `json:"secret"`
	Proof      []Digest `json:"proof"`
}

const revealFormat = 1

// Reveal opens keys by their indices. The set remembers them as burnt: save it.
func (s *Set) Reveal(indices []int) (*Reveal, error) {
	if s.Randomness == nil {
		return nil, errors.New("the words are not drawn yet: there is nothing to reveal")
	}
	out := &Reveal{Format: revealFormat, Model: s.Model, Root: s.Root(), Randomness: *s.Randomness, Salt: s.Salt, Total: len(s.Keys)}
	drawn := s.Draw(*s.Randomness)
	for _, i := range indices {
		if i < 0 || i >= len(s.Keys) {
			return nil, fmt.Errorf("there is no key %d: give indices from 0 to %d", i, len(s.Keys)-1)
		}
		k := Opened{Index: i, Question: s.Keys[i].Question, Word: drawn[i].Word(), Secret: s.Keys[i].Secret, Proof: s.Proof(i)}
		for _, c := range s.Keys[i].Candidates {
			k.Candidates = append(k.Candidates, c.Word)
		}
		out.Keys = append(out.Keys, k)
	}
	s.Burn(indices...)
	return out, nil
}

// Burn notes that keys were shown to others: who saw them can answer them.
func (s *Set) Burn(indices ...int) {
	s.Burnt = append(s.Burnt, indices...)
	slices.Sort(s.Burnt)
	s.Burnt = slices.Compact(s.Burnt)
}

// Check recomputes leaves, proofs and draws. It says that the keys stand under Root
// and that Randomness draws these words; that the root was committed, and that the
// randomness is the draw block's, is for the chain to say.
func (r *Reveal) Check() error {
	if r.Format != revealFormat {
		return fmt.Errorf("the reveal has format %d; this program reads %d", r.Format, revealFormat)
	}
	if len(r.Keys) == 0 {
		return errors.New("the reveal opens no key")
	}
	for _, k := range r.Keys {
		if !CheckProof(r.Root, leaf(r.Model, r.Salt, k.Index, k.Question, k.Candidates, k.Secret), k.Index, r.Total, k.Proof) {
			return fmt.Errorf("key %d does not stand under the root", k.Index)
		}
		if len(k.Candidates) < 2 {
			return fmt.Errorf("key %d has %d candidates; nothing could be drawn", k.Index, len(k.Candidates))
		}
		if word := k.Candidates[drawIndex(k.Secret, r.Randomness, k.Index, len(k.Candidates))]; word != k.Word {
			return fmt.Errorf("key %d: the randomness draws another word than the reveal says", k.Index)
		}
	}
	return nil
}

// leaf commits to one key:
//
//	SHA-256(0x00 || "fealty key v1", modelId, i, salt, question, k, word_1 .. word_k, s_i)
//
// each field but the numbers i and k preceded by its length, numbers and lengths
// in eight bytes, big endian.
func leaf(model, salt Digest, i int, question string, candidates []string, secret Digest) Digest {
	t := transcript{sha256.New()}
	t.Write([]byte{leafPrefix})
	t.field([]byte("fealty key v1"))
	t.field(model[:])
	t.number(uint64(i))
	t.field(salt[:])
	t.field([]byte(question))
	t.number(uint64(len(candidates)))
	for _, word := range candidates {
		t.field([]byte(word))
	}
	t.field(secret[:])
	return t.digest()
}
