package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
)

// client talks to the demo's gateway as the holder of one credential.
func (d *demo) client(credential string) *openai.Client {
	return &openai.Client{BaseURL: d.gateway + "/v1", Key: credential}
}

func ask(text string, maxTokens int) openai.Ask {
	greedy := 0.0
	return openai.Ask{
		Model: demoModel, MaxTokens: maxTokens, Temperature: &greedy,
		Messages: []openai.Message{{Role: "user", Content: text}},
	}
}

// status is the HTTP status of an answer or a refusal; 0 if there was neither.
func status(err error) (int, string) {
	var refusal *openai.Error
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.As(err, &refusal):
		return refusal.Status, refusal.Code
	}
	return 0, err.Error()
}

// expect asks for an answer or a refusal and compares the status and, if given, the code.
func (d *demo) expect(ctx context.Context, credential string, want int, code string) (int, error) {
	err := patiently(ctx, func() error {
		_, err := d.client(credential).Chat(ctx, ask("What is the capital of France?", 8))
		return err
	})
	got, gotCode := status(err)
	if got != want || (code != "" && gotCode != code) {
		return got, fmt.Errorf("status %d %s, want %d %s", got, gotCode, want, code)
	}
	return got, nil
}

func (d *demo) licensedIsServed(ctx context.Context) error {
	var reply *openai.Reply
	err := patiently(ctx, func() (err error) {
		reply, err = d.client(d.keys["licensee"]).Chat(ctx, ask("What is the capital of France?", 24))
		return err
	})
	d.story.Requests.LicensedStatus, _ = status(err)
	if err != nil {
		return err
	}
	d.story.Seconds.ToFirstAnswer = time.Since(d.started).Seconds()
	if len(reply.Choices) != 1 || reply.Choices[0].Message == nil || strings.TrimSpace(reply.Choices[0].Message.Content) == "" {
		return errors.New("the answer is empty")
	}
	d.p.say("    > What is the capital of France?\n    < %s", strings.TrimSpace(reply.Choices[0].Message.Content))
	return nil
}

func (d *demo) streams(ctx context.Context) error {
	var first time.Time
	var tokens int
	start, finished := time.Now(), ""
	err := d.client(d.keys["licensee"]).Stream(ctx, ask("Tell me how bread is made.", 64), func(c openai.Reply) error {
		if c.Usage != nil {
			tokens = c.Usage.CompletionTokens
		}
		if len(c.Choices) == 0 || c.Choices[0].Delta == nil {
			return nil
		}
		if content := c.Choices[0].Delta.Content; content != nil && *content != "" {
			if first.IsZero() {
				first = time.Now()
			}
			d.story.Stream.Chunks++
		}
		if c.Choices[0].FinishReason != nil {
			finished = *c.Choices[0].FinishReason
		}
		return nil
	})
	if err != nil {
		return err
	}
	if d.story.Stream.Chunks < 2 || finished == "" || tokens < d.story.Stream.Chunks {
		return fmt.Errorf("%d chunks, finish reason %q, %d tokens counted", d.story.Stream.Chunks, finished, tokens)
	}
	d.story.Stream.FirstTokenMS = float64(first.Sub(start).Microseconds()) / 1000
	d.story.Stream.TokensPerSecond = float64(tokens-1) / time.Since(first).Seconds()
	return nil
}

func (d *demo) unlicensedIsRefused(ctx context.Context) (err error) {
	d.story.Requests.UnlicensedStatus, err = d.expect(ctx, d.keys["stranger"], http.StatusPaymentRequired, "no_license")
	return err
}

// forgedIsRefused changes one character of a key and of a token, and waits for a
// short-lived key to end.
func (d *demo) forgedIsRefused(ctx context.Context) error {
	var err error
	if d.story.Requests.ForgedStatus, err = d.expect(ctx, forge(d.keys["licensee"]), http.StatusUnauthorized, ""); err != nil {
		return fmt.Errorf("forged key: %w", err)
	}
	short, err := openAccount(ctx, d.gateway, d.wallets["licensee"])
	if err != nil {
		return err
	}
	if _, err := d.expect(ctx, forge(short.token), http.StatusUnauthorized, ""); err != nil {
		return fmt.Errorf("forged token: %w", err)
	}
	key, ends, err := short.createShortLived(ctx, "short-lived")
	if err != nil {
		return err
	}
	if err := sleepUntil(ctx, ends); err != nil {
		return err
	}
	d.story.Requests.ExpiredStatus, err = d.expect(ctx, key.Key, http.StatusUnauthorized, "")
	if err != nil {
		return fmt.Errorf("expired key: %w", err)
	}
	return nil
}

// forge changes one character in the middle of a credential's secret part.
func forge(credential string) string {
	at, other := len(credential)-8, "a"
	if credential[at:at+1] == other {
		other = "b"
	}
	return credential[:at] + other + credential[at+1:]
}

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shortPassesLong starts a long answer and then a short one; both share the engine.
func (d *demo) shortPassesLong(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started, long := make(chan struct{}), make(chan error, 1)
	go func() {
		chunks := 0
		long <- d.client(d.keys["licensee"]).Stream(ctx, ask("Write a long story about a lighthouse keeper.", 256), func(openai.Reply) error {
			if chunks++; chunks == 2 {
				close(started)
			}
			return nil
		})
	}()
	select {
	case <-started:
	case err := <-long:
		return fmt.Errorf("the long answer ended at once: %w", err)
	}
	if _, err := d.expect(ctx, d.keys["licensee"], http.StatusOK, ""); err != nil {
		return err
	}
	select {
	case err := <-long:
		return errors.Join(errors.New("the long answer ended before the short one"), err)
	default:
		d.story.Requests.ShortBeforeLong = true
		return nil
	}
}

func (d *demo) auditServed(ctx context.Context) error {
	v, err := auditEndpoint(ctx, &endpoint{client: d.client(d.keys["auditor"]), model: demoModel}, d.set, fingerprint.Design{}, d.p)
	if err != nil {
		return err
	}
	f := &d.story.Fingerprints
	f.Matched, f.Queries, f.PValue, f.Grindable = v.Matched, v.Asked, v.Chance.P, v.Grindable
	if v.Matched < fingerprints-1 || !v.Held {
		return fmt.Errorf("%d of %d match (p = %.2g, %d errors)", v.Matched, v.Asked, v.Chance.P, v.Errors)
	}
	d.p.say("    %d of %d answers begin with the drawn word: p = %.2g (grindable: this chain has one operator)", v.Matched, v.Asked, v.Chance.P)
	return nil
}

func (d *demo) auditBase(ctx context.Context) error {
	outcome, err := fingerprint.Verify(ctx, d.base, d.set.Draw(*d.set.Randomness), fingerprint.Design{})
	if err != nil {
		return err
	}
	d.story.Fingerprints.BaseMatched = outcome.Matched
	if outcome.Matched > 4 || outcome.Errors > 0 {
		return fmt.Errorf("%d of %d match the base (%d errors)", outcome.Matched, outcome.Asked, outcome.Errors)
	}
	return nil
}

// revocationActs asks without pause while the revocation is mined, and measures
// from the moment the node has its block to the first refusal.
func (d *demo) revocationActs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	clock := startRunClock(ctx)
	var mu sync.Mutex
	blocks := map[uint64]time.Duration{}
	defer d.chain.Blocks(func(number uint64) {
		mu.Lock()
		defer mu.Unlock()
		blocks[number] = clock.now()
	})()
	refused := d.untilRefused(ctx, d.keys["licensee"])
	receipt, err := d.registry.Revoke(ctx, d.model, wallet.Subject(d.wallets["licensee"].Address()))
	if err != nil {
		return err
	}
	r := <-refused
	now := clock.now()
	if r.err != nil {
		return r.err
	}
	d.story.Requests.RevokedStatus = r.status
	mu.Lock()
	at, told := blocks[receipt.Block]
	mu.Unlock()
	if !told {
		return fmt.Errorf("the node did not tell of block %d", receipt.Block)
	}
	took := max(0, now-at)
	d.story.Requests.RevocationSeconds = took.Seconds()
	if r.status != http.StatusForbidden || r.code != "license_revoked" || took > 2*time.Second {
		return fmt.Errorf("status %d %s after %.2f s", r.status, r.code, took.Seconds())
	}
	return nil
}

// A runClock goes while this process runs: in what time the machine stands still, node
// and gateway can do nothing.
type runClock struct {
	mu   sync.Mutex
	last time.Time
	ran  time.Duration
}

const (
	runTick    = 20 * time.Millisecond
	longestRun = 250 * time.Millisecond // between two ticks; what is above was no running
)

func startRunClock(ctx context.Context) *runClock {
	c := &runClock{last: time.Now()}
	go func() { // ends with ctx
		for tick := time.Tick(runTick); ctx.Err() == nil; <-tick {
			c.now()
		}
	}()
	return c
}

func (c *runClock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.ran, c.last = c.ran+min(now.Sub(c.last), longestRun), now
	return c.ran
}

type refusal struct {
	status int
	code   string
	err    error
}

// untilRefused asks until there is a refusal. That the gateway could not find out is none.
func (d *demo) untilRefused(ctx context.Context, credential string) <-chan refusal {
	out := make(chan refusal, 1)
	go func() {
		for {
			_, err := d.client(credential).Chat(ctx, ask("Hi", 1))
			code, text := status(err)
			switch {
			case ctx.Err() != nil:
				out <- refusal{err: errors.New("the gateway went on serving for a minute")}
				return
			case code == http.StatusServiceUnavailable:
				_ = sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) // the next turn sees that ctx has ended
			case code != http.StatusOK:
				out <- refusal{status: code, code: text}
				return
			}
		}
	}()
	return out
}
