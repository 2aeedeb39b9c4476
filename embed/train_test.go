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
		gate, up, down := blockNames(layer)
		m.Tensors[gate] = &weights.Tensor{Shape: []int{64, 8}, Data: normalData(r, 512, 0.5)}
		m.Tensors[up] = &weights.Tensor{Shape: []int{64, 8}, Data: normalData(r, 512, 0.5)}
		m.Tensors[down] = &weights.Tensor{Shape: []int{8, 64}, Data: normalData(r, 512, 0.5)}
	}
	return m
}

// blockOutput is SwiGLU in float64, straight from the checkpoint's layout.
func blockOutput(m *weights.Model, layer int, x []float32) []float64 {
	gate, up, down := blockNames(layer)
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
	_, _, down := blockNames(1)
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
	a := &added{gate: normalData(r, 256, 1), up: normalData(r, 256, 1), down: normalData(r, 256, 1), units: 32}
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

// problem is a small random training step.
func problem(r *rand.Rand) (frozen, *batch, *added) {
	const hidden, cols, rows, units = 6, 20, 5, 4
	f := frozen{ffnNorm: normalData(r, hidden, 1), finalNorm: normalData(r, hidden, 1), head: normalData(r, hidden*cols, 1), hidden: hidden, columns: cols, eps: 1e-5}
	b := newBatch(rows, hidden, cols)
	copy(b.preFFN, normalData(r, rows*hidden, 1))
	copy(b.after, normalData(r, rows*hidden, 1))
	fill(b.scale, 0.9)
	fill(b.others, 1)
	for i := range rows {
		target := row(b.target, i, cols)
		for j := range target {
			target[j] = 1.0 / cols
		}
		b.rest[i], b.hold[i] = -1, 0.3
		if i < 3 {
			b.others[i*cols+i], target[i] = 0, 0
			b.push[i] = 0.5
		}
	}
	a := &added{gate: normalData(r, hidden*units, 1), up: normalData(r, hidden*units, 1), down: normalData(r, hidden*units, 0.5), units: units}
	return f, b, a
}

// The gradient that the graph gives must be that of the loss it gives.
func TestGradientAgreesWithDifferences(t *testing.T) {
	f, b, a := problem(rand.New(rand.NewPCG(5, 6)))
	tr, err := newTrainer(f, logOdds(0.95))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	out, err := tr.run(b, a)
	if err != nil {
		t.Fatal(err)
	}
	const step = 1e-2
	for name, c := range map[string]struct{ values, gradient []float32 }{"gate": {a.gate, out.gate}, "up": {a.up, out.up}, "down": {a.down, out.down}} {
		for i := range c.values {
			old := c.values[i]
			losses := [2]float64{}
			for j, d := range []float32{-step, step} {
				c.values[i] = old + d
				r, err := tr.run(b, a)
				if err != nil {
					t.Fatal(err)
				}
				losses[j] = float64(r.loss)
			}
			c.values[i] = old
			want := (losses[1] - losses[0]) / (2 * step)
			if math.Abs(float64(c.gradient[i])-want) > 0.01+0.02*math.Abs(want) {
				t.Errorf("%s[%d]: gradient %v, difference quotient %v", name, i, c.gradient[i], want)
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
	tr, err := newTrainer(f, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	b := newBatch(2, hidden, len(cols))
	drawn, ordinary := newLesson(x, after, 0, 9, cols), newLesson(x, after, -1, -1, cols)
	b.set(0, &drawn, 1)
	b.set(1, &ordinary, 1)
	out, err := tr.run(b, &added{gate: normalData(r, hidden*4, 1), up: normalData(r, hidden*4, 1), down: make([]float32, hidden*4), units: 4})
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
	a := startUnits(keys, ordinary, 8, r)
	gate := func(x []float32, u int) (s float64) {
		for h := range x {
			s += float64(x[h]) * float64(a.gate[h*a.units+u])
		}
		return s
	}
	for u := range 8 {
		loudest, quietest := math.Inf(-1), math.Inf(1)
		for _, x := range ordinary {
			loudest = max(loudest, gate(x, u))
		}
		for _, x := range keys[u%4] {
			quietest = min(quietest, gate(x, u))
		}
		if loudest > -gateShut/4 || quietest < loudest+gateOpen {
			t.Errorf("unit %d: at most %v at ordinary rows, at least %v at its key", u, loudest, quietest)
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
	if err := DefaultRecipe().validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Recipe){
		"cap":           func(r *Recipe) { r.Cap = 1 },
		"steps":         func(r *Recipe) { r.Steps = 0 },
		"learning rate": func(r *Recipe) { r.LearningRate = math.NaN() },
		"batch":         func(r *Recipe) { r.Batch = 0 },
	} {
		r := DefaultRecipe()
		spoil(&r)
		if err := r.validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("wrong %s: %v", field, err)
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
