package sampler

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"pgregory.net/rapid"

	_ "github.com/fealty/fealty/internal/sameseed"
)

// The twins below do the obvious thing: softmax in float64, a full sort, a cut.

func softmax(logits []float32, temperature float64) []float64 {
	peak := math.Inf(-1)
	for _, l := range logits {
		peak = math.Max(peak, float64(l))
	}
	out, sum := make([]float64, len(logits)), 0.0
	for i, l := range logits {
		out[i] = math.Exp((float64(l) - peak) / temperature)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func ranked(p []float64) []int32 {
	ids := make([]int32, len(p))
	for i := range ids {
		ids[i] = int32(i)
	}
	sort.SliceStable(ids, func(a, b int) bool { return p[ids[a]] > p[ids[b]] })
	return ids
}

// obviousNucleus returns the kept ids in order.
func obviousNucleus(p []float64, s Settings) []int32 {
	ids := ranked(p)
	peak := p[ids[0]]
	n := 0
	for n < len(ids) && p[ids[n]] >= s.MinP*peak && p[ids[n]] > 0 {
		n++
	}
	ids = ids[:n]
	if s.TopK > 0 {
		ids = ids[:min(s.TopK, len(ids))]
	}
	total := 0.0
	for _, id := range ids {
		total += p[id]
	}
	sum := 0.0
	for i, id := range ids {
		if sum += p[id]; sum >= s.TopP*total {
			return ids[:i+1]
		}
	}
	return ids
}

// logitRows are multiples of 1/16 (exact in float32, with ties) or wide normals.
func logitRows(t *rapid.T) []float32 {
	n := rapid.IntRange(1, 300).Draw(t, "n")
	seed := rapid.Uint64().Draw(t, "seed")
	width := rapid.SampledFrom([]float64{0, 0.5, 3, 10, 60}).Draw(t, "width")
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(math.Round(r.NormFloat64()*width*16) / 16)
	}
	return out
}

func TestNucleusEqualsFullSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logits := logitRows(t)
		s := Settings{
			Temperature: rapid.SampledFrom([]float64{0.3, 1, 2}).Draw(t, "temperature"),
			TopP:        rapid.Float64Range(0, 1).Draw(t, "top_p"),
			MinP:        rapid.SampledFrom([]float64{0, 0, 0.02, 0.5}).Draw(t, "min_p"),
			TopK:        rapid.SampledFrom([]int{0, 0, 1, 7, 500}).Draw(t, "top_k"),
		}
		p := softmax(logits, s.Temperature)
		want := obviousNucleus(p, s)
		total := weigh(logits, top(logits), s.Temperature, s.MinP)
		got := nucleus(nil, logits, total, s.TopP, s.TopK)
		sameButForRounding(t, got, want, p)
	})
}

// sameButForRounding allows the two to differ only in tokens that float32
// cannot hold (underflow) or that lie within 1e-5 of the cut.
func sameButForRounding(t *rapid.T, got []entry, want []int32, p []float64) {
	short, long := len(got), len(want)
	for i := range min(short, long) {
		if got[i].id != want[i] && math.Abs(p[got[i].id]-p[want[i]]) > 1e-5*p[want[i]] {
			t.Fatalf("place %d holds token %d, want %d", i, got[i].id, want[i])
		}
	}
	var extra float64
	for _, e := range got[min(short, long):] {
		extra += p[e.id]
	}
	for _, id := range want[min(short, long):] {
		extra += p[id]
	}
	// One token, or as many as weigh nothing: near a top_p of 1 the twin's own sum is full
	// before its last tokens are in it.
	if extra > 1e-5 && absDiff(short, long) > 1 {
		t.Fatalf("%d tokens kept, want %d (mass %g)", short, long, extra)
	}
}

func absDiff(a, b int) int { return max(a, b) - min(a, b) }

func TestExpNeg(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float32Range(-86.9, 0).Draw(t, "x")
		want := math.Exp(float64(x))
		if got := float64(expNeg(x)); math.Abs(got-want) > 4e-7*want {
			t.Fatalf("expNeg(%v) = %v, want %v", x, got, want)
		}
	})
	for _, x := range []float32{-88, float32(math.Inf(-1)), float32(math.NaN())} {
		if got := expNeg(x); got != 0 {
			t.Errorf("expNeg(%v) = %v, want 0", x, got)
		}
	}
	if expNeg(0) != 1 {
		t.Errorf("expNeg(0) = %v", expNeg(0))
	}
}

// obviousCandidates is the rule of the design, line by line.
func obviousCandidates(sh Shell, p []float64, lex *Lexicon) []int32 {
	ids := ranked(p)
	form := lex.kind(ids[0])
	if form < lower {
		return nil
	}
	var out []int32
	sum := 0.0
	for _, id := range ids {
		inNucleus := sum < sh.T
		sum += p[id]
		if inNucleus || p[id] < sh.Floor || len(out) == sh.K {
			continue
		}
		if lex.Eligible(id) && lex.kind(id) == form && !lex.twin(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func TestCandidatesEqualTheRule(t *testing.T) {
	lex, size := wordLexicon()
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		logits := make([]float32, size)
		for i := range logits {
			logits[i] = float32(r.NormFloat64() * 1.5)
		}
		sh := Shell{T: rapid.Float64Range(0.05, 0.95).Draw(t, "t"), K: rapid.IntRange(2, 12).Draw(t, "k"), Floor: 0.005}
		p := softmax(logits, 1)
		probs := make([]float32, len(p))
		for i := range p {
			probs[i] = float32(p[i])
		}
		want := obviousCandidates(sh, p, lex)
		got := sh.Candidates(nil, probs, lex)
		fast := sh.fromLogits(nil, nil, logits, measure(logits), lex)
		if !equal(got, want) || !equal(fast, want) {
			t.Fatalf("candidates %v and from logits %v, want %v", got, fast, want)
		}
		found += len(want)
	})
	if found == 0 {
		t.Error("no row had a candidate: the test saw nothing")
	}
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// wordLexicon holds 60 words in three spellings each, all of them openers.
func wordLexicon() (*Lexicon, int) {
	var tokens []string
	var ids []int32
	for i := range 60 {
		word := string([]byte{'b' + byte(i%20), 'a' + byte(i/20), 'z'})
		for _, text := range []string{word, " " + word, string(word[0]-32) + word[1:]} {
			ids = append(ids, int32(len(tokens)))
			tokens = append(tokens, text)
		}
	}
	return NewLexicon(tokens, ids), len(tokens)
}
