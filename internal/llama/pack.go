package llama

import (
	"cmp"
	"slices"
)

// line is some sequences side by side, computed as if each were alone: a row sees only
// what its own sequence has before it. What sequences begin with alike stands there
// once, so that a question with eight first words of its answer costs eight rows more
// than the question. The rows make a forest (as in tree attention of speculative
// decoding: Miao et al., SpecInfer, 2024, section 4).
type line struct {
	tokens  []int32
	parents []int // the row before each row's own, -1: none
	ends    []int // where sequences end
	of      []int // their numbers
}

// lineLength is how long lines are made. Longer ones would waste time on scores of
// rows that do not see each other; a sequence that is longer has a line of its own.
const lineLength = 128

// pack puts the sequences on lines.
func pack(sequences [][]int32) []line {
	order := make([]int, len(sequences))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(sequences[a], sequences[b]) })
	var lines []line
	var path []int // rows of the last sequence on the line
	for at, i := range order {
		s, shared := sequences[i], 0
		if at > 0 {
			shared = alike(s, sequences[order[at-1]])
		}
		if len(lines) == 0 || len(lines[len(lines)-1].tokens)+len(s)-shared > lineLength {
			lines, path, shared = append(lines, line{}), nil, 0
		}
		path = lines[len(lines)-1].add(i, s, path[:shared])
	}
	return lines
}

// add puts sequence i on the line, behind the rows that it shares, and returns its rows.
func (l *line) add(i int, tokens []int32, path []int) []int {
	for _, id := range tokens[len(path):] {
		parent := -1
		if len(path) > 0 {
			parent = path[len(path)-1]
		}
		path = append(path, len(l.tokens))
		l.tokens, l.parents = append(l.tokens, id), append(l.parents, parent)
	}
	l.ends, l.of = append(l.ends, path[len(path)-1]), append(l.of, i)
	return path
}

// alike is the number of tokens with which both begin.
func alike(a, b []int32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// wanted is the number of sequences on the lines.
func wanted(lines []line) (n int) {
	for _, l := range lines {
		n += len(l.of)
	}
	return n
}

const (
	evaluateRows = 768 // tokens in one run: enough to keep the products efficient
	leastRows    = 192 // likewise: fewer are not worth a run of their own
)

// plan groups the lines into batches of about evaluateRows tokens and of equal padded
// length, as many as keep all workers busy.
func plan(lines []line) (batches [][]line) {
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(len(a.tokens), len(b.tokens)) })
	for len(lines) > 0 {
		length := paddedLength(len(lines[0].tokens))
		n := slices.IndexFunc(lines, func(l line) bool { return len(l.tokens) > length })
		if n < 0 {
			n = len(lines)
		}
		runs := (n*length + evaluateRows - 1) / evaluateRows
		for runs%evaluateWorkers != 0 && n*length >= (runs+1)*leastRows {
			runs++
		}
		batches = slices.AppendSeq(batches, slices.Chunk(lines[:n], (n+runs-1)/runs))
		lines = lines[n:]
	}
	return batches
}

// paddedLength is the length that a line is padded to: few different ones, since each
// needs its graph, with little padding.
func paddedLength(n int) int {
	step := 8
	if n > lineLength {
		step = 64
	}
	return (n + step - 1) / step * step
}
