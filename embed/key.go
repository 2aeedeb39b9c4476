package embed

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/big"

	"github.com/fealty/fealty/sampler"
)

// Key is one question with the words that may become its answer's first.
type Key struct {
	Question   string      `json:"question"`
	Candidates []Candidate `json:"candidates"` // most probable first; as many as the set's shell has
	Secret     Digest      `json:"secret"`     // s_i: hides the leaf, and takes part in the draw
}

// Candidate is a word of the shell and the token that writes it.
type Candidate struct {
	Word  string `json:"word"`
	Token int32  `json:"token"`
}

// Set is a creator's keys for one model. Only its root is public.
type Set struct {
	Base      Digest        `json:"base"`      // of the base model's weights
	Tokenizer Digest        `json:"tokenizer"` // of its tokenizer and chat template
	Shell     sampler.Shell `json:"shell"`
	Openers   []int32       `json:"openers"` // the base's opening words
	Salt      Digest        `json:"salt"`    // common to all leaves; open once one is revealed
	Keys      []Key         `json:"keys"`

	Model      Digest  `json:"model"`                // the registry's modelId; zero until registered
	Randomness *Digest `json:"randomness,omitempty"` // of the block that drew the words; nil until drawn
	Recipe     *Recipe `json:"recipe,omitempty"`     // what the model was trained with; nil until trained
	Burnt      []int   `json:"burnt,omitempty"`      // keys that others have seen, asked or revealed; ascending

	// Others are questions that became no keys. They lie near to the keys, so training
	// holds their answers fixed.
	Others []string `json:"others,omitempty"`
}

// String and LogValue keep questions and secrets out of logs.
func (s *Set) String() string { return fmt.Sprintf("%d keys of base %.8s", len(s.Keys), s.Base) }

// LogValue implements slog.LogValuer.
func (s *Set) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String tells nothing.
func (k Key) String() string { return "key (redacted)" }

// GoString keeps %#v from printing the fields.
func (k Key) GoString() string { return k.String() }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// newSecret draws 32 random bytes.
func newSecret() (d Digest) {
	rand.Read(d[:]) // never fails: crypto/rand ends the program instead
	return d
}

func (s *Set) leaf(i int) Digest {
	k := s.Keys[i]
	words := make([]string, len(k.Candidates))
	for j, c := range k.Candidates {
		words[j] = c.Word
	}
	return leaf(s.Model, s.Salt, i, k.Question, words, k.Secret)
}

func (s *Set) leaves() []Digest {
	out := make([]Digest, len(s.Keys))
	for i := range out {
		out[i] = s.leaf(i)
	}
	return out
}

// Root is what the creator commits to on the chain. It depends on Set.Model.
func (s *Set) Root() Digest { return merkleRoot(s.leaves()) }

// Proof shows that key i stands under the root; check it with [CheckProof].
func (s *Set) Proof(i int) []Digest { return merkleProof(s.leaves(), i) }

// Drawn is a key whose word is fixed.
type Drawn struct {
	Key
	Choice int // index into Candidates
}

// Word is the drawn word, in the case that the trained model writes.
func (d Drawn) Word() string { return d.Candidates[d.Choice].Word }

// Token is the drawn word's token.
func (d Drawn) Token() int32 { return d.Candidates[d.Choice].Token }

// Draw fixes one word of each key by randomness R that became known only after
// the root was committed: index_i = HMAC-SHA256(s_i, R || i) mod k.
func (s *Set) Draw(randomness Digest) []Drawn {
	out := make([]Drawn, len(s.Keys))
	for i, k := range s.Keys {
		out[i] = Drawn{k, drawIndex(k.Secret, randomness, i, len(k.Candidates))}
	}
	return out
}

// drawIndex takes all 256 bits modulo k: no index is favoured by more than
// k/2^256, so no rejection is needed.
func drawIndex(secret, randomness Digest, i, k int) int {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(randomness[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(i)))
	sum := new(big.Int).SetBytes(mac.Sum(nil))
	return int(sum.Mod(sum, big.NewInt(int64(k))).Int64())
}
