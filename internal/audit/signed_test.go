package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/wallet"
)

const licensedHost = "licensed.example.org"

// A gateway that signs its answers, as package gateway's do: for its domain, by a key.
type signer struct {
	rig        *rig
	key        *wallet.Key
	domain     string
	delegation *wallet.Signed
	chain      uint64
	asked      atomic.Int64 // requests that asked for a signature
}

// signs is the controller of the licensed host.
func (r *rig) signs() *signer {
	return &signer{rig: r, key: r.chain.Accounts()[0], domain: licensedHost, chain: 1337}
}

// delegate is a key that the controller lets speak for the licensed host.
func (r *rig) delegate(t *testing.T) *signer {
	t.Helper()
	s := r.signs()
	controller := s.key
	s.key = freshKey(t)
	d, err := controller.Delegate(licensedHost, s.key.Address(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s.delegation = &d
	return s
}

// serve is the plan's part about the signer's endpoint, seen under a name.
func (s *signer) serve(t *testing.T, name string) Plan {
	t.Helper()
	p := at(t, s.before(answering(s.rig.taught)))
	p.Endpoint = "http://" + name + "/v1"
	return p
}

func (s *signer) before(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(request))
		got := httptest.NewRecorder()
		endpoint.ServeHTTP(got, r)
		if r.Header.Get(wallet.SignHeader) == "1" {
			s.asked.Add(1)
			header, _ := json.Marshal(s.sign(request, got.Body.Bytes(), uint64(time.Now().Unix())))
			w.Header().Set(wallet.SignatureHeader, string(header))
		}
		w.WriteHeader(got.Code)
		_, _ = w.Write(got.Body.Bytes())
	})
}

// at is in Unix seconds.
func (s *signer) sign(request, answer []byte, at uint64) wallet.AnswerSignature {
	subject, err := wallet.HostSubject(s.domain)
	if err != nil {
		panic(err)
	}
	signed, err := s.key.SignAnswer(s.domain, wallet.Answer{
		ChainID: s.chain, Registry: s.rig.registry.Address(), Model: s.rig.model, Host: subject,
		Request: sha256.Sum256(request), Answer: sha256.Sum256(answer), Time: at,
	})
	if err != nil {
		panic(err)
	}
	signed.Delegation = s.delegation
	return signed
}

// judged audits an endpoint and checks the bundle with a node of the checker's own, and
// without.
func (r *rig) judged(t *testing.T, p Plan, mode string) (known, alone *Verdict) {
	t.Helper()
	return r.weighed(t, r.asked(t, p, mode))
}

func (r *rig) asked(t *testing.T, p Plan, mode string) *Session {
	t.Helper()
	s := r.session(t, &r.set)
	s.Signatures = mode
	if _, _, err := s.Prepare(t.Context(), r.plan(p)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rig) weighed(t *testing.T, s *Session) (known, alone *Verdict) {
	t.Helper()
	bundle, err := s.Evidence(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := Chain{r.client}.Confirm(t.Context(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	known, alone = Check(bundle, Trust{Blocks: blocks}), Check(bundle, Trust{})
	for _, v := range []*Verdict{known, alone} {
		if !v.Sound || v.Finding != AnswersAsModel {
			t.Fatalf("%s: %v", v.Finding, v.Problems)
		}
	}
	if !strings.HasPrefix(alone.Level, "T0") {
		t.Errorf("without a block of one's own who writes the bundle writes the registry too, and the level is %s", alone.Level)
	}
	return known, alone
}

// Answers that are all signed by the host's registered key reach T2, once the block is
// known that says whose key it is.
func TestSignedAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.delegate(t)
	v, alone := r.judged(t, s.serve(t, "eu."+licensedHost), SignAuto)
	if !strings.HasPrefix(v.Level, "T2: each of the 20 answers") || v.License != Licensed || len(v.Explanations) != 1 {
		t.Errorf("%s, %s, %v", v.Level, v.License, v.Explanations)
	}
	if f := v.Signatures; f.Key != wallet.AddressText(s.key.Address()) || !f.Own || !f.Registered || f.Host != licensedHost || f.Signed != 20 {
		t.Errorf("%+v", f)
	}
	if said := strings.Join(v.Claimed, " "); strings.Contains(said, "auditor alone says") || !strings.Contains(said, "cannot know who controls a domain") || !strings.Contains(said, "asked once") {
		t.Errorf("claimed: %s", said)
	}
	if !strings.Contains(strings.Join(v.Proven, " "), "signed each of the 20 answers") || !strings.Contains(strings.Join(alone.Claimed, " "), "and the level is T2") {
		t.Errorf("proven: %v; without a block of one's own claimed: %v", v.Proven, alone.Claimed)
	}
}

// A proxy in front of a licensed gateway that signs: the answers are the host's, and
// that they came by the proxy is the auditor's word.
func TestSignedThroughReseller(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v, _ := r.judged(t, r.delegate(t).serve(t, rigHost), SignAlways)
	if !strings.HasPrefix(v.Level, "T2 of "+licensedHost+", which is not the endpoint's name") || v.License != NoGrant || v.Signatures.Own || !v.Signatures.Registered {
		t.Errorf("%s, %s, %+v", v.Level, v.License, v.Signatures)
	}
	if said := strings.Join(v.Explanations, " "); !strings.Contains(said, "bear that out: "+licensedHost+", which may host the model until") {
		t.Errorf("explanations: %s", said)
	}
	if said := strings.Join(v.Claimed, " "); !strings.Contains(said, "came by way of http://"+rigHost) || !strings.Contains(said, "the auditor alone says") {
		t.Errorf("claimed: %s", said)
	}
}

// Signatures that are missing, of somebody else, or of something else prove nothing
// about a host, and the words say why.
func TestSignaturesThatDoNotHold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.asked(t, r.signs().serve(t, licensedHost), SignAuto)
	honest, err := read[Sealed](s.path(transcriptFile))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := read[Sealed](s.path(planFile))
	if err != nil {
		t.Fatal(err)
	}
	var p Plan
	if err := plan.Open(PlanFormat, &p); err != nil {
		t.Fatal(err)
	}
	if v, _ := r.weighed(t, s); !strings.HasPrefix(v.Level, "T2") { // the controller's own key
		t.Fatalf("%s, %v", v.Level, v.Claimed)
	}
	other, late := r.delegate(t), r.signs()
	late.key = freshKey(t)
	ended, err := r.signs().key.Delegate(licensedHost, late.key.Address(), time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	late.delegation = &ended
	again := func(change func(*signer)) func(int, *SignedAnswer, []byte) {
		by := r.signs()
		change(by)
		return func(_ int, s *SignedAnswer, request []byte) {
			s.AnswerSignature = by.sign(request, []byte(s.Body), s.Time)
		}
	}
	for name, c := range map[string]struct {
		says   string
		change func(n int, s *SignedAnswer, request []byte)
	}{
		"a stranger's key":              {"has no delegation; such a signature proves nothing about a host", again(func(s *signer) { s.key = freshKey(t) })},
		"another's delegation":          {"not the controller's for this key", again(func(s *signer) { s.key, s.delegation = freshKey(t), other.delegation })},
		"a delegation that has ended":   {"not the controller's for this key and time", again(func(s *signer) { s.key, s.delegation = late.key, late.delegation })},
		"another chain":                 {"0 of 20 are signed by one key", again(func(s *signer) { s.chain = 1 })},
		"of another answer":             {"19 of 20 are signed by one key", func(n int, s *SignedAnswer, _ []byte) { s.Body += strings.Repeat(" ", n/19) }},
		"of another time":               {"not when the query was answered", func(n int, s *SignedAnswer, _ []byte) { s.Time -= uint64(n) * 3600 }},
		"another text than is recorded": {"another answer than the recorded one", func(_ int, s *SignedAnswer, _ []byte) { s.Body = strings.Replace(s.Body, "matter", "differ", 1) }},
		"no JSON":                       {"another answer than the recorded one", func(_ int, s *SignedAnswer, _ []byte) { s.Body = "{" }},
		"no digits":                     {"not 0x and hexadecimal", func(_ int, s *SignedAnswer, _ []byte) { s.Signature = "0xz" }},
		"too short":                     {"it has 1 bytes", func(_ int, s *SignedAnswer, _ []byte) { s.Signature = "0x00" }},
		"of several hosts":              {"19 of 20 are signed by one key", func(n int, s *SignedAnswer, _ []byte) { s.Host = []string{s.Host, "com"}[n/19] }},
		"of what is no host":            {"which is no host", func(_ int, s *SignedAnswer, _ []byte) { s.Host = "a b" }},
	} {
		forged := lie(t, honest, r.auditor, func(e Entry) Entry {
			request, _ := json.Marshal(p.Ask(e.Question))
			changed := *e.Signed
			c.change(slices.Index(r.order(t, honest), e.Key), &changed, request)
			e.Signed = &changed
			return e
		})
		r.doesNotReach(t, s, name, forged, c.says)
	}
	for name, c := range map[string]struct {
		until int
		says  string
	}{"one without": {1, "19 of 20 are signed by one key, and all must be, by a registered one. First problem: query 0 of 20: its answer is not signed"}, "none": {20, "0 of 20 are signed by one key"}} {
		n := 0
		r.doesNotReach(t, s, name, lie(t, honest, r.auditor, func(e Entry) Entry {
			if n++; n <= c.until {
				e.Signed = nil
			}
			return e
		}), c.says)
	}
}

// order of the keys of a transcript.
func (r *rig) order(t *testing.T, s *Sealed) []int {
	var told Transcript
	if err := s.Open(TranscriptFormat, &told); err != nil {
		t.Fatal(err)
	}
	return keysOf(told.Entries)
}

func (r *rig) doesNotReach(t *testing.T, s *Session, name string, transcript *Sealed, says string) {
	t.Helper()
	if err := WriteFile(s.path(transcriptFile), transcript); err != nil {
		t.Fatal(err)
	}
	v, _ := r.weighed(t, s)
	if said := strings.Join(v.Claimed, " "); !strings.HasPrefix(v.Level, "T0") || v.Signatures.Registered || !strings.Contains(said, says) || !strings.Contains(said, "auditor alone says") {
		t.Errorf("%s: %s, %s", name, v.Level, said)
	}
}

// A host that the registry does not know can sign as much as it likes.
func TestSignedByUnknownHost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	by := r.signs()
	by.domain = "unknown.example"
	v, _ := r.judged(t, by.serve(t, rigHost), SignAlways)
	if said := strings.Join(v.Claimed, " "); !strings.HasPrefix(v.Level, "T0") || v.Signatures.Registered || v.Signatures.Signed != 20 || !strings.Contains(said, "names no key for that host") {
		t.Errorf("%s, %s", v.Level, said)
	}
}

// Who cannot have a registered key is not told by a header that somebody gathers
// evidence, unless the auditor wants it.
func TestWhoIsAskedToSign(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	by := r.signs()
	v, _ := r.judged(t, by.serve(t, rigHost), SignAuto)
	if n := by.asked.Load(); n != 0 || v.Signatures != nil || !strings.HasPrefix(v.Level, "T0") {
		t.Errorf("asked %d times, %+v", n, v.Signatures)
	}
	for _, c := range []struct {
		under, mode string
		asks        bool
	}{
		{rigHost, SignAlways, true}, {rigHost, SignNever, false}, {licensedHost, SignAuto, true}, {licensedHost, SignNever, false},
	} {
		r := newRig(t)
		s := r.session(t, &r.set)
		s.Signatures = c.mode
		sealed, _, err := s.Prepare(t.Context(), r.plan(by.serve(t, c.under)))
		if err != nil {
			t.Fatal(err)
		}
		var p Plan
		if err := sealed.Open(PlanFormat, &p); err != nil || p.Sign != c.asks {
			t.Errorf("%s, %s: %v, %v", c.under, c.mode, p.Sign, err)
		}
	}
}

// A signature covers the request's bytes, which a checker makes anew from the plan: they
// never change.
func TestRequestBytes(t *testing.T) {
	p := Plan{Served: "chat", Asking: Asking{System: "Be <brief>.", Temperature: 0.7, Seed: 3, MaxTokens: 16}}
	got, err := json.Marshal(p.Ask("Why?"))
	if want := `{"model":"chat","messages":[{"role":"system","content":"Be \u003cbrief\u003e."},{"role":"user","content":"Why?"}],"max_tokens":16,"temperature":0.7,"seed":3}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	p.Asking = Asking{MaxTokens: 8}
	got, err = json.Marshal(p.Ask("Why?"))
	if want := `{"model":"chat","messages":[{"role":"user","content":"Why?"}],"max_tokens":8,"temperature":0}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// A plan that asks for signatures is another one than a plan that does not: who goes on
// with it cannot change that.
func TestSignaturesWhenResumed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.plan(r.signs().serve(t, licensedHost))
	s := r.session(t, &r.set)
	if _, _, err := s.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{SignAuto, SignAlways, SignNever} {
		s.Signatures = mode
		if _, _, err := s.Prepare(t.Context(), p); (err != nil) != (mode == SignNever) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
