package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/gateway/rules"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/policy"
)

// Why a running answer was cut. They reach clients as terminal events.
var (
	errClientGone = &openai.Error{Status: 499, Code: "client_gone", Message: "The client left."}
	errDraining   = &openai.Error{
		Status: http.StatusServiceUnavailable, Code: "shutting_down", Retry: true, RetryAfter: time.Second,
		Message: "This gateway is shutting down. Send the request again.",
	}
	errTooLong = &openai.Error{
		Status: http.StatusServiceUnavailable, Code: "request_timeout",
		Message: "The answer took longer than the operator allows (timeouts.request).",
	}
)

// errOverloaded is also for those who waited in vain.
var errOverloaded = &openai.Error{
	Status: http.StatusServiceUnavailable, Code: "overloaded", Retry: true, RetryAfter: time.Second,
	Message: "This gateway is answering as many requests as it can. Send the request again.",
}

// errNoChunks: a stream has no length, and HTTP/1.0 no chunks (RFC 9112, section 6.1).
var errNoChunks = &openai.Error{
	Status: http.StatusHTTPVersionNotSupported, Code: "http_version",
	Message: "Streams need HTTP/1.1. If a proxy stands between, let it speak that; with nginx: proxy_http_version 1.1.",
}

func keyScope() *openai.Error {
	return &openai.Error{
		Status: http.StatusForbidden, Code: "key_scope", Param: "model",
		Message: "This API key was made for other models.",
	}
}

func unauthorized(code, message string) *openai.Error {
	return &openai.Error{Status: http.StatusUnauthorized, Code: code, Message: message}
}

// refuseCredential words an error of package identity.
func refuseCredential(err error) *openai.Error {
	var e *openai.Error
	switch {
	case errors.Is(err, identity.ErrExpired):
		e = unauthorized("credential_expired", "The token or API key has expired. Sign in again, or make a new key.")
	case errors.Is(err, identity.ErrRevoked):
		e = unauthorized("credential_revoked", "The token or API key was revoked. Sign in again, or make a new key.")
	case errors.Is(err, identity.ErrInvalid):
		e = unauthorized("invalid_api_key", "The token or API key is not valid here. Send \"Authorization: Bearer <key>\" with a key made by this gateway.")
	case errors.Is(err, token.ErrUnavailable):
		e = &openai.Error{
			Status: http.StatusServiceUnavailable, Code: "issuer_unavailable", Retry: true, RetryAfter: 2 * time.Second,
			Message: "The issuer of this token cannot be asked for its keys, so nobody can tell whether it is genuine. Nothing was refused; try again.",
		}
	default:
		e = stateUnavailable(nil)
	}
	e.Cause = err
	return e
}

func stateUnavailable(cause error) *openai.Error {
	return &openai.Error{
		Status: http.StatusServiceUnavailable, Code: "state_unavailable", Retry: true, RetryAfter: 2 * time.Second, Cause: cause,
		Message: "This gateway cannot reach its store of keys, budgets and usage. Nothing was refused; try again.",
	}
}

func licenseUnavailable(cause error) *openai.Error {
	return &openai.Error{
		Status: http.StatusServiceUnavailable, Code: "license_unavailable", Retry: true, RetryAfter: 2 * time.Second, Cause: cause,
		Message: "The license could not be looked up on the chain. Nothing was refused; try again.",
	}
}

// refuseRule words what package rules says; nil stays nil.
func refuseRule(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rules.ErrDenied):
		return &openai.Error{
			Status: http.StatusForbidden, Code: "operator_rule", Cause: err,
			Message: "The operator of this gateway does not permit this request. The license is not the reason.",
		}
	}
	return &openai.Error{
		Status: http.StatusServiceUnavailable, Code: "rules_unavailable", Cause: err,
		Message: "The operator's rules could not be evaluated; the gateway's log says why. Ask the operator.",
	}
}

func unknownModel(name string) *openai.Error {
	if len(name) > 64 {
		name = name[:64] + "..."
	}
	return &openai.Error{
		Status: http.StatusNotFound, Code: "model_not_found", Param: "model",
		Message: fmt.Sprintf("The model %q is not served here. GET /v1/models lists what is.", name),
	}
}

func hostUnlicensed(m *model, why policy.Reason) *openai.Error {
	return &openai.Error{
		Status: http.StatusForbidden, Code: "host_unlicensed", Param: "model",
		Message: fmt.Sprintf("This host may not serve the model %q at present (%s).", m.cfg.Name, why),
	}
}

// refuseDecision words a decision of package policy.
func refuseDecision(d policy.Decision, m *model, caller *identity.Caller) *openai.Error {
	e := &openai.Error{Status: http.StatusForbidden, Code: d.Reason.String(), RetryAfter: d.RetryAfter}
	switch d.Reason {
	case policy.NoLicense, policy.LicenseExpired:
		e.Status = http.StatusPaymentRequired
		e.Message = fmt.Sprintf("%s. %s", standingText[d.Reason], m.howToBuy(caller))
	case policy.RateLimited:
		e.Status, e.Retry = http.StatusTooManyRequests, true
		e.Message = "The license or the API key allows no more requests in this minute."
	case policy.QuotaExceeded:
		e.Status = http.StatusTooManyRequests
		e.Message = "The license or the API key has too few tokens left for this request today (UTC). Ask for a smaller max_tokens, or wait for the next day."
		// A client library that sleeps until tomorrow would look hung.
		e.RetryAfter = 0
	default:
		e.Message = fmt.Sprintf("%s. Account %s, model %s.", standingText[d.Reason], caller.Account, m.cfg.Name)
	}
	return e
}

var standingText = map[policy.Reason]string{
	policy.NoLicense:          "There is no license for this account and model",
	policy.LicenseExpired:     "The license for this account and model has expired",
	policy.LicenseNotYetValid: "The license is not valid yet",
	policy.LicenseSuspended:   "The license is suspended; ask the model's creator",
	policy.LicenseRevoked:     "The license was revoked by the model's creator",
	policy.ScopeMissing:       "The license does not cover this endpoint",
}

func (m *model) howToBuy(caller *identity.Caller) string {
	l := m.cfg.License
	if strings.HasPrefix(caller.Account, "oidc:") { // only a wallet can buy
		return fmt.Sprintf("Ask the model's creator to grant one to %s (subject 0x%x) at registry %s, model %s, chain %s: fealty license grant.",
			caller.Account, caller.Subject, l.Registry, l.Model, l.Chain)
	}
	return fmt.Sprintf("Buy one for %s from registry %s, model %s, chain %s: fealty license buy, or the contract's purchase.",
		caller.Account, l.Registry, l.Model, l.Chain)
}

// cutBy is why a context ended, in words for the client.
func cutBy(ctx context.Context) *openai.Error {
	cause := context.Cause(ctx)
	var e *openai.Error
	switch {
	case cause == nil:
		return nil
	case errors.As(cause, &e):
		return e
	case errors.Is(cause, context.DeadlineExceeded):
		return errTooLong
	}
	return internalError(cause)
}

func internalError(cause error) *openai.Error {
	return &openai.Error{
		Status: http.StatusInternalServerError, Code: "internal_error", Cause: cause,
		Message: "The gateway failed at this request. Its log names the cause under the x-request-id.",
	}
}

// asError gives any error its form for the client.
func asError(err error) *openai.Error {
	var e *openai.Error
	if errors.As(err, &e) {
		return e
	}
	return internalError(err)
}

// refuse writes an error, counts it and, if the server is at fault, logs it.
func (x *exchange) refuse(err error) {
	e := asError(err)
	x.s.metrics.request(e.Code)
	level := x.s.log.Debug
	if e.Status >= http.StatusInternalServerError {
		level = x.s.log.Warn
	}
	level("refused", "request", x.id, "status", e.Status, "code", e.Code, "cause", e.Cause)
	x.writeError(e)
}

func (x *exchange) writeError(e *openai.Error) {
	x.http.Response.ResetBody()
	x.http.SetStatusCode(e.Status)
	x.http.SetContentType("application/json")
	h := &x.http.Response.Header
	h.Set("x-should-retry", strconv.FormatBool(e.Retry))
	if e.Retry && e.RetryAfter > 0 {
		h.Set("retry-after", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("www-authenticate", "Bearer")
	}
	x.http.Response.SetBodyRaw(e.AppendBody(nil))
}

// refuseTransport words what fasthttp refuses before any handler runs.
func (s *Server) refuseTransport(ctx *fasthttp.RequestCtx, err error) {
	x := s.begin(ctx)
	x.refuse(transportError(err, x.svc.cfg))
	x.finish()
	if c := connOf(ctx); c != nil {
		c.linger = true
	}
}

func transportError(err error, cfg Config) *openai.Error {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		return &openai.Error{
			Status: http.StatusRequestHeaderFieldsTooLarge, Code: "headers_too_large",
			Message: "The request's headers are larger than 16 KiB.",
		}
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return &openai.Error{
			Status: http.StatusRequestEntityTooLarge, Code: "request_too_large",
			Message: fmt.Sprintf("The request body is larger than %d bytes (limits.body).", cfg.Limits.Body),
		}
	case errors.As(err, &network) && network.Timeout():
		return &openai.Error{
			Status: http.StatusRequestTimeout, Code: "request_timeout", Retry: true,
			Message: fmt.Sprintf("The request did not arrive within %s (timeouts.read).", cfg.Timeouts.Read),
		}
	}
	return &openai.Error{
		Status: http.StatusBadRequest, Code: "invalid_http", Cause: err,
		Message: "The request is not valid HTTP/1.1.",
	}
}
