package audit

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A scalar is a value in a JSON text, and the path to it.
type scalar struct {
	path     string
	from, to int
}

// scalars walks a JSON text.
func scalars(t *testing.T, text []byte) (out []scalar) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var walk func(path string)
	walk = func(path string) {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'):
			for d.More() {
				name, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				walk(path + "." + name.(string))
			}
		case json.Delim('['):
			for i := 0; d.More(); i++ {
				walk(path + "." + strconv.Itoa(i))
			}
		default:
			to := int(d.InputOffset())
			raw, err := json.Marshal(token)
			if err != nil {
				t.Fatal(err)
			}
			from := to - len(raw)
			if s, ok := token.(string); ok { // it may be escaped otherwise than Go escapes it
				from = bytes.LastIndexByte(text[:to-1], '"')
				for text[from-1] == '\\' || !json.Valid(text[from:to]) {
					from = bytes.LastIndexByte(text[:from], '"')
				}
				_ = s
			}
			out = append(out, scalar{strings.TrimPrefix(path, "."), from, to})
			return
		}
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
	}
	walk("")
	return out
}

// change makes another value of the same kind.
func change(raw []byte) []byte {
	switch {
	case raw[0] == '"' && len(raw) == 2:
		return []byte(`"x"`)
	case raw[0] == '"':
		out := bytes.Clone(raw)
		at := len(out) - 2
		for out[at] == 'Z' || out[at-1] == '\\' {
			at--
		}
		out[at] = map[bool]byte{true: '2', false: '1'}[out[at] == '1']
		return out
	case raw[0] == 't':
		return []byte("false")
	case raw[0] == 'f':
		return []byte("true")
	case raw[0] == 'n':
		return []byte("1")
	case bytes.ContainsAny(raw, ".e"):
		f, _ := strconv.ParseFloat(string(raw), 64)
		return strconv.AppendFloat(nil, f/2, 'g', -1, 64)
	}
	n, _ := strconv.ParseInt(string(raw), 10, 64)
	return strconv.AppendInt(nil, n+1, 10)
}

func replaced(text []byte, s scalar) []byte {
	return slices.Concat(text[:s.from], change(text[s.from:s.to]), text[s.to:])
}

// Any value of a bundle that is changed by somebody who cannot sign for the auditor is
// noticed, and so is any member that is added or doubled.
func TestTampering(t *testing.T) {
	t.Parallel()
	plain, signed := newRig(t), newRig(t)
	t.Run("answers", func(t *testing.T) { plain.tampering(t, plain.attended(t, host(t, plain.taught))) })
	t.Run("signed answers", func(t *testing.T) {
		signed.tampering(t, signed.bundle(t, signed.delegate(t).serve(t, licensedHost)))
	})
}

// attended is a bundle with a witness and an attachment.
func (r *rig) attended(t *testing.T, p Plan) *Sealed {
	t.Helper()
	s, _ := r.audit(t, p)
	witness := testify(t, s, freshKey(t), p.Connect)
	bundle, err := s.Evidence([]Sealed{*witness}, []Attachment{Attach(TLSAttestationType+" tlsnotary", []byte("{}"))})
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func (r *rig) tampering(t *testing.T, bundle *Sealed) {
	t.Parallel()
	text, err := json.MarshalIndent(bundle, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	all := scalars(t, text)
	if len(all) < 500 {
		t.Fatalf("a bundle of only %d values", len(all))
	}
	for _, s := range all {
		var forged Sealed
		if err := strict(replaced(text, s), &forged); err != nil {
			continue // noticed by whoever reads it
		}
		if Check(&forged, Trust{}).Sound {
			t.Errorf("%s changed from %s, and nothing is noticed", s.path, text[s.from:s.to])
		}
	}
	for _, member := range []string{`"alpha":0.5,`, `"secretly":1,`} {
		forged := bytes.Replace(text, []byte(`"stopping": {`), []byte(`"stopping": {`+member), 1)
		var s Sealed
		if err := strict(forged, &s); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(forged, text) || Check(&s, Trust{}).Sound {
			t.Errorf("a member %s is put in, and nothing is noticed", member)
		}
	}
	t.Logf("%d values", len(all))
}

// What nobody can recompute is the auditor's word; docs/evidence.md says so of each.
var claimedOnly = regexp.MustCompile(`^(made|attachments\.\d+\.type|transcript\.statement\.(peers\..*|entries\.\d+\.(asked|ended|attempts|id|answer)))$`)

// Of an answer that its host signed the auditor can change nothing.
var claimedOfSigned = regexp.MustCompile(`^(made|transcript\.statement\.(peers\..*|entries\.\d+\.(asked|ended|attempts)))$`)

// An auditor who signs again what it changed is caught wherever something can be
// recomputed: what remains is what the verdict calls claimed.
func TestTamperingByTheAuditor(t *testing.T) {
	t.Parallel()
	plain, signed := newRig(t), newRig(t)
	t.Run("answers", func(t *testing.T) {
		plain.tamperingByTheAuditor(t, plain.attended(t, host(t, plain.taught)), claimedOnly)
	})
	t.Run("signed answers", func(t *testing.T) {
		signed.tamperingByTheAuditor(t, signed.bundle(t, signed.delegate(t).serve(t, licensedHost)), claimedOfSigned)
	})
}

func (r *rig) tamperingByTheAuditor(t *testing.T, honest *Sealed, claimedOnly *regexp.Regexp) {
	t.Parallel()
	text, err := compact(honest.Statement)
	if err != nil {
		t.Fatal(err)
	}
	known, err := Chain{r.client}.Confirm(t.Context(), honest)
	if err != nil {
		t.Fatal(err)
	}
	level := found(Check(honest, Trust{Blocks: known}))
	var claimed int
	for _, s := range scalars(t, text) {
		if slices.Contains([]string{"plan.signature", "plan.signer", "transcript.signature", "transcript.signer"}, s.path) {
			continue // signed anew below
		}
		bundle, err := r.resign(replaced(text, s))
		if err != nil {
			continue // it cannot even be read
		}
		v := Check(bundle, Trust{Blocks: known})
		sound := v.Sound && found(v) == level // a signed bundle must not keep T2 either, nor one with a witness T1
		if sound && !claimedOnly.MatchString(s.path) {
			t.Errorf("the auditor changed %s from %s, and nothing is noticed", s.path, text[s.from:s.to])
		}
		if sound {
			claimed++
		}
	}
	t.Logf("%d values rest on the auditor's word", claimed)
}

// found is the level without what is claimed beside it.
func found(v *Verdict) string {
	level, _, _ := strings.Cut(v.Level, "; T3 claimed")
	return level
}

// A witness that somebody drops from a bundle is missed: its auditor's signature covers
// it. One that the auditor drops is not, so the verdict says that nobody can tell.
func TestDroppedWitness(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, r.taught)
	s, _ := r.audit(t, p)
	liar := lie(t, testify(t, s, freshKey(t), p.Connect), freshKey(t), func(e Entry) Entry { e.Answer = "There is much to say."; return e })
	whole, err := s.Evidence([]Sealed{*liar}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := Check(whole, Trust{}); !v.Sound || v.Finding != Inconclusive || len(v.Witnesses) != 1 {
		t.Fatalf("with a witness that contradicts: %+v", v)
	}
	var e Evidence
	if err := whole.Open(EvidenceFormat, &e); err != nil {
		t.Fatal(err)
	}
	e.Witnesses = []Sealed{}
	dropped := *whole
	if dropped.Statement, err = compact(&e); err != nil {
		t.Fatal(err)
	}
	if v := Check(&dropped, Trust{}); v.Sound || v.Finding != Unsound {
		t.Errorf("somebody dropped a witness, and nothing is noticed: %+v", v)
	}
	again, err := Seal(r.auditor, EvidenceFormat, &e)
	if err != nil {
		t.Fatal(err)
	}
	v := Check(again, Trust{})
	if !v.Sound || v.Finding != AnswersAsModel || !strings.Contains(strings.Join(v.Claimed, " "), "leave out a witness that contradicts") {
		t.Errorf("the auditor dropped a witness: %s; claimed %v", v.Finding, v.Claimed)
	}
}

// resign signs plan, transcript and evidence again, as a dishonest auditor would.
func (r *rig) resign(statement []byte) (*Sealed, error) {
	var e Evidence
	if err := strict(statement, &e); err != nil {
		return nil, err
	}
	var p Plan
	var t Transcript
	if err := strict(e.Plan.Statement, &p); err != nil {
		return nil, err
	}
	if err := strict(e.Transcript.Statement, &t); err != nil {
		return nil, err
	}
	plan, err := Seal(r.auditor, PlanFormat, &p)
	if err != nil {
		return nil, err
	}
	if before, _ := e.Plan.Digest(); t.Plan == before { // it follows the change, unless it is the change
		t.Plan, err = plan.Digest()
	}
	if err != nil {
		return nil, err
	}
	transcript, err := Seal(r.auditor, TranscriptFormat, &t)
	if err != nil {
		return nil, err
	}
	e.Plan, e.Transcript = *plan, *transcript
	return Seal(r.auditor, EvidenceFormat, &e)
}
