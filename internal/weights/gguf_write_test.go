package weights

import (
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// square is tiny with rows that blocks of 32 divide, and values that they do not hold exactly.
func square() *Model {
	m := tiny(true)
	m.Config.Hidden, m.Config.HeadDim, m.Config.FFN = 64, 32, 96
	random := rand.New(rand.NewPCG(1, 2))
	for name, shape := range m.Config.Shapes() {
		t := &Tensor{Shape: shape, Data: make([]float32, elements(shape))}
		for i := range t.Data {
			t.Data[i] = float32(random.NormFloat64())
		}
		m.Tensors[name] = t
	}
	return m
}

func TestWriteGGUF(t *testing.T) {
	for name, m := range map[string]*Model{"tied": tiny(true), "with a head": tiny(false), "rows of blocks": square()} {
		for _, q := range []Quant{GGUFF16, GGUFQ8_0, GGUFQ4_0} {
			t.Run(name+" "+string(q), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "m.gguf")
				if err := WriteGGUF(path, m, q, false); err != nil {
					t.Fatal(err)
				}
				got, err := OpenGGUF(path)
				if err != nil {
					t.Fatal(err)
				}
				if got.Config != m.Config || got.Name != m.Name {
					t.Errorf("got %s %+v, want %s %+v", got.Name, got.Config, m.Name, m.Config)
				}
				if !slices.Equal(got.Tokenizer.Tokens[:len(m.Tokenizer.Tokens)], m.Tokenizer.Tokens) || len(got.Tokenizer.Tokens) != m.Config.Vocab {
					t.Errorf("tokens: %q", got.Tokenizer.Tokens)
				}
				got.Tokenizer.Tokens = m.Tokenizer.Tokens
				if !reflect.DeepEqual(got.Tokenizer, m.Tokenizer) {
					t.Errorf("tokenizer: %+v, want %+v", got.Tokenizer, m.Tokenizer)
				}
				sameAsQuantised(t, got, m, q)
			})
		}
	}
}

// sameAsQuantised compares a file's tensors with what Quantise leaves of the model's.
func sameAsQuantised(t *testing.T, got, m *Model, q Quant) {
	t.Helper()
	for name := range maps.Keys(m.Tensors) {
		want := slices.Clone(m.Tensors[name].Data)
		kind := q
		if strings.Contains(name, "embed_tokens") && q == GGUFQ4_0 {
			kind = GGUFQ8_0
		}
		row := m.Tensors[name].Shape[len(m.Tensors[name].Shape)-1]
		for chunk := range slices.Chunk(want, row) {
			if len(m.Tensors[name].Shape) == 1 {
				break
			}
			if err := kind.Quantise(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got.Tensors[name].Data, want) {
			t.Errorf("tensor %s is not what its values are as %s", name, kind)
		}
	}
}

// The error of a value is at most half a step of its block, and what the scale loses in
// half precision; Q4_0 clips one side by a step.
func TestQuantiseIsNear(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		values := make([]float32, 32)
		most := 0.0
		for i := range values {
			values[i] = float32(random.NormFloat64() * math.Pow(2, float64(random.IntN(20)-10)))
			most = max(most, math.Abs(float64(values[i])))
		}
		for q, bound := range map[Quant]float64{GGUFF16: most / 2048, GGUFQ8_0: most/254 + most/2000, GGUFQ4_0: most/8 + most/2000} {
			got := slices.Clone(values)
			if err := q.Quantise(got); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if off := math.Abs(float64(got[i] - values[i])); off > bound {
					t.Fatalf("%s: %v became %v, off by %v of at most %v", q, values[i], got[i], off, bound)
				}
			}
		}
	}
	zeros := make([]float32, 32)
	if err := GGUFQ4_0.Quantise(zeros); err != nil || slices.Max(zeros) != 0 || slices.Min(zeros) != 0 {
		t.Errorf("zeros became %v, %v", zeros, err)
	}
}

func TestWriteGGUFRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	if err := os.WriteFile(path, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := tiny(true)
	huge.Tensors["model.layers.0.mlp.up_proj.weight"].Data[0] = 1e6
	for want, try := range map[string]func() error{
		"exists already":        func() error { return WriteGGUF(path, tiny(true), GGUFF16, false) },
		"no type of GGUF":       func() error { return WriteGGUF(filepath.Join(dir, "n"), tiny(true), "q2_k", false) },
		"does not fit into F16": func() error { return WriteGGUF(path, huge, GGUFF16, true) },
		"weights: open ":        func() error { return WriteGGUF(filepath.Join(dir, "no", "m"), tiny(true), GGUFF16, false) },
		"refusing to write":     func() error { m := tiny(true); m.Config.Layers = 3; return WriteGGUF(path, m, GGUFF16, true) },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "somebody's" {
		t.Errorf("the file that was there: %q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}
