// Package licensecheck answers what the chain grants to a subject for a model:
// from memory, else from Redis, else from the registry contract.
//
// A [Checker] follows the chain itself, block by block without gaps, so that every
// record in memory is as fresh as the newest block and a revocation acts when its
// block arrives. It decides nothing (package policy does) and never guesses: what
// could not be found out is [ErrUnavailable], which is neither a yes nor a no.
// Start with [Open].
package licensecheck

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// ErrUnavailable: neither memory nor the chain could say what is granted. It never
// means that nothing is. Trying again can help.
var ErrUnavailable = errors.New("licensecheck: the chain could not be asked")

// ErrWrong: the node answers, but for another chain, or there is no registry at
// the address. Trying again does not help.
var ErrWrong = errors.New("licensecheck: wrong chain or registry")

// Options shape a Checker. RPC and Registry are required.
type Options struct {
	// RPC are HTTP or WebSocket URLs of nodes of one chain. The first one that
	// answers is used until it fails, then the next; one that answers 429 is left
	// alone as its Retry-After says, 5 s at most. They may hold keys and are never shown.
	RPC      []string
	WS       string   // URL that can subscribe to new heads; empty: they are polled only
	ChainID  uint64   // zero: whatever chain the nodes are on
	Registry [20]byte // contract address
	// Cache is the URL of a Redis that may vanish at any time: one server, a cluster or
	// Sentinels, as package internal/redisurl writes them. Empty: memory only.
	Cache string
	// CacheKey authenticates what stands in the cache: a secret of the gateways that
	// share it. Empty: whoever can write to that Redis can grant licenses.
	CacheKey []byte

	// Finality is from when on a grant counts: latest, safe, finalized, or "N
	// blocks" below the newest. A revocation always counts at once. Empty: finalized.
	Finality string
	// Soft is up to what age a record decides alone. Zero: 30 s.
	Soft time.Duration
	// Hard is up to what age a record that allows is served while the chain cannot
	// be reached. Zero: 5 min. At least Soft. Nodes that are stuck, rather than gone,
	// are noticed after MaxHeadAge, which comes before this.
	Hard time.Duration
	// MaxHeadAge is how old the newest block may be before the node counts as
	// stuck. Zero: Soft. At most Soft, at least two block periods of the chain.
	MaxHeadAge time.Duration
	// PollHeads is how often the newest block is asked for, beside the
	// subscription. Zero: 2 s.
	PollHeads time.Duration
	// ReadTimeout bounds each question to a node. Zero: 2 s.
	ReadTimeout time.Duration
	// Records is how many grants memory holds, about 0.5 kB each; a tenth as many
	// subjects that have none stand beside them. Zero: 100,000.
	Records int
	// Pending is how many different subjects may wait for the chain at once, known
	// ones and unknown ones apart; more get ErrUnavailable. Zero: 1,024.
	Pending int

	Log *slog.Logger     // nil: discards
	Now func() time.Time // nil: time.Now; must carry a monotonic reading as that does

	redisWait time.Duration // for each Redis command; zero: cacheWait, and longer where a test's Redis must answer
}

const (
	negativeAge = 2 * time.Second        // up to what age a record that refuses decides alone
	cooldown    = time.Second            // how long a failed Redis or chain is left alone
	cacheWait   = 100 * time.Millisecond // for each Redis command
	// For subjects that nothing allows, in calls of up to 64: what a flood of wallets can
	// cost the node. A few come through at once, so that a first request does not wait.
	strangerPause = 50 * time.Millisecond
	strangerBurst = 10
)

func (o Options) withDefaults() (Options, error) {
	o.Soft = orDefault(o.Soft, 30*time.Second)
	o.Hard = orDefault(o.Hard, max(5*time.Minute, o.Soft))
	o.MaxHeadAge = orDefault(o.MaxHeadAge, o.Soft)
	o.PollHeads = orDefault(o.PollHeads, 2*time.Second)
	o.ReadTimeout = orDefault(o.ReadTimeout, 2*time.Second)
	o.Records = orDefault(o.Records, 100_000)
	o.Pending = orDefault(o.Pending, 1024)
	o.Finality = orDefault(o.Finality, "finalized")
	o.redisWait = orDefault(o.redisWait, cacheWait)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, o.validate()
}

func (o Options) validate() error {
	switch {
	case len(o.RPC) == 0:
		return errors.New("licensecheck: no RPC URL; name a node of the registry's chain")
	case o.Registry == [20]byte{}:
		return errors.New("licensecheck: no registry address; give the contract's")
	case min(o.Soft, o.Hard, o.MaxHeadAge, o.PollHeads, o.ReadTimeout) < 0 || min(o.Records, o.Pending) < 0:
		return errors.New("licensecheck: a duration or size is negative; leave it zero for its default")
	case o.Hard < o.Soft:
		return fmt.Errorf("licensecheck: hard is %v, below soft (%v); raise it", o.Hard, o.Soft)
	case o.MaxHeadAge > o.Soft:
		return fmt.Errorf("licensecheck: max head age is %v, above soft (%v); lower it", o.MaxHeadAge, o.Soft)
	case o.PollHeads > o.Soft:
		return fmt.Errorf("licensecheck: heads are polled every %v, less often than soft (%v); lower it", o.PollHeads, o.Soft)
	}
	_, err := parseFinality(o.Finality)
	return err
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// finality is which block the final view is read at: a tag, or a depth below the newest block.
type finality struct {
	tag   string // safe or finalized; empty: by depth
	depth uint64 // 0: the newest block itself
}

func parseFinality(text string) (finality, error) {
	switch text {
	case "latest":
		return finality{}, nil
	case "safe", "finalized":
		return finality{tag: text}, nil
	}
	if digits, ok := strings.CutSuffix(text, " blocks"); ok {
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil && n < window {
			return finality{depth: n}, nil
		}
	}
	return finality{}, fmt.Errorf("licensecheck: finality is %q; it must be latest, safe, finalized, or \"N blocks\" with N below %d", text, window)
}
