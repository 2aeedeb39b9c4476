package audit

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/wallet"
)

func freshKey(t *testing.T) *wallet.Key {
	t.Helper()
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// testify lets a witness do its part.
func testify(t *testing.T, s *Session, key *wallet.Key, connect string) *Sealed {
	t.Helper()
	a, err := FetchAssignment(t.Context(), s.path(assignmentFile))
	if err != nil {
		t.Fatal(err)
	}
	w := WitnessSession{Journal: filepath.Join(t.TempDir(), "journal"), Connect: connect, Key: key}
	sealed, _, err := w.Run(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// lie signs a transcript whose answers are all changed.
func lie(t *testing.T, s *Sealed, key *wallet.Key, answer func(Entry) Entry) *Sealed {
	t.Helper()
	var told Transcript
	if err := s.Open(TranscriptFormat, &told); err != nil {
		t.Fatal(err)
	}
	for i, e := range told.Entries {
		told.Entries[i] = answer(e)
	}
	sealed, err := Seal(key, TranscriptFormat, &told)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func (r *rig) checked(t *testing.T, s *Session, trust Trust, witnesses ...*Sealed) *Verdict {
	t.Helper()
	var all []Sealed
	for _, w := range witnesses {
		all = append(all, *w)
	}
	bundle, err := s.Evidence(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := Check(bundle, trust)
	if !v.Sound {
		t.Fatal(v.Problems)
	}
	return v
}

// Three witnesses, one of them lying: noticed. Copies and strangers do not count.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, r.taught)
	s, _ := r.audit(t, p)
	one, two, liar, copyist := freshKey(t), freshKey(t), freshKey(t), freshKey(t)
	first, second := testify(t, s, one, p.Connect), testify(t, s, two, p.Connect)
	false_ := lie(t, testify(t, s, freshKey(t), p.Connect), liar, func(e Entry) Entry { e.Answer = "There is much to say."; return e })
	copied := lie(t, first, copyist, func(e Entry) Entry { return e })

	v := r.checked(t, s, Trust{}, first, second, false_)
	if v.Finding != AnswersAsModel || !strings.HasPrefix(v.Level, "T1: 2 of 3") {
		t.Errorf("%s, %s", v.Finding, v.Level)
	}
	if w := v.Witnesses[2]; w.Agrees || w.Finding != NoMatch && w.Finding != Inconclusive || !strings.Contains(w.Words(), "CONTRADICTS") {
		t.Errorf("the liar: %+v", w)
	}
	v = r.checked(t, s, Trust{Witnesses: [][20]byte{one.Address(), copyist.Address()}}, first, second, copied)
	if !strings.HasPrefix(v.Level, "T1: 2 of 3") && !strings.Contains(v.Witnesses[1].Problem, "you do not know its signer") {
		t.Errorf("a witness that nobody knows: %+v, %s", v.Witnesses[1], v.Level)
	}
	v = r.checked(t, s, Trust{}, first, copied, first)
	if !strings.Contains(v.Witnesses[1].Problem, "copy") || v.Witnesses[2].Problem == "" || !strings.HasPrefix(v.Level, "T1: 1 of 3") {
		t.Errorf("a copy and a repetition: %+v, %s", v.Witnesses, v.Level)
	}
}

// A lying auditor, or a liar beside honest ones, never makes a claim stand.
func TestWitnessesAgainstTheAuditor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, func(n int, _ string, _ http.ResponseWriter) string {
		return []string{"There", "It", "The", "Many"}[max(n, 0)%4] + " is much to say."
	})
	s, honest := r.audit(t, p)
	if honest.Finding != NoMatch {
		t.Fatalf("%+v", honest)
	}
	first, second := testify(t, s, freshKey(t), p.Connect), testify(t, s, freshKey(t), p.Connect)
	liar := lie(t, testify(t, s, freshKey(t), p.Connect), freshKey(t), func(e Entry) Entry { e.Answer = r.word(e.Question); return e })
	if v := r.checked(t, s, Trust{}, first, second, liar); v.Finding != NoMatch || v.Witnesses[2].Agrees {
		t.Errorf("a witness who holds the keys: %s, %+v", v.Finding, v.Witnesses[2])
	}
	mine, err := read[Sealed](s.path(transcriptFile))
	if err != nil {
		t.Fatal(err)
	}
	forged := lie(t, mine, r.auditor, func(e Entry) Entry { e.Answer = r.word(e.Question); return e })
	if err := WriteFile(s.path(transcriptFile), forged); err != nil {
		t.Fatal(err)
	}
	if v := r.checked(t, s, Trust{}); v.Finding != AnswersAsModel || v.Level[:2] != "T0" || !strings.Contains(strings.Join(v.Claimed, " "), "could have written them") {
		t.Errorf("an auditor who writes the answers: %s, %s", v.Finding, v.Level)
	}
	if v := r.checked(t, s, Trust{}, first, second); v.Finding != Inconclusive || len(v.Result.Reasons) == 0 {
		t.Errorf("an auditor whom the witnesses contradict: %s %v", v.Finding, v.Result.Reasons)
	}
}

// An assignment comes from a file or a URL; what a URL answers must be one.
func TestFetchAssignment(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, _ := r.audit(t, host(t, r.taught))
	published := func(name string, status int, body func(http.ResponseWriter)) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			body(w)
		}))
		t.Cleanup(server.Close)
		return server.URL + "/" + name
	}
	text, err := os.ReadFile(s.path(assignmentFile))
	if err != nil {
		t.Fatal(err)
	}
	good := func(w http.ResponseWriter) { _, _ = w.Write(text) } // who hung up is gone
	got, err := FetchAssignment(t.Context(), published("good", http.StatusOK, good))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := got.Check(); err != nil || p.Endpoint != "http://"+rigHost+"/v1" || len(got.Items) != 20 {
		t.Errorf("%+v, %v", p, err)
	}
	for name, c := range map[string]struct {
		status int
		body   func(http.ResponseWriter)
		says   string
	}{
		"none":     {http.StatusNotFound, good, "404 Not Found"},
		"too long": {http.StatusOK, func(w http.ResponseWriter) { _, _ = io.CopyN(w, spaces{}, largestFile); good(w) }, "with 67108865 bytes"},
		"no JSON":  {http.StatusOK, func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }, "invalid character"},
		"another":  {http.StatusOK, func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"offer":1}`) }, "offer"},
	} {
		if _, err := FetchAssignment(t.Context(), published(strings.ReplaceAll(name, " ", ""), c.status, c.body)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// spaces never end.
type spaces struct{}

// Read implements io.Reader.
func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
