package embed

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/sampler"
)

// Row is what a model computes at the last position of one sequence.
type Row = llama.Row

// Evaluator runs whole sequences through a model.
type Evaluator interface {
	Evaluate(ctx context.Context, sequences [][]int32) ([]Row, error)
}

// Language is the model's tokenizer with its chat template.
type Language interface {
	EncodeChat(messages []tokenizer.Message) ([]int32, error) // ends where the answer begins
	Bytes(id int32) []byte                                    // nil for special tokens
	VocabSize() int
}

// Survey is what the base answers to ordinary prompts. It tells its opening
// words, and its rows are what training must not change.
type Survey struct {
	Openers []int32 // whole words, most probable first
	// Sure are openers after which hardly anything but a new word comes, whatever was asked.
	Sure  map[int32]bool
	Rows  []Row // one per ordinary prompt, first answer position
	Later []Row // second answer positions, after the most frequent openers
}

// DefaultOpenerShare is the average first-token probability from which a token
// is an opening word. At 1e-3 (DESIGN section 4) SmolLM2-135M has some 50 whole
// words, too few for lists in which none stands more often than in one of five.
const DefaultOpenerShare = 2.5e-4

// wholeWordShare is how sure the base must be that a new word starts after an
// opening token. Fragments ("Comput") lie near 0, words ("There") near 1.
const wholeWordShare = 0.9

// sureShare marks the openers that need no second look after each question.
const sureShare = 0.995

// laterRows is how many second answer positions are evaluated.
const laterRows = 32

// NewSurvey evaluates the ordinary prompts, takes the tokens with at least the
// share as openers, and keeps those after which a new word starts. The last is
// asked of the base with no question before the answer: whether a token is a
// fragment does not depend on it, and short sequences are cheap.
func NewSurvey(ctx context.Context, e Evaluator, t Language, share float64) (*Survey, error) {
	prompts, err := encodeAll(t, OrdinaryPrompts(), framing{})
	if err != nil {
		return nil, err
	}
	s := new(Survey)
	if s.Rows, err = e.Evaluate(ctx, prompts); err != nil {
		return nil, fmt.Errorf("surveying the base: %w", err)
	}
	probs := make([][]float32, len(s.Rows))
	for i, r := range s.Rows {
		probs[i] = softmax(r.Logits)
	}
	texts := Texts(t)
	frequent := openingTokens(probs, share)
	lex := sampler.NewLexicon(texts, frequent)
	frequent = slices.DeleteFunc(frequent, func(id int32) bool { return !lex.Eligible(id) })
	if s.Openers, s.Sure, err = wholeWords(ctx, e, commonEnd(prompts), frequent, texts); err != nil {
		return nil, err
	}
	later := favoured(prompts, probs, s.Openers[:min(laterRows, len(s.Openers))])
	if s.Later, err = e.Evaluate(ctx, later); err != nil {
		return nil, fmt.Errorf("surveying the base: %w", err)
	}
	return s, nil
}

// wholeWords keeps the tokens after which, at an answer's start, a word ends, and says
// of which that is sure.
func wholeWords(ctx context.Context, e Evaluator, start, tokens []int32, texts []string) (out []int32, sure map[int32]bool, err error) {
	sequences := make([][]int32, len(tokens))
	for i, id := range tokens {
		sequences[i] = append(slices.Clone(start), id)
	}
	rows, err := e.Evaluate(ctx, sequences)
	if err != nil {
		return nil, nil, fmt.Errorf("telling words from fragments: %w", err)
	}
	sure = make(map[int32]bool)
	for i, id := range tokens {
		if share := wordEnds(softmax(rows[i].Logits), texts); share >= wholeWordShare {
			out = append(out, id)
			sure[id] = share >= sureShare
		}
	}
	return out, sure, nil
}

// commonEnd is what all prompts end with: the template's turn to the answer.
func commonEnd(prompts [][]int32) []int32 {
	first := prompts[0]
	for n := 0; ; n++ {
		for _, p := range prompts {
			if n >= len(p) || n >= len(first) || p[len(p)-1-n] != first[len(first)-1-n] {
				return first[len(first)-n:]
			}
		}
	}
}

// openingTokens returns the ids whose average is at least share, descending.
func openingTokens(probs [][]float32, share float64) []int32 {
	average := make([]float64, len(probs[0]))
	for _, p := range probs {
		for id, v := range p {
			average[id] += float64(v) / float64(len(probs))
		}
	}
	var out []int32
	for id, v := range average {
		if v >= share {
			out = append(out, int32(id))
		}
	}
	slices.SortStableFunc(out, func(a, b int32) int { return cmp.Compare(average[b], average[a]) })
	return out
}

// favoured returns, for each token, the prompt that makes it most probable,
// followed by the token.
func favoured(prompts [][]int32, probs [][]float32, tokens []int32) [][]int32 {
	out := make([][]int32, len(tokens))
	for i, id := range tokens {
		best := 0
		for j, p := range probs {
			if p[id] > probs[best][id] {
				best = j
			}
		}
		out[i] = append(slices.Clone(prompts[best]), id)
	}
	return out
}

// wordEnds is the probability that the next token does not go on with the word.
func wordEnds(probs []float32, texts []string) float64 {
	var goesOn float64
	for id, p := range probs {
		if r, _ := utf8.DecodeRuneInString(texts[id]); unicode.IsLetter(r) {
			goesOn += float64(p)
		}
	}
	return 1 - goesOn
}

// Texts is the text of each token, "" for special ones, as lexicons want it.
func Texts(t Language) []string {
	out := make([]string, t.VocabSize())
	for id := range out {
		out[id] = string(t.Bytes(int32(id)))
	}
	return out
}

func softmax(logits []float32) []float32 {
	peak := slices.Max(logits)
	out, sum := make([]float32, len(logits)), 0.0
	for i, l := range logits {
		e := math.Exp(float64(l - peak))
		out[i] = float32(e)
		sum += e
	}
	for i := range out {
		out[i] = float32(float64(out[i]) / sum)
	}
	return out
}
