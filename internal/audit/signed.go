package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
)

// SignedAnswer is an answer as a gateway signed it. What it answers is not written
// here: the request's bytes follow from the plan.
type SignedAnswer struct {
	wallet.AnswerSignature
	Body string `json:"body"` // of the answer, every byte
}

// largestSigned bounds the answer that is kept for its signature, in bytes. A longer
// one counts as not signed.
const largestSigned = 64 << 10

// keepSigned takes a signed answer aside, as its reader will find it.
func keepSigned(resp *http.Response) *SignedAnswer {
	var s SignedAnswer
	header := resp.Header.Get(wallet.SignatureHeader)
	if header == "" || len(header) > largestAnswer || json.Unmarshal([]byte(header), &s.AnswerSignature) != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, largestSigned+1))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), failing{err}, resp.Body), resp.Body}
	if err != nil || len(text) > largestSigned {
		return nil
	}
	s.Body = string(text)
	return &s
}

// failing ends with what broke a body, if something did.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// Ask is the request for a question, whose bytes a host signs: they are a part of the
// format.
func (p *Plan) Ask(question string) openai.Ask {
	how := p.Asking
	out := openai.Ask{
		Model: p.Served, MaxTokens: how.MaxTokens, Temperature: &how.Temperature,
		Messages: []openai.Message{{Role: "user", Content: question}},
	}
	if how.System != "" {
		out.Messages = append([]openai.Message{{Role: "system", Content: how.System}}, out.Messages...)
	}
	if how.Temperature > 0 {
		out.Seed = &how.Seed
	}
	return out
}

// signingHost is the one host that all answers say they were signed for; "" if there is none.
func signingHost(entries []Entry) string {
	host := ""
	for i, e := range entries {
		if e.Signed == nil || i > 0 && e.Signed.Host != host {
			return ""
		}
		host = e.Signed.Host
	}
	return host
}

// others are the hosts beside the plan's names whose grants a snapshot after these
// answers proves: the one that signed them, if it has another name.
func (p *Plan) others(entries []Entry) []string {
	host := signingHost(entries)
	name, err := wallet.HostName(host)
	if err != nil || name != host || slices.Contains(p.Names, host) {
		return nil
	}
	return []string{host}
}

// SignatureFinding is what the signatures of the auditor's transcript show.
type SignatureFinding struct {
	Host       string `json:"host"`   // that all of them name; "" if they do not
	Key        string `json:"key"`    // that signed most answers; "" if none signed two
	Signed     int    `json:"signed"` // answers that it signed
	Asked      int    `json:"asked"`
	Registered bool   `json:"registered"` // the registry, at the block after the last answer, lets the key speak for the host
	Own        bool   `json:"own"`        // the host is the endpoint, or a parent domain of it
	Grant      string `json:"grant"`      // the host's, in words; "" if no one host signed
	Problem    string `json:"problem"`    // why this does not reach T2; "" if it does, should that block be on the chain
}

// signatures weighs what the auditor's transcript has of them; nil if it has none and
// none was asked for.
func (c *checker) signatures() *SignatureFinding {
	entries := c.transcript.Entries
	if !c.plan.Sign && !slices.ContainsFunc(entries, func(e Entry) bool { return e.Signed != nil }) {
		return nil
	}
	f := &SignatureFinding{Host: signingHost(entries), Asked: len(entries)}
	f.Own = slices.Contains(c.plan.Names, f.Host)
	f.count(c.plan, entries)
	if f.Host == "" {
		f.problem("the answers are not all signed for one host")
	}
	if f.Problem == "" {
		if err := c.speaks(f.Host, f.Key, entries); err != nil {
			f.problem("%v; such a signature proves nothing about a host", err)
		}
		f.Registered = f.Problem == ""
		f.Grant = grantWords(c.after.grant(c.plan, f.Host), c.after.Time)
	}
	return f
}

// count finds the key that signed most answers, and the first that it did not sign. From
// a signature of something else follows some key, each time another one.
func (f *SignatureFinding) count(p *Plan, entries []Entry) {
	signers, times := make([]string, len(entries)), map[string]int{}
	for i, e := range entries {
		key, err := p.signer(e)
		if err != nil {
			f.problem("query %d of %d: %v", i, len(entries), err)
			continue
		}
		signers[i] = wallet.AddressText(key)
		if times[signers[i]]++; times[signers[i]] > f.Signed {
			f.Key, f.Signed = signers[i], times[signers[i]]
		}
	}
	if f.Signed == 1 && len(entries) > 1 {
		f.Key, f.Signed = "", 0
	}
	for i, by := range signers {
		if by != f.Key {
			f.problem("query %d of %d: its answer is not signed by the key of the others, or what was signed is not what was asked and answered", i, len(entries))
		}
	}
}

// problem keeps the first.
func (f *SignatureFinding) problem(format string, args ...any) {
	if f.Problem == "" {
		f.Problem = fmt.Sprintf(format, args...)
	}
}

// words for what reaches T2.
func (f *SignatureFinding) words() string {
	who := fmt.Sprintf("each of the %d answers is signed by the key that the registry records for %s", f.Asked, f.Host)
	if f.Own {
		return "T2: " + who
	}
	return fmt.Sprintf("T2 of %s, which is not the endpoint's name: %s", f.Host, who)
}

// signer is whose key signed the answer that the entry holds.
func (p *Plan) signer(e Entry) (common.Address, error) {
	s := e.Signed
	if s == nil {
		return common.Address{}, errors.New("its answer is not signed")
	}
	subject, err := wallet.HostSubject(s.Host)
	if err != nil {
		return common.Address{}, fmt.Errorf("it is signed for %.80q, which is no host", s.Host)
	}
	var reply openai.Reply
	if err := json.Unmarshal([]byte(s.Body), &reply); err != nil || cut(reply.ID) != e.ID || answerOf(&reply) != e.Answer {
		return common.Address{}, errors.New("what was signed is another answer than the recorded one")
	}
	at := time.Unix(int64(s.Time), 0)
	if at.Before(e.Asked.Add(-clockSlack)) || at.After(e.Ended.Add(clockSlack)) {
		return common.Address{}, fmt.Errorf("it was signed at %s, not when the query was answered", at.UTC().Format(time.RFC3339))
	}
	request, err := json.Marshal(p.Ask(e.Question))
	if err != nil {
		return common.Address{}, err
	}
	return s.Signer(wallet.Answer{
		ChainID: p.ChainID, Registry: p.Registry, Model: p.Model, Host: subject,
		Request: sha256.Sum256(request), Answer: sha256.Sum256([]byte(s.Body)), Time: s.Time,
	})
}

// speaks finds out whether the registry lets the key speak for the host: it is the
// controller of the proven grant, or has its delegation for all these answers.
func (c *checker) speaks(host, key string, entries []Entry) error {
	controller := c.after.grant(c.plan, host).Controller
	switch {
	case controller == common.Address{}:
		return fmt.Errorf("the answers are signed by %s for %s, and the registry names no key for that host", key, host)
	case controller.Hex() == key:
		return nil
	}
	for i, e := range entries {
		at := time.Unix(int64(e.Signed.Time), 0)
		if e.Signed.Delegation == nil {
			return fmt.Errorf("the answers are signed by %s; the registry names %s for %s, and query %d has no delegation", key, controller, host, i)
		}
		if err := delegated(*e.Signed.Delegation, controller, host, key, at); err != nil {
			return fmt.Errorf("the answers are signed by %s; the registry names %s for %s, and at query %d %w", key, controller, host, i, err)
		}
	}
	return nil
}
