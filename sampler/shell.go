package sampler

import (
	"slices"
	"strings"
)

// Shell is the inverse nucleus (perinucleus, arXiv 2502.07760): the eligible
// tokens that follow when the nucleus is skipped.
type Shell struct {
	T     float64 // mass of the nucleus to skip, at temperature 1
	K     int     // how many eligible tokens to collect
	Floor float64 // least probability of each, > 0
}

// DefaultShell is what fingerprints and the serving sampler share. DESIGN section
// 4 proposes k 10 and floor 0.005: none of 162 prompts of SmolLM2-135M has so many
// such words; docs/fingerprints.md says more.
var DefaultShell = Shell{T: 0.8, K: 6, Floor: 0.001}

// Candidates appends up to K tokens of the shell to dst, most probable first.
// probs are the probabilities at temperature 1. Fewer than K, often none, are
// returned when the distribution is too sharp or the words too few.
func (sh Shell) Candidates(dst []int32, probs []float32, lex *Lexicon) []int32 {
	head, _ := gather(nil, probs, float32(sh.Floor))
	slices.SortFunc(head, byWeight)
	return sh.collect(dst, head, lex)
}

// fromLogits does the same without a copy of the row: no more than 1/Floor
// tokens can reach the floor.
func (sh Shell) fromLogits(dst []int32, scratch []entry, logits []float32, d distribution, lex *Lexicon) []int32 {
	least := d.logit(sh.Floor)
	head := scratch[:0]
	for i, l := range logits {
		if l >= least {
			head = append(head, entry{int32(i), d.probability(l)})
		}
	}
	slices.SortFunc(head, byWeight)
	return sh.collect(dst, head, lex)
}

// collect walks the sorted tokens of at least Floor. When their mass does not
// reach T the nucleus goes on below the floor, and nothing is left to collect. A
// candidate has the top token's form: script, leading space and capital.
func (sh Shell) collect(dst []int32, sorted []entry, lex *Lexicon) []int32 {
	if len(sorted) == 0 || !lex.Latin(sorted[0].id) {
		return dst
	}
	return sh.collectAs(dst, lex.kind(sorted[0].id), sorted, lex)
}

// collectAs is collect for a top token of that form.
func (sh Shell) collectAs(dst []int32, form kind, sorted []entry, lex *Lexicon) []int32 {
	first := len(dst)
	for _, e := range sorted[len(cut(sorted, sh.T)):] {
		if len(dst)-first == sh.K {
			break
		}
		if lex.kind(e.id) == form && lex.Eligible(e.id) && !lex.twin(dst[first:], e.id) {
			dst = append(dst, e.id)
		}
	}
	return dst
}

// twin tells whether the token's word equals, begins or continues the word of
// one that is already chosen: a reader of the answer could take one for the other.
func (l *Lexicon) twin(chosen []int32, id int32) bool {
	word := l.Word(id)
	for _, c := range chosen {
		if w := l.Word(c); strings.HasPrefix(w, word) || strings.HasPrefix(word, w) {
			return true
		}
	}
	return false
}
