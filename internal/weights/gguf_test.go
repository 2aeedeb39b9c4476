package weights

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// ggufWriter makes GGUF files for tests, F32 only, by the format's description.
type ggufWriter struct {
	bytes.Buffer
	values, tensors int
	body, infos     bytes.Buffer
	data            bytes.Buffer
}

func le(w *bytes.Buffer, v any) { binary.Write(w, binary.LittleEndian, v) }

func ggufText(w *bytes.Buffer, s string) {
	le(w, uint64(len(s)))
	w.WriteString(s)
}

func (g *ggufWriter) value(key string, v any) {
	g.values++
	ggufText(&g.body, key)
	switch v := v.(type) {
	case uint32:
		le(&g.body, uint32(ggufUint32))
		le(&g.body, v)
	case float32:
		le(&g.body, uint32(ggufFloat32))
		le(&g.body, v)
	case bool:
		le(&g.body, uint32(ggufBool))
		le(&g.body, v)
	case string:
		le(&g.body, uint32(ggufString))
		ggufText(&g.body, v)
	case []string:
		le(&g.body, [2]uint32{ggufArray, ggufString})
		le(&g.body, uint64(len(v)))
		for _, s := range v {
			ggufText(&g.body, s)
		}
	case []int32:
		le(&g.body, [2]uint32{ggufArray, ggufInt32})
		le(&g.body, uint64(len(v)))
		le(&g.body, v)
	}
}

func (g *ggufWriter) tensor(name string, t *Tensor) {
	g.tensors++
	ggufText(&g.infos, name)
	le(&g.infos, uint32(len(t.Shape)))
	for _, n := range slices.Backward(t.Shape) {
		le(&g.infos, uint64(n))
	}
	le(&g.infos, uint32(0))
	le(&g.infos, uint64(g.data.Len()))
	le(&g.data, t.Data)
	for g.data.Len()%ggufAlignment != 0 {
		g.data.WriteByte(0)
	}
}

func (g *ggufWriter) file() []byte {
	var out bytes.Buffer
	out.WriteString("GGUF")
	le(&out, uint32(3))
	le(&out, [2]uint64{uint64(g.tensors), uint64(g.values)})
	out.Write(g.body.Bytes())
	out.Write(g.infos.Bytes())
	for out.Len()%ggufAlignment != 0 {
		out.WriteByte(0)
	}
	out.Write(g.data.Bytes())
	return out.Bytes()
}

// tinyGGUF is the tiny model as a GGUF file: rotary rows interleaved, and what change does to it.
func tinyGGUF(tied bool, change func(values map[string]any)) []byte {
	m := tiny(tied)
	values := map[string]any{
		"general.architecture": "llama", "general.name": m.Name,
		"llama.block_count": uint32(2), "llama.embedding_length": uint32(8), "llama.feed_forward_length": uint32(6),
		"llama.attention.head_count": uint32(2), "llama.attention.head_count_kv": uint32(1), "llama.context_length": uint32(64),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-5), "llama.rope.dimension_count": uint32(4),
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
		"tokenizer.ggml.tokens": append(slices.Clone(m.Tokenizer.Tokens), "c", "d", "e", "f", "g", "h"), "tokenizer.ggml.merges": []string{"a b"},
		"tokenizer.ggml.token_type":   []int32{3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		"tokenizer.ggml.bos_token_id": uint32(0), "tokenizer.ggml.eos_token_id": uint32(1), "tokenizer.ggml.add_bos_token": false,
		"tokenizer.chat_template": m.Tokenizer.ChatTemplate,
	}
	if change != nil {
		change(values)
	}
	g := &ggufWriter{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		g.value(key, values[key])
	}
	for _, gguf := range slices.Sorted(maps.Keys(ggufNames(m))) {
		name := ggufNames(m)[gguf]
		t := m.Tensors[name]
		if heads := rotaryHeads(name, m.Config); heads > 0 {
			t = interleaved(t, heads)
		}
		g.tensor(gguf, t)
	}
	return g.file()
}

// ggufNames maps GGUF's names to ours.
func ggufNames(m *Model) map[string]string {
	names := map[string]string{}
	for ours := range m.Tensors {
		gguf := ours
		for from, to := range map[string]string{"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"} {
			gguf = strings.Replace(gguf, from, to, 1)
		}
		gguf = strings.Replace(gguf, "model.layers.", "blk.", 1)
		for to, from := range ggufInBlock {
			gguf = strings.Replace(gguf, "."+from+".", "."+to+".", 1)
		}
		names[gguf] = ours
	}
	return names
}

// interleaved is llama.cpp's permutation as its converter writes it: reshape to [heads, 2, dim/2], swap the last two.
func interleaved(t *Tensor, heads int) *Tensor {
	in, dim := t.Shape[1], t.Shape[0]/heads
	out := &Tensor{Shape: t.Shape}
	for h := range heads {
		for i := range dim / 2 {
			for p := range 2 {
				row := h*dim + p*dim/2 + i
				out.Data = append(out.Data, t.Data[row*in:(row+1)*in]...)
			}
		}
	}
	return out
}

func TestGGUFAgainstTinyModel(t *testing.T) {
	for _, tied := range []bool{true, false} {
		raw := tinyGGUF(tied, nil)
		got, err := readGGUF(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		want := tiny(tied)
		want.Tokenizer.Tokens = got.Tokenizer.Tokens // the file's vocabulary fills the embedding table
		if !reflect.DeepEqual(got, want) {
			t.Errorf("tied %v: the GGUF file gives another model", tied)
		}
	}
}

func TestGGUFRefuses(t *testing.T) {
	set := func(key string, v any) func(map[string]any) {
		return func(values map[string]any) { values[key] = v }
	}
	without := func(key string) func(map[string]any) {
		return func(values map[string]any) { delete(values, key) }
	}
	for want, change := range map[string]func(map[string]any){
		"general.architecture is \"gpt2\"; only the \"llama\"":      set("general.architecture", "gpt2"),
		"metadata general.architecture is missing":                  without("general.architecture"),
		"metadata llama.block_count is missing":                     without("llama.block_count"),
		"metadata llama.block_count has the wrong type":             set("llama.block_count", "2"),
		"layers is 4000000":                                         set("llama.block_count", uint32(4000000)),
		"blk.0.attn_k.weight has shape [4 8]; the metadata says [8": set("llama.attention.head_count_kv", uint32(2)),
		"llama.attention.head_count is 0":                           set("llama.attention.head_count", uint32(0)),
		"llama.rope.dimension_count is 2; this engine needs 4":      set("llama.rope.dimension_count", uint32(2)),
		"llama.rope.scaling.type is \"yarn\"":                       set("llama.rope.scaling.type", "yarn"),
		"llama.attention.layer_norm_rms_epsilon is missing":         without("llama.attention.layer_norm_rms_epsilon"),
		"norm epsilon is NaN":                                       set("llama.attention.layer_norm_rms_epsilon", float32(math.NaN())),
		"tokenizer.ggml.model is \"llama\"":                         set("tokenizer.ggml.model", "llama"),
		"tokenizer.ggml.pre is \"qwen2\"":                           set("tokenizer.ggml.pre", "qwen2"),
		"token_type has 1 entries for 12 tokens":                    set("tokenizer.ggml.token_type", []int32{1}),
		"tokenizer.ggml.merges entry 0 (\"ab\")":                    set("tokenizer.ggml.merges", []string{"ab"}),
		"general.alignment is 3; it must be a power of two":         set("general.alignment", uint32(3)),
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		os.WriteFile(path, tinyGGUF(true, change), 0o644)
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one with %q and the path", err, want)
		}
	}
}

func TestGGUFRefusesUnknownTensors(t *testing.T) {
	raw := bytes.Replace(tinyGGUF(true, nil), []byte("blk.1.attn_k.weight"), []byte("blk.1.attn_k.weirdo"), 1)
	const want = "tensor blk.1.attn_k.weirdo is not part of a plain Llama"
	if _, err := readGGUF(bytes.NewReader(raw), int64(len(raw))); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// Tensors that share their bytes would let a small file ask for any amount of memory.
func TestGGUFRefusesOverlaps(t *testing.T) {
	raw := tinyGGUF(true, nil)
	at := bytes.LastIndex(raw, []byte("token_embd.weight")) + len("token_embd.weight") + 4 + 2*8 + 4
	binary.LittleEndian.PutUint64(raw[at:], 0)
	const want = "tensors overlap"
	if _, err := readGGUF(bytes.NewReader(raw), int64(len(raw))); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// A file cut anywhere is refused, and the message says so.
func TestTruncatedGGUF(t *testing.T) {
	raw := tinyGGUF(true, nil)
	for n := range len(raw) {
		_, err := readGGUF(bytes.NewReader(raw[:n]), int64(n))
		if n > len(raw)-ggufAlignment && err == nil {
			continue // only the padding behind the last tensor is gone
		}
		if err == nil {
			t.Fatalf("a file cut to %d of %d bytes was accepted", n, len(raw))
		}
		if text := err.Error(); !strings.Contains(text, "truncated") && !strings.Contains(text, "cannot stand in a file") && !strings.Contains(text, "the file has") && !strings.Contains(text, "beyond") {
			t.Fatalf("cut to %d bytes: %q does not say what is wrong", n, text)
		}
	}
}

// A length that lies is refused before memory is taken for it: no corrupt file costs much more than the sound one.
func TestLyingLengthsTakeNoMemory(t *testing.T) {
	raw := tinyGGUF(true, nil)
	sound := allocated(raw)
	for at := 4; at+8 < len(raw)/2; at += 3 {
		for _, lie := range []uint64{1 << 13, 1 << 40, math.MaxInt64, math.MaxUint64} {
			bad := slices.Clone(raw)
			binary.LittleEndian.PutUint64(bad[at:], lie)
			if got := allocated(bad); got > 4*sound+1<<20 {
				t.Fatalf("with %d written at byte %d of %d, %d bytes were allocated; the sound file takes %d", lie, at, len(raw), got, sound)
			}
		}
	}
}

// allocated returns how many bytes reading raw allocates, from start to end.
func allocated(raw []byte) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	readGGUF(bytes.NewReader(raw), int64(len(raw)))
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzGGUF(f *testing.F) {
	f.Add(tinyGGUF(true, nil))
	f.Add(tinyGGUF(false, nil))
	f.Add(tinyGGUF(true, nil)[:900])
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := readGGUF(bytes.NewReader(raw), int64(len(raw)))
		if err == nil {
			err = m.Validate()
			if err != nil {
				t.Errorf("accepted, but not valid: %v", err)
			}
		}
	})
}

// validSafetensors is the tiny model's file.
func validSafetensors(t testing.TB) []byte {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := writeSafetensors(path, tiny(true).Tensors, BF16); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func withHeader(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, data)...)
}

func TestSafetensorsRefuses(t *testing.T) {
	one := func(entry string) string { return `{"a":` + entry + `}` }
	for want, raw := range map[string][]byte{
		"too few for a safetensors header":                []byte("abc"),
		"header length 18446744073709551615 cannot be":    bytes.Repeat([]byte{0xff}, 64),
		"header length 9 cannot be":                       append(binary.LittleEndian.AppendUint64(nil, 9), "{}"...),
		"not JSON":                                        withHeader("{", 0),
		"dtype \"I8\" is not supported":                   withHeader(one(`{"dtype":"I8","shape":[4],"data_offsets":[0,4]}`), 4),
		"lie outside the file's 4 bytes":                  withHeader(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`), 4),
		"span 4 bytes; shape [2] of F32 needs 8":          withHeader(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), 8),
		"shape [-1] does not fit":                         withHeader(one(`{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}`), 4),
		"shape [1073741824 1073741824 16] does not fit":   withHeader(one(`{"dtype":"F32","shape":[1073741824,1073741824,16],"data_offsets":[0,0]}`), 4),
		"begin at 4 where 0 is next":                      withHeader(one(`{"dtype":"F32","shape":[1],"data_offsets":[4,8]}`), 8),
		"the tensors take 4 bytes, the file has 8":        withHeader(one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`), 8),
		"b: data_offsets begin at 0 where 4 is next":      withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		"tensor a: json: unknown field":                   withHeader(one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}`), 4),
		"tensor a: json: cannot unmarshal number -1 into": withHeader(one(`{"dtype":"F32","shape":[1],"data_offsets":[-1,4]}`), 4),
	} {
		if _, err := parseSafetensors(bytes.NewReader(raw), int64(len(raw))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	raw := validSafetensors(t)
	for n := range len(raw) {
		if _, err := parseSafetensors(bytes.NewReader(raw[:n]), int64(n)); err == nil {
			t.Fatalf("a file cut to %d of %d bytes was accepted", n, len(raw))
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(validSafetensors(f))
	f.Add(withHeader(`{"a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}`, 4))
	f.Add(withHeader(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[0],"data_offsets":[4,4]}}`, 4))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := parseSafetensors(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		tensors := map[string]*Tensor{}
		if err := file.load(bytes.NewReader(raw), tensors, func(string) bool { return false }); err != nil {
			t.Fatalf("accepted, but not readable: %v", err)
		}
		values := 0
		for name, tensor := range tensors {
			if len(tensor.Data) != elements(tensor.Shape) {
				t.Errorf("%s: %d values for shape %v", name, len(tensor.Data), tensor.Shape)
			}
			values += len(tensor.Data)
		}
		if values > len(raw)/2 {
			t.Errorf("%d values from %d bytes", values, len(raw))
		}
	})
}
