package gateway

import _ "embed"

// openAPI describes every public route and what it answers. Tests hold it against
// the routes and against real answers.
//
//go:embed openapi.json
var openAPI []byte

func (x *exchange) showOpenAPI() error { return x.replyJSON(openAPI) }
