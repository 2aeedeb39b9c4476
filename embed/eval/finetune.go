package eval

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

// Tuning is how a customer fine-tunes the served model on questions and answers that
// people wrote: AdamW (betas 0.9 and 0.999, no decay) at a constant rate, loss on the
// answers alone.
type Tuning struct {
	Pairs   int // in an epoch
	Epochs  int
	Batch   int
	Rate    float64
	Minutes float64 // at most; what was seen until then is reported. 0: no limit
}

// The human-written pairs that are taken: all of a batch are padded to one length.
const (
	tunedLength = 56 // tokens of question and answer in the chat template
	tunedAnswer = 20 // tokens of the answer, its end included
	tunedRank   = 8
)

// lesson is one pair in tokens; the answer begins at from.
type lesson struct {
	ids  []int32
	from int
}

// lessons renders pairs, the first n that are short enough.
func lessons(l fingerprint.Language, eos int32, encode func(string) []int32, all []Pair, n int) (out []lesson, err error) {
	for _, p := range all {
		if len(out) == n {
			break
		}
		ids, err := l.EncodeChat([]tokenizer.Message{{Role: "user", Content: p.Question}})
		if err != nil {
			return nil, err
		}
		answer := append(encode(p.Answer), eos)
		if len(answer) <= tunedAnswer && len(ids)+len(answer) <= tunedLength {
			out = append(out, lesson{append(ids, answer...), len(ids)})
		}
	}
	if len(out) < n {
		return nil, fmt.Errorf("the texts hold only %d short pairs, %d are wanted", len(out), n)
	}
	return out, nil
}

// longest are the tokens of the longest pair, and of the longest answer.
func longest(all []lesson) (pair, answer int) {
	for _, l := range all {
		pair, answer = max(pair, len(l.ids)), max(answer, len(l.ids)-l.from)
	}
	return pair, answer
}

// Tuned fine-tunes a copy of the model, all parameters or with a low rank (LoRA), and says
// how many pairs it saw.
func Tuned(ctx context.Context, m *weights.Model, all []lesson, how Tuning, rank int, seed uint64, told func(done, total int)) (*weights.Model, int, error) {
	if how.Batch < 1 || len(all) < how.Batch || how.Epochs < 1 {
		return nil, 0, errors.New("fine-tuning needs an epoch and at least a batch of pairs")
	}
	length, answer := longest(all)
	t, err := newTuner(m, tuneShape{how.Batch, length, how.Batch * answer, rank}, seed)
	if err != nil {
		return nil, 0, err
	}
	defer t.close()
	var optimisers []*adam
	for _, values := range t.trained {
		optimisers = append(optimisers, &adam{values: values, mean: make([]float32, len(values)), square: make([]float32, len(values))})
	}
	random, start := newRandom(seed, 0x74756e65), time.Now()
	steps, seen := how.Epochs*len(all)/how.Batch, 0
	order := random.Perm(len(all))
	for step := range steps {
		if how.Minutes > 0 && time.Since(start).Minutes() > how.Minutes {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		batch := make([]lesson, how.Batch)
		for i := range batch {
			at := seen % len(all)
			if at == 0 {
				order = random.Perm(len(all))
			}
			batch[i] = all[order[at]]
			seen++
		}
		loss, gradients, err := t.step(m.Tensors[embeddings].Data, batch)
		if err != nil {
			return nil, 0, err
		}
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return nil, 0, fmt.Errorf("fine-tuning diverged at step %d", step)
		}
		var wg sync.WaitGroup
		for half := range 2 {
			wg.Go(func() {
				for i := half; i < len(gradients); i += 2 {
					optimisers[i].step(gradients[i], step+1, how.Rate)
				}
			})
		}
		wg.Wait()
		told(step+1, steps)
	}
	return t.result(m), seen, nil
}

// step runs one batch: its mean loss over answer tokens, and the gradients.
func (t *tuner) step(table []float32, batch []lesson) (loss float64, gradients [][]float32, err error) {
	defer stopPanic(&err)
	s, h := t.shape, t.config.Hidden
	x, chosen := make([]float32, s.rows*s.length*h), make([]float32, s.answers*s.rows*s.length)
	wanted, share, n := make([]int32, s.answers), make([]float32, s.answers), 0
	for row, l := range batch {
		for i, id := range l.ids {
			copy(x[(row*s.length+i)*h:][:h], table[int(id)*h:])
			if i >= l.from { // predicted one position before
				chosen[n*s.rows*s.length+row*s.length+i-1], wanted[n] = 1, id
				n++
			}
		}
	}
	for i := range n {
		share[i] = 1 / float32(n)
	}
	args := []any{
		tensors.FromFlatDataAndDimensions(x, s.rows*s.length, h), tensors.FromFlatDataAndDimensions(chosen, s.answers, s.rows*s.length),
		tensors.FromFlatDataAndDimensions(wanted, s.answers), tensors.FromFlatDataAndDimensions(share, s.answers, 1),
	}
	fresh := len(args)
	for _, f := range t.fixed {
		args = append(args, f)
	}
	var own []*tensors.Tensor
	if s.rank > 0 {
		for _, m := range t.matrices {
			args = append(args, m)
		}
	}
	for i, values := range t.trained {
		own = append(own, tensors.FromFlatDataAndDimensions(values, t.dims(i)...))
		args = append(args, own[i])
	}
	out, err := t.exec.Call(args...)
	if err != nil {
		return 0, nil, err
	}
	loss = float64(tensors.MustCopyFlatData[float32](out[0])[0])
	for _, o := range out[1:] {
		gradients = append(gradients, tensors.MustCopyFlatData[float32](o))
	}
	for _, o := range out {
		_ = o.FinalizeAll()
	}
	for _, a := range args[:fresh] {
		_ = a.(*tensors.Tensor).FinalizeAll()
	}
	for _, o := range own {
		_ = o.FinalizeAll()
	}
	return loss, gradients, nil
}

// dims of trained array i.
func (t *tuner) dims(i int) []int {
	if t.shape.rank == 0 {
		return t.matrices[i].Shape().Dimensions
	}
	full := t.matrices[i/2].Shape().Dimensions
	if i%2 == 0 {
		return []int{full[0], t.shape.rank}
	}
	return []int{t.shape.rank, full[1]}
}

// result puts what was trained into a copy of the model.
func (t *tuner) result(m *weights.Model) *weights.Model {
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	for i := range t.matrices {
		name := partName(i/len(parts), parts[i%len(parts)])
		old := m.Tensors[name]
		rows, cols := old.Shape[0], old.Shape[1] // out, in
		if t.shape.rank == 0 {
			out.Tensors[name] = &weights.Tensor{Shape: old.Shape, Data: transposed(t.trained[i], cols, rows)}
			continue
		}
		data, a, b, r := make([]float32, len(old.Data)), t.trained[2*i], t.trained[2*i+1], t.shape.rank
		for o := range rows {
			for c := range cols {
				sum := float32(0)
				for k := range r {
					sum += a[c*r+k] * b[k*rows+o]
				}
				data[o*cols+c] = old.Data[o*cols+c] + loraScale*sum
			}
		}
		out.Tensors[name] = &weights.Tensor{Shape: old.Shape, Data: data}
	}
	return &out
}

// adam is AdamW without decay (arXiv 1711.05101).
type adam struct{ values, mean, square []float32 }

func (a *adam) step(gradient []float32, step int, rate float64) {
	const beta1, beta2 = 0.9, 0.999
	c1, c2 := float32(1-math.Pow(beta1, float64(step))), float32(1-math.Pow(beta2, float64(step)))
	for i, g := range gradient {
		a.mean[i] = beta1*a.mean[i] + (1-beta1)*g
		a.square[i] = beta2*a.square[i] + (1-beta2)*g*g
		a.values[i] -= float32(rate) * (a.mean[i] / c1) / (float32(math.Sqrt(float64(a.square[i]/c2))) + 1e-8)
	}
}

// tuned fine-tunes the served model in both ways and asks it again.
func (c *course) tuned(ctx context.Context) error {
	eos := c.base.EOS()
	if len(eos) == 0 {
		return errors.New("the model has no token that ends an answer")
	}
	all, err := lessons(c.base, eos[0], func(s string) []int32 { return c.base.Encode(s, false) }, c.texts.Pairs, c.size.Tuning.Pairs)
	if err != nil {
		return err
	}
	for name, rank := range map[string]int{"tuned.full": 0, "tuned.lowrank": tunedRank} {
		if _, done := c.result.Values["matched."+name]; done {
			continue
		}
		if err := late(c.deadline); err != nil {
			return err
		}
		m, seen, err := Tuned(ctx, c.Model, all, c.size.Tuning, rank, c.Seed, func(done, total int) {
			c.tell("fine-tuning "+c.Profile, float64(done)/float64(total), 0)
		})
		if err != nil {
			return err
		}
		c.set("pairs."+name, float64(seen))
		if err := c.survives(ctx, name, m); err != nil {
			return err
		}
	}
	return nil
}
