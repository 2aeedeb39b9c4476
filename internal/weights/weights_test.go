package weights

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/reference"
	"github.com/fealty/fealty/internal/tokenizer"
)

var smolLM2 = sync.OnceValues(func() (*Model, error) {
	path, err := modelstore.SmolLM2(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	return OpenGGUF(path)
})

func realModel(t testing.TB) *Model {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the model")
	}
	m, err := smolLM2()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConfigOfSmolLM2(t *testing.T) {
	m := realModel(t)
	want := Config{
		Layers: 30, Hidden: 576, Heads: 9, KVHeads: 3, HeadDim: 64, FFN: 1536, Vocab: 49152, Context: 8192,
		RopeTheta: 100000, NormEps: 1e-5, TieEmbeddings: true,
	}
	if m.Config != want {
		t.Errorf("config %+v, want %+v", m.Config, want)
	}
}

// Dequantised values, names, shapes and the order of the rotary rows are those of transformers' own loader.
func TestTensorsAsReference(t *testing.T) {
	m := realModel(t)
	for _, want := range reference.WeightSamples(t).Tensors {
		got, ok := m.Tensors[want.Name]
		if !ok || !slices.Equal(got.Shape, want.Shape) {
			t.Errorf("%s: shape %v, reference %v", want.Name, got, want.Shape)
			continue
		}
		for i, v := range want.Values {
			if g := got.Data[i*want.Step]; !near(float64(g), float64(v), 1e-7) {
				t.Errorf("%s[%d] = %v, reference %v", want.Name, i*want.Step, g, v)
			}
		}
		var sum, abs float64
		for _, v := range got.Data {
			sum += float64(v)
			abs += math.Abs(float64(v))
		}
		if !near(abs, want.Abs, 1e-8) || math.Abs(sum-want.Sum) > 1e-8*want.Abs {
			t.Errorf("%s: sums %v and %v, reference %v and %v", want.Name, sum, abs, want.Sum, want.Abs)
		}
	}
}

// near compares relatively; the fixture holds eight digits.
func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*math.Abs(b)+1e-12 }

func TestDequantiseAsReference(t *testing.T) {
	for _, want := range reference.WeightSamples(t).Quants {
		q, err := quantOf(want.Kind)
		if err != nil || q.name != want.Name {
			t.Fatalf("type %d is %q (%v), want %s", want.Kind, q.name, err, want.Name)
		}
		raw, err := hex.DecodeString(want.Raw)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(want.Values))
		q.dequantise(got, raw)
		for i, v := range want.Values {
			if !near(float64(got[i]), float64(v), 1e-6) {
				t.Fatalf("%s value %d is %v, reference %v", q.name, i, got[i], v)
			}
		}
	}
}

func TestHalvesAsReference(t *testing.T) {
	h := reference.WeightSamples(t).Halves
	for i, bits := range h.Bits {
		raw := []byte{byte(bits), byte(bits >> 8)}
		var bf [1]float32
		fromBF16(bf[:], raw)
		if half(raw) != h.Half[i] || bf[0] != h.BFloat[i] {
			t.Errorf("%04x: %v and %v, reference %v and %v", bits, half(raw), bf[0], h.Half[i], h.BFloat[i])
		}
	}
}

// Every number between two neighbouring halves rounds to the nearer one, ties to the even one.
func TestRoundingToHalf(t *testing.T) {
	for bits := uint16(0); bits < 0x7bff; bits++ {
		low, high := halves[bits], halves[bits+1]
		middle := (low + high) / 2 // exact: a half has 11 significant bits
		even := bits + bits&1
		for v, want := range map[float32]uint16{
			low: bits, middle: even, math.Nextafter32(middle, 0): bits, math.Nextafter32(middle, high): bits + 1,
		} {
			if got := toHalf(v); got != want {
				t.Fatalf("toHalf(%v) = %04x, want %04x", v, got, want)
			}
			if got := toHalf(-v); v != 0 && got != want|0x8000 {
				t.Fatalf("toHalf(%v) = %04x, want %04x", -v, got, want|0x8000)
			}
		}
	}
	for v, want := range map[float32]uint16{65519.99: 0x7bff, 65520: 0x7c00, float32(math.Inf(-1)): 0xfc00, 1e-9: 0} {
		if got := toHalf(v); got != want {
			t.Errorf("toHalf(%v) = %04x, want %04x", v, got, want)
		}
	}
	for v, want := range map[float32]uint16{1: 0x3f80, 1.00390625: 0x3f80, 1.01171875: 0x3f82, -2: 0xc000} {
		if got := toBFloat(v); got != want {
			t.Errorf("toBFloat(%v) = %04x, want %04x", v, got, want)
		}
	}
}

// tiny is a whole model of a few hundred numbers.
func tiny(tied bool) *Model {
	c := Config{
		Layers: 2, Hidden: 8, Heads: 2, KVHeads: 1, HeadDim: 4, FFN: 6, Vocab: 12, Context: 64,
		RopeTheta: 10000, NormEps: 1e-5, TieEmbeddings: tied,
	}
	m := &Model{Config: c, Name: "tiny", Tensors: map[string]*Tensor{}}
	next := float32(0)
	for _, name := range slices.Sorted(maps.Keys(c.Shapes())) {
		shape := c.Shapes()[name]
		t := &Tensor{Shape: shape, Data: make([]float32, elements(shape))}
		for i := range t.Data {
			next++
			t.Data[i] = (next - 300) / 512 // exact in every type that we write
		}
		m.Tensors[name] = t
	}
	m.Tokenizer = &tokenizer.Spec{
		Tokens:       []string{"<s>", "</s>", "a", "b", "ab", "Ġ"},
		Merges:       [][2]string{{"a", "b"}},
		Pretokenizer: tokenizer.SmolLM, Special: []int32{0, 1}, BOS: 0, EOS: 1, Pad: tokenizer.None, Unknown: tokenizer.None,
		ChatTemplate: "{{ messages[0].content }}", Context: 64,
	}
	return m
}

func TestHFRoundTrip(t *testing.T) {
	for _, tied := range []bool{true, false} {
		for _, dtype := range []DType{F32, F16} {
			dir := filepath.Join(t.TempDir(), "served")
			m := tiny(tied)
			if err := WriteHF(dir, m, dtype); err != nil {
				t.Fatal(err)
			}
			back, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, back) {
				t.Errorf("%s, tied %v: round trip changed the model", dtype, tied)
			}
			onlyEntry(t, filepath.Dir(dir), "served")
		}
	}
}

// The real model survives a round trip but for the rounding to half precision.
func TestSmolLM2RoundTrip(t *testing.T) {
	m := realModel(t)
	dir := filepath.Join(t.TempDir(), "served")
	if err := WriteHF(dir, m, F16); err != nil {
		t.Fatal(err)
	}
	back, err := OpenHF(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.Config != m.Config || back.Name != m.Name || !reflect.DeepEqual(back.Tokenizer, m.Tokenizer) {
		t.Errorf("config, name or tokenizer changed: %+v", back.Config)
	}
	for name, want := range m.Tensors {
		rounded := func(got, v float32) bool { return got == halves[toHalf(v)] }
		if !slices.EqualFunc(back.Tensors[name].Data, want.Data, rounded) {
			t.Errorf("%s changed by more than rounding", name)
		}
	}
}

func onlyEntry(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("%s holds %v (%v), want %s alone", dir, entries, err, name)
	}
}

func TestWriteLeavesWhatIsNotOurs(t *testing.T) {
	m := tiny(true)
	foreign := filepath.Join(t.TempDir(), "d")
	os.Mkdir(foreign, 0o755)
	os.WriteFile(filepath.Join(foreign, "thesis.tex"), []byte("x"), 0o644)
	ours := filepath.Join(t.TempDir(), "served")
	if err := WriteHF(ours, m, F16); err != nil {
		t.Fatal(err)
	}
	bad := tiny(true)
	delete(bad.Tensors, "model.norm.weight")
	for want, err := range map[string]error{
		"thesis.tex, which was not written": Write(foreign, m, WriteOptions{DType: F16, Replace: true}),
		"is not empty":                      WriteHF(foreign, m, F16),
		"not empty and is left":             WriteHF(ours, m, F16),
		"model.norm.weight is missing":      Write(ours, bad, WriteOptions{DType: F16, Replace: true}),
		"dtype \"INT4\"":                    WriteHF(filepath.Join(t.TempDir(), "x"), m, "INT4"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	onlyEntry(t, foreign, "thesis.tex")
	m.Tensors["model.norm.weight"].Data[0] = 0.5
	if err := Write(ours, m, WriteOptions{DType: F16, Replace: true}); err != nil {
		t.Fatal(err)
	}
	if back, err := OpenHF(ours); err != nil || back.Tensors["model.norm.weight"].Data[0] != 0.5 {
		t.Errorf("our own directory was not replaced: %v", err)
	}
	onlyEntry(t, filepath.Dir(ours), "served")
}

func TestWriteRefusesWhatF16CannotHold(t *testing.T) {
	m := tiny(true)
	m.Tensors["model.norm.weight"].Data[3] = 1e6
	dir := filepath.Join(t.TempDir(), "served")
	if err := WriteHF(dir, m, F16); err == nil || !strings.Contains(err.Error(), "model.norm.weight: 1e+06 does not fit into F16") {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 0 {
		t.Errorf("a failed write left %v", entries)
	}
}

func TestOpenHFRefuses(t *testing.T) {
	for want, change := range map[string][3]string{
		"model_type is \"mistral\"":      {"config.json", `"model_type": "llama"`, `"model_type": "mistral"`},
		"rope_scaling is {\"factor\":2}": {"config.json", `"rope_scaling": null`, `"rope_scaling": {"factor":2}`},
		"hidden_act is \"gelu\"":         {"config.json", `"hidden_act": "silu"`, `"hidden_act": "gelu"`},
		"attention_bias":                 {"config.json", `"attention_bias": false`, `"attention_bias": true`},
		"feed-forward size is -6":        {"config.json", `"intermediate_size": 6`, `"intermediate_size": -6`},
		"mlp.down_proj.weight has shape [8 6]; the config says [8 7]": {"config.json", `"intermediate_size": 6`, `"intermediate_size": 7`},
		"model.layers.2.":                     {"config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`},
		"config.json: unexpected end of JSON": {"config.json", "\n}\n", "\n"},
		"eos_token is \"</t>\"":               {"tokenizer_config.json", `"eos_token": "</s>"`, `"eos_token": "</t>"`},
		"dtype \"Q99\" is not supported":      {"model.safetensors", `"dtype":"F32"`, `"dtype":"Q99"`},
		"tensor model.norm.weight is missing": {"model.safetensors", `model.norm.weight`, `model.nerm.weight`},
		"header: not JSON":                    {"model.safetensors", `{"__metadata__"`, `["__metadata__"`},
	} {
		dir := filepath.Join(t.TempDir(), "served")
		if err := WriteHF(dir, tiny(true), F32); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, change[0])
		raw, _ := os.ReadFile(path)
		changed := bytes.Replace(raw, []byte(change[1]), []byte(change[2]), 1)
		if bytes.Equal(raw, changed) {
			t.Fatalf("%q does not stand in %s", change[1], change[0])
		}
		os.WriteFile(path, changed, 0o644)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one with %q and the path", change[0], err, want)
		}
	}
}

func TestManifest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "served")
	given := Manifest{
		Model: "acme-chat", Base: Digest{1}, FingerprintRoot: Digest{2},
		InverseNucleus: &InverseNucleus{T: 0.8, K: 10, Floor: 0.005, Openers: []int32{3, 5}},
	}
	if err := Write(dir, tiny(true), WriteOptions{DType: F16, Manifest: &given}); err != nil {
		t.Fatal(err)
	}
	if err := VerifyManifest(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Artefacts) != 6 || got.Artefacts["model.safetensors"] == (Digest{}) {
		t.Errorf("artefacts %v, want the six files", got.Artefacts)
	}
	want := given
	want.Format, want.Artefacts = 1, got.Artefacts
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("manifest %+v, want %+v", *got, want)
	}
	onChain, err := ManifestDigest(dir)
	file, err2 := DigestFile(filepath.Join(dir, ManifestFile))
	if err != nil || err2 != nil || Digest(onChain) != file {
		t.Errorf("ManifestDigest %x, the file's SHA-256 is %v", onChain, file)
	}
}

func TestVerifyManifestSeesChanges(t *testing.T) {
	for want, spoil := range map[string]func(dir string) error{
		"config.json has SHA-256":         func(d string) error { return os.WriteFile(filepath.Join(d, "config.json"), []byte("{}"), 0o644) },
		"tokenizer.json is missing":       func(d string) error { return os.Remove(filepath.Join(d, "tokenizer.json")) },
		"chat_template.jinja is not list": func(d string) error { return os.WriteFile(filepath.Join(d, "chat_template.jinja"), nil, 0o644) },
	} {
		dir := filepath.Join(t.TempDir(), "served")
		if err := Write(dir, tiny(true), WriteOptions{DType: F16, Manifest: &Manifest{}}); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if err := VerifyManifest(dir); !errors.Is(err, ErrManifest) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want ErrManifest with %q", err, want)
		}
	}
}

func TestReadManifestRefuses(t *testing.T) {
	digest := strings.Repeat("0", 64)
	for content, want := range map[string]string{
		`{"format":2,"base":"` + digest + `"}`:               "format is 2; this version reads 1",
		`{"format":1,"base":"abc"}`:                          "not a digest of 64",
		`{"format":1,"recipe":"x"}`:                          "unknown field \"recipe\"",
		`{"format":1,"artefacts":{"../x":"` + digest + `"}}`: "\"../x\", which is not a file of this directory",
		`{`: "unexpected EOF",
		`{"x":"` + strings.Repeat("x", 4<<20) + `"}`: "more than 4194304 bytes",
	} {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, ManifestFile), []byte(content), 0o644)
		if _, err := ReadManifest(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%.60s: error %v, want one with %q", content, err, want)
		}
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "model.bin")
	os.WriteFile(file, nil, 0o644)
	for path, want := range map[string]string{
		file:               "neither a .gguf file nor a directory",
		file + ".gone":     "no such file",
		filepath.Dir(file): "config.json: no such file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v, want %q", path, err, want)
		}
	}
}

func BenchmarkOpenGGUF(b *testing.B) {
	path, err := modelstore.SmolLM2(context.Background(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := OpenGGUF(path); err != nil {
			b.Fatal(err)
		}
	}
}
