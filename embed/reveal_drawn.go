package embed

// Drawn are the revealed keys with their words, in the order of the reveal. Call Check
// first: this believes what the reveal says.
func (r *Reveal) Drawn() []Drawn {
	out := make([]Drawn, len(r.Keys))
	for i, k := range r.Keys {
		d := Drawn{Key: Key{Question: k.Question, Secret: k.Secret}}
		for j, word := range k.Candidates {
			d.Candidates = append(d.Candidates, Candidate{Word: word})
			if word == k.Word {
				d.Choice = j
			}
		}
		out[i] = d
	}
	return out
}
