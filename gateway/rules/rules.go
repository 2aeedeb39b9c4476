// Package rules evaluates an operator's own conditions, written in Cedar.
//
// They come after the license and can only take away: a request needs both. A rule
// that cannot be evaluated refuses, since Cedar itself would pass over a forbid that
// fails. Start with [Parse]; the vocabulary is at [Request].
package rules

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
)

// ErrDenied says that the rules do not permit the request.
var ErrDenied = errors.New("the operator's rules do not permit it")

// ErrFailed says that a rule could not be evaluated.
var ErrFailed = errors.New("the operator's rules could not be evaluated")

// Rules are a set of Cedar policies.
type Rules struct{ set *cedar.PolicySet }

// Request is what a rule may look at. In Cedar's words:
//
//	principal   Licensee::"eip155:1:0xAb16..."     the account, CAIP-10
//	action      Action::"chat", "completions" or "embeddings"
//	resource    Model::"acme-chat"                 by its name, not an alias
//	context     {subject: String, key: String, plan: Long, tokens: Long,
//	             max_tokens: Long, stream: Bool, now: datetime}
type Request struct {
	Account   string
	Use       string // chat, completions, embeddings
	Model     string
	Subject   [32]byte // as the registry knows the account; 0x and hexadecimal digits in a rule
	Key       string   // id of the API key; "" for a token
	Plan      uint32   // version of the license's plan
	Tokens    uint64   // reserved: estimate of the prompt and the most that is generated
	MaxTokens int      // the most that is generated
	Stream    bool
	Now       time.Time
}

// Parse reads Cedar policies; name is what errors call the text. Without any permit
// nothing would be allowed, so that is an error.
func Parse(name string, text []byte) (*Rules, error) {
	set, err := cedar.NewPolicySetFromBytes(name, text)
	if err != nil {
		return nil, fmt.Errorf("rules: %s: %w", name, err)
	}
	for _, p := range set.All() {
		if p.Effect() == cedar.Permit {
			return &Rules{set}, nil
		}
	}
	return nil, fmt.Errorf("rules: %s permits nothing; Cedar denies what no policy permits, so begin with 'permit (principal, action, resource);'", name)
}

// Check returns nil if the rules permit the request, else an error that is
// [ErrDenied] or [ErrFailed] and names the policies by their place in the file.
func (r *Rules) Check(q Request) error {
	decision, why := cedar.Authorize(r.set, cedar.EntityMap{}, cedar.Request{
		Principal: cedar.NewEntityUID("Licensee", cedar.String(q.Account)),
		Action:    cedar.NewEntityUID("Action", cedar.String(q.Use)),
		Resource:  cedar.NewEntityUID("Model", cedar.String(q.Model)),
		Context: cedar.NewRecord(cedar.RecordMap{
			"subject":    cedar.String("0x" + hex.EncodeToString(q.Subject[:])),
			"key":        cedar.String(q.Key),
			"plan":       cedar.Long(q.Plan),
			"tokens":     cedar.Long(min(q.Tokens, 1<<62)),
			"max_tokens": cedar.Long(q.MaxTokens),
			"stream":     cedar.Boolean(q.Stream),
			"now":        cedar.NewDatetime(q.Now),
		}),
	})
	if len(why.Errors) > 0 {
		return fmt.Errorf("%w: %s", ErrFailed, why.Errors[0].String())
	}
	if decision == cedar.Allow {
		return nil
	}
	if len(why.Reasons) == 0 {
		return fmt.Errorf("%w: no policy permits it", ErrDenied)
	}
	var by []string
	for _, reason := range why.Reasons {
		by = append(by, fmt.Sprintf("line %d", reason.Position.Line))
	}
	return fmt.Errorf("%w: forbidden at %s", ErrDenied, strings.Join(by, ", "))
}
