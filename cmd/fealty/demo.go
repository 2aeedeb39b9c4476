package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
)

func newDemo() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the whole story on this machine: fingerprint, register, license, serve, refuse, audit, revoke",
		Long: `Demo runs everything in this process: an Ethereum chain, a Redis, a real small language
model that it fingerprints, and the gateway. Nothing leaves the machine; the model is fetched
once. Then it stays up for you to try, until Ctrl-C. With --once it plays unattended and
prints one JSON object.`,
		Example: "  fealty demo\n  fealty demo --once",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return d.play(cmd) },
	}
	cmd.Flags().BoolVar(&d.once, "once", false, "play once, print one JSON object, exit 0 only if each step held")
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:8080", "the gateway's address; a free port is taken if this one is not")
	cmd.Flags().StringVar(&d.keep, "keep", "", "write the model, the key file and the wallets here and leave them; the folder must not exist")
	return cmd
}

// story is what the demo found, as --once prints it.
type story struct {
	Model        string            `json:"model"`
	Fingerprints fingerprintsFound `json:"fingerprints"`
	Requests     requestsFound     `json:"requests"`
	Stream       streamFound       `json:"stream"`
	Seconds      secondsTaken      `json:"seconds"`
	Held         bool              `json:"held"`
	Failed       []string          `json:"failed"`
}

type fingerprintsFound struct {
	Count             int     `json:"count"`
	Matched           int     `json:"matched"`
	Queries           int     `json:"queries"`
	PValue            float64 `json:"p_value"`
	BaseMatched       int     `json:"base_matched"`
	Grindable         bool    `json:"grindable"` // the demo's chain has one operator, so its randomness is no beacon
	TrainedParameters int     `json:"trained_parameters"`
	TotalParameters   int     `json:"total_parameters"`
	TrainSeconds      float64 `json:"train_seconds"`
	HeldOutKL         float64 `json:"held_out_kl_mean"` // nats, first answer token, prompts not trained on
	Questions         int     `json:"questions"`
	Qualified         int     `json:"qualified"`
}

type requestsFound struct {
	LicensedStatus    int     `json:"licensed_status"`
	UnlicensedStatus  int     `json:"unlicensed_status"`
	ForgedStatus      int     `json:"forged_status"`
	ExpiredStatus     int     `json:"expired_status"`
	RevokedStatus     int     `json:"revoked_status"`
	RevocationSeconds float64 `json:"revocation_seconds"` // from seeing the block to the first refusal, while the machine ran
	UpstreamStatus    int     `json:"upstream_status"`    // through a second gateway
	ShortBeforeLong   bool    `json:"short_before_long"`
}

type streamFound struct {
	Chunks          int     `json:"chunks"`
	FirstTokenMS    float64 `json:"first_token_ms"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

type secondsTaken struct {
	Total         float64 `json:"total"`
	ToFirstAnswer float64 `json:"to_first_answer"`
}

// demo plays the story. Its fields fill up in the order of the steps.
type demo struct {
	once   bool
	listen string
	keep   string

	p       *progress
	started time.Time
	story   story
	dir     string

	randomness func(block uint64) [32]byte // of the chain; nil: random

	chain    *devnet.Chain
	redis    *devnet.Redis
	registry *registry.Registry // as the creator
	wallets  map[string]*wallet.Key
	model    [32]byte // id in the registry
	version  uint32
	plan     uint32

	base       *fingerprint.Local
	baseDigest fingerprint.Digest
	set        *fingerprint.Set
	material   fingerprint.Material
	served     string // folder
	node       *node
	gateway    string            // origin
	keys       map[string]string // API keys by wallet
	closers    []func() error
}

const (
	demoModel    = "smollm2-135m-fealty"
	demoHost     = "demo.fealty.test"
	fingerprints = 16
)

// A step is one part of the story. Preparation that fails ends it; a claim that
// does not hold is noted, and the story goes on.
type step struct {
	name  string
	play  func(*demo, context.Context) error
	claim bool
}

var steps = []step{
	{"base model", (*demo).loadBase, false},
	{"chain", (*demo).startChain, false},
	{"fingerprint keys", (*demo).chooseKeys, false},
	{"commitment and draw", (*demo).commitAndDraw, false},
	{"training", (*demo).train, false},
	{"publication and licenses", (*demo).publishAndLicense, false},
	{"gateway", (*demo).startGateway, false},
	{"sign-in and API keys", (*demo).makeKeys, false},
	{"a licensed caller is served", (*demo).licensedIsServed, true},
	{"a stream arrives in pieces", (*demo).streams, true},
	{"a caller without a license gets 402", (*demo).unlicensedIsRefused, true},
	{"forged and expired credentials get 401", (*demo).forgedIsRefused, true},
	{"a short request passes a long one", (*demo).shortPassesLong, true},
	{"a second gateway serves through the first", (*demo).servesThroughUpstream, true},
	{"the endpoint answers as the creator's model", (*demo).auditServed, true},
	{"the unmodified base does not", (*demo).auditBase, true},
	{"a revoked license stops within 2 s of its block", (*demo).revocationActs, true},
}

func (d *demo) play(cmd *cobra.Command) (err error) {
	d.started, d.p = time.Now(), newProgress(cmd.ErrOrStderr())
	d.story.Model, d.story.Failed = demoModel, []string{}
	warnIfSlow(cmd.ErrOrStderr())
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.makeDir(); err != nil {
		return err
	}
	err = d.playSteps(cmd.Context())
	d.story.Seconds.Total = time.Since(d.started).Seconds()
	d.story.Held = err == nil && len(d.story.Failed) == 0
	if d.once {
		err = errors.Join(err, printJSON(cmd, d.story))
	}
	switch {
	case err != nil:
		return err
	case !d.story.Held && d.once:
		return fmt.Errorf("%w: %v", errNotHeld, d.story.Failed)
	case d.once:
		return nil
	}
	return d.stay(cmd)
}

func (d *demo) playSteps(ctx context.Context) error {
	for i, s := range steps {
		d.p.step(s.name)
		err := s.play(d, ctx)
		switch {
		case err == nil:
			d.p.done("[%d/%d] %s", i+1, len(steps), s.name)
		case ctx.Err() != nil:
			d.story.Failed = append(d.story.Failed, s.name)
			return fmt.Errorf("%s: %w", s.name, context.Cause(ctx))
		case !s.claim:
			d.story.Failed = append(d.story.Failed, s.name)
			return fmt.Errorf("%s: %w", s.name, err)
		default:
			d.story.Failed = append(d.story.Failed, s.name)
			d.p.done("[%d/%d] %s: DOES NOT HOLD: %v", i+1, len(steps), s.name, err)
		}
	}
	return nil
}

func (d *demo) makeDir() error {
	if d.keep != "" {
		if err := os.Mkdir(d.keep, 0o700); err != nil {
			return fmt.Errorf("--keep: %w; name a folder that does not exist yet", err)
		}
		d.dir = d.keep
		return nil
	}
	dir, err := os.MkdirTemp("", "fealty-demo-*")
	d.dir = dir
	d.onClose(func() error { return os.RemoveAll(dir) })
	return err
}

func (d *demo) onClose(f func() error) { d.closers = append(d.closers, f) }

// close leaves no process, port or temporary file behind.
func (d *demo) close() error {
	var errs []error
	for _, f := range slices.Backward(d.closers) {
		errs = append(errs, f())
	}
	d.closers = nil
	return errors.Join(errs...)
}
