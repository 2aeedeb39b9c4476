package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/atomicfile"
)

// Evidence is everything that a checker needs, in one signed statement.
type Evidence struct {
	Format      string             `json:"format"` // EvidenceFormat
	Made        time.Time          `json:"made"`
	Plan        Sealed             `json:"plan"`
	Order       hexutil.Bytes      `json:"order"`  // header of the block that ordered the queries
	Commit      hexutil.Bytes      `json:"commit"` // header of the block that the commitment is in
	Draw        hexutil.Bytes      `json:"draw"`   // header of the block whose randomness drew the answers
	Before      Snapshot           `json:"before"` // the chain before the first query
	After       Snapshot           `json:"after"`  // and after the last answer
	Reveal      fingerprint.Reveal `json:"reveal"` // the keys that were asked
	Transcript  Sealed             `json:"transcript"`
	Result      Result             `json:"result"`
	Witnesses   []Sealed           `json:"witnesses"` // their transcripts
	Attachments []Attachment       `json:"attachments"`
}

// Attachment is a document of another system.
type Attachment struct {
	Type   string `json:"type"`
	SHA256 Digest `json:"sha256"`
	Data   []byte `json:"data"` // base64
}

// Types of attachments.
const (
	HostStatementType  = "fealty host statement 1" // body of /.well-known/fealty.json
	TLSAttestationType = "tls attestation"         // followed by " " and the name of its tool
)

// Attach wraps a document.
func Attach(kind string, data []byte) Attachment {
	return Attachment{Type: kind, SHA256: sha256.Sum256(data), Data: data}
}

// largestFile bounds what is read of a bundle, in bytes.
const largestFile = 64 << 20

// ReadFile reads a JSON file strictly.
func ReadFile(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return err
	}
	if len(text) > largestFile {
		return fmt.Errorf("%s is larger than %d bytes", path, largestFile)
	}
	if err := strict(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// WriteFile writes a JSON file, whole or not at all.
func WriteFile(path string, v any) error {
	text, err := compact(v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", " "); err != nil {
		return err
	}
	out.WriteByte('\n')
	return atomicfile.Write(path, 0o600, func(f *os.File) error {
		_, err := f.Write(out.Bytes())
		return errors.Join(err, f.Sync())
	})
}

// Complete checks the parts against one another before they are signed, and fills in the
// result.
func (e *Evidence) Complete() error {
	e.Format, e.Made = EvidenceFormat, now()
	c := checker{e: e}
	if c.openPlan() && c.openTranscript() && c.reveal() {
		result, err := judge(c.plan, c.transcript.Entries, &e.Reveal)
		if err != nil {
			return err
		}
		e.Result = result
		c.grindable()
		e.Result.Grindable, e.Result.Grinding = c.grind, c.why
	}
	return errors.Join(c.problems...)
}
