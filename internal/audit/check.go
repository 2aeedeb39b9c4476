package audit

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	fingerprint "github.com/fealty/fealty/embed"
)

// Trust is what the checker knows by itself and not from the bundle.
type Trust struct {
	Blocks    map[uint64][32]byte // hashes of the chain's blocks, from a source of the checker's own
	Witnesses [][20]byte          // parties that the checker knows to be independent; nil: whoever signed
}

// checker opens the parts of a bundle one after the other and notes what does not hold.
type checker struct {
	e     *Evidence
	trust Trust

	plan       *Plan
	planDigest Digest
	transcript *Transcript
	order      []int
	headers    map[string]*types.Header
	before     *State
	after      *State
	committed  committed
	recorded   bool // the draw is in the registry's storage
	witnesses  []WitnessFinding
	grind      bool
	why        string
	problems   []error
}

func (c *checker) fail(format string, args ...any) bool {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
	return false
}

// Check recomputes a bundle, offline. What does not hold is in the verdict's Problems.
func Check(bundle *Sealed, trust Trust) *Verdict {
	var e Evidence
	if err := bundle.Open(EvidenceFormat, &e); err != nil {
		return &Verdict{Finding: Unsound, Problems: []string{err.Error()}}
	}
	c := &checker{e: &e, trust: trust}
	if e.Format != EvidenceFormat {
		c.fail("the evidence's format is %.60q, not %q", e.Format, EvidenceFormat)
	}
	if c.openPlan() && c.openTranscript() {
		if e.Transcript.Signer != bundle.Signer || e.Plan.Signer != bundle.Signer {
			c.fail("plan, transcript and evidence are not signed by one auditor")
		}
		_ = c.headersHold() && c.snapshotsHold() && c.reveal() && c.times() && c.result()
		c.attachments()
	}
	return c.verdict(bundle.Signer)
}

func (c *checker) openPlan() bool {
	c.plan = new(Plan)
	if err := c.e.Plan.Open(PlanFormat, c.plan); err != nil {
		return c.fail("%w", err)
	}
	if err := c.plan.Validate(); err != nil {
		return c.fail("the plan: %w", err)
	}
	digest, err := c.e.Plan.Digest()
	if err != nil {
		return c.fail("%w", err)
	}
	order, err := decodeHeader(c.e.Order)
	if err != nil {
		return c.fail("the order block: %w", err)
	}
	if order.Number.Uint64() != c.plan.OrderBlock {
		return c.fail("the order block is %d, the plan says %d", order.Number, c.plan.OrderBlock)
	}
	c.planDigest, c.order = digest, c.plan.Order(digest, order.Hash())
	c.headers = map[string]*types.Header{"order": order}
	return true
}

func (c *checker) openTranscript() bool {
	t, err := c.openAs(&c.e.Transcript)
	if err != nil {
		return c.fail("the auditor's transcript: %w", err)
	}
	c.transcript = t
	return true
}

// openAs opens a transcript of this plan.
func (c *checker) openAs(s *Sealed) (*Transcript, error) {
	var t Transcript
	if err := s.Open(TranscriptFormat, &t); err != nil {
		return nil, err
	}
	switch {
	case t.Format != TranscriptFormat:
		return nil, fmt.Errorf("its format is %.60q", t.Format)
	case t.Plan != c.planDigest:
		return nil, fmt.Errorf("it is of another plan")
	case len(t.Entries) == 0:
		return nil, fmt.Errorf("it holds no query")
	case len(t.Entries) > len(c.order):
		return nil, fmt.Errorf("it holds %d queries, the plan %d", len(t.Entries), len(c.order))
	}
	var last time.Time
	for i, e := range t.Entries {
		switch {
		case e.Key != c.order[i]:
			return nil, fmt.Errorf("query %d is of key %d; the order names key %d", i, e.Key, c.order[i])
		case e.Asked.Before(last) || e.Ended.Before(e.Asked):
			return nil, fmt.Errorf("the times of query %d run backwards", i)
		case (e.Answer == "") == (e.Error == ""):
			return nil, fmt.Errorf("query %d has neither an answer nor an error, or both", i)
		case e.Attempts < 0 || e.Attempts > c.plan.Asking.Attempts:
			return nil, fmt.Errorf("query %d was tried %d times, the plan allows %d", i, e.Attempts, c.plan.Asking.Attempts)
		}
		last = e.Ended
	}
	return &t, nil
}

func (c *checker) headersHold() bool {
	for name, raw := range map[string][]byte{"commit": c.e.Commit, "draw": c.e.Draw} {
		h, err := decodeHeader(raw)
		if err != nil {
			return c.fail("the %s block: %w", name, err)
		}
		c.headers[name] = h
	}
	return true
}

func (c *checker) snapshotsHold() bool {
	var err error
	if c.before, err = c.e.Before.Verify(c.plan); err != nil {
		return c.fail("the chain's state before the first query: %w", err)
	}
	if c.after, err = c.e.After.Verify(c.plan, c.plan.others(c.transcript.Entries)...); err != nil {
		return c.fail("the chain's state after the last answer: %w", err)
	}
	made := c.after.committed(c.plan)
	c.committed, c.recorded = made, made.randomness != common.Hash{}
	draw, commit := c.headers["draw"], c.headers["commit"]
	first := c.before.committed(c.plan)
	switch {
	case made.owner == common.Address{}:
		return c.fail("the registry has no model %s", c.plan.Model)
	case made.root != common.Hash(c.plan.Root) || first.root != made.root:
		return c.fail("the registry's commitment %d is to the root %s; the plan says %s", c.plan.Commitment, made.root, c.plan.Root)
	case int(first.commitments) > c.plan.Stopping.Commitments:
		return c.fail("the creator has committed %d sets of keys; the plan corrects for %d", first.commitments, c.plan.Stopping.Commitments)
	case commit.Number.Uint64() != made.block || draw.Number.Uint64() != made.draw:
		return c.fail("the headers are of blocks %d and %d; the commitment is in block %d and draws from %d", commit.Number, draw.Number, made.block, made.draw)
	case c.recorded && draw.MixDigest != made.randomness:
		return c.fail("block %d carries other randomness than the registry recorded", made.draw)
	case made.draw > c.plan.Known.Number:
		return c.fail("the words were drawn in block %d, after the plan was made", made.draw)
	case c.before.Number < c.plan.OrderBlock || c.after.Number < c.before.Number:
		return c.fail("blocks %d and %d do not lie one after the other behind the order block %d", c.before.Number, c.after.Number, c.plan.OrderBlock)
	case c.after.CodeHash != c.before.CodeHash:
		return c.fail("the registry's code changed during the audit")
	}
	return c.trusted()
}

// trusted compares with what the checker knows; a hash that differs is a forgery.
func (c *checker) trusted() bool {
	for name, block := range c.blocks() {
		if known, ok := c.trust.Blocks[block.Number]; ok && common.Hash(known) != block.Hash {
			return c.fail("block %d (%s) is %s on the chain that you know, and %s here", block.Number, name, common.Hash(known), block.Hash)
		}
	}
	return true
}

// blocks are all that the bundle refers to.
func (c *checker) blocks() map[string]Block {
	out := map[string]Block{"known when the plan was made": c.plan.Known}
	for name, h := range c.headers {
		out[name] = Block{h.Number.Uint64(), h.Hash()}
	}
	if c.before != nil && c.after != nil {
		out["before"], out["after"] = Block{c.before.Number, c.before.Hash}, Block{c.after.Number, c.after.Hash}
	}
	return out
}

func (c *checker) reveal() bool {
	r := &c.e.Reveal
	if err := r.Check(); err != nil {
		return c.fail("the revealed keys: %w", err)
	}
	switch {
	case common.Hash(r.Model) != c.plan.Model || r.Root != c.plan.Root || r.Total != c.plan.Keys:
		return c.fail("the revealed keys are of another commitment than the plan's")
	case len(r.Keys) > len(c.order) || len(r.Keys) < len(c.transcript.Entries):
		return c.fail("%d keys are revealed; %d were asked", len(r.Keys), len(c.transcript.Entries))
	case c.before != nil && c.headers["draw"].MixDigest != common.Hash(r.Randomness):
		return c.fail("block %d did not draw these words", c.committed.draw)
	}
	for i, k := range r.Keys {
		if k.Index != c.order[i] || len(k.Candidates) != c.plan.K || hasTwins(k.Candidates) {
			return c.fail("revealed key %d is not the one that the order names, or has not %d different candidates", k.Index, c.plan.K)
		}
	}
	for i, e := range c.transcript.Entries {
		if e.Question != r.Keys[i].Question {
			return c.fail("query %d is not the committed question of key %d", i, e.Key)
		}
	}
	return true
}

// hasTwins finds candidates that one answer could match both of: with them the chance
// of a match would be above 1/k.
func hasTwins(words []string) bool {
	seen := map[string]bool{}
	for _, word := range words {
		first := fingerprint.FirstWord(word)
		if first == "" || seen[first] || !fingerprint.Matches(first, word) {
			return true
		}
		seen[first] = true
	}
	return false
}

// clockSlack is by how much the auditor's clock and the chain's may differ.
const clockSlack = 2 * time.Minute

func (c *checker) times() bool {
	entries := c.transcript.Entries
	first, last := entries[0].Asked, entries[len(entries)-1].Ended
	before, after := time.Unix(int64(c.before.Time), 0), time.Unix(int64(c.after.Time), 0)
	switch {
	case c.plan.Made.After(first):
		return c.fail("the plan was made after the first query")
	case before.After(first.Add(clockSlack)):
		return c.fail("the block before the first query is of %s, the query of %s", before.UTC(), first)
	case after.Before(last.Add(-clockSlack)):
		return c.fail("the block after the last answer is of %s, the answer of %s", after.UTC(), last)
	case c.e.Made.Before(last):
		return c.fail("the evidence was made before the last answer")
	}
	return true
}

func (c *checker) grindable() {
	if c.after == nil {
		var err error
		if c.after, err = c.e.After.Verify(c.plan, c.plan.others(c.transcript.Entries)...); err != nil {
			c.fail("the chain's state after the last answer: %w", err)
			return
		}
		c.committed = c.after.committed(c.plan)
	}
	c.grind, c.why = Grindable(c.plan.ChainID, c.committed.block, c.committed.draw)
}

func (c *checker) result() bool {
	got, err := judge(c.plan, c.transcript.Entries, &c.e.Reveal)
	if err != nil {
		return c.fail("the auditor's transcript: %w", err)
	}
	c.grindable()
	got.Grindable, got.Grinding = c.grind, c.why
	if !sameResult(got, c.e.Result) {
		return c.fail("the result is not what the answers give: recomputed %+v", got)
	}
	c.witnesses = c.judgeWitnesses()
	return true
}

// sameResult allows for the last digits of logarithms, which machines round differently.
func sameResult(a, b Result) bool {
	near := func(x, y float64) bool { return x == y || math.Abs(x-y) <= 1e-9*math.Max(math.Abs(x), math.Abs(y)) }
	floats := near(a.P, b.P) && near(a.Log10P, b.Log10P) && near(a.LogE, b.LogE)
	a.P, a.Log10P, a.LogE = b.P, b.Log10P, b.LogE
	return floats && slices.Equal(a.Reasons, b.Reasons) && reflect.DeepEqual(a, b)
}
