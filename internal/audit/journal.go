package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// Journal is a file to which each step of a run is appended before the next one begins,
// so that a run that was ended goes on where it was and counts nothing twice. Each line
// holds the digest of the line before.
type Journal struct {
	file  *os.File
	lock  *flock.Flock
	last  Digest
	done  []Entry
	asked *Entry // sent, with no outcome on record
	peers []Peer
}

// line is one step. Exactly one of its pointers is set.
type line struct {
	Before  Digest `json:"before"`
	Begin   *begin `json:"begin,omitempty"`
	Ask     *Entry `json:"ask,omitempty"`     // about to be sent
	Entry   *Entry `json:"entry,omitempty"`   // its outcome
	Abandon *int   `json:"abandon,omitempty"` // key whose question was stopped before any answer came
	Peer    *Peer  `json:"peer,omitempty"`
}

type begin struct {
	Plan Digest `json:"plan"`
}

// OpenJournal opens or makes the journal of a plan. It fails while another process
// has it open.
func OpenJournal(path string, plan Digest) (j *Journal, err error) {
	lock := flock.New(path + ".lock")
	if held, err := lock.TryLock(); err != nil || !held {
		return nil, errors.Join(fmt.Errorf("journal %s: another process writes it", path), err)
	}
	j = &Journal{lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return j, err
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1] // what a crash cut short never counted
	if err := j.replay(whole, plan); err != nil {
		return j, fmt.Errorf("journal %s: %w", path, err)
	}
	if j.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return j, err
	}
	if err := j.file.Truncate(int64(len(whole))); err != nil {
		return j, err
	}
	if _, err := j.file.Seek(int64(len(whole)), 0); err != nil {
		return j, err
	}
	if len(whole) == 0 {
		return j, j.append(line{Begin: &begin{plan}})
	}
	return j, j.settle()
}

func (j *Journal) replay(text []byte, plan Digest) error {
	for n, raw := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if len(raw) == 0 {
			break
		}
		var l line
		if err := strict(raw, &l); err != nil || l.Before != j.last {
			return fmt.Errorf("line %d does not follow the one before: the file was changed; start a new audit", n+1)
		}
		j.last = sha256.Sum256(raw)
		switch {
		case l.Begin != nil && l.Begin.Plan != plan:
			return errors.New("it belongs to another plan")
		case l.Ask != nil:
			j.asked = l.Ask
		case l.Entry != nil:
			j.done, j.asked = append(j.done, *l.Entry), nil
		case l.Abandon != nil:
			j.asked = nil
		case l.Peer != nil:
			j.peers = append(j.peers, *l.Peer)
		}
	}
	return nil
}

// settle ends a question that was sent when the process died. Its answer may have come
// and been seen, so it is not asked again: it counts as no match.
func (j *Journal) settle() error {
	if j.asked == nil {
		return nil
	}
	lost := *j.asked
	lost.Ended, lost.Error = lost.Asked, "interrupted: the auditor's process ended while it waited"
	return j.finish(lost)
}

func (j *Journal) begin(e Entry) error { return j.append(line{Ask: &e}) }

func (j *Journal) finish(e Entry) error {
	if err := j.append(line{Entry: &e}); err != nil {
		return err
	}
	j.done, j.asked = append(j.done, e), nil
	return nil
}

func (j *Journal) abandon(key int) error { return j.append(line{Abandon: &key}) }

// met notes a server the first time that it answers.
func (j *Journal) met(p Peer) error {
	for _, known := range j.peers {
		if known == p {
			return nil
		}
	}
	j.peers = append(j.peers, p)
	return j.append(line{Peer: &p})
}

func (j *Journal) append(l line) error {
	l.Before = j.last
	raw, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = sha256.Sum256(raw)
	return nil
}

// Transcript is what the journal holds.
func (j *Journal) Transcript(plan Digest) Transcript {
	t := Transcript{Format: TranscriptFormat, Plan: plan, Peers: []Peer{}, Entries: []Entry{}}
	t.Peers, t.Entries = append(t.Peers, j.peers...), append(t.Entries, j.done...)
	return t
}

// Close frees the journal for others.
func (j *Journal) Close() error {
	var err error
	if j.file != nil {
		err = j.file.Close()
	}
	return errors.Join(err, j.lock.Unlock())
}

// now is the time as statements write it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
