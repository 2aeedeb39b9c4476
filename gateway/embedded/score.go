package embedded

import (
	"math"
	"slices"
	"strconv"

	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/openai"
)

// score is what the model thought of one token, and of those it thought most of:
// natural logarithms of probabilities at temperature 1, before bias and penalties.
type score struct {
	logprob float32 // of the token that was chosen
	top     []alternative
}

type alternative struct {
	id      int32
	logprob float32
}

// scorer is a Chooser that records the scores of what another one chooses. The
// first tokens it may be told: then it scores a prompt.
type scorer struct {
	told []int32
	then engine.Chooser
	top  int        // alternatives of each token
	out  chan score // has room for all: nobody is waited for
}

// Choose implements engine.Chooser.
func (s *scorer) Choose(logits []float32, generated []int32) int32 {
	total := logSum(logits)
	one := score{top: best(logits, s.top)}
	for i := range one.top {
		one.top[i].logprob -= total
	}
	if n := len(generated); n < len(s.told) {
		one.logprob = logits[s.told[n]] - total
		s.out <- one
		return s.told[n]
	}
	kept := slices.Clone(logits) // Choose overwrites them
	id := s.then.Choose(logits, generated[len(s.told):])
	if id >= 0 && int(id) < len(kept) {
		one.logprob = kept[id] - total
	}
	s.out <- one
	return id
}

// logSum is log(sum(exp(logits))).
func logSum(logits []float32) float32 {
	peak := slices.Max(logits)
	var sum float64
	for _, l := range logits {
		sum += math.Exp(float64(l - peak))
	}
	return peak + float32(math.Log(sum))
}

// best are the k largest, largest first; k is small.
func best(logits []float32, k int) []alternative {
	top := make([]alternative, 0, k+1)
	for id, l := range logits {
		if len(top) == k && (k == 0 || l <= top[k-1].logprob) {
			continue
		}
		at := len(top)
		for at > 0 && top[at-1].logprob < l {
			at--
		}
		top = slices.Insert(top, at, alternative{int32(id), l})
		top = top[:min(len(top), k)]
	}
	return top
}

// token is a scored token of an answer or a prompt.
type token struct {
	score
	id    int32
	first bool // of a prompt: nothing came before it, so it has no probability
	start int  // of its text, in bytes
}

// appendLogprobs is the member logprobs of a choice; null if none were asked for.
func (a *answer) appendLogprobs(tokens []token) {
	a.raw(`"logprobs":`)
	switch {
	case !a.call.Request.Logprobs:
		a.raw("null")
	case a.call.Request.Kind == openai.Chat:
		a.chatLogprobs(tokens)
	default:
		a.completionLogprobs(tokens)
	}
}

func (a *answer) chatLogprobs(tokens []token) {
	a.raw(`{"content":[`)
	for i, t := range tokens {
		a.comma(i)
		a.scored(alternative{t.id, t.logprob})
		a.raw(`,"top_logprobs":[`)
		for j, other := range t.top {
			a.comma(j)
			a.scored(other)
			a.raw("}")
		}
		a.raw("]}")
	}
	a.raw(`],"refusal":null}`)
}

// scored is a token, its log-probability and its bytes, as an unclosed object.
func (a *answer) scored(t alternative) {
	text := a.tokens.Bytes(t.id)
	a.raw(`{"token":`)
	a.out = openai.AppendText(a.out, string(text))
	a.raw(`,"logprob":`)
	a.float(t.logprob)
	a.raw(`,"bytes":[`)
	for i, b := range text {
		a.comma(i)
		a.out = strconv.AppendUint(a.out, uint64(b), 10)
	}
	a.raw("]")
}

// completionLogprobs is the older form: four lists. The alternatives of a token
// hold the token itself.
func (a *answer) completionLogprobs(tokens []token) {
	a.list(`{"tokens":`, tokens, func(t token) { a.out = openai.AppendText(a.out, string(a.tokens.Bytes(t.id))) })
	a.list(`,"token_logprobs":`, tokens, func(t token) {
		if t.first {
			a.raw("null")
			return
		}
		a.float(t.logprob)
	})
	a.list(`,"top_logprobs":`, tokens, a.alternatives)
	a.list(`,"text_offset":`, tokens, func(t token) { a.out = strconv.AppendInt(a.out, int64(t.start), 10) })
	a.raw("}")
}

func (a *answer) list(name string, tokens []token, each func(token)) {
	a.raw(name + "[")
	for i, t := range tokens {
		a.comma(i)
		each(t)
	}
	a.raw("]")
}

func (a *answer) alternatives(t token) {
	if t.first {
		a.raw("null")
		return
	}
	seen := map[string]bool{} // several tokens may have the same text
	a.raw("{")
	for _, other := range append([]alternative{{t.id, t.logprob}}, t.top...) {
		text := string(a.tokens.Bytes(other.id))
		if seen[text] {
			continue
		}
		a.comma(len(seen))
		seen[text] = true
		a.out = openai.AppendText(a.out, text)
		a.raw(":")
		a.float(other.logprob)
	}
	a.raw("}")
}

func (a *answer) comma(i int) {
	if i > 0 {
		a.raw(",")
	}
}

// leastLogprob stands for minus infinity, which is no JSON.
const leastLogprob = -9999

func (a *answer) float(v float32) {
	if !(v >= leastLogprob) {
		v = leastLogprob
	}
	a.out = strconv.AppendFloat(a.out, float64(v), 'g', -1, 32)
}
