package llama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/llama/llamatest"
	"github.com/fealty/fealty/internal/weights"
)

// tiny is a random model whose vocabulary is no multiple of a head shard.
func tiny(tie bool) *weights.Model { return llamatest.Model(llamatest.Config(tie), 7) }

func load(t testing.TB, source *weights.Model) *Model {
	t.Helper()
	m, err := New(source)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// naive is the obvious twin of the graphs: one sequence, float64, loops. It
// returns the logits of each position and the stream before the last
// feed-forward block.
func naive(m *weights.Model, tokens []int32) (logits, preFFN [][]float64) {
	c := m.Config
	n := naiveModel{m}
	x := make([][]float64, len(tokens))
	for i, id := range tokens {
		x[i] = make([]float64, c.Hidden)
		for j := range x[i] {
			x[i][j] = float64(n.t("model.embed_tokens", -1).Data[int(id)*c.Hidden+j])
		}
	}
	for l := range c.Layers {
		n.attention(l, x)
		if l == c.Layers-1 {
			for _, row := range x {
				preFFN = append(preFFN, append([]float64(nil), row...))
			}
		}
		n.feedForward(l, x)
	}
	head := "lm_head"
	if c.TieEmbeddings {
		head = "model.embed_tokens"
	}
	for _, row := range x {
		logits = append(logits, n.linear(head, -1, n.norm("model.norm", -1, row)))
	}
	return logits, preFFN
}

type naiveModel struct{ *weights.Model }

func (n naiveModel) t(name string, layer int) *weights.Tensor {
	return n.Tensors[tensorName(name, layer)]
}

func (n naiveModel) linear(name string, layer int, x []float64) []float64 {
	w := n.t(name, layer)
	out := make([]float64, w.Shape[0])
	for i := range out {
		for j, v := range x {
			out[i] += v * float64(w.Data[i*w.Shape[1]+j])
		}
	}
	return out
}

func (n naiveModel) norm(name string, layer int, x []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v / math.Sqrt(sum/float64(len(x))+n.Config.NormEps) * float64(n.t(name, layer).Data[i])
	}
	return out
}

func (n naiveModel) rotate(x []float64, position int) {
	d := n.Config.HeadDim
	for at := 0; at < len(x); at += d {
		for i := range d / 2 {
			angle := float64(position) / math.Pow(n.Config.RopeTheta, float64(2*i)/float64(d))
			a, b := x[at+i], x[at+i+d/2]
			x[at+i], x[at+i+d/2] = a*math.Cos(angle)-b*math.Sin(angle), b*math.Cos(angle)+a*math.Sin(angle)
		}
	}
}

func (n naiveModel) attention(l int, x [][]float64) {
	c := n.Config
	var q, k, v [][]float64
	for i, row := range x {
		h := n.norm("input_layernorm", l, row)
		q = append(q, n.linear("self_attn.q_proj", l, h))
		k = append(k, n.linear("self_attn.k_proj", l, h))
		v = append(v, n.linear("self_attn.v_proj", l, h))
		n.rotate(q[i], i)
		n.rotate(k[i], i)
	}
	for i := range x {
		out := make([]float64, c.Heads*c.HeadDim)
		for h := range c.Heads {
			n.head(out[h*c.HeadDim:][:c.HeadDim], q[i][h*c.HeadDim:][:c.HeadDim], k[:i+1], v[:i+1], h/(c.Heads/c.KVHeads)*c.HeadDim)
		}
		for j, o := range n.linear("self_attn.o_proj", l, out) {
			x[i][j] += o
		}
	}
}

func (n naiveModel) head(out, q []float64, k, v [][]float64, offset int) {
	p, sum := make([]float64, len(k)), 0.0
	for j := range k {
		for d, qd := range q {
			p[j] += qd * k[j][offset+d]
		}
		p[j] = math.Exp(p[j] / math.Sqrt(float64(len(q))))
		sum += p[j]
	}
	for j := range k {
		for d := range out {
			out[d] += p[j] / sum * v[j][offset+d]
		}
	}
}

func (n naiveModel) feedForward(l int, x [][]float64) {
	for i, row := range x {
		h := n.norm("post_attention_layernorm", l, row)
		gate, up := n.linear("mlp.gate_proj", l, h), n.linear("mlp.up_proj", l, h)
		for j, g := range gate {
			up[j] *= g / (1 + math.Exp(-g))
		}
		for j, o := range n.linear("mlp.down_proj", l, up) {
			x[i][j] += o
		}
	}
}

func tensorName(part string, layer int) string {
	if layer < 0 {
		return part + ".weight"
	}
	return fmt.Sprintf("model.layers.%d.%s.weight", layer, part)
}

// tolerance bounds what float32 may differ from the float64 twin, as a share of
// the largest value.
const tolerance = 2e-5

// near fails unless got is want within the tolerance.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	scale, worst, at := 0.0, 0.0, 0
	for i, w := range want {
		scale = max(scale, math.Abs(w))
		if d := math.Abs(float64(got[i]) - w); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance*scale) {
		t.Errorf("%s: value %d is %v, want %v (scale %.3g)", what, at, got[at], want[at], scale)
	}
}

func randomTokens(r *rand.Rand, n, vocab int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(vocab))
	}
	return ids
}

func TestEvaluateEqualsNaive(t *testing.T) {
	for _, tie := range []bool{true, false} {
		source := tiny(tie)
		r := rand.New(rand.NewPCG(1, 2))
		var sequences [][]int32
		for _, n := range []int{1, 5, 17, 33, 16, 3, 40} {
			sequences = append(sequences, randomTokens(r, n, source.Config.Vocab))
		}
		e := NewEvaluator(load(t, source))
		var reported []int
		e.Progress = func(done, total int) { reported = append(reported, done, total) }
		rows, err := e.Evaluate(t.Context(), sequences)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(reported); n < 2 || reported[n-2] != len(sequences) || reported[n-1] != len(sequences) {
			t.Errorf("progress ended with %v, want %d of %[2]d", reported, len(sequences))
		}
		for i, s := range sequences {
			logits, preFFN := naive(source, s)
			near(t, fmt.Sprintf("tie=%v sequence %d logits", tie, i), rows[i].Logits, logits[len(s)-1])
			near(t, fmt.Sprintf("tie=%v sequence %d stream", tie, i), rows[i].PreFFN, preFFN[len(s)-1])
		}
	}
}

// TestSharedPrefix: sequences with one beginning, which is computed once, and
// again from the cache of the last call.
func TestSharedPrefix(t *testing.T) {
	source := tiny(true)
	r := rand.New(rand.NewPCG(8, 8))
	system := randomTokens(r, 21, source.Config.Vocab)
	var sequences [][]int32
	for _, n := range []int{1, 30, 4, 9, 2} {
		sequences = append(sequences, append(slices.Clone(system), randomTokens(r, n, source.Config.Vocab)...))
	}
	e := NewEvaluator(load(t, source))
	for _, call := range []string{"first", "second"} {
		rows, err := e.Evaluate(t.Context(), sequences)
		if err != nil {
			t.Fatal(err)
		}
		if e.last.length() != len(system) {
			t.Fatalf("%s call: the shared beginning has %d tokens, want %d", call, e.last.length(), len(system))
		}
		for i, s := range sequences {
			logits, preFFN := naive(source, s)
			near(t, fmt.Sprintf("%s call, sequence %d logits", call, i), rows[i].Logits, logits[len(s)-1])
			near(t, fmt.Sprintf("%s call, sequence %d stream", call, i), rows[i].PreFFN, preFFN[len(s)-1])
		}
	}
	same := [][]int32{system, system, system, system}
	rows, err := e.Evaluate(t.Context(), same)
	if err != nil {
		t.Fatal(err)
	}
	logits, _ := naive(source, system)
	near(t, "equal sequences", rows[3].Logits, logits[len(system)-1])
}

// TestBranches: sequences that begin alike without having one beginning, some equal, some
// the beginning of others, one longer than a line.
func TestBranches(t *testing.T) {
	source := tiny(true)
	r := rand.New(rand.NewPCG(8, 9))
	sequences := [][]int32{randomTokens(r, lineLength+20, source.Config.Vocab)}
	for _, n := range []int{12, 30, 7} {
		stem := randomTokens(r, n, source.Config.Vocab)
		sequences = append(sequences, stem, stem[:n-2])
		for range 9 {
			sequences = append(sequences, append(slices.Clone(stem), randomTokens(r, 1+r.IntN(3), source.Config.Vocab)...))
		}
	}
	sequences = append(sequences, sequences[3])
	r.Shuffle(len(sequences), func(i, j int) { sequences[i], sequences[j] = sequences[j], sequences[i] })
	tokens, rows := 0, 0
	for _, s := range sequences {
		tokens += len(s)
	}
	for _, l := range pack(sequences) {
		rows += len(l.tokens)
	}
	if rows > tokens/2 {
		t.Errorf("%d rows for %d tokens: what is shared is computed again", rows, tokens)
	}
	got, err := NewEvaluator(load(t, source)).Evaluate(t.Context(), sequences)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range sequences {
		logits, preFFN := naive(source, s)
		near(t, fmt.Sprintf("sequence %d logits", i), got[i].Logits, logits[len(s)-1])
		near(t, fmt.Sprintf("sequence %d stream", i), got[i].PreFFN, preFFN[len(s)-1])
	}
}

func TestEvaluateStops(t *testing.T) {
	e := NewEvaluator(load(t, tiny(true)))
	sequences := [][]int32{{1, 2}, {3, 4}}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Evaluate(cancelled, sequences); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	stop := errors.New("enough")
	if err := e.Each(t.Context(), sequences, func(int, Row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("after the visitor's error: %v", err)
	}
	var caught *PanicError
	if err := e.Each(t.Context(), sequences, func(int, Row) error { panic("no") }); !errors.As(err, &caught) {
		t.Errorf("after the visitor's panic: %v", err)
	}
	for want, bad := range map[string][][]int32{
		"sequence 1 has 0 tokens":                   {{1}, {}},
		"sequence 0 has 2049 tokens":                {make([]int32, 2049)},
		"token 700 is not in the vocabulary of 700": {{1, 700}},
		"token -1 is not in the vocabulary of 700":  {{-1}},
	} {
		if _, err := e.Evaluate(t.Context(), bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := e.Evaluate(t.Context(), sequences); err != nil {
		t.Errorf("after the failures: %v", err)
	}
}

func TestStepByStepEqualsNaive(t *testing.T) {
	source := tiny(true)
	m := load(t, source)
	tokens := randomTokens(rand.New(rand.NewPCG(3, 4)), 20, source.Config.Vocab)
	want, _ := naive(source, tokens)
	pool, err := m.NewCache(2, 32)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRunner(m)
	for i := range tokens {
		if err := r.Run(&Batch{Pool: pool, Tokens: tokens[i : i+1], Lengths: []int{i}}); err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("step %d", i), r.Logits(0), want[i])
	}
}

// TestMixedTicks runs two decodes and a chunked prefill side by side, then moves
// the finished prefill into the pool.
func TestMixedTicks(t *testing.T) {
	source := tiny(false)
	m := load(t, source)
	rnd := rand.New(rand.NewPCG(5, 6))
	prompt := randomTokens(rnd, 45, source.Config.Vocab)
	wantPrompt, _ := naive(source, prompt)
	decodes := [][]int32{randomTokens(rnd, 12, source.Config.Vocab), randomTokens(rnd, 12, source.Config.Vocab)}
	pool, staging := cache(t, m, 4, 64), cache(t, m, 1, 64)
	r := NewRunner(m)
	at := 0
	for step, n := range []int{8, 20, 3, 14} {
		b := &Batch{
			Pool: pool, Tokens: []int32{decodes[0][step], decodes[1][step]}, Lengths: []int{step, step},
			Staging: staging, Chunk: prompt[at : at+n], Start: at,
		}
		if err := r.Run(b); err != nil {
			t.Fatal(err)
		}
		at += n
		near(t, fmt.Sprintf("chunk to %d", at), r.Logits(2), wantPrompt[at-1])
		for i, d := range decodes {
			want, _ := naive(source, d[:step+1])
			near(t, fmt.Sprintf("decode %d step %d", i, step), r.Logits(i), want[step])
		}
	}
	pool.Copy(0, pool, 1, 4)
	pool.Copy(1, staging, 0, at-1)
	if err := r.Run(&Batch{Pool: pool, Tokens: []int32{decodes[1][4], prompt[at-1]}, Lengths: []int{4, at - 1}}); err != nil {
		t.Fatal(err)
	}
	want, _ := naive(source, decodes[1][:5])
	near(t, "moved row", r.Logits(0), want[4])
	near(t, "row copied from the staging cache", r.Logits(1), wantPrompt[at-1])
}

func cache(t testing.TB, m *Model, rows, span int) *Cache {
	t.Helper()
	c, err := m.NewCache(rows, span)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
