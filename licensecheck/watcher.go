package licensecheck

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fealty/fealty/licensecheck/internal/node"
)

// backfill is how many blocks a new run of coverage reaches back, so that records
// which other gateways left in Redis are confirmed at once.
const backfill = 128

// watcher keeps the book at the chain's newest block.
type watcher struct {
	chain   *chain
	book    *book
	chainID uint64
	url     string        // to subscribe at; empty: poll only
	poll    time.Duration // between questions for the newest block
	now     func() time.Time
	log     *slog.Logger
	stats   *counters
	changed func([]change) // told after the book knows
	renamed func(node.Identity)

	failing bool // the last step failed: say so once
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func (w *watcher) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	heads := make(chan node.Block, 1)
	if w.url != "" {
		w.done.Go(func() { w.listen(ctx, heads) })
	}
	w.done.Go(func() { w.run(ctx, heads) })
}

func (w *watcher) close() {
	w.stop()
	w.done.Wait()
}

// run follows every head that is announced, and asks for the newest one by itself: a
// subscription can die without a word.
func (w *watcher) run(ctx context.Context, heads <-chan node.Block) {
	ticker := time.NewTicker(w.poll)
	defer ticker.Stop()
	for {
		select {
		case head := <-heads:
			w.report(w.follow(ctx, head))
		case <-ticker.C:
			w.report(w.step(ctx))
		case <-ctx.Done():
			return
		}
	}
}

// step asks for the newest block and follows it.
func (w *watcher) step(ctx context.Context) error {
	head, err := w.chain.head(ctx)
	if err != nil {
		return err
	}
	return w.follow(ctx, head)
}

func (w *watcher) report(err error) {
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil && !w.failing:
		w.log.Warn("the chain cannot be followed; records age until it can", "err", err)
	case err == nil && w.failing:
		w.log.Info("the chain is followed again")
	}
	if err != nil {
		w.stats.watchErrors.Add(1)
	}
	w.failing = err != nil
}

// follow brings the book to this head: the blocks in between and what they change, or
// a new run of coverage where they cannot be had.
func (w *watcher) follow(ctx context.Context, head node.Block) error {
	if err := w.chain.fresh(head); err != nil {
		return err
	}
	top, _, ok := w.book.newest()
	if !ok {
		return w.restart(ctx, head)
	}
	if head.Hash == top.Hash {
		return w.confirm(ctx, head)
	}
	if w.book.knows(markOf(head)) {
		return nil // a node that lags behind: it confirms nothing
	}
	now := w.now()
	path, ancestor, err := w.chain.link(ctx, w.book, head)
	if errors.Is(err, errGap) {
		w.stats.gaps.Add(1)
		return w.restart(ctx, head)
	}
	if err != nil {
		return err
	}
	changes, final, err := w.contents(ctx, path, head)
	if err != nil {
		return err
	}
	if w.book.extend(ancestor, path, changes, final, now) {
		w.stats.reorgs.Add(1)
		w.log.Warn("the chain reorganised", "from", ancestor+1, "to", head.Number)
	}
	w.tell(changes)
	return nil
}

func (w *watcher) confirm(ctx context.Context, head node.Block) error {
	now := w.now()
	final, err := w.chain.finalBelow(ctx, head)
	if err != nil {
		return err
	}
	w.book.confirm(markOf(final), now)
	return nil
}

// restart begins a new run of coverage, after a look at whether this is still the same registry.
func (w *watcher) restart(ctx context.Context, head node.Block) error {
	now := w.now()
	id, changed, err := w.chain.identify(ctx, w.chainID)
	if err != nil {
		return err
	}
	if changed {
		w.log.Warn("the registry was deployed anew: this is another chain, and all that was known is dropped", "block", id.Block)
		w.book.forget()
		w.renamed(id)
	}
	lo := max(id.Block, head.Number-min(backfill, head.Number))
	path, err := w.chain.path(ctx, min(lo, head.Number), head)
	if err != nil {
		return err
	}
	changes, final, err := w.contents(ctx, path, head)
	if err != nil {
		return err
	}
	w.book.begin(path, changes, final, now)
	w.tell(changes)
	return nil
}

func (w *watcher) contents(ctx context.Context, path []node.Block, head node.Block) ([]change, mark, error) {
	changes, err := w.chain.changesIn(ctx, path)
	if err != nil {
		return nil, mark{}, err
	}
	final, err := w.chain.finalBelow(ctx, head)
	return changes, markOf(final), err
}

func (w *watcher) tell(changes []change) {
	w.stats.events.Add(uint64(len(changes)))
	if len(changes) > 0 {
		w.changed(changes)
	}
}

// listen keeps a subscription to new heads, with pauses after failures.
func (w *watcher) listen(ctx context.Context, heads chan node.Block) {
	const first, last = time.Second, 30 * time.Second
	for pause := first; ctx.Err() == nil; pause = min(2*pause, last) {
		started := time.Now()
		err := subscribe(ctx, w.url, w.chain.timeout, heads)
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("no subscription to new heads; they are polled until it is back", "every", w.poll, "err", err)
		if time.Since(started) > last {
			pause = first
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// replaceWaiting leaves only the newest head in the channel, which holds one: following
// it brings the others. It has one sender.
func replaceWaiting(heads chan node.Block, head node.Block) {
	select {
	case <-heads:
	default:
	}
	heads <- head
}
