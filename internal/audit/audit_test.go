package audit

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A bundle about an endpoint that answers as the model, and holds no grant, checks out,
// and its chain state is claimed until the checker's own node confirms it.
func TestEvidence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	bundle := r.bundle(t, host(t, r.taught))
	v := Check(bundle, Trust{})
	if !v.Sound || v.Finding != AnswersAsModel || v.License != NoGrant || v.Chain != ChainClaimed || v.Level[:2] != "T0" {
		t.Fatalf("%+v", v)
	}
	if !v.Result.Grindable || v.Result.Matched != 20 || v.Result.P > 1e-15 {
		t.Errorf("result %+v", v.Result)
	}
	if said := strings.Join(v.Claimed, " "); !strings.Contains(said, "That 1 suspect(s) are all that were tried, that the 0 excluded key(s)") || !strings.Contains(said, "leave out a witness that contradicts") {
		t.Errorf("what the auditor chose alone is not among the claims: %s", said)
	}
	if said := strings.Join(v.Proven, " "); strings.Contains(said, "suspect") {
		t.Errorf("the number of suspects stands under proven: %s", said)
	}
	var names []string
	for _, g := range v.Grants {
		names = append(names, g.Name)
		if g.Status != "never had a grant, up to this block" {
			t.Errorf("%s: %s", g.Name, g.Status)
		}
	}
	if !slices.Equal(names, []string{"api.eu.example.com", "eu.example.com", "example.com", "com"}) {
		t.Errorf("names %v", names)
	}
	known, err := Chain{r.client}.Confirm(t.Context(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	if v := Check(bundle, Trust{Blocks: known}); !v.Sound || v.Chain != ChainConfirmed {
		t.Errorf("with an own node: %+v", v)
	}
	for number := range known {
		known[number] = [32]byte{1}
		if v := Check(bundle, Trust{Blocks: known}); v.Sound {
			t.Errorf("block %d is another on the checker's chain, and nothing is noticed", number)
		}
		break
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"misuse", "theft", "stolen", "infring", "illegal"} {
		if strings.Contains(strings.ToLower(string(text)), word) {
			t.Errorf("the verdict says %q", word)
		}
	}
	for _, explanation := range []string{"reseller", "tenant", "Burnt keys", "framed"} {
		if !strings.Contains(string(text), explanation) {
			t.Errorf("the verdict does not mention %q", explanation)
		}
	}
}

// The grant of a parent domain licenses its hosts.
func TestLicensedParent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, r.taught)
	p.Endpoint, p.Asking.System = "http://eu.licensed.example.org/v1", "Begin with \"When\"."
	v := Check(r.bundle(t, p), Trust{})
	if !strings.Contains(strings.Join(v.Claimed, " "), `makes any model say them. Read it: "Begin with \"When\"."`) {
		t.Errorf("a system prompt, which could hold the words, is not shown: %v", v.Claimed)
	}
	if !v.Sound || v.License != Licensed || len(v.Explanations) != 1 {
		t.Fatalf("%+v", v)
	}
	if v.Grants[1].Name != "licensed.example.org" || !strings.HasPrefix(v.Grants[1].Status, "may host the model until") {
		t.Errorf("grants %+v", v.Grants)
	}
}

// The sequential test stops by itself, and its bundle opens no more keys than it asked.
func TestSequential(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, r.taught)
	p.Stopping.Sequential = true
	bundle := r.bundle(t, p)
	v := Check(bundle, Trust{})
	if !v.Sound || v.Finding != AnswersAsModel || v.Result.Asked != 13 { // 3^13 > 1e6
		t.Fatalf("%+v", v)
	}
	e, _, err := openEvidence(bundle)
	if err != nil || len(e.Reveal.Keys) != 13 {
		t.Errorf("%d keys revealed, %v", len(e.Reveal.Keys), err)
	}
	picked, err := Pick(bundle, 7)
	if err != nil || len(picked) != 7 {
		t.Fatal(picked, err)
	}
	for _, key := range picked {
		if slices.ContainsFunc(v2keys(e), func(k int) bool { return k == key }) {
			t.Errorf("key %d was opened already", key)
		}
	}
	reveal, err := r.set.Reveal(picked)
	if err != nil {
		t.Fatal(err)
	}
	live, err := Live(t.Context(), bundle, picked, reveal, p.Connect, "", nil)
	if err != nil || live.Matched != 7 || live.Asked != 7 {
		t.Errorf("live: %+v, %v", live, err)
	}
	if _, err := Live(t.Context(), bundle, picked[1:], reveal, p.Connect, "", nil); err == nil {
		t.Error("a reveal of other keys than were picked is taken")
	}
	elsewhere := at(t, answering(func(int, string, http.ResponseWriter) string { return "There is much to say." }))
	live, err = Live(t.Context(), bundle, picked, reveal, elsewhere.Connect, "", nil)
	if err != nil || live.Matched != 0 || live.Finding == AnswersAsModel {
		t.Errorf("the checker's own way leads elsewhere than the auditor's: %+v, %v", live, err)
	}
}

func v2keys(e *Evidence) (out []int) {
	for _, k := range e.Reveal.Keys {
		out = append(out, k.Index)
	}
	return out
}

// An untaught endpoint matches no more than chance lets it, and the finding says so.
func TestNoMatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := Check(r.bundle(t, host(t, func(n int, _ string, _ http.ResponseWriter) string {
		return []string{"There", "It", "The", "Many"}[max(n, 0)%4] + " is much to say about it."
	})), Trust{})
	if !v.Sound || v.Finding != NoMatch || len(v.Explanations) != 1 {
		t.Errorf("%+v", v)
	}
}
