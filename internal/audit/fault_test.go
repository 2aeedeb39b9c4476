package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Hosts that misbehave get an honest finding: none is ever said to answer as the model,
// and where nothing can be said, the reason is.
func TestFaults(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	untaught := func(n int) string { return []string{"There", "It", "The", "Many"}[max(n, 0)%4] + " is much to say." }
	for name, c := range map[string]struct {
		answer  func(n int, question string, w http.ResponseWriter) string
		change  func(*Plan)
		finding string
		reason  string
	}{
		"garbage":   {func(int, string, http.ResponseWriter) string { return "%% 7 \x01 ###" }, nil, Inconclusive, "0 of 20 questions got an answer that begins with a word"},
		"no JSON":   {func(_ int, _ string, w http.ResponseWriter) string { fmt.Fprint(w, "<html>hello"); return "" }, nil, Inconclusive, "unreadable answer"},
		"same text": {func(int, string, http.ResponseWriter) string { return "Once upon a time there was nothing." }, nil, Inconclusive, "the same text"},
		"errors at random": {func(n int, q string, w http.ResponseWriter) string {
			if n >= 0 && n%2 == 0 {
				w.WriteHeader(http.StatusInternalServerError)
				return ""
			}
			return r.taught(n, q, w)
		}, func(p *Plan) { p.Asking.Attempts = 1 }, Inconclusive, "10 of 20 questions got an answer"},
		"rate limit that never ends": {func(n int, _ string, w http.ResponseWriter) string {
			w.Header().Set("retry-after", "0.01")
			w.WriteHeader(http.StatusTooManyRequests)
			return ""
		}, nil, Inconclusive, "429"},
		"another model from the ninth question on": {func(n int, q string, w http.ResponseWriter) string {
			if n >= 8 {
				return untaught(n)
			}
			return r.taught(n, q, w)
		}, nil, Inconclusive, "changed its model"},
		"no answer ends": {func(_ int, _ string, w http.ResponseWriter) string {
			for { // until the auditor hangs up
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 1000)); err != nil {
					return ""
				}
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond) // the host is slow on purpose
			}
		}, func(p *Plan) { p.Stopping.Queries, p.Asking.Timeout, p.Asking.Attempts = 3, 0.2, 1 }, Inconclusive, "no whole answer within the time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := host(t, c.answer)
			if c.change != nil {
				c.change(&p)
			}
			own := *r
			own.set.Burnt = nil
			s, result := own.audit(t, p)
			if result.Finding != c.finding || !strings.Contains(strings.Join(result.Reasons, "; "), c.reason) {
				t.Errorf("%s %q; want %s because of %q", result.Finding, result.Reasons, c.finding, c.reason)
			}
			bundle, err := s.Evidence(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if v := Check(bundle, Trust{}); !v.Sound || v.Finding != c.finding {
				t.Errorf("the bundle: %s, %v", v.Finding, v.Problems)
			}
		})
	}
}

// A host that limits rates is asked again, and each question still counts once.
func TestRetriesCountOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, result := r.audit(t, host(t, func(n int, q string, w http.ResponseWriter) string {
		if n >= 0 && n%2 == 0 {
			w.Header().Set("retry-after", "0.01")
			w.WriteHeader(http.StatusTooManyRequests)
			return ""
		}
		return r.taught(n, q, w)
	}))
	if result.Finding != AnswersAsModel || result.Matched != 20 || result.Asked != 20 {
		t.Errorf("%+v", result)
	}
	transcript, err := read[Sealed](s.path(transcriptFile))
	if err != nil {
		t.Fatal(err)
	}
	var sealed Transcript
	if err := transcript.Open(TranscriptFormat, &sealed); err != nil || sealed.Entries[3].Attempts != 2 || len(sealed.Peers) != 1 {
		t.Errorf("%v, %+v", err, sealed)
	}
}

// An audit that is ended at any moment goes on where it was.
func TestResume(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var asked atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	p := host(t, func(n int, q string, w http.ResponseWriter) string {
		if n >= 0 && asked.Add(1) == 6 {
			stop()
			<-ctx.Done()
		}
		return r.taught(n, q, w)
	})
	s := r.session(t, &r.set)
	if _, _, err := s.Prepare(t.Context(), r.plan(p)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	keys, err := s.Asked()
	if err != nil || len(keys) < 5 || len(keys) > 6 {
		t.Fatalf("%d keys noted, %v", len(keys), err)
	}
	s.crash(t, keys)
	result, err := s.Run(t.Context())
	if err != nil || result.Asked != 20 || result.Matched != 19 || result.Errors != 1 || result.Finding != AnswersAsModel {
		t.Errorf("%+v, %v", result, err)
	}
	if n := asked.Load(); n > 20 {
		t.Errorf("the host was asked %d questions for 20", n)
	}
	if again, err := s.Run(t.Context()); err != nil || again.Matched != result.Matched {
		t.Errorf("run once more: %+v, %v", again, err)
	}
	if _, _, err := s.Prepare(t.Context(), r.plan(p)); err != nil {
		t.Errorf("the same plan again: %v", err)
	}
	p.Stopping.Alpha = 0.5
	if _, _, err := s.Prepare(t.Context(), r.plan(p)); err == nil || !strings.Contains(err.Error(), "another audit") {
		t.Errorf("an easier test in the same folder: %v", err)
	}
	s.edit(t)
	if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("an edited journal: %v", err)
	}
}

// crash leaves the journal as a process does that dies between a question and its
// answer, in the middle of a line.
func (s *Session) crash(t *testing.T, asked []int) {
	t.Helper()
	a, _, err := s.ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(s.path(journalFile), a.digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(s.path(journalFile), a.digest); err == nil {
		t.Error("two processes write one journal")
	}
	next := a.Items[len(asked)]
	if err := j.begin(Entry{Key: next.Key, Question: next.Question, Asked: now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.file.WriteString(`{"before":"00`); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// edit turns a miss into an answer.
func (s *Session) edit(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(s.path(journalFile))
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), `"error":"interrupted`, `"error":"`, 1)
	if edited == string(text) {
		t.Fatal("the journal holds no interruption")
	}
	if err := os.WriteFile(s.path(journalFile), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
}
