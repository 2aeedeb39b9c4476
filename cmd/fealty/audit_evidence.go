package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/audit"
)

// auditEvidence is what 'fealty audit evidence' was asked for.
type auditEvidence struct {
	dir, output string
	witnesses   []string
	attach      []string
	keys        keyFileFlags
	signer      signerFlags
	asJSON      bool
}

func newAuditEvidence() *cobra.Command {
	var e auditEvidence
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Make the bundle of a finished audit, which anyone can check",
		Long: `Evidence puts into one signed file what 'audit verify --dir' has planned, asked and captured,
the witnesses' transcripts, and the keys that were asked with their proofs. These keys are
opened by it and burnt. docs/evidence.md says what the file proves, to whom, and what not.`,
		Example: "  fealty audit evidence --dir audit1 --keys keys.age --passphrase-file keys.pass --signer-keystore auditor.json --signer-passphrase-file auditor.pass --witness w1.json --witness w2.json --output bundle.json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&e.dir, "dir", "", "folder of the audit")
	f.StringVar(&e.output, "output", "", "file to write")
	f.StringArrayVar(&e.witnesses, "witness", nil, "transcript of a witness; once for each")
	f.StringArrayVar(&e.attach, "tls-attestation", nil, "TOOL=FILE: an attestation of the TLS sessions that some tool made; bound, and not verified here")
	e.keys.add(cmd)
	e.signer.add(cmd)
	f.BoolVar(&e.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (e *auditEvidence) run(cmd *cobra.Command) error {
	if e.dir == "" || e.output == "" {
		return usagef("name the audit's folder and the file to write: --dir DIR --output FILE")
	}
	key, err := e.signer.load()
	if err != nil {
		return err
	}
	witnesses, attachments, err := e.documents()
	if err != nil {
		return err
	}
	set, err := e.keys.load()
	if err != nil {
		return err
	}
	session := audit.Session{Dir: e.dir, Set: set, Key: key}
	bundle, err := session.Evidence(witnesses, attachments)
	if err != nil {
		return err
	}
	if err := e.keys.save(set); err != nil { // first: what is opened and not noted would be used again
		return err
	}
	if err := audit.WriteFile(e.output, bundle); err != nil {
		return err
	}
	v := audit.Check(bundle, audit.Trust{})
	if e.asJSON {
		return printJSON(cmd, map[string]any{"bundle": e.output, "verdict": v})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s, %s. Check it with: fealty audit check %s\n", e.output, v.Finding, v.License, v.Level, e.output)
	return err
}

func (e *auditEvidence) documents() (witnesses []audit.Sealed, attachments []audit.Attachment, err error) {
	for _, path := range e.witnesses {
		s, err := audit.ReadSealed(path)
		if err != nil {
			return nil, nil, fmt.Errorf("--witness: %w", err)
		}
		witnesses = append(witnesses, *s)
	}
	for _, text := range e.attach {
		tool, path, ok := strings.Cut(text, "=")
		if !ok || tool == "" {
			return nil, nil, usagef("--tls-attestation: write TOOL=FILE, such as tlsnotary=session.json")
		}
		a, err := audit.ReadDocument(audit.TLSAttestationType+" "+tool, path)
		if err != nil {
			return nil, nil, fmt.Errorf("--tls-attestation: %w", err)
		}
		attachments = append(attachments, a)
	}
	return witnesses, attachments, nil
}

// auditWitness is what 'fealty audit witness' was asked for.
type auditWitness struct {
	apiKey, connect, output string
	chain                   chainFlags
	signer                  signerFlags
	asJSON                  bool
}

func newAuditWitness() *cobra.Command {
	var w auditWitness
	cmd := &cobra.Command{
		Use:   "witness ASSIGNMENT",
		Short: "Ask what an auditor asks, by your own credential and connection, and sign the answers",
		Long: `Witness reads the assignment that 'audit verify --dir' wrote (assignment.json; a file, or a
URL where the auditor published it), makes sure that it is what the signed plan and its order
block say, asks the endpoint all questions, and signs the transcript. It knows no answer, so
it cannot tell what matches. Interrupted, the same command goes on.`,
		Example: "  fealty audit witness https://auditor.example.org/assignment.json --api-key env:MY_KEY --rpc env:RPC --signer-keystore me.json --signer-passphrase-file me.pass --output witness.json",
		Args:    exactArgs("ASSIGNMENT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return w.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&w.apiKey, "api-key", "", "env:NAME or file:PATH of your own key for the endpoint")
	f.StringVar(&w.connect, "connect", "", "host:port to connect to, whatever DNS says")
	f.StringVar(&w.output, "output", "", "file to write the signed transcript to")
	w.chain.add(cmd)
	w.signer.add(cmd)
	f.BoolVar(&w.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (w *auditWitness) run(cmd *cobra.Command, from string) error {
	if w.output == "" {
		return usagef("name the file to write: --output FILE")
	}
	key, err := w.signer.load()
	if err != nil {
		return err
	}
	assignment, err := audit.FetchAssignment(cmd.Context(), from)
	if err != nil {
		return fmt.Errorf("the assignment: %w", err)
	}
	if err := w.confirm(cmd, assignment); err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	p.step("asking")
	session := audit.WitnessSession{
		Journal: filepath.Clean(w.output) + ".journal", Connect: w.connect, Key: key, Told: p.update,
	}
	if w.apiKey != "" {
		if session.Credential, err = secretFlag("--api-key", w.apiKey); err != nil {
			return err
		}
	}
	sealed, transcript, err := session.Run(cmd.Context(), assignment)
	if err != nil {
		return err
	}
	if err := audit.WriteFile(w.output, sealed); err != nil {
		return err
	}
	if w.asJSON {
		return printJSON(cmd, map[string]any{"transcript": w.output, "plan": transcript.Plan, "signer": sealed.Signer, "asked": len(transcript.Entries)})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d answers, signed by %s; give it to the auditor\n", w.output, len(transcript.Entries), sealed.Signer)
	return err
}

func (w *auditWitness) confirm(cmd *cobra.Command, a *audit.Assignment) error {
	if w.chain.rpc == "" {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "fealty: whether the order of the questions was drawn by the chain is not asked (--rpc)")
		return err
	}
	chain, err := w.chain.dialAudit(cmd.Context())
	if err != nil {
		return err
	}
	defer chain.Close()
	return w.chain.redact(a.Confirm(cmd.Context(), chain))
}
