package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit"
	"github.com/fealty/fealty/internal/wallet"
)

// signerFlags say with whose key statements are signed. The names differ from those of
// other wallets, since these commands open a key file too.
type signerFlags struct{ source wallet.Source }

func (f *signerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.source.Keystore, "signer-keystore", "", "encrypted keystore file of who signs")
	cmd.Flags().StringVar(&f.source.PassphraseFile, "signer-passphrase-file", "", "file with the keystore's passphrase")
	cmd.Flags().StringVar(&f.source.Env, "signer-key-env", "", "environment variable with the signing key in hexadecimal, instead of a keystore")
}

func (f *signerFlags) load() (*wallet.Key, error) {
	if f.source == (wallet.Source{}) {
		return nil, usagef("name who signs: --signer-keystore FILE with --signer-passphrase-file FILE, or --signer-key-env NAME")
	}
	return wallet.Load(f.source)
}

// dialAudit connects to the node that the flags name.
func (f *chainFlags) dialAudit(ctx context.Context) (audit.Chain, error) {
	if _, err := f.options(nil, nil); err != nil {
		return audit.Chain{}, err
	}
	chain, err := audit.Dial(ctx, f.url)
	return chain, f.redact(err)
}

// auditSession is an audit that leaves evidence, in a folder of its own.
type auditSession struct {
	dir        string
	chain      chainFlags
	commitment uint32
	signer     signerFlags
	plan       audit.Plan
	signatures string
}

func (s *auditSession) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.dir, "dir", "", "folder for the audit: its plan, journal and proofs; the same folder again goes on where it was")
	s.chain.add(cmd)
	s.chain.addRegistry(cmd)
	f.Uint32Var(&s.commitment, "commitment", 0, "number of the commitment in the registry")
	s.signer.add(cmd)
	f.IntVar(&s.plan.Stopping.Queries, "queries", 0, "questions to ask at most; 0: all that nobody has seen")
	f.Float64Var(&s.plan.Stopping.Alpha, "alpha", claimAlpha, "chance of a false claim, over all suspects and attempts")
	f.IntVar(&s.plan.Asking.MaxTokens, "max-tokens", answerTokens, "of each answer")
	f.Float64Var(&s.plan.Asking.Pace, "pace", 8, "mean seconds between two questions, spread as a person's are")
	f.Float64Var(&s.plan.Asking.Timeout, "timeout", 60, "seconds for one attempt")
	f.IntVar(&s.plan.Asking.Attempts, "attempts", 4, "per question; only what got no answer is tried again")
	f.StringVar(&s.signatures, "signatures", audit.SignAuto, "ask the host to sign its answers: auto (if the registry names a key for it), always, never; who is asked can tell an audit by it")
	f.StringVar(&s.plan.Connect, "connect", "", "host:port to connect to, whatever DNS says of the URL's host; the evidence tells")
}

// made is what 'audit verify --dir' reports. It holds no question and no word.
type made struct {
	Dir    string       `json:"dir"`
	Plan   string       `json:"plan"` // digest: publish it to show that nothing was chosen later
	Target string       `json:"endpoint"`
	Result audit.Result `json:"result"`
	Held   bool         `json:"held"`
}

// run plans, asks and captures. a holds what the quick form shares with it.
func (s *auditSession) run(cmd *cobra.Command, a *auditFlags, target string) error {
	key, err := s.signer.load()
	if err != nil {
		return err
	}
	if err := s.chain.needRegistry(); err != nil {
		return err
	}
	if !slices.Contains([]string{audit.SignAuto, audit.SignAlways, audit.SignNever}, s.signatures) {
		return usagef("--signatures: %q; need auto, always or never", s.signatures)
	}
	set, err := a.open(cmd)
	if err != nil {
		return err
	}
	session, err := s.open(cmd, a, set, key)
	if err != nil {
		return err
	}
	defer session.Chain.Close()
	out := made{Dir: s.dir, Target: target}
	if err := s.complete(cmd.Context(), a, session, target); err != nil {
		return err
	}
	_, digest, err := session.Prepare(cmd.Context(), s.plan)
	if err != nil {
		return s.chain.redact(err)
	}
	out.Plan = digest.String()
	session.Say("plan %s in %s: publish this digest now if others are to see that nothing was chosen later", digest, s.dir)
	out.Result, err = session.Run(cmd.Context())
	asked, lost := session.Asked()
	if len(asked) > 0 {
		lost = errors.Join(lost, a.keys.burn(set, asked))
	}
	if err := errors.Join(s.chain.redact(err), lost); err != nil {
		return err
	}
	return out.report(cmd, a.asJSON)
}

func (s *auditSession) open(cmd *cobra.Command, a *auditFlags, set *fingerprint.Set, key *wallet.Key) (*audit.Session, error) {
	credential, err := a.credential()
	if err != nil {
		return nil, err
	}
	chain, err := s.chain.dialAudit(cmd.Context())
	if err != nil {
		return nil, err
	}
	p := newProgress(cmd.ErrOrStderr())
	p.step("asking")
	return &audit.Session{Dir: s.dir, Chain: chain, Set: set, Key: key, Credential: credential, Signatures: s.signatures, Say: p.say, Told: p.update}, nil
}

// draw asks the registry when the keys were committed and what drew their words.
func (s *auditSession) draw(ctx context.Context, set *fingerprint.Set) (bool, string, error) {
	r, err := s.chain.open(ctx, nil, nil)
	if err != nil {
		return false, "", err
	}
	defer r.Close()
	made, err := r.Commitment(ctx, set.Model, s.commitment)
	if err != nil {
		return false, "", s.chain.redact(err)
	}
	if made.Root != set.Root() {
		return false, "", fmt.Errorf("commitment %d of this model is to another root than the key file's: another --commitment, or another key file", s.commitment)
	}
	drawn, err := r.DrawRandomness(ctx, set.Model, s.commitment)
	if err != nil {
		return false, "", s.chain.redact(err)
	}
	if drawn.Randomness != *set.Randomness {
		return false, "", fmt.Errorf("block %d drew other words than the key file holds", drawn.Block)
	}
	grindable, why := audit.Grindable(r.ChainID(), made.CommitBlock, made.DrawBlock)
	return grindable, why, nil
}

// complete makes the plan of the flags.
func (s *auditSession) complete(ctx context.Context, a *auditFlags, session *audit.Session, target string) (err error) {
	registry, err := wallet.ParseAddress(s.chain.registry)
	if err != nil {
		return usagef("--registry: %v", err)
	}
	p := &s.plan
	p.Endpoint, p.Registry, p.Commitment = target, registry, s.commitment
	p.Asking.System, p.Asking.Temperature, p.Asking.Seed = a.asking.System, a.asking.Temperature, int64(a.asking.Seed)
	p.Stopping.Sequential, p.Stopping.Suspects = a.sequential, a.suspects
	if p.ChainID, err = session.Chain.ID(ctx); err != nil {
		return s.chain.redact(err)
	}
	if s.chain.chainID != 0 && s.chain.chainID != p.ChainID {
		return fmt.Errorf("--chain-id: the node is on chain %d, not %d", p.ChainID, s.chain.chainID)
	}
	if p.Served = a.model; p.Served == "" {
		client := audit.EndpointClient(p.Endpoint, p.Connect, session.Credential)
		p.Served, err = firstModel(ctx, client)
	}
	return err
}

func (m made) report(cmd *cobra.Command, asJSON bool) error {
	m.Held = m.Result.Finding == audit.AnswersAsModel
	if asJSON {
		if err := printJSON(cmd, m); err != nil {
			return err
		}
	} else {
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s: %s\n", m.Target, m.Result.Finding)
		for _, reason := range m.Result.Reasons {
			fmt.Fprintf(out, "  %s\n", reason)
		}
		fmt.Fprintf(out, "%d of %d answers match (%d planned, %d errors)\n", m.Result.Matched, m.Result.Asked, m.Result.Planned, m.Result.Errors)
		fmt.Fprintln(out, m.Result.Statistic())
		if m.Result.Grindable {
			fmt.Fprintf(out, "grindable: %s\n", m.Result.Grinding)
		}
		fmt.Fprintf(out, "make the bundle with: fealty audit evidence --dir %s ...\n", m.Dir)
	}
	if !m.Held {
		return fmt.Errorf("%w: %s: %s", errNotHeld, m.Target, m.Result.Finding)
	}
	return nil
}
