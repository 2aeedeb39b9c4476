package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// WitnessSession is one witness' part in an audit, by its own credential and connection.
type WitnessSession struct {
	Journal    string // path of its journal
	Connect    string // host:port to dial instead of what DNS says
	Key        Signer
	Credential string
	Told       func(done, total int)
}

// FetchAssignment reads an assignment from a file or, within 5 minutes, an http(s) URL.
func FetchAssignment(ctx context.Context, from string) (*Assignment, error) {
	var a Assignment
	if !strings.HasPrefix(from, "https://") && !strings.HasPrefix(from, "http://") {
		return &a, ReadFile(from, &a)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 5 * time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, largestFile+1))
	if err != nil || resp.StatusCode != http.StatusOK || len(text) > largestFile {
		return nil, errors.Join(fmt.Errorf("%s answers %s with %d bytes", from, resp.Status, len(text)), err)
	}
	return &a, strict(text, &a)
}

// Run asks what the auditor asks and signs the transcript. Interrupted, it goes on with
// the same journal.
func (w *WitnessSession) Run(ctx context.Context, a *Assignment) (*Sealed, *Transcript, error) {
	p, err := a.Check()
	if err != nil {
		return nil, nil, err
	}
	digest, err := a.Plan.Digest()
	if err != nil {
		return nil, nil, err
	}
	p.Connect = w.Connect
	asker := &Asker{Plan: p, Items: a.Items, Key: w.Credential, Told: w.Told}
	if asker.Journal, err = OpenJournal(w.Journal, digest); err != nil {
		return nil, nil, err
	}
	defer asker.Journal.Close()
	if len(asker.Journal.done) == 0 {
		if err := asker.Preflight(ctx); err != nil {
			return nil, nil, err
		}
	}
	if err := Witness(ctx, asker); err != nil {
		return nil, nil, err
	}
	t := asker.Journal.Transcript(digest)
	sealed, err := Seal(w.Key, TranscriptFormat, &t)
	return sealed, &t, err
}

// ReadSealed reads a sealed statement from a file.
func ReadSealed(path string) (*Sealed, error) {
	var s Sealed
	if err := ReadFile(path, &s); err != nil {
		return nil, err
	}
	if len(s.Statement) == 0 || !json.Valid(s.Statement) {
		return nil, fmt.Errorf("%s holds no signed statement", path)
	}
	return &s, nil
}

// ReadDocument reads a file to attach.
func ReadDocument(kind, path string) (Attachment, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Attachment{}, err
	}
	if len(data) > largestFile/4 {
		return Attachment{}, fmt.Errorf("%s has %d bytes; an attachment has at most %d", path, len(data), largestFile/4)
	}
	return Attach(kind, data), nil
}
