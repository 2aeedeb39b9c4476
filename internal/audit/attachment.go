package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/internal/wallet"
)

// AttachmentFinding is what a check says of an attachment.
type AttachmentFinding struct {
	Type  string `json:"type"`
	Words string `json:"words"`
}

// attachments refuses what is not what it says it is.
func (c *checker) attachments() {
	for i, a := range c.e.Attachments {
		if a.SHA256 != Digest(sha256.Sum256(a.Data)) {
			c.fail("attachment %d is not the document that its digest names", i)
		}
		if a.Type != HostStatementType && !strings.HasPrefix(a.Type, TLSAttestationType+" ") {
			c.fail("attachment %d has the unknown type %.60q", i, a.Type)
		}
	}
}

func (c *checker) attached() []AttachmentFinding {
	out := []AttachmentFinding{}
	for _, a := range c.e.Attachments {
		words := fmt.Sprintf("a %s (%d bytes). This program does not verify it: with that tool, check that it covers the answers (level T3 would be for you to find)", a.Type, len(a.Data))
		if a.Type == HostStatementType {
			words = c.hostStatement(a.Data)
		}
		out = append(out, AttachmentFinding{a.Type, words})
	}
	return out
}

// attestedSessions is what the level adds for attestations of TLS sessions: that they
// are there. Their names are the auditor's words, so they stand in quotes.
func (c *checker) attestedSessions() string {
	var tools []string
	for _, a := range c.e.Attachments {
		if tool, ok := strings.CutPrefix(a.Type, TLSAttestationType+" "); ok {
			tools = append(tools, fmt.Sprintf("%.60q", tool))
		}
	}
	if tools == nil {
		return ""
	}
	return fmt.Sprintf("; T3 claimed: %s attached, not verified here", strings.Join(tools, ", "))
}

// hostSays are the parts of a host statement that are looked at; docs/host-statement.md
// has the format.
type hostSays struct {
	Type    string    `json:"type"`
	Domain  string    `json:"domain"`
	Key     string    `json:"key"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Models  []hosted  `json:"models"`
}

type hosted struct {
	Model string `json:"model"` // id in the registry
}

// hostStatement checks a host's own word about itself against the proven controller of
// its grant. It signs no answer, so it does not raise the level.
func (c *checker) hostStatement(body []byte) string {
	says, err := c.readStatement(body)
	if err != nil {
		return fmt.Sprintf("a host statement that does not hold (%v)", err)
	}
	if !slices.ContainsFunc(says.Models, func(m hosted) bool { return strings.EqualFold(m.Model, c.plan.Model.Hex()) }) {
		return fmt.Sprintf("the host's signed statement for %s of %s, which does not name this model", says.Domain, says.Issued.Format(time.RFC3339))
	}
	return fmt.Sprintf("the host's signed statement: on %s the controller of the grant of %s vouched for a key that says it serves this model. It signs no answer, so it does not raise the level", says.Issued.Format(time.RFC3339), says.Domain)
}

func (c *checker) readStatement(body []byte) (*hostSays, error) {
	var signed struct {
		wallet.Signed
		Delegation *wallet.Signed `json:"delegation"`
	}
	var says hostSays
	if err := json.Unmarshal(body, &signed); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(signed.Statement), &says); err != nil {
		return nil, err
	}
	key, err := recoverSigned(signed.Signed)
	if err != nil {
		return nil, err
	}
	last := c.transcript.Entries[len(c.transcript.Entries)-1].Ended
	controller := c.after.grant(c.plan, says.Domain).Controller
	switch {
	case says.Type != HostStatementType || key.Hex() != says.Key:
		return nil, fmt.Errorf("it is not signed by the key that it names")
	case !slices.Contains(c.plan.Names, says.Domain) || controller == common.Address{}:
		return nil, fmt.Errorf("%.80q is not one of the endpoint's names with a grant", says.Domain)
	case says.Issued.After(last.Add(clockSlack)) || says.Expires.Before(c.transcript.Entries[0].Asked):
		return nil, fmt.Errorf("it was not in force during the audit")
	case key == controller:
		return &says, nil
	case signed.Delegation == nil:
		return nil, fmt.Errorf("its key is not the controller's, and there is no delegation")
	}
	if err := delegated(*signed.Delegation, controller, says.Domain, says.Key, last); err != nil {
		return nil, err
	}
	return &says, nil
}

// delegated checks that the controller let the key speak for a domain at a time.
func delegated(s wallet.Signed, controller common.Address, domain, key string, at time.Time) error {
	by, err := recoverSigned(s)
	if err != nil {
		return fmt.Errorf("its delegation: %w", err)
	}
	var d wallet.Delegation
	if err := json.Unmarshal([]byte(s.Statement), &d); err != nil {
		return err
	}
	if by != controller || d.Type != wallet.DelegationType || d.Key != key || d.Domain != domain || at.Before(d.Issued) || !at.Before(d.Expires) {
		return fmt.Errorf("its delegation is not the controller's for this key and time (a contract's signature cannot be checked offline)")
	}
	return nil
}

func recoverSigned(s wallet.Signed) (common.Address, error) {
	signature, err := hex.DecodeString(strings.TrimPrefix(s.Signature, "0x"))
	if err != nil {
		return common.Address{}, err
	}
	return wallet.RecoverPersonal(s.Statement, signature)
}
