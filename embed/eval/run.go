package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"filippo.io/age"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/atomicfile"
	"github.com/fealty/fealty/internal/weights"
)

// Plan is an evaluation from nothing: keys and marked models are made for it, by seeds
// that nothing was tuned on, and thrown away.
type Plan struct {
	Keys     int
	Seeds    []uint64
	Recipes  []Named // each is trained with each seed
	Digest   fingerprint.Digest
	Size     Size
	Dir      string // of the results; those of the same plan that are there are kept
	Revision string // of the code; results of another are not kept
}

// Named is a recipe under its profile's name.
type Named struct {
	Profile string
	Recipe  fingerprint.Recipe
}

// Profiles are the two that the targets are for.
func Profiles() []Named {
	return []Named{{"robust", fingerprint.DefaultRecipe()}, {"quiet", fingerprint.QuietRecipe()}}
}

// Run makes, trains and measures each model of the plan. Ended early, it goes on after
// the last part that was finished.
func Run(ctx context.Context, base *fingerprint.Local, texts *Texts, p Plan, progress Progress) ([]*Result, error) {
	if progress == nil {
		progress = func(string, float64, time.Duration) {}
	}
	var out []*Result
	var bench *Bench
	for _, seed := range p.Seeds {
		for _, n := range p.Recipes {
			r, err := p.kept(n, seed)
			if err != nil {
				return nil, err
			}
			if r == nil || !r.whole() {
				if bench == nil {
					if bench, err = NewBench(ctx, base, texts, p.Size, progress); err != nil {
						return nil, err
					}
				}
				if r, err = p.one(ctx, bench, n, seed, r); err != nil {
					return nil, fmt.Errorf("%s, seed %d: %w", n.Profile, seed, err)
				}
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// keys makes a set and draws its words.
func (p Plan) keys(ctx context.Context, base *fingerprint.Local, seed uint64, progress Progress) (*fingerprint.Made, error) {
	made, err := fingerprint.MakeKeys(ctx, base, fingerprint.KeyOptions{Base: p.Digest, Count: p.Keys, Seed: seed}, progress)
	if err != nil {
		return nil, err
	}
	made.Set.Randomness = &fingerprint.Digest{byte(seed), byte(seed >> 8), 1}
	return made, nil
}

// one trains and measures one model. r is what an earlier run found of the same model.
func (p Plan) one(ctx context.Context, b *Bench, n Named, seed uint64, r *Result) (*Result, error) {
	dir := p.path(n, seed, ".model")
	if r == nil {
		trained, err := p.train(ctx, b, n, seed, dir)
		if err != nil {
			return nil, err
		}
		r = newResult(n.Profile, seed, p.Keys)
		maps.Copy(r.Values, trained)
		if err := p.keep(n, r); err != nil {
			return nil, err
		}
	}
	model, err := weights.Open(filepath.Join(dir, "served"))
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	set, err := fingerprint.LoadSet(filepath.Join(dir, "keys.age"), id)
	if err != nil {
		return nil, err
	}
	if r, err = b.Measure(ctx, Marked{n.Profile, seed, model, set}, r, func(r *Result) error { return p.keep(n, r) }); err != nil {
		return nil, err
	}
	return r, os.RemoveAll(dir)
}

// passphrase of key files that are thrown away; they protect nothing.
const passphrase = "for evaluation only"

// train makes keys, trains them into the base, and writes the served files as a creator
// would: what is measured is what is on disk.
func (p Plan) train(ctx context.Context, b *Bench, n Named, seed uint64, dir string) (map[string]float64, error) {
	made, err := p.keys(ctx, b.base, seed, b.tell)
	if err != nil {
		return nil, err
	}
	recipe := n.Recipe
	recipe.Seed = seed
	model, report, err := fingerprint.Train(ctx, b.base, made.Set.Draw(*made.Set.Randomness), made.Material, recipe, b.tell)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{
		"trained.share": float64(report.TrainedParameters) / float64(report.TotalParameters), "trained.minutes": report.Seconds / 60,
	}
	if !b.trained { // later peaks are those of measuring
		values["trained.memory"], b.trained = peakMemory(), true
	}
	if err := os.RemoveAll(dir); err != nil { // what a killed run left
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := fingerprint.WriteServed(filepath.Join(dir, "served"), n.Profile, model, made.Set); err != nil {
		return nil, err
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	to.SetWorkFactor(10)
	return values, fingerprint.SaveSet(filepath.Join(dir, "keys.age"), made.Set, to)
}

// peakMemory of this process so far, in MiB.
func peakMemory() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return float64(usage.Maxrss >> 20) // bytes there
	}
	return float64(usage.Maxrss >> 10) // KiB
}

// identity is what a result depends on.
type identity struct {
	Revision string
	Base     fingerprint.Digest
	Keys     int
	Size     Size
	Recipe   fingerprint.Recipe
}

type stored struct {
	Identity identity `json:"identity"`
	Result   *Result  `json:"result"`
}

func (p Plan) identity(n Named) identity {
	return identity{p.Revision, p.Digest, p.Keys, p.Size, n.Recipe}
}

func (p Plan) path(n Named, seed uint64, kind string) string {
	return filepath.Join(p.Dir, fmt.Sprintf("%s-%d%s", n.Profile, seed, kind))
}

func (p Plan) keep(n Named, r *Result) error {
	return atomicfile.Write(p.path(n, r.Seed, ".json"), 0o644, func(f *os.File) error {
		e := json.NewEncoder(f)
		e.SetIndent("", "  ")
		return e.Encode(stored{p.identity(n), r})
	})
}

// kept is the result that an earlier run of the same plan left, or nil.
func (p Plan) kept(n Named, seed uint64) (*Result, error) {
	text, err := os.ReadFile(p.path(n, seed, ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found stored
	readable := json.Unmarshal(text, &found) == nil
	if !readable || p.Revision == "" || found.Identity != p.identity(n) {
		return nil, nil // of another version or plan: measured again
	}
	return found.Result, nil
}
