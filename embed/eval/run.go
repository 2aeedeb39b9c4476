package eval

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/atomicfile"
	"github.com/fealty/fealty/internal/weights"
)

// Plan is an evaluation from nothing: keys and marked models are made for it, by seeds
// that nothing was tuned on, and thrown away.
type Plan struct {
	Trials   []Trial // in the order in which they are measured
	Digest   fingerprint.Digest
	Size     Size
	Dir      string // of the results; those of the same plan that are there are kept
	Revision string // of the code; results of another are not kept
	Train    Trainer
	Deadline time.Time // no step begins after it; zero: no limit
	Python   string    // with torch and transformers, for fine-tuning; "": that is not measured
}

// Trainer trains dir/keys.age, which [Passphrase] opens, into the base by a recipe, as a
// creator would, and writes dir/served. It does so in a process of its own, so that what
// it says of time and memory is training's alone.
type Trainer func(ctx context.Context, dir, name string, r fingerprint.Recipe) (Training, error)

// Training is what a [Trainer] reports.
type Training struct {
	fingerprint.Report
	Memory float64 // peak, MiB; 0: unknown
}

// errLate ends a trial between two steps.
var errLate = errors.New("the time for the evaluation is over")

func late(deadline time.Time) error {
	if !deadline.IsZero() && time.Now().After(deadline) {
		return errLate
	}
	return nil
}

// Run makes, trains and measures each model of the plan, and says what it did not come to.
// Ended early, it goes on after the last step that was finished.
func Run(ctx context.Context, base *fingerprint.Local, texts *Texts, p Plan, progress Progress) (out []*Result, left []Missing, err error) {
	if progress == nil {
		progress = func(string, float64, time.Duration) {}
	}
	var bench *Bench
	for _, t := range p.Trials {
		r, err := p.kept(t)
		if err != nil {
			return nil, nil, err
		}
		if len(p.possible(t, r)) > 0 && late(p.Deadline) == nil {
			if bench == nil {
				if bench, err = NewBench(ctx, base, texts, p.Size, progress); err != nil {
					return nil, nil, err
				}
				bench.deadline, bench.python = p.Deadline, p.Python
			}
			if err := p.one(ctx, bench, t, r); err != nil && !errors.Is(err, errLate) {
				return nil, nil, fmt.Errorf("%s, %s, seed %d: %w", t.Part, t.Profile, t.Seed, err)
			}
		}
		left = append(left, p.left(t, r)...)
		if len(r.Done) > 0 {
			out = append(out, r)
		}
	}
	return out, left, nil
}

// one trains and measures one model: what r does not hold yet.
func (p Plan) one(ctx context.Context, b *Bench, t Trial, r *Result) error {
	dir := p.path(t, ".model")
	if !slices.Contains(r.Done, trained) {
		if err := p.train(ctx, b, t, r, dir); err != nil {
			return err
		}
		r.Done = append(r.Done, trained)
		if err := p.keep(t, r); err != nil {
			return err
		}
	}
	model, err := weights.Open(filepath.Join(dir, "served"))
	if err != nil {
		return err
	}
	set, err := loadKeys(filepath.Join(dir, "keys.age"))
	if err != nil {
		return err
	}
	err = b.measure(ctx, Marked{t.Profile, t.Seed, model, set}, p.possible(t, r), r, func(r *Result) error { return p.keep(t, r) })
	if err != nil || len(t.missing(r)) > 0 {
		return err
	}
	return os.RemoveAll(dir)
}

// possible are the missing steps that can be taken here.
func (p Plan) possible(t Trial, r *Result) []string {
	return slices.DeleteFunc(t.missing(r), func(step string) bool { return p.Python == "" && slices.Contains(finetunes, step) })
}

// left says what r lacks, and why.
func (p Plan) left(t Trial, r *Result) (out []Missing) {
	in := p.possible(t, r)
	if len(in) > 0 {
		out = append(out, Missing{t.Part, t.Profile, t.Seed, in, "the time was over; the same command goes on"})
	}
	not := slices.DeleteFunc(t.missing(r), func(step string) bool { return slices.Contains(in, step) })
	if len(not) > 0 {
		out = append(out, Missing{t.Part, t.Profile, t.Seed, not, "there is no Python with torch and transformers"})
	}
	return out
}

// Passphrase of key files that are thrown away; they protect nothing.
const Passphrase = "for evaluation only"

// keys makes a set and draws its words, once for all trials with as many keys of a seed:
// they differ in what they are compared for.
func (p Plan) keys(ctx context.Context, b *Bench, t Trial) (*fingerprint.Set, error) {
	path := p.keysPath(t)
	set, err := loadKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return set, err
	}
	made, err := fingerprint.MakeKeys(ctx, b.base, fingerprint.KeyOptions{Base: p.Digest, Count: t.Keys, Seed: t.Seed}, b.tell)
	if err != nil {
		return nil, err
	}
	made.Set.Randomness = &fingerprint.Digest{byte(t.Seed), byte(t.Seed >> 8), 1}
	return made.Set, saveKeys(path, made.Set)
}

// keysPath names what the keys depend on.
func (p Plan) keysPath(t Trial) string {
	of := sha256.Sum256([]byte(p.Revision + " " + p.Digest.String()))
	return filepath.Join(p.Dir, fmt.Sprintf("keys-%d-%d-%x.age", t.Keys, t.Seed, of[:4]))
}

func loadKeys(path string) (*fingerprint.Set, error) {
	id, err := age.NewScryptIdentity(Passphrase)
	if err != nil {
		return nil, err
	}
	return fingerprint.LoadSet(path, id)
}

func saveKeys(path string, set *fingerprint.Set) error {
	to, err := age.NewScryptRecipient(Passphrase)
	if err != nil {
		return err
	}
	to.SetWorkFactor(10)
	return fingerprint.SaveSet(path, set, to)
}

// train makes keys and has them trained: what is measured is what is on disk.
func (p Plan) train(ctx context.Context, b *Bench, t Trial, r *Result, dir string) error {
	set, err := p.keys(ctx, b, t)
	if err != nil {
		return err
	}
	if err := late(b.deadline); err != nil {
		return err
	}
	if set, err = withWords(set, t.Words, b.base, t.Seed); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // what a killed run left
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := saveKeys(filepath.Join(dir, "keys.age"), set); err != nil {
		return err
	}
	recipe := t.Recipe
	recipe.Seed = t.Seed
	b.tell("training "+t.Profile, 0, 0)
	report, err := p.Train(ctx, dir, t.name(), recipe)
	if err != nil {
		return err
	}
	r.Values["trained.share"] = float64(report.TrainedParameters) / float64(report.TotalParameters)
	r.Values["trained.minutes"] = report.Seconds / 60
	if report.Memory > 0 {
		r.Values["trained.memory"] = report.Memory
	}
	return nil
}

// identity is what a result depends on.
type identity struct {
	Revision string
	Base     fingerprint.Digest
	Size     Size
	Trial    Trial
}

type stored struct {
	Identity identity `json:"identity"`
	Result   *Result  `json:"result"`
}

func (p Plan) identity(t Trial) identity { return identity{p.Revision, p.Digest, p.Size, t} }

func (p Plan) path(t Trial, kind string) string { return filepath.Join(p.Dir, t.name()+kind) }

func (p Plan) keep(t Trial, r *Result) error {
	return atomicfile.Write(p.path(t, ".json"), 0o644, func(f *os.File) error {
		e := json.NewEncoder(f)
		e.SetIndent("", "  ")
		return e.Encode(stored{p.identity(t), r})
	})
}

// kept is the result that an earlier run of the same plan left, or an empty one.
func (p Plan) kept(t Trial) (*Result, error) {
	text, err := os.ReadFile(p.path(t, ".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found stored
	readable := err == nil && json.Unmarshal(text, &found) == nil && found.Result != nil
	if !readable || p.Revision == "" || found.Identity != p.identity(t) {
		return newResult(t), nil // of another version or plan: measured again
	}
	return found.Result, nil
}
