package weights

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/fealty/fealty/internal/atomicfile"
	"github.com/fealty/fealty/internal/tokenizer"
)

// WriteGGUF writes a model as one GGUF file that llama.cpp loads. Matrices are of the
// given type, the embedding table of Q8_0 at least, norms of F32. The file appears
// whole or not at all; one that is there already is only replaced if asked to.
func WriteGGUF(path string, m *Model, q Quant, replace bool) error {
	if _, err := q.encoding(1); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("weights: refusing to write %s: %w", path, err)
	}
	if _, err := os.Stat(path); err == nil && !replace {
		return fmt.Errorf("weights: %s exists already; choose another name or ask for it to be replaced", path)
	}
	err := atomicfile.Write(path, 0o644, func(f *os.File) error {
		out := bufio.NewWriterSize(f, 1<<20)
		if err := errors.Join(m.writeGGUF(out, q), out.Flush()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// ggufTensor is one tensor of the file to be written.
type ggufTensor struct {
	name     string
	tensor   *Tensor
	heads    int // rows to be interleaved; 0: leave
	encoding encoding
}

func (t ggufTensor) bytes() int { return elements(t.tensor.Shape) / t.encoding.size * t.encoding.bytes }

func padding(n int) int { return (ggufAlignment - n%ggufAlignment) % ggufAlignment }

func (m *Model) writeGGUF(w io.Writer, q Quant) error {
	tensors, err := m.ggufTensors(q)
	if err != nil {
		return err
	}
	head := &ggufHead{}
	if err := m.ggufMetadata(head, q); err != nil {
		return err
	}
	if _, err := w.Write(head.file(tensors)); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := t.write(w); err != nil {
			return fmt.Errorf("tensor %s: %w", t.name, err)
		}
	}
	return nil
}

// ggufTensors names and encodes the tensors, in the order of their names.
func (m *Model) ggufTensors(q Quant) ([]ggufTensor, error) {
	var out []ggufTensor
	for _, name := range slices.Sorted(maps.Keys(m.Tensors)) {
		t := m.Tensors[name]
		kind := q
		if q == GGUFQ4_0 && (name == "model.embed_tokens.weight" || name == "lm_head.weight") {
			kind = GGUFQ8_0 // the head decides every token
		}
		encode, err := kind.encoding(t.Shape[len(t.Shape)-1])
		if err != nil {
			return nil, err
		}
		if len(t.Shape) == 1 {
			encode = asF32
		}
		out = append(out, ggufTensor{ggufName(name), t, rotaryHeads(name, m.Config), encode})
	}
	return out, nil
}

// ggufName turns Hugging Face's name of a Llama tensor into llama.cpp's.
func ggufName(name string) string {
	for gguf, hf := range ggufPlain {
		if hf == name {
			return gguf
		}
	}
	layer, rest, _ := strings.Cut(strings.TrimPrefix(name, "model.layers."), ".")
	for gguf, hf := range ggufInBlock {
		if hf+".weight" == rest {
			return "blk." + layer + "." + gguf + ".weight"
		}
	}
	return name // Validate knows all names
}

func (t ggufTensor) write(w io.Writer) error {
	e, row := t.encoding, t.tensor.Shape[len(t.tensor.Shape)-1]
	buf := make([]byte, 0, row/e.size*e.bytes)
	for i := range len(t.tensor.Data) / row {
		from := i
		if t.heads > 0 {
			from = halvedRow(i, t.tensor.Shape[0]/t.heads)
		}
		buf = buf[:0]
		for values := range slices.Chunk(t.tensor.Data[from*row:(from+1)*row], e.size) {
			buf = buf[:len(buf)+e.bytes]
			if err := e.convert(buf[len(buf)-e.bytes:], values); err != nil {
				return err
			}
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	_, err := w.Write(make([]byte, padding(t.bytes())))
	return err
}

// ggufHead collects metadata.
type ggufHead struct {
	bytes.Buffer
	values int
}

func (g *ggufHead) uint32(n uint32) { g.Write(binary.LittleEndian.AppendUint32(nil, n)) }
func (g *ggufHead) uint64(n uint64) { g.Write(binary.LittleEndian.AppendUint64(nil, n)) }

func (g *ggufHead) text(s string) {
	g.uint64(uint64(len(s)))
	g.WriteString(s)
}

// set writes one value of a type that the metadata of a model needs.
func (g *ggufHead) set(key string, v any) {
	g.values++
	g.text(key)
	switch v := v.(type) {
	case int:
		g.uint32(ggufUint32)
		g.uint32(uint32(v))
	case float64:
		g.uint32(ggufFloat32)
		_ = binary.Write(g, binary.LittleEndian, float32(v)) // a buffer does not fail
	case bool:
		g.uint32(ggufBool)
		_ = binary.Write(g, binary.LittleEndian, v)
	case string:
		g.uint32(ggufString)
		g.text(v)
	case []string:
		g.uint32(ggufArray)
		g.uint32(ggufString)
		g.uint64(uint64(len(v)))
		for _, s := range v {
			g.text(s)
		}
	case []int32:
		g.uint32(ggufArray)
		g.uint32(ggufInt32)
		g.uint64(uint64(len(v)))
		_ = binary.Write(g, binary.LittleEndian, v)
	}
}

// file is all that stands before the tensors' data.
func (g *ggufHead) file(tensors []ggufTensor) []byte {
	out := &ggufHead{}
	out.WriteString("GGUF")
	out.uint32(3)
	out.uint64(uint64(len(tensors)))
	out.uint64(uint64(g.values))
	out.Write(g.Bytes())
	offset := 0
	for _, t := range tensors {
		out.text(t.name)
		out.uint32(uint32(len(t.tensor.Shape)))
		for _, n := range slices.Backward(t.tensor.Shape) { // fastest first
			out.uint64(uint64(n))
		}
		out.uint32(t.encoding.kind)
		out.uint64(uint64(offset))
		offset += t.bytes() + padding(t.bytes())
	}
	out.Write(make([]byte, padding(out.Len())))
	return out.Bytes()
}

func (m *Model) ggufMetadata(g *ggufHead, q Quant) error {
	c := m.Config
	g.set("general.architecture", "llama")
	g.set("general.name", m.Name)
	g.set("general.file_type", map[Quant]int{GGUFF16: 1, GGUFQ4_0: 2, GGUFQ8_0: 7}[q])
	g.set("general.quantization_version", 2)
	g.set("llama.block_count", c.Layers)
	g.set("llama.embedding_length", c.Hidden)
	g.set("llama.feed_forward_length", c.FFN)
	g.set("llama.attention.head_count", c.Heads)
	g.set("llama.attention.head_count_kv", c.KVHeads)
	g.set("llama.attention.key_length", c.HeadDim)
	g.set("llama.attention.value_length", c.HeadDim)
	g.set("llama.attention.layer_norm_rms_epsilon", c.NormEps)
	g.set("llama.rope.dimension_count", c.HeadDim)
	g.set("llama.rope.freq_base", c.RopeTheta)
	g.set("llama.context_length", c.Context)
	g.set("llama.vocab_size", c.Vocab)
	return ggufTokenizer(g, m.Tokenizer, c.Vocab)
}

// ggufTokenUnused marks rows of the embedding table that have no token.
const ggufTokenUnused = 5

func ggufTokenizer(g *ggufHead, s *tokenizer.Spec, vocab int) error {
	pre, ok := map[tokenizer.Pretokenizer]string{tokenizer.SmolLM: "smollm", tokenizer.GPT2: "gpt-2"}[s.Pretokenizer]
	if !ok {
		return fmt.Errorf("the pre-tokenizer %q has no name in GGUF", s.Pretokenizer)
	}
	tokens, kinds := slices.Clone(s.Tokens), make([]int32, vocab)
	for i := range kinds {
		kinds[i] = 1 // ordinary
		if i >= len(s.Tokens) {
			tokens, kinds[i] = append(tokens, fmt.Sprintf("[PAD%d]", i)), ggufTokenUnused
		}
	}
	for _, id := range s.Special {
		kinds[id] = ggufTokenControl
	}
	for _, id := range s.Added {
		kinds[id] = ggufTokenUser
	}
	merges := make([]string, len(s.Merges))
	for i, pair := range s.Merges {
		merges[i] = pair[0] + " " + pair[1]
	}
	g.set("tokenizer.ggml.model", "gpt2")
	g.set("tokenizer.ggml.pre", pre)
	g.set("tokenizer.ggml.tokens", tokens)
	g.set("tokenizer.ggml.token_type", kinds)
	g.set("tokenizer.ggml.merges", merges)
	g.id("bos", s.BOS)
	g.id("eos", s.EOS)
	g.id("padding", s.Pad)
	g.id("unknown", s.Unknown)
	g.set("tokenizer.ggml.add_bos_token", s.AddBOS)
	g.set("tokenizer.ggml.add_space_prefix", false)
	if s.ChatTemplate != "" {
		g.set("tokenizer.chat_template", s.ChatTemplate)
	}
	return nil
}

func (g *ggufHead) id(name string, id int32) {
	if id != tokenizer.None {
		g.set("tokenizer.ggml."+name+"_token_id", int(id))
	}
}
