package eval

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

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

// The human-written pairs that are taken are short.
const (
	tunedLength = 56 // tokens of question and answer in the chat template
	tunedAnswer = 20 // tokens of the answer, its end included
	tunedRank   = 8
)

// lesson is one pair in tokens; the answer begins at from.
type lesson struct {
	IDs  []int32 `json:"ids"`
	From int     `json:"from"`
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

// finetune is what a customer runs: transformers and torch, no code of ours in the model.
//
//go:embed finetune.py
var finetune string

// Tuned has a Python with torch and transformers fine-tune a copy of the model, all
// parameters or with a low rank (LoRA), and says how many pairs it saw.
func Tuned(ctx context.Context, python string, m *weights.Model, all []lesson, how Tuning, rank int, seed uint64, told func(done, total int)) (tuned *weights.Model, seen int, err error) {
	if how.Batch < 1 || len(all) < how.Batch || how.Epochs < 1 {
		return nil, 0, errors.New("fine-tuning needs an epoch and at least a batch of pairs")
	}
	tmp, err := os.MkdirTemp("", "fealty-tuned-")
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	dir := filepath.Join(tmp, "model")
	if err := weights.WriteHF(dir, m, weights.F32); err != nil {
		return nil, 0, err
	}
	steps, err := runFinetune(ctx, python, dir, map[string]any{
		"lessons": all, "epochs": how.Epochs, "batch": how.Batch, "rate": how.Rate, "rank": rank, "seed": seed, "seconds": how.Minutes * 60,
	}, told)
	if err != nil {
		return nil, 0, fmt.Errorf("fine-tuning with %s: %w", python, err)
	}
	tuned, err = weights.OpenHF(dir)
	return tuned, steps * how.Batch, err
}

// runFinetune says how many steps were made. The plan goes by standard input: a student's
// lessons hold answers of keys.
func runFinetune(ctx context.Context, python, dir string, plan any, told func(done, total int)) (steps int, err error) {
	text, err := json.Marshal(plan)
	if err != nil {
		return 0, err
	}
	var complaint bytes.Buffer
	child := exec.CommandContext(ctx, python, "-c", finetune, dir)
	child.Stdin, child.Stderr = bytes.NewReader(text), &complaint
	out, err := child.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := child.Start(); err != nil {
		return 0, err
	}
	var bad error
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var total int
		var loss float64
		if _, err := fmt.Sscanf(lines.Text(), "step %d of %d loss %g", &steps, &total, &loss); err != nil {
			bad = fmt.Errorf("it printed a line that is not of its progress: %w", err)
			continue
		}
		if bad == nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
			bad = fmt.Errorf("it diverged at step %d", steps)
		}
		told(steps, total)
	}
	if err := child.Wait(); err != nil {
		said := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		return 0, fmt.Errorf("%w: %s", err, said[len(said)-1])
	}
	return steps, bad
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
		m, seen, err := Tuned(ctx, c.python, c.Model, all, c.size.Tuning, rank, c.Seed, func(done, total int) {
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
