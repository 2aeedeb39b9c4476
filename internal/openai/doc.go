// Package openai is the wire: a strict reader of OpenAI-style requests, the
// shapes of replies and errors, server-sent events, and a small client.
//
// It knows nothing of licenses, engines or HTTP servers, and uses the standard
// library only. It refuses what it cannot read for certain (duplicate keys,
// invalid UTF-8, wrong types) and keeps every byte that it does not have to
// change. Start with [Parse].
package openai
