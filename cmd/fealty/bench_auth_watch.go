package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fealty/fealty/licensecheck"
	"github.com/fealty/fealty/policy"
)

// watch is three gateways that note when they first refuse whom.
type watch struct {
	mu      sync.Mutex
	arrived map[uint64]time.Time     // blocks
	blocks  map[[32]byte]uint64      // of the revocations
	refused []map[[32]byte]time.Time // by each gateway
}

// revoke measures how long after its block a revocation is refused, by each of three
// gateways.
func (b *benchAuth) revoke(ctx context.Context, how, ws string, poll time.Duration, subjects [][32]byte) error {
	w := &watch{arrived: map[uint64]time.Time{}, blocks: map[[32]byte]uint64{}}
	defer b.chain.Blocks(func(number uint64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.arrived[number] = time.Now()
	})()
	for range 3 {
		c, err := b.follower(ctx, func(o *licensecheck.Options) { o.WS, o.PollHeads = ws, poll })
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := b.each(ctx, c, subjects, func() {}); err != nil {
			return err
		}
		defer w.follow(ctx, c)()
	}
	const some = 10 // revocations in a block
	for from := 0; from < len(subjects); from += some {
		part := subjects[from:min(from+some, len(subjects))]
		receipts, err := b.registry.RevokeAll(ctx, b.model, part)
		if err != nil {
			return err
		}
		for i, s := range part {
			w.blocks[s] = receipts[i].Block
		}
		b.p.update(from+len(part), len(subjects))
	}
	times, err := w.times()
	if err != nil {
		return err
	}
	name := "revocation in a block to refusal, " + how
	target := 100.0
	if poll > 0 {
		target = 100 + float64(poll/time.Millisecond)
	}
	b.add(
		plain(name+", p50", percentile(times, 0.5, time.Millisecond), "ms"),
		atMost("  p99", percentile(times, 0.99, time.Millisecond), "ms", target),
	)
	return nil
}

// follow notes what a checker answers once it has told of a change, as a gateway
// would ask it.
func (w *watch) follow(ctx context.Context, c *licensecheck.Checker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	refused, changes := map[[32]byte]time.Time{}, make(chan [2][32]byte, 1024)
	w.refused = append(w.refused, refused)
	remove := c.OnChange(func(model, subject [32]byte) {
		select {
		case changes <- [2][32]byte{model, subject}:
		case <-ctx.Done():
		}
	})
	go func() {
		for {
			select {
			case change := <-changes:
				g, err := c.Check(ctx, change[0], change[1])
				if err == nil && !policy.Standing(time.Now(), g, policy.ScopeChat).Allowed() {
					w.note(refused, change[1])
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { remove(); cancel() }
}

func (w *watch) note(refused map[[32]byte]time.Time, subject [32]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if refused[subject].IsZero() {
		refused[subject] = time.Now()
	}
}

// times waits until all gateways refuse all that were revoked.
func (w *watch) times() ([]time.Duration, error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var times []time.Duration
		w.mu.Lock()
		for _, refused := range w.refused {
			for s, block := range w.blocks {
				if !refused[s].IsZero() && !w.arrived[block].IsZero() {
					times = append(times, refused[s].Sub(w.arrived[block]))
				}
			}
		}
		w.mu.Unlock()
		if len(times) == len(w.refused)*len(w.blocks) {
			return times, nil
		}
		if time.Since(began) > 30*time.Second {
			return nil, fmt.Errorf("%d of %d refusals were seen within 30 s", len(times), len(w.refused)*len(w.blocks))
		}
	}
}
