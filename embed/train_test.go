package embed

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/weights"
)

func normalData(r *rand.Rand, n int, size float64) []float32 { return normals(r, n, size) }

// tinyModel has two layers of 64 units over 8 values: feed-forward blocks only,
// which is all that Expand reads.
func tinyModel(r *rand.Rand) *weights.Model {
	m := &weights.Model{Config: weights.Config{Layers: 2, Hidden: 8, FFN: 64, Vocab: 50, NormEps: 1e-5}, Tensors: map[string]*weights.Tensor{}}
	for layer := range 2 {
		gate, up, down := weights.BlockTensors(layer)
		m.Tensors[gate] = &weights.Tensor{Shape: []int{64, 8}, Data: normalData(r, 512, 0.5)}
		m.Tensors[up] = &weights.Tensor{Shape: []int{64, 8}, Data: normalData(r, 512, 0.5)}
		m.Tensors[down] = &weights.Tensor{Shape: []int{8, 64}, Data: normalData(r, 512, 0.5)}
	}
	return m
}

// blockOutput is SwiGLU in float64, straight from the checkpoint's layout.
func blockOutput(m *weights.Model, layer int, x []float32) []float64 {
	gate, up, down := weights.BlockTensors(layer)
	hidden, units := m.Config.Hidden, m.Config.FFN
	out := make([]float64, hidden)
	for u := range units {
		var g, v float64
		for h := range hidden {
			g += float64(m.Tensors[gate].Data[u*hidden+h]) * float64(x[h])
			v += float64(m.Tensors[up].Data[u*hidden+h]) * float64(x[h])
		}
		for h := range hidden {
			out[h] += g / (1 + math.Exp(-g)) * v * float64(m.Tensors[down].Data[h*units+u])
		}
	}
	return out
}

func TestExpandComputesTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	base := tinyModel(r)
	before := slices.Clone(base.Tensors["model.layers.0.mlp.down_proj.weight"].Data)
	e, err := Expand(base, 32, 7)
	if err != nil {
		t.Fatal(err)
	}
	for layer := range 2 {
		for range 20 {
			x := normalData(r, 8, 1)
			want, got := blockOutput(base, layer, x), blockOutput(e.Model, layer, x)
			for h := range want {
				if math.Abs(got[h]-want[h]) > 1e-12 {
					t.Fatalf("layer %d gives %v, the base %v", layer, got[h], want[h])
				}
			}
		}
	}
	if e.Model.Config.FFN != 96 || base.Config.FFN != 64 || !slices.Equal(before, base.Tensors["model.layers.0.mlp.down_proj.weight"].Data) {
		t.Error("the width is wrong, or the base was changed")
	}
	checkAdded(t, e)
}

// checkAdded wants the new units scattered, silent, and no others silent.
func checkAdded(t *testing.T, e *Expanded) {
	t.Helper()
	_, _, down := weights.BlockTensors(1)
	var silent []int
	for u := range 96 {
		loud := false
		for h := range 8 {
			loud = loud || e.Model.Tensors[down].Data[h*96+u] != 0
		}
		if !loud {
			silent = append(silent, u)
		}
	}
	added := slices.Sorted(slices.Values(e.Added))
	if !slices.Equal(silent, added) {
		t.Errorf("silent units %v, added ones %v", silent, added)
	}
	if added[len(added)-1]-added[0] == len(added)-1 {
		t.Error("the added units stand side by side")
	}
}

func TestExpandFillsAddedPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	base := tinyModel(r)
	e, err := Expand(base, 32, 7)
	if err != nil {
		t.Fatal(err)
	}
	a := randomCarriers(r, 8, 64, 32, 0)
	e.fill(a)
	x := normalData(r, 8, 1)
	want := blockOutput(base, 1, x)
	for u := range 32 {
		var g, v float64
		for h := range 8 {
			g += float64(a.gate[h*32+u]) * float64(x[h])
			v += float64(a.up[h*32+u]) * float64(x[h])
		}
		for h := range 8 {
			want[h] += g / (1 + math.Exp(-g)) * v * float64(a.down[u*8+h])
		}
	}
	got := blockOutput(e.Model, 1, x)
	for h := range want {
		if math.Abs(got[h]-want[h]) > 1e-9 {
			t.Fatalf("output %v, want %v", got, want)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	base := tinyModel(rand.New(rand.NewPCG(1, 1)))
	for _, units := range []int{0, 31, 33, 96} {
		if _, err := Expand(base, units, 1); err == nil || !strings.Contains(err.Error(), "units") {
			t.Errorf("%d units: %v", units, err)
		}
	}
}

// randomCarriers are all added ones.
func randomCarriers(r *rand.Rand, hidden, ffn, units, rank int) *carriers {
	return &carriers{
		hidden: hidden, ffn: ffn, units: units, added: units, rank: rank,
		gate: normalData(r, hidden*units, 1), up: normalData(r, hidden*units, 1), down: normalData(r, units*hidden, 0.5),
		in: normalData(r, ffn*rank, 0.5), out: normalData(r, rank*hidden, 0.5),
	}
}

// problem is a small random training step.
func problem(r *rand.Rand, units, rank int) (frozen, *batch, *carriers) {
	const hidden, ffn, cols, rows = 6, 9, 20, 5
	f := frozen{ffnNorm: normalData(r, hidden, 1), finalNorm: normalData(r, hidden, 1), head: normalData(r, hidden*cols, 1), hidden: hidden, columns: cols, eps: 1e-5}
	c := randomCarriers(r, hidden, ffn, units, rank)
	b := newBatch(rows, c, cols)
	for i := range rows {
		l := lesson{word: -1, preFFN: normalData(r, hidden, 1), base: normalData(r, cols, 1), bare: normalData(r, hidden, 1), inner: normalData(r, ffn, 1), total: 5}
		if i < 3 {
			l.word, b.push[i] = i, 0.5
		}
		b.set(i, &l, c, 0.9, 0.8)
		b.hold[i] = 0.3
	}
	return f, b, c
}

// The gradient that the graph gives must be that of the loss it gives.
func TestGradientAgreesWithDifferences(t *testing.T) {
	low := DefaultRecipe()
	low.Cap, low.Ceiling = 0.1, 0.5 // the random rows are surer
	for name, try := range map[string]struct {
		units, rank int
		recipe      Recipe
	}{"units": {4, 0, DefaultRecipe()}, "low rank": {0, 3, DefaultRecipe()}, "both": {4, 3, DefaultRecipe()}, "above a ceiling": {4, 0, low}} {
		t.Run(name, func(t *testing.T) {
			f, b, c := problem(rand.New(rand.NewPCG(5, 6)), try.units, try.rank)
			tr, err := newTrainer(f, c, try.recipe)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.close()
			checkGradient(t, tr, b, c)
		})
	}
}

func checkGradient(t *testing.T, tr *trainer, b *batch, c *carriers) {
	t.Helper()
	out, err := tr.run(b, c)
	if err != nil {
		t.Fatal(err)
	}
	const step = 1e-2
	for which, array := range c.arrays() {
		for _, i := range []int{0, 3, len(*array) - 1} {
			old := (*array)[i]
			var losses [2]float64
			for j, d := range []float32{-step, step} {
				(*array)[i] = old + d
				r, err := tr.run(b, c)
				if err != nil {
					t.Fatal(err)
				}
				losses[j] = float64(r.loss)
			}
			(*array)[i] = old
			want, got := (losses[1]-losses[0])/(2*step), float64(out.gradients[which][i])
			if math.Abs(got-want) > 0.01+0.02*math.Abs(want) {
				t.Errorf("array %d, value %d: gradient %v, difference quotient %v", which, i, got, want)
			}
		}
	}
}

// With silent units a row is the base's: no divergence, and the drawn word's
// log-odds those of the base, whatever part of the vocabulary is computed.
func TestLessonStartsAtTheBase(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const hidden, vocab = 6, 40
	table, norm := normalData(r, hidden*vocab, 1), make([]float32, hidden)
	fill(norm, 1)
	x := Row{PreFFN: normalData(r, hidden, 1), Logits: make([]float32, vocab)}
	after := normalData(r, hidden, 1)
	n := normed(after, norm, 1e-5)
	for id := range x.Logits {
		for h := range n {
			x.Logits[id] += n[h] * table[h*vocab+id]
		}
	}
	cols := []int32{1, 4, 5, 9, 17, 30, 39}
	f := frozen{ffnNorm: norm, finalNorm: norm, head: gatherColumns(table, vocab, cols), hidden: hidden, columns: len(cols), eps: 1e-5}
	c := randomCarriers(r, hidden, 9, 4, 2)
	clear(c.down)
	clear(c.out)
	tr, err := newTrainer(f, c, DefaultRecipe())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	b := newBatch(2, c, len(cols))
	s := newState(x)
	drawn := lesson{word: 3, preFFN: s.PreFFN, base: gatherColumns(x.Logits, vocab, cols), bare: after, inner: normalData(r, 9, 1), total: s.Total}
	ordinary := drawn
	ordinary.word = -1
	b.set(0, &drawn, c, 1, 1)
	b.set(1, &ordinary, c, 1, 1)
	out, err := tr.run(b, c)
	if err != nil {
		t.Fatal(err)
	}
	p := float64(softmax(x.Logits)[9])
	if math.Abs(float64(out.margin[0])-logOdds(p)) > 1e-4 {
		t.Errorf("log-odds %v, want %v", out.margin[0], logOdds(p))
	}
	for i, d := range out.diverg {
		if math.Abs(float64(d)) > 1e-4 {
			t.Errorf("row %d diverges by %v before training", i, d)
		}
	}
}

func TestStartUnitsOpenForTheirKeyAlone(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	const hidden = 24
	centre := normalData(r, hidden, 2) // states share a mean, as a model's do
	near := func(c []float32, size float64) []float32 {
		out := normalData(r, hidden, size)
		for i := range out {
			out[i] += c[i]
		}
		return out
	}
	keys := make([][][]float32, 4)
	for k := range keys {
		own := near(centre, 1)
		keys[k] = [][]float32{own, near(own, 0.05), near(own, 0.05)}
	}
	var ordinary [][]float32
	for range 300 {
		ordinary = append(ordinary, near(centre, 0.3))
	}
	p := newPlacer(keys, ordinary)
	a := randomCarriers(r, hidden, 9, 8, 0)
	for u := range 8 {
		a.setUnit(u, p.unit(u, 8, r))
	}
	gate := func(x []float32, u int) (s float64) {
		for h := range x {
			s += float64(x[h]) * float64(a.gate[h*a.units+u])
		}
		return s
	}
	for u := range 8 {
		for _, x := range ordinary {
			if g := gate(x, u); g > 0 {
				t.Errorf("unit %d: its gate is %v at an ordinary row", u, g)
			}
		}
		for _, x := range keys[u%4] {
			if g := gate(x, u); g < gateSteep/4 {
				t.Errorf("unit %d: its gate is %v at its own key", u, g)
			}
		}
	}
}

func TestAdamWalksDownhill(t *testing.T) {
	x := []float32{3, -2}
	a := newAdam(x)
	for range 400 {
		a.step([]float32{2 * x[0], 20 * x[1]}, 0.05)
	}
	if math.Abs(float64(x[0])) > 0.05 || math.Abs(float64(x[1])) > 0.05 {
		t.Errorf("the minimum at 0 was missed: %v", x)
	}
}

func TestRecipeValidate(t *testing.T) {
	if err := DefaultRecipe().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Recipe){
		"cap":           func(r *Recipe) { r.Cap = 1 },
		"steps":         func(r *Recipe) { r.Steps = -1 },
		"learning rate": func(r *Recipe) { r.LearningRate = math.NaN() },
		"batch":         func(r *Recipe) { r.Batch = 0 },
		"method":        func(r *Recipe) { r.Method = "expand+expand" },
		"units":         func(r *Recipe) { r.Units = 40 },
		"framings":      func(r *Recipe) { r.Framings = 1000 },
	} {
		r := DefaultRecipe()
		spoil(&r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("wrong %s: %v", field, err)
		}
	}
}

func TestRecipeIsSizedByItsKeysAndItsBase(t *testing.T) {
	r := DefaultRecipe()
	for keys, want := range map[int][2]int{1: {32, 1}, 32: {32, 32}, 33: {64, 33}, 64: {64, 64}, 1024: {512, 96}} {
		if got := r.sized(keys); got.Units != want[0] || got.Taken != want[1] || got.Steps != 240+3*keys {
			t.Errorf("%d keys: %d added, %d taken, %d steps; want %v", keys, got.Units, got.Taken, got.Steps, want)
		}
	}
	r.Method = MethodLowRank
	if got := r.sized(64); got.Units != 0 || got.Taken != 0 || got.Rank != r.Rank {
		t.Errorf("low rank alone: %+v", got)
	}
	for field, r := range map[string]Recipe{"units": {Units: 96}, "taken": {Taken: 33}} {
		if err := r.fits(64); err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("too many %s: %v", field, err)
		}
	}
}

func TestCleanQuestion(t *testing.T) {
	for text, want := range map[string]string{
		"How do I grow tomatoes?":                 "How do I grow tomatoes?",
		" \"Question: Why is the sky blue?\" ":    "",
		"Question: Why is the sky blue?":          "Why is the sky blue?",
		"Why not?":                                "",
		"how do I grow tomatoes?":                 "",
		"How do I grow tomatoes? Why?":            "",
		"How do I grow tomatoes.":                 "",
		"How do I\ngrow tomatoes?":                "",
		"How do I grow crème brûlée?":             "",
		"What question should I put to her?":      "",
		strings.Repeat("How do ", 11) + "I grow?": "",
	} {
		got, ok := CleanQuestion(text)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q gives %q, %v", text, got, ok)
		}
	}
}

func TestReadQuestionsNamesTheLine(t *testing.T) {
	good, err := ReadQuestions(strings.NewReader("How do I grow tomatoes?\n\nWhy is the sky blue?\n"))
	if err != nil || len(good) != 2 {
		t.Errorf("%v, %v", good, err)
	}
	for _, bad := range []string{"How do I grow tomatoes?\nno\n", "How do I grow tomatoes?\nHow do I GROW tomatoes?\n"} {
		if _, err := ReadQuestions(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestResourcesAreClean(t *testing.T) {
	for name, list := range map[string][]string{"topics": Topics(), "ordinary prompts": OrdinaryPrompts()} {
		seen := map[string]bool{}
		for _, line := range list {
			if line != strings.TrimSpace(line) || line == "" || seen[line] {
				t.Errorf("%s: %q is empty, padded or there twice", name, line)
			}
			seen[line] = true
		}
	}
	if n := len(OrdinaryPrompts()); n < heldOutPrompts+100 {
		t.Errorf("%d ordinary prompts leave too few to train with", n)
	}
}

type writer func(text string) (string, error)

func (w writer) Generate(_ context.Context, text string, _ int, _ uint64) (string, error) {
	return w(text)
}

func TestQuestionWriterGivesUpAndFails(t *testing.T) {
	silent := func(int, int) {}
	broken := errors.New("broken")
	fails := newQuestionWriter(writer(func(string) (string, error) { return "", broken }), 2, 1)
	if _, err := fails.write(t.Context(), 4, silent); !errors.Is(err, broken) {
		t.Errorf("a failing generator: %v", err)
	}
	dull := newQuestionWriter(writer(func(string) (string, error) { return " and so on.", nil }), 2, 1)
	if _, err := dull.write(t.Context(), 4, silent); err == nil || !strings.Contains(err.Error(), "0 clean questions of 4") {
		t.Errorf("a generator without questions: %v", err)
	}
}
