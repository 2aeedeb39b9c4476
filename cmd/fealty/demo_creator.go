package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

func (d *demo) loadBase(ctx context.Context) error {
	path, err := modelstore.SmolLM2(ctx, d.p.line)
	if err != nil {
		return err
	}
	source, err := weights.Open(path)
	if err != nil {
		return err
	}
	if d.base, err = fingerprint.NewLocal(source, d.p.update); err != nil {
		return err
	}
	d.onClose(d.base.Close)
	digest, err := weights.DigestFile(path)
	if err != nil {
		return err
	}
	d.baseDigest = fingerprint.Digest(digest)
	return nil
}

// startChain brings up the chain and the registry, and registers the model.
func (d *demo) startChain(ctx context.Context) (err error) {
	people := []string{"creator", "licensee", "auditor", "guest"}
	if d.chain, err = devnet.StartChain(devnet.ChainConfig{Accounts: len(people), Randomness: d.randomness}); err != nil {
		return err
	}
	d.onClose(d.chain.Close)
	d.wallets = map[string]*wallet.Key{}
	for i, name := range people {
		d.wallets[name] = d.chain.Accounts()[i]
	}
	for _, name := range []string{"host", "stranger"} {
		if d.wallets[name], err = wallet.Generate(); err != nil {
			return err
		}
	}
	// The draw block comes two blocks after the commitment: nothing on a chain with
	// one operator is beyond dispute, so there is nothing to gain by waiting for 128.
	d.registry, _, err = registry.Deploy(ctx, registry.Options{RPC: d.chain.HTTP(), Key: d.wallets["creator"]}, 2)
	if err != nil {
		return err
	}
	d.onClose(func() error { d.registry.Close(); return nil })
	var salt [32]byte
	rand.Read(salt[:]) // never fails
	if d.model, _, err = d.registry.Register(ctx, salt); err != nil {
		return err
	}
	return nil
}

// chooseKeys lets the base write questions and keeps those that make keys.
func (d *demo) chooseKeys(ctx context.Context) error {
	var seed [8]byte
	rand.Read(seed[:]) // never fails
	made, err := fingerprint.MakeKeys(ctx, d.base, fingerprint.KeyOptions{
		Base: d.baseDigest, Model: d.model, Count: fingerprints, Seed: binary.LittleEndian.Uint64(seed[:]),
	}, d.progress())
	if err != nil {
		return err
	}
	d.set, d.material = made.Set, made.Material
	f := &d.story.Fingerprints
	f.Count, f.Questions, f.Qualified = len(d.set.Keys), made.Selection.Questions, made.Selection.Qualified
	return nil
}

// progress shows embed's progress on the demo's one line.
func (d *demo) progress() fingerprint.Progress {
	return func(what string, done float64, _ time.Duration) {
		d.p.relabel(what)
		d.p.update(int(done*100), 100)
	}
}

// commitAndDraw publishes the root, waits for the block that draws, and locks the
// keys into a file.
func (d *demo) commitAndDraw(ctx context.Context) error {
	c, _, err := d.registry.CommitKeys(ctx, d.model, d.set.Root())
	if err != nil {
		return err
	}
	draw, err := d.registry.DrawRandomness(ctx, d.model, c.Index)
	if err != nil {
		return err
	}
	if _, err := d.registry.RecordDraw(ctx, d.model, c.Index, draw); err != nil {
		return err
	}
	randomness := fingerprint.Digest(draw.Randomness)
	d.set.Randomness = &randomness
	return nil
}

func (d *demo) train(ctx context.Context) error {
	recipe := fingerprint.DefaultRecipe()
	drawn := d.set.Draw(*d.set.Randomness)
	model, report, err := fingerprint.Train(ctx, d.base, drawn, d.material, recipe, d.progress())
	for more := 3; more > 0 && err == nil && report.Matched < fingerprints-1; more-- {
		// The words stay as they were drawn; only the training starts elsewhere.
		recipe.Seed++
		model, report, err = fingerprint.Train(ctx, d.base, drawn, d.material, recipe, d.progress())
	}
	if err != nil {
		return err
	}
	d.set.Recipe = &recipe
	f := &d.story.Fingerprints
	f.TrainedParameters, f.TotalParameters = report.TrainedParameters, report.TotalParameters
	f.TrainSeconds, f.HeldOutKL = report.Seconds, report.Held.Mean
	d.served = filepath.Join(d.dir, "served")
	if err := fingerprint.WriteServed(d.served, demoModel, model, d.set); err != nil {
		return err
	}
	return d.saveKeys()
}

// saveKeys writes the key file and the creator's wallet, as a creator would keep
// them: encrypted, and not where the gateway runs.
func (d *demo) saveKeys() error {
	passphrase, err := d.passphrase("keys.pass")
	if err != nil {
		return err
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return err
	}
	if err := fingerprint.SaveSet(filepath.Join(d.dir, "keys.age"), d.set, recipient); err != nil {
		return err
	}
	if passphrase, err = d.passphrase("creator.pass"); err != nil {
		return err
	}
	return d.wallets["creator"].Save(filepath.Join(d.dir, "creator.json"), passphrase)
}

// passphrase makes a random one and leaves it in a file of its own.
func (d *demo) passphrase(name string) (string, error) {
	text := rand.Text()
	return text, os.WriteFile(filepath.Join(d.dir, name), []byte(text+"\n"), 0o600)
}

// publishAndLicense puts the version on-chain, and then what license does.
func (d *demo) publishAndLicense(ctx context.Context) error {
	digest, err := weights.ManifestDigest(d.served)
	if err != nil {
		return err
	}
	if d.version, _, err = d.registry.Publish(ctx, d.model, digest); err != nil {
		return err
	}
	return d.license(ctx)
}

// license puts a plan on-chain, licenses the host, and lets three wallets buy with
// real transactions.
func (d *demo) license(ctx context.Context) (err error) {
	use := policy.ScopeChat | policy.ScopeCompletions
	d.plan, _, err = d.registry.SetPlan(ctx, d.model, registry.Plan{
		Price: big.NewInt(1e16), Duration: 30 * 24 * time.Hour, Scope: use, RPM: 600, TokensPerDay: 1_000_000, OnSale: true,
	})
	if err != nil {
		return err
	}
	terms := registry.Terms{NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(365 * 24 * time.Hour)}
	if _, err := d.registry.GrantHost(ctx, d.model, demoHost, d.wallets["host"].Address(), terms); err != nil {
		return err
	}
	for _, name := range []string{"licensee", "auditor", "guest"} {
		if _, err := d.registry.As(d.wallets[name]).Buy(ctx, d.model, d.plan); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func hex0x(b []byte) string { return "0x" + hex.EncodeToString(b) }
