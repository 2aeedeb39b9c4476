package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/internal/openai"
)

// lookupTime bounds finding out who calls and what the chain grants.
var lookupTime = 10 * time.Second // tests have more

const requestPrefix = "req_"

// exchange is one request and its response. It ends with the handler.
type exchange struct {
	s    *Server
	svc  *service
	http *fasthttp.RequestCtx
	ctx  context.Context // for look-ups, bounded by lookupTime
	done context.CancelFunc
	id   string
	now  time.Time
	tail string // what follows the prefix of a route that ends in '/'
}

type handler func(*exchange) error

// routes are exact raw paths; a path that ends in '/' takes one more segment or
// more. Encoded variants of a path are other paths, and unknown.
var routes = map[string]map[string]handler{
	"/v1/chat/completions":     {"POST": (*exchange).chat},
	"/v1/completions":          {"POST": (*exchange).completion},
	"/v1/embeddings":           {"POST": (*exchange).embedding},
	"/v1/responses":            {"POST": (*exchange).response},
	"/v1/models":               {"GET": (*exchange).listModels},
	"/v1/models/":              {"GET": (*exchange).showModel},
	"/v1/usage":                {"GET": (*exchange).showUsage},
	"/v1/keys":                 {"GET": (*exchange).listKeys, "POST": (*exchange).createKey},
	"/v1/keys/":                {"DELETE": (*exchange).revokeKey, "PATCH": (*exchange).narrowKey},
	"/auth/challenge":          {"POST": (*exchange).challenge},
	"/auth/token":              {"POST": (*exchange).token},
	"/auth/revoke":             {"POST": (*exchange).revokeToken},
	"/.well-known/fealty.json": {"GET": (*exchange).hostStatement},
	"/.well-known/jwks.json":   {"GET": (*exchange).jwks},
	"/openapi.json":            {"GET": (*exchange).showOpenAPI},
}

var adminRoutes = map[string]map[string]handler{
	"/metrics":      {"GET": (*exchange).showMetrics},
	"/healthz":      {"GET": (*exchange).health},
	"/readyz":       {"GET": (*exchange).ready},
	"/license":      {"GET": (*exchange).showLicense},
	"/reload":       {"POST": (*exchange).reloadNow},
	"/debug/pprof/": {"GET": (*exchange).profile},
}

func newRequestID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return requestPrefix + hex.EncodeToString(id[:])
}

func (s *Server) begin(ctx *fasthttp.RequestCtx) *exchange {
	x := &exchange{s: s, svc: s.acquire(), http: ctx, id: newRequestID(), now: s.clock()}
	x.ctx, x.done = context.WithTimeout(context.Background(), lookupTime)
	return x
}

func (x *exchange) finish() {
	x.done()
	x.svc.release()
	h := &x.http.Response.Header
	if x.s.unready.Load() {
		h.SetConnectionClose() // the next request is for another gateway
	}
	h.Set("x-request-id", x.id)
	h.Set("openai-processing-ms", strconv.FormatInt(x.s.clock().Sub(x.now).Milliseconds(), 10))
}

// guard recovers handlers, which fasthttp does not.
func (s *Server) guard(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		defer func() {
			if r := recover(); r != nil {
				x := s.begin(ctx)
				e := s.panicked(x.id, r, debug.Stack())
				s.metrics.request(e.Code)
				x.writeError(e)
				x.finish()
			}
		}()
		next(ctx)
	}
}

func (s *Server) handle(ctx *fasthttp.RequestCtx)      { s.serve(ctx, routes, true) }
func (s *Server) handleAdmin(ctx *fasthttp.RequestCtx) { s.serve(ctx, adminRoutes, false) }

func (s *Server) serve(ctx *fasthttp.RequestCtx, table map[string]map[string]handler, public bool) {
	x := s.begin(ctx)
	defer x.finish()
	if err := framed(&ctx.Request.Header); err != nil {
		x.refuse(err)
		ctx.SetConnectionClose() // whatever follows may not be a request
		return
	}
	if public && x.cors() {
		return
	}
	if err := x.route(table); err != nil {
		x.refuse(err)
	}
}

func (x *exchange) route(table map[string]map[string]handler) error {
	path, _, _ := bytes.Cut(x.http.Request.Header.RequestURI(), []byte("?"))
	methods := table[string(path)]
	if methods == nil {
		at := prefixEnd(path)
		methods, x.tail = table[string(path[:at])], string(path[at:])
	}
	if methods == nil {
		return unknownURL()
	}
	if h := methods[string(x.http.Method())]; h != nil {
		return h(x)
	}
	allow := slices.Sorted(maps.Keys(methods))
	x.http.Response.Header.Set("allow", strings.Join(allow, ", "))
	return &openai.Error{
		Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
		Message: "This path takes " + strings.Join(allow, " or ") + ".",
	}
}

func unknownURL() *openai.Error {
	return &openai.Error{
		Status: http.StatusNotFound, Code: "unknown_url",
		Message: "There is nothing at this path. The API is below /v1, such as /v1/chat/completions.",
	}
}

// prefixEnd is where the tail of /v1/models/{id} and /v1/keys/{id} begins: after
// the third slash.
func prefixEnd(path []byte) int {
	slashes := 0
	for i, c := range path {
		if c == '/' {
			if slashes++; slashes == 3 {
				if i+1 == len(path) {
					return 0 // no tail
				}
				return i + 1
			}
		}
	}
	return 0
}

func (x *exchange) caller() (*identity.Caller, error) {
	return x.svc.identify(x.ctx, x.now, credential(&x.http.Request.Header))
}

// walletCaller is a caller who signed in: an API key cannot make or revoke keys.
func (x *exchange) walletCaller() (*identity.Caller, error) {
	c, err := x.caller()
	if err == nil && c.KeyID != "" {
		return nil, &openai.Error{
			Status: http.StatusForbidden, Code: "token_required",
			Message: "Keys are managed with a token from a wallet sign-in (/auth/challenge), not with an API key.",
		}
	}
	return c, err
}

// jsonBody is a copy of the body: it outlives the handler.
func (x *exchange) jsonBody() ([]byte, error) {
	h := &x.http.Request.Header
	if len(h.ContentEncoding()) > 0 && string(h.ContentEncoding()) != "identity" {
		return nil, &openai.Error{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding",
			Message: "Send the body without Content-Encoding.",
		}
	}
	kind, _, _ := strings.Cut(string(h.ContentType()), ";")
	if kind = strings.TrimSpace(kind); kind != "" && !strings.EqualFold(kind, "application/json") {
		return nil, &openai.Error{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Message: "Send the body as Content-Type: application/json.",
		}
	}
	return bytes.Clone(x.http.Request.Body()), nil
}

// read decodes a small JSON body strictly.
func (x *exchange) read(into any) error {
	body, err := x.jsonBody()
	if err != nil {
		return err
	}
	if _, err := openai.Members(body); err != nil {
		return openai.Invalid("", "The request body cannot be read: %v.", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return openai.Invalid("", "The request body cannot be read: %v.", err)
	}
	return nil
}

func (x *exchange) reply(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return x.replyJSON(body)
}

func (x *exchange) replyJSON(body []byte) error {
	x.http.SetContentType("application/json")
	x.http.Response.SetBodyRaw(body)
	x.s.metrics.request("ok")
	return nil
}

func (x *exchange) listModels() error {
	if _, err := x.caller(); err != nil {
		return err
	}
	list := openai.ModelList{Object: "list", Data: []openai.Model{}}
	for _, m := range x.svc.listed {
		if !isHostRefusal(x.svc.hosted(x.ctx, x.now, m)) {
			list.Data = append(list.Data, x.svc.describe(m))
		}
	}
	return x.reply(list)
}

// isHostRefusal tells a grant that is not there from one that nobody could look
// up: the latter refuses requests, but does not take the model off the list.
func isHostRefusal(err error) bool {
	return err != nil && asError(err).Status == http.StatusForbidden
}

func (x *exchange) showModel() error {
	if _, err := x.caller(); err != nil {
		return err
	}
	name, err := url.PathUnescape(x.tail)
	m := x.svc.models[name]
	if err != nil || m == nil {
		return unknownModel(x.tail)
	}
	if err := x.svc.hosted(x.ctx, x.now, m); isHostRefusal(err) {
		return err
	}
	return x.reply(x.svc.describe(m))
}

func (s *service) describe(m *model) openai.Model {
	l := m.cfg.License
	out := openai.Model{
		ID: m.cfg.Name, Object: "model", Created: s.started.Unix(), OwnedBy: s.cfg.Host.Domain,
		License: &openai.ModelLicense{Chain: s.caip2(l.Chain), Registry: l.Registry, Model: l.Model, Version: l.Version},
	}
	m.Backend.Describe(&out)
	return out
}

func (s *service) caip2(chain string) string {
	return "eip155:" + strconv.FormatUint(s.chainID(chain), 10)
}

// chainID of a chain that the config has.
func (s *service) chainID(name string) uint64 {
	for _, c := range s.cfg.Chains {
		if c.Name == name {
			return c.ChainID
		}
	}
	return 0
}
