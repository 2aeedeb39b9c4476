package gateway_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

// shown reads the statement as an outsider does, and returns it with who signed it.
func (r *rig) shown() (says gateway.HostStatement, by [20]byte) {
	r.t.Helper()
	got := r.do("GET", "/.well-known/fealty.json", "", "")
	var signed gateway.SignedStatement
	must(r.t, json.Unmarshal([]byte(got.body), &signed))
	signature, err := hex.DecodeString(strings.TrimPrefix(signed.Signature, "0x"))
	must(r.t, err)
	by, err = wallet.RecoverPersonal(signed.Statement, signature)
	must(r.t, err)
	must(r.t, json.Unmarshal([]byte(signed.Statement), &says))
	return says, by
}

func TestHostStatement(t *testing.T) {
	key, _ := newWallet(t)
	var at atomic.Int64
	at.Store(time.Now().Unix())
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		d.Proof.Key = key
		d.Now = func() time.Time { return time.Unix(at.Load(), 0) }
	})
	says, by := r.shown()
	if by != key.Address() || says.Key != wallet.AddressText(by) {
		t.Errorf("signed by %x, says %s", by, says.Key)
	}
	if says.Type != gateway.StatementType || says.Domain != "api.example.com" || says.Deployment != "example" ||
		says.Subject != "0x"+hex.EncodeToString(r.host[:]) || says.Issued.Unix() != at.Load() || says.Expires.Sub(says.Issued) != 24*time.Hour {
		t.Errorf("it says %+v", says)
	}
	if len(says.Models) != 1 || says.Models[0].Name != "echo" || says.Models[0].Chain != "eip155:8453" || !strings.HasSuffix(says.Models[0].Registry, "1") || says.Models[0].Version != 1 {
		t.Errorf("it names %+v", says.Models)
	}
	// A model that the host may not serve any more leaves the statement within a minute.
	r.chain.set(r.host, func(g *policy.Grant) { g.Latest.Status = policy.Revoked })
	at.Add(30)
	if says, _ := r.shown(); says.Issued.Unix() == at.Load() {
		t.Error("signed anew after half a minute: whoever asks makes the gateway sign")
	}
	at.Add(30)
	if says, _ := r.shown(); len(says.Models) != 0 {
		t.Errorf("a minute after the host lost its grant it names %+v", says.Models)
	}
}

func TestHostStatementUnderDelegation(t *testing.T) {
	controller, _ := newWallet(t)
	key, _ := newWallet(t)
	start := time.Now().Truncate(time.Second)
	var later atomic.Int64
	signed, err := controller.Delegate("api.example.com", key.Address(), start, start.Add(time.Hour))
	must(t, err)
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		d.Proof = gateway.HostProof{Key: key, Delegation: &signed, Until: start.Add(time.Hour)}
		d.Now = func() time.Time { return start.Add(time.Duration(later.Load())) }
	})
	if says, by := r.shown(); by != key.Address() || !says.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("signed by %x until %v, want the delegate until the delegation ends", by, says.Expires)
	}
	if got := r.do("GET", "/.well-known/fealty.json", "", "").field("delegation.statement"); got != signed.Statement {
		t.Errorf("the delegation is %s", got)
	}
	later.Store(int64(time.Hour))
	if got := r.do("GET", "/.well-known/fealty.json", "", "").refusal(); got.code != "delegation_expired" {
		t.Errorf("after its end: %+v", got)
	}
}

func TestNoHostKeyNoStatement(t *testing.T) {
	r := newRig(t)
	if got := r.do("GET", "/.well-known/fealty.json", "", "").refusal(); got.status != 404 || got.code != "unknown_url" {
		t.Errorf("without host.key: %+v", got)
	}
}
