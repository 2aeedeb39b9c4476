package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/gateway/rules"
	"github.com/fealty/fealty/policy"
)

// pass is what authorise found: who may use which model, under what.
type pass struct {
	caller *identity.Caller
	model  *model
	grant  policy.Grant
}

// credential is the bearer credential of a request, borrowed from it; nil if there
// is none, or more than one.
func credential(h *fasthttp.RequestHeader) []byte {
	if all := h.PeekAll("Authorization"); len(all) != 1 {
		return nil
	}
	value := h.Peek("Authorization")
	const scheme = "bearer "
	if len(value) <= len(scheme) || !bytes.EqualFold(value[:len(scheme)], []byte(scheme)) {
		return nil
	}
	return bytes.TrimSpace(value[len(scheme):])
}

// Authorise answers whether the credential may use the model in this way now,
// consumption aside. It is the way of every request from its credential to a
// decision; nil allows, an error is of type *openai.Error.
func (s *Server) Authorise(ctx context.Context, now time.Time, credential []byte, model string, scope policy.Scope) error {
	svc := s.acquire()
	defer svc.release()
	caller, err := svc.identify(ctx, now, credential)
	if err != nil {
		return err
	}
	_, err = svc.admit(ctx, now, caller, model, scope)
	return err
}

// identify says who sent the credential.
func (s *service) identify(ctx context.Context, now time.Time, credential []byte) (*identity.Caller, error) {
	if len(credential) == 0 {
		return nil, unauthorized("missing_credential", "Send one \"Authorization: Bearer <API key or token>\" header.")
	}
	caller, err := s.deps.Identities.Identify(ctx, credential, now)
	if err != nil {
		return nil, refuseCredential(err)
	}
	return caller, nil
}

// admit decides whether the caller may use the model in this way now, consumption
// aside. The order is the order of the codes: 404, 403 for the key and the host,
// 503 if it cannot be found out, then what the license says.
func (s *service) admit(ctx context.Context, now time.Time, caller *identity.Caller, name string, scope policy.Scope) (pass, error) {
	m := s.models[name]
	if m == nil {
		return pass{}, unknownModel(name)
	}
	if !caller.May(m.cfg.Name) {
		return pass{}, keyScope()
	}
	if err := s.hosted(ctx, now, m); err != nil {
		return pass{}, err
	}
	grant, err := m.Licenses.Check(ctx, m.id, caller.Subject)
	if err != nil {
		return pass{}, licenseUnavailable(err)
	}
	grant.Plan = grant.Plan.Within(policy.Plan(m.cfg.Caps))
	p := pass{caller: caller, model: m, grant: grant}
	if d := policy.Standing(now, grant, scope); !d.Allowed() {
		return pass{}, refuseDecision(d, m, caller)
	}
	return p, nil
}

// hosted checks that this gateway may itself serve the model.
func (s *service) hosted(ctx context.Context, now time.Time, m *model) error {
	grant, err := m.Licenses.Check(ctx, m.id, s.deps.Host)
	if err != nil {
		return licenseUnavailable(err)
	}
	if d := policy.Standing(now, grant, policy.ScopeHost); !d.Allowed() {
		return hostUnlicensed(m, d.Reason)
	}
	return nil
}

// obey asks the operator's own rules, if there are any.
func (s *service) obey(now time.Time, p pass, scope policy.Scope, c Call, tokens uint64) error {
	if s.deps.Rules == nil {
		return nil
	}
	err := s.deps.Rules.Check(rules.Request{
		Account: p.caller.Account, Use: scope.String(), Model: p.model.cfg.Name, Subject: p.caller.Subject, Key: p.caller.KeyID,
		Plan: p.grant.Final.PlanVersion, Tokens: tokens, MaxTokens: c.MaxTokens, Stream: c.Request.Stream, Now: now,
	})
	return refuseRule(err)
}

// reserve charges one request and the most tokens that it may use.
func (s *service) reserve(ctx context.Context, now time.Time, p pass, scope policy.Scope, tokens uint64) (*limit.Reservation, error) {
	own := policy.Plan{RPM: p.caller.RPM, TokensPerDay: p.caller.TokensPerDay}
	r, err := s.deps.Limits.Reserve(ctx, now, limit.Budget{
		Model: p.model.cfg.Name, Subject: p.caller.Subject, KeyID: p.caller.KeyID, Plan: p.grant.Plan, Key: own,
	}, tokens)
	var over *limit.Exceeded
	switch {
	case err == nil:
		return r, nil
	case !errors.As(err, &over):
		return nil, stateUnavailable(err)
	}
	d := policy.Decide(now, p.grant, over.Subject, policy.Request{Scope: scope, Tokens: tokens, Key: policy.Key{
		RPM: own.RPM, TokensPerDay: own.TokensPerDay, Usage: over.Key,
	}})
	if d.Allowed() { // counted at the turn of a window: it is over
		d = policy.Decision{Reason: policy.RateLimited, RetryAfter: time.Second}
	}
	return nil, refuseDecision(d, p.model, p.caller)
}

// estimate is what a request may consume: a token has three bytes or more in most
// texts, and what was reserved too much is given back.
func estimate(promptBytes, maxTokens int) uint64 {
	return uint64((promptBytes+2)/3 + maxTokens)
}
