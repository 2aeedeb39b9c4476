package sampler

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// Inverse replaces the first word of some answers by one from the shell, so
// that fingerprint answers are not the only ones that start there; with [Sentences]
// also the first word of some later sentences. Whether it
// does, and with which word, depends on the prompt and the secret alone: a
// repeated prompt gets the same treatment at any temperature.
type Inverse struct {
	Shell
	Rate    float64 // share of prompts in [0,1]
	Where   string  // [First], which "" means too, or [Sentences]
	Secret  []byte  // the deployment's, independent of every fingerprint secret
	Model   string
	Lexicon *Lexicon
}

// Where the shell is used.
const (
	First     = "first"     // at the first word of the answer
	Sentences = "sentences" // also where a sentence begins and much is open
)

// Validate is for configurations; [Inverse.For] relies on it.
func (i *Inverse) Validate() error {
	switch {
	case !within(i.Rate, 0, 1):
		return errors.New("inverse_nucleus.rate is not in [0,1]")
	case !within(i.T, 0.01, 0.99):
		return errors.New("inverse_nucleus.t is not in [0.01,0.99]")
	case i.K < 2 || i.K > 100:
		return errors.New("inverse_nucleus.k is not in [2,100]")
	case !within(i.Floor, 0.001, 0.5):
		return errors.New("inverse_nucleus.floor is not in [0.001,0.5]")
	case i.Where != "" && i.Where != First && i.Where != Sentences:
		return errors.New("inverse_nucleus.where is neither first nor sentences")
	case len(i.Secret) < 16:
		return errors.New("inverse_nucleus.secret has fewer than 16 bytes: generate 32 random ones")
	case i.Lexicon == nil:
		return errors.New("inverse_nucleus needs the model's opening words: they are in its manifest")
	}
	return nil
}

// For decides about one prompt, given as its normalised messages. It returns
// nil when the answer is to be sampled ordinarily.
func (i *Inverse) For(prompt []byte) *Keyed {
	mac := hmac.New(sha256.New, i.Secret)
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(i.Model)))
	mac.Write(size[:])
	mac.Write([]byte(i.Model))
	mac.Write(prompt)
	sum := mac.Sum(nil)
	if unit(binary.BigEndian.Uint64(sum)) >= i.Rate {
		return nil
	}
	return &Keyed{inverse: i, word: binary.BigEndian.Uint64(sum[8:]), sum: sum, last: -sentenceGap}
}

// unit maps 64 random bits to [0,1).
func unit(bits uint64) float64 { return float64(bits>>11) / (1 << 53) }

// Keyed is a chosen prompt's word, as a point that selects among the candidates.
type Keyed struct {
	inverse *Inverse
	word    uint64

	opened bool   // the first word is decided
	sum    []byte // the words of later sentences come from it
	last   int    // position of the last word that was chosen
	chosen uint64
}

// The guard leaves answers alone that have one obvious first word ("Paris"),
// embedded fingerprints among them.
const (
	certain = 0.4 // probability of the top token
	ahead   = 3.0 // its ratio to the second
)

// longestLead bounds how many blank tokens may come before the first word.
const longestLead = 4

// choose returns the keyed token where there is one to be. pending says that one may
// still come.
func (k *Keyed) choose(logits []float32, generated []int32) (id int32, keyed, pending bool) {
	if k.opened {
		id, keyed = k.sentence(logits, generated)
	} else {
		id, keyed, pending = k.open(logits, generated)
		k.opened = !pending
	}
	if keyed {
		k.last = len(generated)
	}
	return id, keyed, pending || k.inverse.Where == Sentences
}

// open is choose for the first content position. pending says that this position is
// still before it.
func (k *Keyed) open(logits []float32, generated []int32) (id int32, keyed, pending bool) {
	lex := k.inverse.Lexicon
	for _, g := range generated {
		if lex.kind(g) != blank {
			return 0, false, false
		}
	}
	d := measure(logits)
	if lex.kind(d.first) == blank {
		return 0, false, len(generated) < longestLead
	}
	if d.obvious() {
		return 0, false, false
	}
	id, keyed = k.pick(logits, d, lex, k.word)
	return id, keyed, false
}

// pick takes the candidate at the point, if the shell is full.
func (k *Keyed) pick(logits []float32, d distribution, lex *Lexicon, point uint64) (int32, bool) {
	var ids [100]int32
	var scratch [200]entry
	found := k.inverse.fromLogits(ids[:0], scratch[:0], logits, d, lex)
	if len(found) < k.inverse.K {
		return 0, false // such a prompt cannot be a fingerprint either
	}
	return at(found, point), true
}

// at is the candidate at the point.
func at(found []int32, point uint64) int32 {
	i, _ := bits.Mul64(point, uint64(len(found)))
	return found[i]
}

const (
	sentenceGap     = 80  // tokens between two chosen words, at least
	sentenceEntropy = 2.5 // nats that a sentence's beginning must leave open
)

// sentence is choose for what follows the first word.
func (k *Keyed) sentence(logits []float32, generated []int32) (int32, bool) {
	lex := k.inverse.Lexicon
	if len(generated)-k.last < sentenceGap || !lex.begins(generated) {
		return 0, false
	}
	d := measure(logits)
	if lex.kind(d.first) == blank || d.obvious() || d.entropy(logits) < sentenceEntropy {
		return 0, false
	}
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], k.chosen)
	point := sha256.Sum256(append(number[:], k.sum...))
	id, keyed := k.pick(logits, d, lex.spaced, binary.BigEndian.Uint64(point[:]))
	if keyed {
		k.chosen++
	}
	return id, keyed
}

// Reaches tells whether an answer that these logits begin, its prompt chosen, would
// be opened from the shell.
func (i *Inverse) Reaches(logits []float32) bool {
	k := Keyed{inverse: i}
	_, keyed, _ := k.choose(logits, nil)
	return keyed
}

// distribution is the softmax of a row at temperature 1, not written out.
type distribution struct {
	first      int32
	peak       float32 // logit of the most probable token
	second     float32
	normaliser float64 // sum of exp(logit - peak)
}

func measure(logits []float32) distribution {
	d := distribution{first: argmax(logits), second: float32(math.Inf(-1))}
	d.peak = top(logits)
	for i, l := range logits {
		d.normaliser += float64(expNeg(l - d.peak))
		if l > d.second && int32(i) != d.first {
			d.second = l
		}
	}
	return d
}

func (d distribution) obvious() bool {
	return obvious(1/d.normaliser, math.Exp(float64(d.peak-d.second)))
}

// obvious is the guard: of the top token's probability and its ratio to the second's.
func obvious(first, ratio float64) bool { return first >= certain || ratio >= ahead }

// entropy in nats: log Z less the mean of the logits above the peak's.
func (d distribution) entropy(logits []float32) float64 {
	var mean float64
	for _, l := range logits {
		if w := expNeg(l - d.peak); w > 0 {
			mean += float64(w) * float64(l-d.peak)
		}
	}
	return math.Log(d.normaliser) - mean/d.normaliser
}

func (d distribution) probability(logit float32) float64 {
	return float64(expNeg(logit-d.peak)) / d.normaliser
}

// logit is the inverse of probability.
func (d distribution) logit(p float64) float32 {
	return d.peak + float32(math.Log(p*d.normaliser))
}
