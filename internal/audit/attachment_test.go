package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/wallet"
)

// says signs a host statement of licensed.example.org for a model.
func says(t *testing.T, key *wallet.Key, domain string, model [32]byte, delegation *wallet.Signed) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"type": HostStatementType, "domain": domain, "key": wallet.AddressText(key.Address()),
		"issued": time.Now().Add(-time.Minute), "expires": time.Now().Add(time.Hour), "models": []any{map[string]any{"model": fmt.Sprintf("0x%x", model)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := key.Sign(string(text))
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(struct {
		wallet.Signed
		Delegation *wallet.Signed `json:"delegation,omitempty"`
	}{signed, delegation})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A host's own statement counts if the controller of its proven grant vouches for it;
// attestations of other tools are bound and not believed. Neither raises the level; of the
// latter it says that they are there.
func TestAttachments(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, r.taught)
	p.Endpoint = "http://licensed.example.org/v1"
	s, _ := r.audit(t, p)
	controller, server := r.chain.Accounts()[0], freshKey(t)
	delegation, err := controller.Delegate("licensed.example.org", server.Address(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		attach Attachment
		words  string
	}{
		"of the controller":     {Attach(HostStatementType, says(t, controller, "licensed.example.org", r.model, nil)), "says it serves this model"},
		"by delegation":         {Attach(HostStatementType, says(t, server, "licensed.example.org", r.model, &delegation)), "says it serves this model"},
		"about another model":   {Attach(HostStatementType, says(t, controller, "licensed.example.org", [32]byte{1}, nil)), "does not name this model"},
		"of a stranger":         {Attach(HostStatementType, says(t, server, "licensed.example.org", r.model, nil)), "does not hold"},
		"of another domain":     {Attach(HostStatementType, says(t, controller, "example.com", r.model, nil)), "does not hold"},
		"delegated to another":  {Attach(HostStatementType, says(t, freshKey(t), "licensed.example.org", r.model, &delegation)), "does not hold"},
		"no statement":          {Attach(HostStatementType, []byte("<html>")), "does not hold"},
		"a TLS attestation":     {Attach(TLSAttestationType+" tlsnotary", []byte("{}")), "does not verify it"},
		"of a type of no sense": {Attach("something", []byte("{}")), ""},
	} {
		bundle, err := s.Evidence(nil, []Attachment{c.attach})
		if err != nil {
			t.Fatal(err)
		}
		v := Check(bundle, Trust{})
		if c.words == "" {
			if v.Sound {
				t.Errorf("%s: taken", name)
			}
			continue
		}
		if !v.Sound || v.Level[:2] != "T0" || len(v.Attachments) != 1 || !strings.Contains(v.Attachments[0].Words, c.words) {
			t.Errorf("%s: %+v, want %q", name, v.Attachments, c.words)
		}
		want := auditorAlone
		if strings.HasPrefix(c.attach.Type, TLSAttestationType) {
			want += `; T3 claimed: "tlsnotary" attached, not verified here`
		}
		if v.Level != want {
			t.Errorf("%s: level %q, want %q", name, v.Level, want)
		}
	}
	forged := Attach(HostStatementType, []byte("{}"))
	forged.Data = []byte("[]")
	bundle, err := s.Evidence(nil, []Attachment{forged})
	if err != nil {
		t.Fatal(err)
	}
	if Check(bundle, Trust{}).Sound {
		t.Error("an attachment that is not what its digest names is taken")
	}
}
