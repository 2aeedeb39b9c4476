package openai

import (
	"fmt"
	"net/http"
	"time"
)

// Error is what a client is told, and the cause that only the log is told.
type Error struct {
	Status  int    // HTTP status
	Code    string // stable; clients match it, counters are labelled with it
	Message string // for the client: the problem and the remedy
	Param   string // the field at fault; "" is null on the wire
	// Retry says that the same request may succeed later; RetryAfter when (zero:
	// soon, the client's own back-off will do).
	Retry      bool
	RetryAfter time.Duration
	Cause      error  // never sent
	Raw        []byte // an upstream's own error body, sent instead of ours
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// Invalid is the 400 for a field of the request.
func Invalid(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_value", Param: param, Message: fmt.Sprintf(format, args...)}
}

// Unsupported is the 400 for a field that this model's backend cannot honour.
func Unsupported(param, why string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: "unsupported_parameter", Param: param,
		Message: fmt.Sprintf("%s: %s. Leave it out, or use a model whose backend supports it.", param, why),
	}
}

// NoEndpoint is the 404 for a kind of request that this model's backend does not
// have.
func NoEndpoint(kind Kind) *Error {
	return &Error{
		Status: http.StatusNotFound, Code: "unsupported_endpoint", Param: "model",
		Message: "This model's backend has no /v1" + kind.Path() + ". Use a model whose backend has it.",
	}
}

// Type is the coarse class that the official clients show beside the code.
func (e *Error) Type() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "authentication_error"
	case e.Status == http.StatusPaymentRequired:
		return "license_error"
	case e.Status == http.StatusForbidden:
		return "permission_error"
	case e.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case e.Status >= http.StatusInternalServerError:
		return "server_error"
	}
	return "invalid_request_error"
}

// AppendBody appends {"error":{...}}.
func (e *Error) AppendBody(dst []byte) []byte {
	if e.Raw != nil {
		return append(dst, e.Raw...)
	}
	dst = append(dst, `{"error":{"message":`...)
	dst = AppendText(dst, e.Message)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, e.Type()...)
	dst = append(dst, `","param":`...)
	if e.Param == "" {
		dst = append(dst, "null"...)
	} else {
		dst = AppendText(dst, e.Param)
	}
	dst = append(dst, `,"code":`...)
	dst = AppendText(dst, e.Code)
	return append(dst, "}}"...)
}
