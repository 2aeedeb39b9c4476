package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	fingerprint "github.com/fealty/fealty/embed"
)

// Session is one audit in a folder of its own, which outlives the process: whatever a
// step has written it does not do again.
type Session struct {
	Dir        string
	Chain      Chain
	Set        *fingerprint.Set // with drawn words
	Key        Signer
	Credential string // for the endpoint
	Signatures string // SignAuto, SignAlways or SignNever; "": SignAuto
	Say        func(format string, args ...any)
	Told       func(done, total int)
}

// When the endpoint is asked to sign its answers. To ask tells it that somebody gathers
// evidence.
const (
	SignAuto   = "auto" // if the registry names a key for one of its names: others cannot sign
	SignAlways = "always"
	SignNever  = "never"
)

// signs decides, where auto is what SignAuto means.
func (s *Session) signs(auto bool) bool {
	return s.Signatures == SignAlways || auto && s.Signatures != SignNever
}

// Names of the files in a session's folder.
const (
	planFile       = "plan.json"       // Sealed Plan
	assignmentFile = "assignment.json" // for witnesses
	chainFile      = "chain.json"
	journalFile    = "journal.jsonl"
	transcriptFile = "transcript.json" // Sealed Transcript
)

// seenChain is what was captured of the chain.
type seenChain struct {
	Order  hexutil.Bytes `json:"order"`
	Commit hexutil.Bytes `json:"commit"`
	Draw   hexutil.Bytes `json:"draw"`
	Before *Snapshot     `json:"before"`
	After  *Snapshot     `json:"after,omitempty"` // once the last answer is there

	Statement []byte `json:"statement,omitempty"` // the host's own, if it has one
}

func (s *Session) path(name string) string { return filepath.Join(s.Dir, name) }

// Prepare signs the plan, or reads the one that the folder holds. Its digest is the
// commitment: publish it before Run if anybody is to see that nothing was chosen after.
func (s *Session) Prepare(ctx context.Context, p Plan) (*Sealed, Digest, error) {
	if sealed, err := read[Sealed](s.path(planFile)); err != nil || sealed != nil {
		if err != nil {
			return nil, Digest{}, err
		}
		return s.resumed(sealed, &p)
	}
	if err := s.complete(ctx, &p); err != nil {
		return nil, Digest{}, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, Digest{}, err
	}
	sealed, err := Seal(s.Key, PlanFormat, &p)
	if err != nil {
		return nil, Digest{}, err
	}
	digest, err := sealed.Digest()
	return sealed, digest, errors.Join(err, WriteFile(s.path(planFile), sealed))
}

// resumed is the folder's plan, which must be the one that is asked for.
func (s *Session) resumed(sealed *Sealed, wanted *Plan) (*Sealed, Digest, error) {
	var p Plan
	if err := sealed.Open(PlanFormat, &p); err != nil {
		return nil, Digest{}, err
	}
	limit := p.Stopping
	limit.Queries, limit.Commitments = wanted.Stopping.Queries, wanted.Stopping.Commitments
	if p.Endpoint != wanted.Endpoint || p.Served != wanted.Served || p.Asking != wanted.Asking || limit != wanted.Stopping || s.signs(p.Sign) != p.Sign {
		return nil, Digest{}, fmt.Errorf("%s holds the plan of another audit, of %s, or one with other settings: give the same ones to go on, or another folder", s.Dir, p.Endpoint)
	}
	digest, err := sealed.Digest()
	return sealed, digest, err
}

// complete fills in what follows from the key file and from the chain.
func (s *Session) complete(ctx context.Context, p *Plan) (err error) {
	p.Format, p.Made = PlanFormat, now()
	p.Model, p.Root, p.Keys, p.K = common.Hash(s.Set.Model), s.Set.Root(), len(s.Set.Keys), s.Set.Shell.K
	p.Excluded = append([]int{}, s.Set.Burnt...)
	if free := p.Keys - len(p.Excluded); p.Stopping.Queries == 0 || p.Stopping.Queries > free {
		p.Stopping.Queries = free
	}
	if p.Names, err = HostNames(p.Endpoint); err != nil {
		return err
	}
	if p.Known, err = s.Chain.Newest(ctx); err != nil {
		return err
	}
	p.OrderBlock = p.Known.Number + 2
	snapshot, err := s.Chain.Snapshot(ctx, p)
	if err != nil {
		return err
	}
	state, err := snapshot.Verify(p)
	if err != nil {
		return err
	}
	p.Sign = s.signs(slices.ContainsFunc(state.Grants(p), func(g Grant) bool { return g.Controller != common.Address{} }))
	made := state.committed(p)
	if made.root != common.Hash(p.Root) {
		return fmt.Errorf("commitment %d of this model is to the root %s, the key file's is %s: another --commitment, or another key file", p.Commitment, made.root, p.Root)
	}
	if s.Set.Randomness == nil || (made.randomness != common.Hash{} && made.randomness != common.Hash(*s.Set.Randomness)) {
		return errors.New("the key file's words are not those that the registry's draw gives")
	}
	p.Stopping.Commitments = max(1, int(made.commitments))
	return p.Validate()
}

// Run asks, with the chain's state captured before the first query and after the last
// answer. Called again after an interruption it goes on.
func (s *Session) Run(ctx context.Context) (Result, error) {
	a, seen, err := s.ready(ctx)
	if err != nil {
		return Result{}, err
	}
	if a.Journal, err = OpenJournal(s.path(journalFile), a.digest); err != nil {
		return Result{}, err
	}
	defer a.Journal.Close()
	if len(a.Journal.done) == 0 {
		if err := a.Preflight(ctx); err != nil {
			return Result{}, err
		}
	}
	if _, err := Run(ctx, a.Asker, s.Set); err != nil {
		return Result{}, err
	}
	return s.finish(ctx, a, seen)
}

// asking is an Asker with the digest of its plan.
type asking struct {
	*Asker
	digest Digest
}

// ready opens the plan, waits for its order block, and captures the chain.
func (s *Session) ready(ctx context.Context) (*asking, *seenChain, error) {
	sealed, err := read[Sealed](s.path(planFile))
	if err != nil || sealed == nil {
		return nil, nil, errors.Join(errors.New("the folder holds no plan"), err)
	}
	var p Plan
	if err := sealed.Open(PlanFormat, &p); err != nil {
		return nil, nil, err
	}
	if p.Root != s.Set.Root() {
		return nil, nil, errors.New("the folder's plan is of another key file")
	}
	seen, err := read[seenChain](s.path(chainFile))
	if err == nil && seen == nil {
		seen, err = s.capture(ctx, &p)
	}
	if err != nil {
		return nil, nil, err
	}
	header, err := decodeHeader(seen.Order)
	if err != nil {
		return nil, nil, err
	}
	digest, err := sealed.Digest()
	if err != nil {
		return nil, nil, err
	}
	items := Items(s.Set, p.Order(digest, header.Hash()))
	if err := WriteFile(s.path(assignmentFile), Assignment{Plan: *sealed, Order: seen.Order, Items: items}); err != nil {
		return nil, nil, err
	}
	return &asking{&Asker{Plan: &p, Items: items, Key: s.Credential, Told: s.Told}, digest}, seen, nil
}

func (s *Session) capture(ctx context.Context, p *Plan) (*seenChain, error) {
	s.Say("waiting for block %d, which orders the questions", p.OrderBlock)
	seen := &seenChain{}
	var err error
	if seen.Order, err = s.Chain.Header(ctx, p.OrderBlock); err != nil {
		return nil, err
	}
	if seen.Before, err = s.Chain.Snapshot(ctx, p); err != nil {
		return nil, err
	}
	state, err := seen.Before.Verify(p)
	if err != nil {
		return nil, err
	}
	made := state.committed(p)
	if seen.Commit, err = s.Chain.Header(ctx, made.block); err != nil {
		return nil, err
	}
	if seen.Draw, err = s.Chain.Header(ctx, made.draw); err != nil {
		return nil, err
	}
	return seen, WriteFile(s.path(chainFile), seen)
}

// finish captures the chain once more and signs the transcript.
func (s *Session) finish(ctx context.Context, a *asking, seen *seenChain) (_ Result, err error) {
	if seen.After == nil {
		if seen.After, err = s.afterAnswers(ctx, a); err != nil {
			return Result{}, err
		}
		seen.Statement = hostStatement(ctx, a.Plan)
		if err := WriteFile(s.path(chainFile), seen); err != nil {
			return Result{}, err
		}
	}
	t := a.Journal.Transcript(a.digest)
	sealed, err := Seal(s.Key, TranscriptFormat, &t)
	if err != nil {
		return Result{}, err
	}
	if err := WriteFile(s.path(transcriptFile), sealed); err != nil {
		return Result{}, err
	}
	return s.result(a, t.Entries, seen)
}

// afterAnswers waits for a block that is made after the last answer.
func (s *Session) afterAnswers(ctx context.Context, a *asking) (*Snapshot, error) {
	newest, err := s.Chain.Newest(ctx)
	if err != nil {
		return nil, err
	}
	s.Say("waiting for the block after the last answer")
	if _, err := s.Chain.Header(ctx, newest.Number+1); err != nil {
		return nil, err
	}
	return s.Chain.Snapshot(ctx, a.Plan, a.Plan.others(a.Journal.done)...)
}

// result judges by a reveal that leaves no trace in the key file.
func (s *Session) result(a *asking, entries []Entry, seen *seenChain) (Result, error) {
	copied := *s.Set
	copied.Burnt = slices.Clone(s.Set.Burnt)
	reveal, err := copied.Reveal(keysOf(entries))
	if err != nil {
		return Result{}, err
	}
	result, err := judge(a.Plan, entries, reveal)
	if err != nil {
		return Result{}, err
	}
	state, err := seen.After.Verify(a.Plan, a.Plan.others(entries)...)
	if err != nil {
		return Result{}, err
	}
	made := state.committed(a.Plan)
	result.Grindable, result.Grinding = Grindable(a.Plan.ChainID, made.block, made.draw)
	return result, nil
}

func keysOf(entries []Entry) []int {
	out := make([]int, len(entries))
	for i, e := range entries {
		out[i] = e.Key
	}
	return out
}

// Asked are the keys that the endpoint has seen so far, after a crash too.
func (s *Session) Asked() ([]int, error) {
	sealed, err := read[Sealed](s.path(planFile))
	if err != nil || sealed == nil {
		return nil, err
	}
	digest, err := sealed.Digest()
	if err != nil {
		return nil, err
	}
	j, err := OpenJournal(s.path(journalFile), digest)
	if err != nil {
		return nil, err
	}
	return keysOf(j.done), j.Close()
}

// Evidence makes the bundle of a finished audit. The keys that were asked are revealed
// in it, and burnt in the set: save that first.
func (s *Session) Evidence(witnesses []Sealed, attachments []Attachment) (*Sealed, error) {
	plan, err1 := read[Sealed](s.path(planFile))
	transcript, err2 := read[Sealed](s.path(transcriptFile))
	seen, err3 := read[seenChain](s.path(chainFile))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if plan == nil || transcript == nil || seen == nil || seen.After == nil {
		return nil, fmt.Errorf("the audit in %s is not finished: run 'fealty audit verify' with the same --dir again", s.Dir)
	}
	var t Transcript
	if err := transcript.Open(TranscriptFormat, &t); err != nil {
		return nil, err
	}
	reveal, err := s.Set.Reveal(keysOf(t.Entries))
	if err != nil {
		return nil, err
	}
	if len(seen.Statement) > 0 {
		attachments = append([]Attachment{Attach(HostStatementType, seen.Statement)}, attachments...)
	}
	e := Evidence{
		Plan: *plan, Order: seen.Order, Commit: seen.Commit, Draw: seen.Draw, Before: *seen.Before, After: *seen.After, Reveal: *reveal,
		Transcript: *transcript, Witnesses: append([]Sealed{}, witnesses...), Attachments: append([]Attachment{}, attachments...),
	}
	if err := e.Complete(); err != nil {
		return nil, err
	}
	return Seal(s.Key, EvidenceFormat, &e)
}

// largestStatement bounds what is read of a host's statement, in bytes.
const largestStatement = 64 << 10

// hostStatement is what the endpoint's origin says of itself; nil if nothing.
func hostStatement(ctx context.Context, p *Plan) []byte {
	u, err := url.Parse(p.Endpoint)
	if err != nil {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Scheme+"://"+u.Host+"/.well-known/fealty.json", nil)
	if err != nil {
		return nil
	}
	client := Dialling(p.Connect)
	client.Timeout = 10 * time.Second
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestStatement+1))
	if err != nil || resp.StatusCode != http.StatusOK || len(body) > largestStatement {
		return nil
	}
	return body
}

// read is a file of the session; nil if there is none yet.
func read[T any](path string) (*T, error) {
	var v T
	err := ReadFile(path, &v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}
