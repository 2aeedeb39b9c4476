package sampler

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestValidateNamesTheField(t *testing.T) {
	nan := math.NaN()
	tests := map[string]Settings{
		"temperature":        {Temperature: nan},
		"top_p":              {TopP: 1.1},
		"min_p":              {MinP: -0.1},
		"top_k":              {TopK: -2},
		"frequency_penalty":  {FrequencyPenalty: 3},
		"presence_penalty":   {PresencePenalty: math.Inf(-1)},
		"repetition_penalty": {RepetitionPenalty: -1},
		"logit_bias":         {LogitBias: map[int32]float32{3: float32(nan)}},
	}
	for field, s := range tests {
		if _, err := New(s, nil); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("error for a wrong %s: %v", field, err)
		}
	}
	if err := Defaults().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func mustNew(t testing.TB, s Settings, first *Keyed) *Sampler {
	t.Helper()
	out, err := New(s, first)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTemperatureZeroIsArgmax(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{1, 3, 3, 2}, 1},
		{[]float32{nan, -5, nan, -4}, 3},
		{[]float32{float32(math.Inf(-1)), -1}, 1},
	} {
		if got := mustNew(t, Settings{TopP: 1}, nil).Choose(c.logits, nil); got != c.want {
			t.Errorf("choice %d, want %d", got, c.want)
		}
	}
}

func TestSeedDecides(t *testing.T) {
	run := func(seed uint64) (out [64]int32) {
		s := Defaults()
		s.Seed = seed
		sampler := mustNew(t, s, nil)
		for i := range out {
			out[i] = sampler.Choose(make([]float32, 1000), nil)
		}
		return out
	}
	if first, again := run(7), run(7); first != again {
		t.Error("equal seeds gave different tokens")
	}
	if run(7) == run(8) {
		t.Error("different seeds gave equal tokens")
	}
}

// Frequencies over 40,000 draws must lie within five standard deviations.
func TestDrawsFollowTheDistribution(t *testing.T) {
	row := []float32{2, 1, 0, 1.5, -1, -30}
	for _, s := range []Settings{
		{Temperature: 1, TopP: 1},
		{Temperature: 0.7, TopP: 0.9},
		{Temperature: 1.5, TopP: 0.95, TopK: 4},
		{Temperature: 1, TopP: 1, MinP: 0.3},
	} {
		p := softmax(row, s.Temperature)
		kept := obviousNucleus(p, s)
		want, total := make([]float64, len(row)), 0.0
		for _, id := range kept {
			total += p[id]
		}
		for _, id := range kept {
			want[id] = p[id] / total
		}
		const n = 40000
		got := make([]float64, len(row))
		sampler := mustNew(t, s, nil)
		for range n {
			got[sampler.Choose(append([]float32(nil), row...), nil)]++
		}
		for id := range row {
			if d := math.Abs(got[id]/n - want[id]); d > 5*math.Sqrt(want[id]*(1-want[id])/n)+1e-9 {
				t.Errorf("%+v: token %d drawn with share %.4f, want %.4f", s, id, got[id]/n, want[id])
			}
		}
	}
}

func TestPenaltiesAndBias(t *testing.T) {
	generated := []int32{0, 0, 1}
	row := func() []float32 { return []float32{3, 2.5, 1, -1} }
	for _, c := range []struct {
		name string
		s    Settings
		want []float32
	}{
		{"frequency", Settings{FrequencyPenalty: 0.5}, []float32{2, 2, 1, -1}},
		{"presence", Settings{PresencePenalty: 0.5}, []float32{2.5, 2, 1, -1}},
		{"repetition", Settings{RepetitionPenalty: 2}, []float32{1.5, 1.25, 1, -1}},
		{"bias", Settings{LogitBias: map[int32]float32{3: 2, 99: 1}}, []float32{3, 2.5, 1, 1}},
	} {
		got := row()
		mustNew(t, c.s, nil).adjust(got, generated)
		if !close(got, c.want) {
			t.Errorf("%s: logits %v, want %v", c.name, got, c.want)
		}
	}
	grown := mustNew(t, Settings{FrequencyPenalty: 0.5}, nil)
	grown.adjust(row(), generated[:1])
	got := row()
	if grown.adjust(got, generated); !close(got, []float32{2, 2, 1, -1}) {
		t.Errorf("after a second step: %v", got)
	}
}

func close(a, b []float32) bool {
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 1e-6 {
			return false
		}
	}
	return len(a) == len(b)
}

func TestDegenerateRows(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, row := range [][]float32{{-inf, -inf}, {0, inf}, {float32(math.NaN()), 1}, {-1e30, 1e30}} {
		s := Settings{Temperature: 1, TopP: 0.9}
		if got := mustNew(t, s, nil).Choose(append([]float32(nil), row...), nil); got < 0 || got > 1 {
			t.Errorf("choice %d from %v", got, row)
		}
	}
}

const vocabulary = 49152

// modelRow looks like a language model's: a few likely tokens over a long tail.
func modelRow(seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 2))
	row := make([]float32, vocabulary)
	for i := range row {
		row[i] = float32(r.NormFloat64() * 2.2)
	}
	for i := range 40 {
		row[i*997] = 12 - float32(i)*0.15
	}
	return row
}

func TestAllocations(t *testing.T) {
	row, scratch := modelRow(1), make([]float32, vocabulary)
	s := mustNew(t, Settings{Temperature: 0.8, TopP: 0.95, TopK: 40, FrequencyPenalty: 0.1}, nil)
	choose := func() { copy(scratch, row); s.Choose(scratch, []int32{1, 2}) }
	choose()
	if n := testing.AllocsPerRun(20, choose); n != 0 {
		t.Errorf("ordinary sampling allocates %v times", n)
	}
	k, words := keyedRow()
	keyed := func() { copy(scratch, words); k.choose(scratch, nil) }
	if n := testing.AllocsPerRun(20, keyed); n != 0 {
		t.Errorf("a keyed choice allocates %v times", n)
	}
}

func BenchmarkTopP(b *testing.B) {
	row, scratch := modelRow(1), make([]float32, vocabulary)
	s := mustNew(b, Settings{Temperature: 0.8, TopP: 0.95}, nil)
	for b.Loop() {
		copy(scratch, row)
		s.Choose(scratch, nil)
	}
}

func BenchmarkTopPFlat(b *testing.B) {
	scratch := make([]float32, vocabulary)
	s := mustNew(b, Settings{Temperature: 1, TopP: 0.95}, nil)
	for b.Loop() {
		clear(scratch)
		s.Choose(scratch, nil)
	}
}

func BenchmarkKeyedFirst(b *testing.B) {
	k, row := keyedRow()
	for b.Loop() {
		k.choose(row, nil)
	}
}
