package gateway

import (
	"context"

	"github.com/fealty/fealty/internal/openai"
)

// Backend generates answers: the embedded engine, or servers behind a URL.
type Backend interface {
	// Generate starts the answer to one authorised call. ctx lives as long as the
	// answer; when it ends, the work behind the answer stops. Errors of type
	// *openai.Error reach the client as they are; any other is a 500.
	Generate(ctx context.Context, c Call) (Answer, error)
	// Describe fills what only the backend knows of GET /v1/models/{id}.
	Describe(m *openai.Model)
}

// Call is one authorised request.
type Call struct {
	Request *openai.Request
	Model   string // as the client named it, to be echoed
	ID      string // the answer's id, without the prefix of its kind
	Created int64  // Unix seconds
	// MaxTokens bounds the answer: what the caller asked for, or the model's
	// default if Request.MaxTokens is 0.
	MaxTokens int
}

// Answer is an answer on its way.
type Answer interface {
	// Next returns the next bytes for the client, valid until the next call: of a
	// stream one or more whole events, [DONE] included; otherwise the whole JSON
	// reply. io.EOF follows the last. Any other error means that the answer was
	// cut; no [DONE] was or will be sent.
	Next() ([]byte, error)
	// Usage is what has been consumed so far.
	Usage() openai.Usage
	// Close frees what the answer holds. It may be called at any time, once.
	Close()
}

// Reporter is a Backend that asks servers elsewhere.
type Reporter interface {
	// Stats is each server's state, in a fixed order.
	Stats() []UpstreamStats
}

// UpstreamStats is how one upstream server does.
type UpstreamStats struct {
	URL      string
	Fallback bool   // asked only when the others cannot answer
	Healthy  bool   // it is asked
	Problem  string // why it is not, in words
	InFlight int    // answers until the end of their bodies
	Requests uint64 // sent to it
	Failures uint64 // of them that it failed at
	Rests    uint64 // times that it was left alone for a while
}

// Opened is an Answer that may have been made in two steps, since inverse nucleus
// sampling chose its first word.
type Opened interface{ Opened() bool }

// Opener is a Backend that makes such answers.
type Opener interface {
	// Openings says what became of the prompts that were chosen, in a fixed order.
	Openings() []OpeningStats
}

// OpeningStats counts answers by what became of their opening: "shaped", or why they
// were left alone.
type OpeningStats struct {
	Result string
	Count  uint64
}
