package stealth

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// Logistic is a linear classifier on standardised features.
type Logistic struct {
	centre, scale []float64
	weights       []float64 // the last is the intercept
}

// Train fits logistic regression with an L2 penalty of the strength on all weights
// but the intercept, by Newton's method: it minimises the sum of log losses plus
// strength/2 times the squared weights. Rows are samples; a feature that never
// varies counts for nothing.
func Train(rows [][]float64, positive []bool, strength float64) (*Logistic, error) {
	if len(rows) == 0 || len(rows) != len(positive) {
		return nil, fmt.Errorf("stealth: %d rows of features and %d labels; give as many of each", len(rows), len(positive))
	}
	if strength <= 0 {
		return nil, errors.New("stealth: the penalty must be above 0: separable groups have no finite weights without it")
	}
	l := standardise(rows)
	dims := len(l.centre) + 1
	l.weights = make([]float64, dims)
	x := make([][]float64, len(rows))
	for i, r := range rows {
		x[i] = l.standard(r)
	}
	for range 100 {
		gradient, hessian := l.derivatives(x, positive, strength)
		var step mat.VecDense
		if err := step.SolveVec(hessian, gradient); err != nil {
			return nil, fmt.Errorf("stealth: fitting the classifier: %w", err)
		}
		var size float64
		for i := range l.weights {
			l.weights[i] -= step.AtVec(i)
			size = math.Max(size, math.Abs(step.AtVec(i)))
		}
		if size < 1e-10 {
			return l, nil
		}
	}
	return nil, errors.New("stealth: the classifier does not converge within 100 steps; raise the penalty")
}

func standardise(rows [][]float64) *Logistic {
	l := &Logistic{centre: make([]float64, len(rows[0])), scale: make([]float64, len(rows[0]))}
	column := make([]float64, len(rows))
	for j := range l.centre {
		for i, r := range rows {
			column[i] = r[j]
		}
		l.centre[j] = mean(column)
		l.scale[j] = math.Sqrt(variance(column, l.centre[j]))
		if l.scale[j] < 1e-12 {
			l.scale[j] = math.Inf(1)
		}
	}
	return l
}

func (l *Logistic) standard(row []float64) []float64 {
	out := make([]float64, len(row)+1)
	for j, v := range row {
		out[j] = (v - l.centre[j]) / l.scale[j]
	}
	out[len(row)] = 1
	return out
}

func (l *Logistic) derivatives(x [][]float64, positive []bool, strength float64) (*mat.VecDense, *mat.SymDense) {
	dims := len(l.weights)
	gradient, hessian := mat.NewVecDense(dims, nil), mat.NewSymDense(dims, nil)
	for i, r := range x {
		p := 1 / (1 + math.Exp(-dot(l.weights, r)))
		off := p
		if positive[i] {
			off--
		}
		for a := range dims {
			gradient.SetVec(a, gradient.AtVec(a)+off*r[a])
			for b := a; b < dims; b++ {
				hessian.SetSym(a, b, hessian.At(a, b)+p*(1-p)*r[a]*r[b])
			}
		}
	}
	for a := range dims - 1 {
		gradient.SetVec(a, gradient.AtVec(a)+strength*l.weights[a])
		hessian.SetSym(a, a, hessian.At(a, a)+strength)
	}
	// The intercept of groups that are told apart surely has no curvature left.
	hessian.SetSym(dims-1, dims-1, hessian.At(dims-1, dims-1)+1e-9)
	return gradient, hessian
}

// Score is the log odds of a row being positive.
func (l *Logistic) Score(row []float64) float64 { return dot(l.weights, l.standard(row)) }

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// penalty of the classifier in [Classify]: scikit-learn's default, C = 1.
const penalty = 1

// Classify trains on all folds but one and scores that one, so that no sample is
// judged by a classifier that has seen it, and returns the scores with the area over
// all. Samples of equal groups stay in one fold: repeats of one prompt would give it
// away; nil: each is its own. At least `folds` groups of each kind are needed.
func Classify(rows [][]float64, positive []bool, groups []int, folds int, seed uint64) ([]float64, Interval, error) {
	if groups == nil {
		groups = make([]int, len(rows))
		for i := range groups {
			groups[i] = i
		}
	}
	fold, err := deal(positive, groups, folds, seed)
	if err != nil {
		return nil, Interval{}, err
	}
	scores := make([]float64, len(rows))
	for f := range folds {
		var some [][]float64
		var labels []bool
		for i := range rows {
			if fold[i] != f {
				some, labels = append(some, rows[i]), append(labels, positive[i])
			}
		}
		l, err := Train(some, labels, penalty)
		if err != nil {
			return nil, Interval{}, err
		}
		for i := range rows {
			if fold[i] == f {
				scores[i] = l.Score(rows[i])
			}
		}
	}
	yes, no := Split(scores, positive)
	return scores, AUC(yes, no, 0.95), nil
}

// deal gives each group a fold, positives and negatives by turns.
func deal(positive []bool, groups []int, folds int, seed uint64) ([]int, error) {
	kind := map[int]bool{}
	var order []int
	for i, g := range groups {
		if _, seen := kind[g]; !seen {
			order = append(order, g)
		}
		kind[g] = positive[i]
	}
	random := rand.New(rand.NewPCG(seed, 2))
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	next, foldOf := map[bool]int{}, map[int]int{}
	for _, g := range order {
		foldOf[g] = next[kind[g]] % folds
		next[kind[g]]++
	}
	if next[true] < folds || next[false] < folds {
		return nil, fmt.Errorf("stealth: %d fingerprints and %d ordinary prompts; cross-validation needs at least %d of each", next[true], next[false], folds)
	}
	fold := make([]int, len(groups))
	for i, g := range groups {
		fold[i] = foldOf[g]
	}
	return fold, nil
}

// Split separates values by their labels.
func Split(values []float64, positive []bool) (yes, no []float64) {
	for i, v := range values {
		if positive[i] {
			yes = append(yes, v)
		} else {
			no = append(no, v)
		}
	}
	return yes, no
}
