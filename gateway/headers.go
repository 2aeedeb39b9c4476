package gateway

import (
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fealty/fealty/gateway/limit"
)

// rateHeaders tells the client what is left, in OpenAI's x-ratelimit-* headers. A bound
// that is not there has none.
func rateHeaders(h *fasthttp.ResponseHeader, r *limit.Reservation) {
	rateHeader(h, "requests", r.Requests)
	rateHeader(h, "tokens", r.Tokens)
}

func rateHeader(h *fasthttp.ResponseHeader, of string, w limit.Window) {
	if w.Limit == 0 {
		return
	}
	h.Set("x-ratelimit-limit-"+of, strconv.FormatUint(w.Limit, 10))
	h.Set("x-ratelimit-remaining-"+of, strconv.FormatUint(w.Left, 10))
	h.Set("x-ratelimit-reset-"+of, w.Reset.String())
}

// CORSConfig is for pages of other origins that call the API from a browser.
type CORSConfig struct {
	Origins []string      `yaml:"origins"` // such as https://app.example.com; "*": all. Empty: none may
	MaxAge  time.Duration `yaml:"max_age"` // how long a browser remembers what it may. Zero: 1h
}

func (c CORSConfig) validate(errs *problems) {
	for _, o := range c.Origins {
		scheme, host, ok := strings.Cut(o, "://")
		errs.need("cors.origins", o == "*" || ok && (scheme == "https" || scheme == "http") && host != "" && !strings.ContainsAny(host, "/ "),
			`origins such as https://app.example.com, without a path, or "*"`)
	}
	errs.within("cors.max_age", c.MaxAge, time.Second, 24*time.Hour)
}

// exposed are the headers that pages may read.
const exposed = "x-request-id, openai-processing-ms, retry-after, x-should-retry, x-fealty-license, x-fealty-signature, " +
	"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, " +
	"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"

// cors lets a page of an allowed origin read the answer (Fetch standard, section 3.2).
// Credentials of the browser are never asked for: the API takes a bearer key. It reports
// whether the request was only the browser's question whether it may ask.
func (x *exchange) cors() (preflight bool) {
	c := x.svc.cfg.CORS
	in, out := &x.http.Request.Header, &x.http.Response.Header
	origin := in.Peek("Origin")
	if len(c.Origins) == 0 || len(origin) == 0 {
		return false
	}
	out.Add("vary", "Origin")
	if !c.allows(string(origin)) {
		return false
	}
	out.SetBytesV("access-control-allow-origin", origin)
	if !in.IsOptions() || len(in.Peek("Access-Control-Request-Method")) == 0 {
		out.Set("access-control-expose-headers", exposed)
		return false
	}
	out.Set("access-control-allow-methods", "GET, POST, PATCH, DELETE")
	out.SetBytesV("access-control-allow-headers", in.Peek("Access-Control-Request-Headers"))
	out.Set("access-control-max-age", strconv.Itoa(int(c.MaxAge.Seconds())))
	x.http.SetStatusCode(fasthttp.StatusNoContent)
	return true
}

func (c CORSConfig) allows(origin string) bool {
	for _, o := range c.Origins {
		if o == "*" || o == origin {
			return true
		}
	}
	return false
}
