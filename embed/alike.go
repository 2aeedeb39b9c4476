package embed

// likeness is, for each question, how far a unit that is placed for it alone would
// open for the row that it opens for most: another question, or an ordinary prompt. A
// key of high likeness takes ordinary answers with it that resemble its own.
//
// It is z of [placer], with the row in question left out of the covariance
// (Sherman-Morrison). Left in, a row tells nothing: with fewer rows than coordinates
// the discriminant finds a direction in which all that it has seen look alike.
func likeness(questions, ordinary []State) []float64 {
	rows := make([][]float32, 0, len(questions)+len(ordinary))
	for _, list := range [][]State{questions, ordinary} {
		for _, s := range list {
			rows = append(rows, unitSized(s.PreFFN))
		}
	}
	n := float64(len(rows))
	mean := meanOf(rows)
	s := covarianceOf(rows, mean)
	s.ridge()
	solve := s.factor()
	away, left := make([][]float64, len(rows)), make([]float64, len(rows))
	directions := make([][]float64, len(questions))
	for i, r := range rows {
		for h, v := range r {
			away[i] = append(away[i], float64(v)-mean[h])
		}
		w := solve(away[i])
		if left[i] = 1 - dot(w, away[i])/n; i < len(directions) {
			directions[i] = w
		}
	}
	out := make([]float64, len(questions))
	for i, w := range directions {
		own := dot(w, away[i])
		for j := range rows {
			if j != i {
				out[i] = max(out[i], dot(w, away[j])/left[j]/own)
			}
		}
	}
	return out
}

// unitSized is a state as RMSNorm sees it, without gain.
func unitSized(x []float32) []float32 {
	out, size := make([]float32, len(x)), float32(spread([][]float32{x}))
	for i, v := range x {
		out[i] = v / size
	}
	return out
}
