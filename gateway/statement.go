package gateway

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
)

// HostKey signs what this host says of itself, and its answers; *wallet.Key.
type HostKey interface {
	Address() [20]byte
	Sign(text string) (wallet.Signed, error)
	SignAnswer(domain string, a wallet.Answer) (wallet.AnswerSignature, error)
}

// HostProof is with what this host shows that it is the one that was granted. The
// zero value shows nothing.
type HostProof struct {
	Key HostKey // nil: there is no statement
	// Delegation of the grant's controller to Key. Nil: Key is the controller's own.
	Delegation *wallet.Signed
	Until      time.Time // end of the delegation; zero: none
}

// HostStatement is what the host says of itself at /.well-known/fealty.json.
type HostStatement struct {
	Type       string        `json:"type"` // StatementType
	Domain     string        `json:"domain"`
	Subject    string        `json:"subject"` // of its grants: keccak256("host:" + domain)
	Deployment string        `json:"deployment"`
	Key        string        `json:"key"` // address that the signature recovers to
	Issued     time.Time     `json:"issued"`
	Expires    time.Time     `json:"expires"`
	Models     []HostedModel `json:"models"` // that it may serve at the time
}

// HostedModel is one model of a statement.
type HostedModel struct {
	Name string `json:"name"`
	openai.ModelLicense
}

// SignedStatement is the body of /.well-known/fealty.json.
type SignedStatement struct {
	wallet.Signed
	Delegation *wallet.Signed `json:"delegation,omitempty"`
}

const (
	// StatementType names the format.
	StatementType  = "fealty host statement 1"
	statementLife  = 24 * time.Hour
	statementFresh = time.Minute
)

// statement is signed anew once a minute at most, whoever asks how often.
type statement struct {
	mu   sync.Mutex
	body []byte
	made time.Time
}

func (x *exchange) hostStatement() error {
	proof := x.svc.deps.Proof
	if proof.Key == nil {
		return unknownURL()
	}
	if !proof.Until.IsZero() && !x.now.Before(proof.Until) {
		return &openai.Error{
			Status: http.StatusServiceUnavailable, Code: "delegation_expired",
			Message: "The delegation of this host's key has expired. Its operator needs a new one (fealty license delegate).",
		}
	}
	st := &x.svc.statement
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.body == nil || x.now.Sub(st.made) >= statementFresh {
		body, err := x.signStatement(proof)
		if err != nil {
			return err
		}
		st.body, st.made = body, x.now
	}
	return x.replyJSON(st.body)
}

func (x *exchange) signStatement(proof HostProof) ([]byte, error) {
	now := x.now.UTC().Truncate(time.Second)
	domain, err := wallet.HostName(x.svc.cfg.Host.Domain)
	if err != nil {
		return nil, err
	}
	says := HostStatement{
		Type: StatementType, Domain: domain, Subject: "0x" + hex.EncodeToString(x.svc.deps.Host[:]), Deployment: x.svc.cfg.Deployment,
		Key: wallet.AddressText(proof.Key.Address()), Issued: now, Expires: now.Add(statementLife), Models: []HostedModel{},
	}
	if !proof.Until.IsZero() && proof.Until.Before(says.Expires) {
		says.Expires = proof.Until
	}
	for _, m := range x.svc.listed {
		if x.svc.hosted(x.ctx, x.now, m) == nil {
			says.Models = append(says.Models, HostedModel{m.cfg.Name, *x.svc.describe(m).License})
		}
	}
	text, err := json.Marshal(says)
	if err != nil {
		return nil, err
	}
	signed, err := proof.Key.Sign(string(text))
	if err != nil {
		return nil, err
	}
	return json.Marshal(SignedStatement{Signed: signed, Delegation: proof.Delegation})
}
