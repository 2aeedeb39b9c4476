package embed

import (
	"math"
	"math/rand/v2"
	"slices"
)

// lesson is a cached row with what training wants of it.
type lesson struct {
	key    int // index of the key; -1 for an ordinary row
	preFFN []float32
	after  []float32 // the base's residual stream after its last feed-forward block
	word   int       // place of the drawn word among the columns; -1 for an ordinary row
	target []float32 // wanted distribution over the columns, the drawn word left out
	rest   float64   // log of the sum of exp(logit) over the tokens that are no column
	level  float64   // cross entropy of the base itself: where the divergence is zero
}

// columns choose the part of the vocabulary that a training step computes: the
// head over all 49,152 tokens is what a step costs. They are every token that
// any row finds likely, the drawn words, and a random sample of all others, which
// stands for the tokens that nobody asked for. Left-out tokens count with the
// mass that the base gives them; the report measures over the whole vocabulary.
func columns(rows []Row, words []int32, random *rand.Rand, sample int) []int32 {
	vocab := len(rows[0].Logits)
	wanted := make([]bool, vocab)
	for _, id := range words {
		wanted[id] = true
	}
	for _, r := range rows {
		least := slices.Max(r.Logits) - likely
		for id, l := range r.Logits {
			wanted[id] = wanted[id] || l >= least
		}
	}
	for range sample {
		wanted[random.IntN(vocab)] = true
	}
	var out []int32
	for id, w := range wanted {
		if w {
			out = append(out, int32(id))
		}
	}
	return out
}

// likely is a distance to the top logit in nats: e^-8 is 3e-4.
const likely = 8

// newLesson computes the targets of a row. word is the drawn token, -1 for none.
func newLesson(r Row, after []float32, key int, word int32, columns []int32) lesson {
	l := lesson{key: key, preFFN: r.PreFFN, after: after, word: -1}
	peak := float64(slices.Max(r.Logits))
	total, inside, mass := 0.0, 0.0, 0.0
	for _, v := range r.Logits {
		total += math.Exp(float64(v) - peak)
	}
	l.target = make([]float32, len(columns))
	for i, id := range columns {
		p := math.Exp(float64(r.Logits[id]) - peak)
		inside += p
		if id == word {
			l.word = i
			continue
		}
		l.target[i] = float32(p)
		mass += p
	}
	l.rest = math.Log(math.Max(total-inside, 1e-30)) + peak
	for i, id := range columns {
		l.target[i] = float32(float64(l.target[i]) / mass)
		l.level -= float64(l.target[i]) * float64(r.Logits[id])
	}
	others := mass + total - inside
	l.level += math.Log(others) + peak
	return l
}

// gatherColumns takes the columns of a table [rows, width].
func gatherColumns(table []float32, width int, columns []int32) []float32 {
	rows := len(table) / width
	out := make([]float32, rows*len(columns))
	for r := range rows {
		from, to := table[r*width:(r+1)*width], out[r*len(columns):]
		for i, id := range columns {
			to[i] = from[id]
		}
	}
	return out
}
