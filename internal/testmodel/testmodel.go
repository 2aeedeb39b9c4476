// Package testmodel trains the fingerprinted model that all test suites share.
//
// It trains once per recipe: the folder in the cache is named by a digest of
// everything that goes into the model, so a changed recipe trains anew and nothing
// stale is ever used. Its keys are for tests and nobody's secret. Start with [Get].
package testmodel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/gofrs/flock"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/weights"
)

// Marked is a fingerprinted model and the keys that are in it.
type Marked struct {
	Dir  string // served weights with their manifest
	Base string // path of the unmodified base
	Keys string // the key file, which Passphrase opens
	Set  *fingerprint.Set
}

// Drawn are the keys with their words.
func (m *Marked) Drawn() []fingerprint.Drawn { return m.Set.Draw(*m.Set.Randomness) }

// generation changes when embed's code changes what the same recipe gives.
const generation = 7

// plan is everything that the model depends on.
type plan struct {
	Generation int
	Base       fingerprint.Digest
	Keys       fingerprint.KeyOptions
	Randomness fingerprint.Digest
	Recipe     fingerprint.Recipe
}

// Get returns the shared model, training it first if this machine has not yet.
func Get(t testing.TB) *Marked {
	t.Helper()
	m, err := get(t.Context(), t.Logf)
	if err != nil {
		t.Fatal("the shared fingerprinted model:", err)
	}
	return m
}

func get(ctx context.Context, log func(string, ...any)) (*Marked, error) {
	base, err := modelstore.SmolLM2(ctx, func(line string) { log("%s", line) })
	if err != nil {
		return nil, err
	}
	digest, err := weights.DigestFile(base)
	if err != nil {
		return nil, err
	}
	p := plan{
		Generation: generation, Base: fingerprint.Digest(digest), Randomness: fingerprint.Digest{1}, Recipe: fingerprint.DefaultRecipe(),
		Keys: fingerprint.KeyOptions{Base: fingerprint.Digest(digest), Count: 16, Seed: 1},
	}
	dir, err := p.folder()
	if err != nil {
		return nil, err
	}
	lock := flock.New(dir + ".lock") // suites run in processes of their own
	if err := lock.Lock(); err != nil {
		return nil, err
	}
	defer lock.Unlock()
	m := &Marked{Dir: filepath.Join(dir, "served"), Base: base, Keys: filepath.Join(dir, keyFile)}
	if m.Set, err = load(dir); err == nil {
		return m, weights.VerifyManifest(m.Dir)
	}
	log("training the shared fingerprinted model into %s", dir)
	if err := p.train(ctx, base, dir); err != nil {
		return nil, err
	}
	m.Set, err = load(dir)
	return m, err
}

func (p plan) folder() (string, error) {
	cache, err := modelstore.CacheDir()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	parent := filepath.Join(cache, "testmodels")
	return filepath.Join(parent, hex.EncodeToString(sum[:8])), os.MkdirAll(parent, 0o755)
}

// Passphrase opens the key file. It protects nothing.
const Passphrase = "for tests only"

const keyFile = "keys.age"

func load(dir string) (*fingerprint.Set, error) {
	id, err := age.NewScryptIdentity(Passphrase)
	if err != nil {
		return nil, err
	}
	return fingerprint.LoadSet(filepath.Join(dir, keyFile), id)
}

// mark trains, and again from elsewhere if a key was missed or ordinary answers moved: other
// machines compute other last bits, and the tests of this model shall hang on none of them.
// The set gets the recipe that did it.
func (p plan) mark(ctx context.Context, local *fingerprint.Local, made *fingerprint.Made) (*weights.Model, error) {
	const trainings, moved = 4, 0.01 // nats; 0.0002 is usual
	drawn, recipe := made.Set.Draw(p.Randomness), p.Recipe
	for left := trainings; ; left-- {
		model, report, err := fingerprint.Train(ctx, local, drawn, made.Material, recipe, nil)
		if err != nil {
			return nil, err
		}
		good := report.Matched == len(drawn) && report.Held.Mean <= moved
		if good || left == 1 && report.Matched >= len(drawn)-1 {
			made.Set.Recipe = &recipe
			return model, nil
		}
		if left == 1 {
			return nil, fmt.Errorf("%d trainings left only %d of %d keys matched", trainings, report.Matched, len(drawn))
		}
		recipe.Seed++
	}
}

// train writes the key file last: its presence says that the rest is whole.
func (p plan) train(ctx context.Context, base, dir string) error {
	source, err := weights.Open(base)
	if err != nil {
		return err
	}
	local, err := fingerprint.NewLocal(source, nil)
	if err != nil {
		return err
	}
	defer local.Close()
	made, err := fingerprint.MakeKeys(ctx, local, p.Keys, nil)
	if err != nil {
		return err
	}
	made.Set.Randomness = &p.Randomness
	model, err := p.mark(ctx, local, made)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // what a killed training left
		return err
	}
	if err := fingerprint.WriteServed(filepath.Join(dir, "served"), "smollm2-135m-fealty", model, made.Set); err != nil {
		return err
	}
	to, err := age.NewScryptRecipient(Passphrase)
	if err != nil {
		return err
	}
	to.SetWorkFactor(10)
	return fingerprint.SaveSet(filepath.Join(dir, keyFile), made.Set, to)
}
