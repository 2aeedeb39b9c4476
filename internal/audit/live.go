package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	fingerprint "github.com/fealty/fealty/embed"
)

// Pick chooses fresh keys for a checker to ask: at random, among those that the bundle
// neither reveals nor excludes. Only then does the creator learn which to open.
func Pick(bundle *Sealed, n int) ([]int, error) {
	e, p, err := openEvidence(bundle)
	if err != nil {
		return nil, err
	}
	used := slices.Clone(p.Excluded)
	for _, k := range e.Reveal.Keys {
		used = append(used, k.Index)
	}
	var free []int
	for i := range p.Keys {
		if !slices.Contains(used, i) {
			free = append(free, i)
		}
	}
	if n < 1 || n > len(free) {
		return nil, fmt.Errorf("%d fresh keys are wanted; %d of %d are left", n, len(free), p.Keys)
	}
	for i := range n {
		j, err := rand.Int(rand.Reader, big.NewInt(int64(len(free)-i)))
		if err != nil {
			return nil, err
		}
		other := i + int(j.Int64())
		free[i], free[other] = free[other], free[i]
	}
	slices.Sort(free[:n])
	return free[:n], nil
}

func openEvidence(bundle *Sealed) (*Evidence, *Plan, error) {
	var e Evidence
	var p Plan
	if err := bundle.Open(EvidenceFormat, &e); err != nil {
		return nil, nil, err
	}
	return &e, &p, e.Plan.Open(PlanFormat, &p)
}

// Live asks the bundle's endpoint the keys that the checker picked and that the creator
// then opened. What it finds the checker has seen with its own eyes: it goes where DNS
// says, or to connect (host:port), and never to the address that the auditor dialled.
func Live(ctx context.Context, bundle *Sealed, picked []int, r *fingerprint.Reveal, connect, credential string, told func(done, total int)) (Result, error) {
	e, p, err := openEvidence(bundle)
	if err != nil {
		return Result{}, err
	}
	if err := fits(e, p, picked, r); err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp("", "fealty-live-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	p.Stopping.Queries, p.Asking.Pace, p.Sign, p.Connect = len(picked), 0, false, connect
	a := &Asker{Plan: p, Key: credential, Told: told}
	for _, k := range r.Keys {
		a.Items = append(a.Items, Item{k.Index, k.Question})
	}
	if a.Journal, err = OpenJournal(filepath.Join(dir, journalFile), Digest{}); err != nil {
		return Result{}, err
	}
	defer a.Journal.Close()
	if err := a.Preflight(ctx); err != nil {
		return Result{}, err
	}
	sequential := *p
	sequential.Stopping.Sequential = false // all that were opened are asked
	a.Plan = &sequential
	if err := Witness(ctx, a); err != nil {
		return Result{}, err
	}
	return judge(&sequential, a.Journal.done, r)
}

// fits makes sure that the reveal opens what was picked, of the bundle's commitment.
func fits(e *Evidence, p *Plan, picked []int, r *fingerprint.Reveal) error {
	if err := r.Check(); err != nil {
		return err
	}
	if common.Hash(r.Model) != p.Model || r.Root != p.Root || r.Total != p.Keys || r.Randomness != e.Reveal.Randomness {
		return errors.New("the reveal is of another commitment than the bundle")
	}
	var opened []int
	for _, k := range r.Keys {
		opened = append(opened, k.Index)
		if len(k.Candidates) != p.K || hasTwins(k.Candidates) {
			return fmt.Errorf("key %d has not %d different candidates", k.Index, p.K)
		}
	}
	slices.Sort(opened)
	want := slices.Clone(picked)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(opened, want) {
		return fmt.Errorf("the reveal opens the keys %v; you picked %v", opened, want)
	}
	return nil
}
