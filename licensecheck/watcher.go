package licensecheck

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fealty/fealty/internal/redact"
	"github.com/fealty/fealty/licensecheck/internal/node"
)

const (
	// stride is how many blocks are taken over at a time. A new run of coverage reaches
	// that far back, so that records which other gateways left in Redis are confirmed at once.
	stride = 128
	// reach is the longest gap, in blocks, that coverage is continued over.
	reach = 8 * stride
)

// sighting is a block that was the chain's newest at this time.
type sighting struct {
	node.Block
	at time.Time
}

// watcher keeps the book at the chain's newest block.
type watcher struct {
	chain   *chain
	book    *book
	url     string        // to subscribe at; empty: poll only
	poll    time.Duration // between questions for the newest block
	now     func() time.Time
	log     *slog.Logger
	stats   *counters
	changed func([]key) // told after the book knows
	renamed func(node.Identity)

	looks   chan chan struct{} // see look
	failing bool               // the last step failed: say so once
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func (w *watcher) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	heads := make(chan sighting, 1)
	w.looks = make(chan chan struct{})
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
func (w *watcher) run(ctx context.Context, heads <-chan sighting) {
	ticker := time.NewTicker(w.poll)
	defer ticker.Stop()
	for {
		select {
		case head := <-heads:
			w.report(w.follow(ctx, head))
		case <-ticker.C:
			w.report(w.step(ctx))
		case done := <-w.looks:
			w.report(w.step(ctx))
			close(done)
		case <-ctx.Done():
			return
		}
	}
}

// look asks for the newest block now, and waits until that was tried.
func (w *watcher) look(ctx context.Context) {
	done := make(chan struct{})
	select {
	case w.looks <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// step asks for the newest block and follows it.
func (w *watcher) step(ctx context.Context) error {
	now := w.now() // before the answer: records are at least as old as this
	head, err := w.chain.head(ctx)
	if errors.Is(err, errRenewed) {
		return errors.Join(err, w.renew(ctx))
	}
	if err != nil {
		return err
	}
	return w.follow(ctx, sighting{head, now})
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
func (w *watcher) follow(ctx context.Context, head sighting) error {
	if err := w.chain.fresh(head.Block); err != nil {
		return err
	}
	top, _, ok := w.book.newest()
	if !ok {
		return w.restart(ctx, head)
	}
	if head.Hash == top.Hash {
		return w.confirm(ctx, head)
	}
	if w.book.knows(markOf(head.Block)) {
		return nil // a node that lags behind: it confirms nothing
	}
	if head.Number > top.Number+reach {
		return w.gap(ctx, head)
	}
	for head.Number > top.Number+stride {
		mid, err := w.chain.numbered(ctx, top.Number+stride)
		if err == nil {
			err = w.extend(ctx, sighting{Block: mid})
		}
		if errors.Is(err, errGap) {
			return w.gap(ctx, head)
		}
		if err != nil {
			return err
		}
		top, _, _ = w.book.newest()
	}
	err := w.extend(ctx, head)
	if errors.Is(err, errGap) {
		return w.gap(ctx, head)
	}
	return err
}

// extend takes over the blocks up to this one; with no time, it is on the way to the
// newest and confirms nothing.
func (w *watcher) extend(ctx context.Context, to sighting) error {
	path, ancestor, err := w.chain.link(ctx, w.book, to.Block)
	if err != nil {
		return err
	}
	changes, err := w.chain.changesIn(ctx, path)
	if err != nil {
		return err
	}
	var final mark
	if !to.at.IsZero() {
		block, err := w.chain.finalBelow(ctx, to.Block)
		if err != nil {
			return err
		}
		final = markOf(block)
	}
	undone, reorganised := w.book.extend(ancestor, path, changes, final, to.at)
	if reorganised {
		w.stats.reorgs.Add(1)
		w.log.Warn("the chain reorganised", "from", ancestor+1, "to", to.Number)
	}
	w.tell(undone, changes)
	w.timed(path, changes)
	return nil
}

// timed counts how long after its block each change is known here.
func (w *watcher) timed(path []node.Block, changes []change) {
	if len(changes) == 0 {
		return
	}
	at := map[uint64]time.Time{}
	for _, b := range path {
		at[b.Number] = time.Unix(int64(b.Time), 0)
	}
	for _, c := range changes {
		w.stats.delayed.Add(1)
		w.stats.delay.Add(int64(max(0, w.now().Sub(at[c.at.number])))) // a block may be of the next second
	}
}

func (w *watcher) confirm(ctx context.Context, head sighting) error {
	final, err := w.chain.finalBelow(ctx, head.Block)
	if err != nil {
		return err
	}
	w.book.confirm(markOf(final), head.at)
	return nil
}

func (w *watcher) gap(ctx context.Context, head sighting) error {
	w.stats.gaps.Add(1)
	return w.restart(ctx, head)
}

// renew looks whether this is still the same registry, and drops all that is known if not.
func (w *watcher) renew(ctx context.Context) error {
	id, changed, err := w.chain.identify(ctx)
	if err != nil || !changed {
		return err
	}
	w.log.Warn("the registry was deployed anew: this is another chain, and all that was known is dropped", "block", id.Block)
	w.renamed(id)
	w.tell(w.book.forget(), nil)
	return nil
}

// restart begins a new run of coverage.
func (w *watcher) restart(ctx context.Context, head sighting) error {
	if err := w.renew(ctx); err != nil {
		return err
	}
	id, _ := w.chain.who()
	lo := max(id.Block, head.Number-min(stride, head.Number))
	path, err := w.chain.path(ctx, min(lo, head.Number), head.Block)
	if err != nil {
		return err
	}
	changes, err := w.chain.changesIn(ctx, path)
	if err != nil {
		return err
	}
	final, err := w.chain.finalBelow(ctx, head.Block)
	if err != nil {
		return err
	}
	w.book.begin(path, changes, markOf(final), head.at)
	w.tell(nil, changes)
	return nil
}

// tell names every grant once that was changed, or whose change was undone.
func (w *watcher) tell(undone []key, changes []change) {
	w.stats.events.Add(uint64(len(changes)))
	seen := map[key]bool{}
	var keys []key
	for _, c := range changes {
		undone = append(undone, c.key)
	}
	for _, k := range undone {
		if !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		w.changed(keys)
	}
}

// listen keeps a subscription to new heads, with pauses after failures.
func (w *watcher) listen(ctx context.Context, heads chan sighting) {
	const first, last = time.Second, 30 * time.Second
	for pause := first; ctx.Err() == nil; pause = min(2*pause, last) {
		started := time.Now()
		err := w.chain.subscribe(ctx, w.url, heads)
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("no subscription to new heads; they are polled until it is back", "every", w.poll, "err", redact.Error(err, w.url))
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
func replaceWaiting(heads chan sighting, head sighting) {
	select {
	case <-heads:
	default:
	}
	heads <- head
}
