package contract

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/policy"
)

func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documented is the table of transitions: status, operation -> what the page says.
func documented(t *testing.T) map[[2]string]string {
	t.Helper()
	_, table, found := strings.Cut(docs(t), "| from | ")
	if !found {
		t.Fatal("docs/contract.md has no table of transitions")
	}
	cells := func(line string) []string { return strings.Split(strings.Trim(line, "| "), " | ") }
	lines := strings.Split(table, "\n")
	ops, out := cells(lines[0]), map[[2]string]string{}
	for _, line := range lines[2:] {
		row := cells(line)
		if len(row) != len(ops)+1 {
			break
		}
		for i, cell := range row[1:] {
			for _, op := range strings.Split(ops[i], ", ") {
				out[[2]string{row[0], op}] = cell
			}
		}
	}
	return out
}

// become is the status that each word of the table ends in.
var become = map[string]policy.Status{
	"active": policy.Active, "extended": policy.Active, "new": policy.Active, "suspended": policy.Suspended, "revoked": policy.Revoked,
}

// The page says what the contract does: every operation from every status, while the
// grant runs and after its end.
func TestDocumentedTransitions(t *testing.T) {
	table := documented(t)
	if len(table) != 4*8 {
		t.Fatalf("the table has %d cells, want 4 statuses by 8 operations: %v", len(table), table)
	}
	for at, cell := range table {
		for _, ended := range []bool{false, true} {
			want, allowed := become[strings.Trim(strings.Fields(cell)[0], ",;")]
			if strings.Contains(cell, "only after its end") && !ended {
				allowed = false
			}
			s := newStage(t, at[0], ended)
			o := s.do(at[1])
			if got := s.status(); (o.refusal == "") != allowed || allowed && got != want {
				t.Errorf("%s from %s, ended %v: %v, then %s; the page says %q", at[1], at[0], ended, o, StatusName(got), cell)
			}
		}
	}
}

// stage is a grant brought to a status, and what its owner and holder can do to it.
type stage struct {
	*lab
	owner, holder common.Address
	model         [32]byte
}

func newStage(t *testing.T, status string, ended bool) *stage {
	t.Helper()
	s := &stage{owner: people[0].Address()}
	s.lab, s.holder, s.model = shopFor(t, s.owner, plan(time.Hour))
	s.must(s.owner, bindings.PackAddPlan(s.model, plan(time.Hour))) // one to switch to
	path := map[string][]string{"none": nil, "active": {"purchase"}, "suspended": {"purchase", "suspend"}, "revoked": {"purchase", "revoke"}}
	steps, known := path[status]
	if !known {
		t.Fatalf("the page has a status %q", status)
	}
	for _, step := range steps {
		if o := s.do(step); o.refusal != "" {
			t.Fatal(o)
		}
	}
	if ended {
		s.now += 3600
	}
	return s
}

func (s *stage) license() policy.License {
	query := []LicenseRegistryQuery{{s.model, asSubject(s.holder)}}
	return UnpackWord(WordOf(labAsk(s.lab, bindings.PackGrants(query), bindings.UnpackGrants).Views[0].Word))
}

func (s *stage) status() policy.Status { return s.license().Status }

func (s *stage) do(op string) outcome {
	subject, seq, due := asSubject(s.holder), s.license().Seq, price.Int64()
	begin, deadline := bigOf(s.now), bigOf(s.now+60)
	terms := LicenseRegistryTerms{NotBefore: begin, NotAfter: bigOf(s.now + 7200), Scope: scope}
	switch op {
	case "purchase":
		return s.write(s.holder, bindings.PackPurchase(s.model, 1, price, noToken), due)
	case "purchaseFor":
		p := LicenseRegistryPermit{ModelId: s.model, Subject: s.holder, Plan: 1, Price: price, Token: noToken, ExpectedSeq: seq, Deadline: deadline}
		return s.write(s.holder, bindings.PackPurchaseFor(p, signTyped(s.t, s.registry, people[3], permitType, permitMessage(p))), due)
	case "switchPlan":
		return s.write(s.holder, bindings.PackSwitchPlan(s.model, 2, price, noToken, seq), due)
	case "grant":
		return s.write(s.owner, bindings.PackGrant(s.model, subject, terms, seq), 0)
	case "redeem":
		v := LicenseRegistryVoucher{ModelId: s.model, Subject: subject, Terms: terms, ExpectedSeq: seq, Deadline: deadline, Signer: s.owner}
		return s.write(s.holder, bindings.PackRedeem(v, signTyped(s.t, s.registry, people[0], voucherType, voucherMessage(v))), 0)
	case "suspend":
		return s.write(s.owner, bindings.PackSuspend(s.model, subject, seq), 0)
	case "revoke":
		return s.write(s.owner, bindings.PackRevoke(s.model, subject, seq), 0)
	case "reinstate":
		return s.write(s.owner, bindings.PackReinstate(s.model, subject, seq), 0)
	}
	return outcome{refusal: fmt.Sprintf("the page has an operation %q", op)}
}

// The page shows the types that the contract hashes.
func TestDocumentedTypes(t *testing.T) {
	source, err := os.ReadFile("LicenseRegistry.sol")
	if err != nil {
		t.Fatal(err)
	}
	page := docs(t)
	found := 0
	for _, literal := range regexp.MustCompile(`"([A-Z]\w+\([^"]*\))"`).FindAllStringSubmatch(string(source), -1) {
		for _, kind := range strings.SplitAfter(literal[1], ")") {
			if found++; !strings.Contains(page, kind) {
				t.Errorf("docs/contract.md does not show %s", kind)
			}
		}
	}
	if found < 4 {
		t.Errorf("found %d types in the source: this tests nothing", found)
	}
}
