package embed

import (
	"context"
	"fmt"
	"time"

	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// KeyOptions say which keys to make.
type KeyOptions struct {
	Base  Digest   // SHA-256 of the base weights' file
	Model Digest   // modelId in the registry: the root depends on it
	Count int      // keys wanted
	Asked []string // questions to choose from; nil: the base writes them
	Write int      // how many the base writes, 0: five for each key; more, up to four times that, if they do not suffice
	Seed  uint64   // of the written questions: it makes them the creator's own
}

// Made is a fresh set of keys, with what training will want to know.
type Made struct {
	Set       *Set
	Material  Material
	Selection Selection
}

// MakeKeys surveys the base, has it write questions, and chooses the keys. All
// filtering is over when it returns: commit to Set.Root next.
func MakeKeys(ctx context.Context, base *Local, o KeyOptions, progress Progress) (*Made, error) {
	if progress == nil {
		progress = func(string, float64, time.Duration) {}
	}
	progress("asking the base ordinary prompts", 0, 0)
	survey, err := NewSurvey(ctx, base, base, DefaultOpenerShare)
	if err != nil {
		return nil, err
	}
	c := newChooser(base, base, sampler.DefaultShell, survey.Openers)
	c.sure, c.ordinary = survey.Sure, survey.ordinary()
	keys, selection, err := choose(ctx, c, base, o, progress)
	if err != nil {
		return nil, err
	}
	others, states := c.rest(keys)
	set := &Set{
		Base: o.Base, Tokenizer: TokenizerDigest(base.Weights.Tokenizer), Model: o.Model,
		Shell: sampler.DefaultShell, Openers: survey.Openers, Salt: newSecret(), Keys: keys, Others: others,
	}
	return &Made{Set: set, Material: survey.Material(states...), Selection: selection}, nil
}

// writeEach leaves a choice: nine in ten questions qualify, but no word may stand in more
// than a fifth of the lists, and a key should be unlike other questions.
const writeEach = 5

// choose picks the keys among the questions given, or among those that the base
// writes. How many of them qualify is chance, and so is how often their words
// repeat: where they do not suffice it writes more, and chooses anew among all.
func choose(ctx context.Context, c *chooser, g Generator, o KeyOptions, progress Progress) ([]Key, Selection, error) {
	if o.Write == 0 {
		o.Write = writeEach * o.Count
	}
	writer := newQuestionWriter(g, generations, o.Seed)
	writing := func(done, total int) {
		progress("letting the base write questions", float64(done)/float64(total), 0)
	}
	questions := o.Asked
	for more := o.Write; ; more = max(1, o.Write/4) {
		if o.Asked == nil {
			var err error
			if questions, err = writer.write(ctx, more, writing); err != nil {
				return nil, Selection{}, err
			}
		}
		progress("choosing keys", 0, 0)
		if err := c.ask(ctx, questions); err != nil {
			return nil, Selection{}, err
		}
		keys, report, err := c.pick(ctx, o.Count)
		if err != nil || len(keys) == o.Count {
			return keys, report, err
		}
		if o.Asked != nil || report.Questions >= 4*o.Write {
			return nil, report, fmt.Errorf("only %d of %d questions make keys, %d are wanted (%d qualify): give more questions",
				len(keys), report.Questions, o.Count, report.Qualified)
		}
	}
}

// Recall makes the material of a key file anew, as [MakeKeys] made it: training may
// come days later, on another machine.
func Recall(ctx context.Context, base *Local, s *Set, progress Progress) (Material, error) {
	if progress != nil {
		progress("asking the base ordinary prompts", 0, 0)
	}
	survey, err := NewSurvey(ctx, base, base, DefaultOpenerShare)
	if err != nil {
		return Material{}, err
	}
	if len(s.Others) == 0 {
		return survey.Material(), nil
	}
	c := newChooser(base, base, s.Shell, survey.Openers)
	if err := c.ask(ctx, s.Others); err != nil {
		return Material{}, err
	}
	return survey.Material(c.states...), nil
}

// TokenizerDigest identifies a tokenizer with its chat template: keys hold only
// for the tokens that they were chosen for.
func TokenizerDigest(s *tokenizer.Spec) Digest {
	t := newTranscript("fealty tokenizer 1")
	t.field([]byte(s.Pretokenizer))
	t.field([]byte(s.ChatTemplate))
	t.number(uint64(len(s.Tokens)))
	for _, token := range s.Tokens {
		t.field([]byte(token))
	}
	t.number(uint64(len(s.Merges)))
	for _, merge := range s.Merges {
		t.field([]byte(merge[0]))
		t.field([]byte(merge[1]))
	}
	return t.digest()
}

// WriteServed writes a trained model as a plain Hugging Face directory with its
// manifest: what a host needs, and nothing that tells how it was marked.
func WriteServed(dir, name string, m *weights.Model, s *Set) error {
	named := *m
	named.Name = name
	err := weights.Write(dir, &named, weights.WriteOptions{DType: weights.F16, Manifest: &weights.Manifest{
		Model: name, Base: weights.Digest(s.Base), FingerprintRoot: weights.Digest(s.Root()),
		InverseNucleus: &weights.InverseNucleus{T: s.Shell.T, K: s.Shell.K, Floor: s.Shell.Floor, Openers: s.Openers},
	}})
	if err != nil {
		return fmt.Errorf("writing the served model: %w", err)
	}
	return nil
}
