package embed

import "math/rand/v2"

// lesson is a cached row with what training wants of it.
type lesson struct {
	key    int       // index of the key; -1 for an ordinary row
	word   int       // place of the drawn word among the columns; -1 for an ordinary row
	preFFN []float32 // [hidden]
	base   []float32 // [columns]: the base's logits
	bare   []float32 // [hidden]: the base's residual stream after its last feed-forward block, without the units that training takes over
	inner  []float32 // [FFN]: the block's activations, for low rank
	total  float64   // State.Total
}

// columns choose the part of the vocabulary that a training step computes: the
// head over all 49,152 tokens is what a step costs. They are every token that
// any row finds likely, the drawn words, and a random sample of all others, which
// stands for the tokens that nobody asked for. Left-out tokens count with the
// mass that the base gives them; the report measures over the whole vocabulary.
func columns(states []State, words []int32, vocab int, random *rand.Rand, sample int) []int32 {
	wanted := make([]bool, vocab)
	for _, id := range words {
		wanted[id] = true
	}
	for _, s := range states {
		for _, id := range s.Likely {
			wanted[id] = true
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
