package usage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	gather    = 20 * time.Millisecond // an ended record waits this long for others
	progress  = time.Second           // between two reports of what runs
	alive     = 15 * time.Second      // so long silent, a gateway is dead
	wait      = time.Second           // for one answer of the store
	batch     = 256                   // records in one write
	mostEnded = 20_000                // records waiting for the store; beyond, no request begins
)

// Ledger keeps a Redis stream per day, and sums per licensee and day.
type Ledger struct {
	Reader
	store    Store
	log      *slog.Logger
	instance string // this gateway, in the store

	mu    sync.Mutex
	open  map[*Record]struct{}
	ended []*Record // to be written, oldest first

	writing sync.Mutex // one writer; of what follows
	number  uint64     // of the last write
	sent    *writing   // the last write, until it has arrived
	beaten  time.Time  // last sign of life

	wake chan struct{}
	stop chan struct{}
	wait sync.WaitGroup
}

// New keeps the ledger in the state store, and begins to end what dead gateways left
// open. Close it. A nil log discards.
func New(s Store, log *slog.Logger) *Ledger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	l := &Ledger{
		Reader: Reader{s}, store: s, log: log, instance: hex.EncodeToString(id[:]), open: map[*Record]struct{}{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	l.wait.Go(l.run)
	return l
}

// Record is one request that runs. End it once.
type Record struct {
	ledger *Ledger
	// Under the ledger's lock:
	entry   Entry
	changed bool // since it was last reported
	// The writer's:
	reported bool // the store knows of it
}

// Begin opens the record of a request. It fails while too many records wait for the
// store: what cannot be accounted for is not served.
func (l *Ledger) Begin(e Entry) (*Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ended) >= mostEnded {
		return nil, fmt.Errorf("%w: %d records wait to be written", ErrUnavailable, len(l.ended))
	}
	r := &Record{ledger: l, entry: e, changed: true}
	l.open[r] = struct{}{}
	return r, nil
}

// Progress says what was used so far, in tokens.
func (r *Record) Progress(prompt, completion int) {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	if r.entry.PromptTokens != prompt || r.entry.CompletionTokens != completion {
		r.entry.PromptTokens, r.entry.CompletionTokens, r.changed = prompt, completion, true
	}
}

// End says how the request ended, and what it used in all.
func (r *Record) End(status string, prompt, completion int) {
	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	r.entry.Status, r.entry.PromptTokens, r.entry.CompletionTokens = status, prompt, completion
	delete(l.open, r)
	l.ended = append(l.ended, r)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Waiting is how many ended records the store does not have yet.
func (l *Ledger) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ended)
}

// Flush writes what has ended.
func (l *Ledger) Flush(ctx context.Context) error {
	for l.Waiting() > 0 {
		if err := l.write(ctx, false); err != nil {
			return err
		}
	}
	return nil
}

// Close writes what has ended, and gives up what the store does not take within
// seconds: each of these records goes to the log.
func (l *Ledger) Close() error {
	close(l.stop)
	l.wait.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err := l.Flush(ctx)
	if err == nil {
		return remove(ctx, l.store, l.instance)
	}
	for _, r := range l.ended {
		e := r.entry
		l.log.Error("usage not written", "request", e.Request, "subject", hex.EncodeToString(e.Subject[:]), "key", e.KeyID,
			"model", e.Model, "prompt", e.PromptTokens, "completion", e.CompletionTokens, "status", e.Status)
	}
	return err
}

func (l *Ledger) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	report, adopt := time.NewTicker(progress), time.NewTicker(alive)
	defer report.Stop()
	defer adopt.Stop()
	l.adopt(ctx)
	for {
		var err error
		select {
		case <-l.stop:
			return
		case <-l.wake:
			time.Sleep(gather)
			err = l.Flush(ctx)
		case <-report.C:
			if err = l.write(ctx, true); err == nil {
				err = l.Flush(ctx)
			}
		case <-adopt.C:
			l.adopt(ctx)
		}
		if err != nil {
			l.log.Warn("usage waits for the state store", "records", l.Waiting(), "cause", err)
		}
	}
}

// running are the open records with news.
func (l *Ledger) running() []report {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []report
	for r := range l.open {
		if r.changed {
			r.changed = false
			out = append(out, report{r, r.entry})
		}
	}
	return out
}
