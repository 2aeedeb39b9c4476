// Package exchange asks an OpenAI-style server once and notes what came back and
// when: each event of a stream, whether it was whole, and how it ended.
//
// It knows nothing of k6 and uses the standard library alone. Start with [Do].
package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Request is one HTTP request.
type Request struct {
	Method  string
	URL     string
	Headers map[string]string
	Body    string
}

// Reply is what came back. Times are milliseconds since the request was begun.
type Reply struct {
	Status      int               `js:"status"`       // 0: no answer
	Error       string            `js:"error"`        // of the transport; empty: none
	TimedOut    bool              `js:"timed_out"`    // that error was a time-out
	ErrorCode   string            `js:"error_code"`   // of an OpenAI error body, or of the event that ended a stream
	Message     string            `js:"message"`      // of the same
	Param       string            `js:"param"`        // of the same
	Headers     map[string]string `js:"headers"`      // names in lower case
	HeaderNames string            `js:"header_names"` // sorted, joined by spaces
	HeaderBytes int               `js:"header_bytes"` // of names and values
	Body        string            `js:"body"`         // of an answer that is no stream, at most 1 MiB

	Stream     bool `js:"stream"`     // it was text/event-stream
	Frames     int  `js:"frames"`     // events with data, [DONE] included
	Heartbeats int  `js:"heartbeats"` // comments
	Truncated  bool `js:"truncated"`  // the server ended it with neither [DONE] nor an error event
	Cut        bool `js:"cut"`        // an error event ended it

	Text             string    `js:"text"`
	Finish           string    `js:"finish"`
	PromptTokens     int       `js:"prompt_tokens"`
	CompletionTokens int       `js:"completion_tokens"`
	Bytes            int       `js:"bytes"`      // of the body
	HeadersMS        float64   `js:"headers_ms"` // when the headers were there
	FirstMS          float64   `js:"first_ms"`   // first text; of a whole answer its end; 0: none
	GapsMS           []float64 `js:"gaps_ms"`    // between pieces of text
	TotalMS          float64   `js:"total_ms"`
}

// OK tells whether a whole answer came.
func (r *Reply) OK() bool {
	return r.Status == http.StatusOK && r.Error == "" && r.ErrorCode == "" && !r.Truncated
}

// maxBody bounds what is read of an answer that is no stream, in bytes.
const maxBody = 1 << 20

// Do sends the request and reads the answer to its end, or until ctx ends.
// Whatever happens is in the reply.
func Do(ctx context.Context, via http.RoundTripper, r Request) *Reply {
	out := &Reply{Headers: map[string]string{}, GapsMS: []float64{}}
	clock := newClock()
	out.failed(run(ctx, via, r, out, clock))
	out.TotalMS = clock.now()
	return out
}

func (r *Reply) failed(err error) {
	if err == nil {
		return
	}
	r.Error = err.Error()
	var timeout interface{ Timeout() bool }
	r.TimedOut = errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	r.Truncated = r.Truncated && !r.TimedOut // then it was us who went away
}

type clock struct{ began time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() float64 { return float64(time.Since(c.began).Microseconds()) / 1000 }

func run(ctx context.Context, via http.RoundTripper, r Request, out *Reply, c clock) error {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return err
	}
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out.HeadersMS, out.Status = c.now(), resp.StatusCode
	out.head(resp.Header)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		out.Stream = true
		return out.stream(resp.Body, c)
	}
	return out.whole(resp.Body, c)
}

func (r *Reply) head(h http.Header) {
	var names []string
	for name, values := range h {
		name = strings.ToLower(name)
		r.Headers[name] = strings.Join(values, ", ")
		r.HeaderBytes += len(name) + len(r.Headers[name])
		names = append(names, name)
	}
	slices.Sort(names)
	r.HeaderNames = strings.Join(names, " ")
}

func (r *Reply) whole(body io.Reader, c clock) error {
	raw, err := io.ReadAll(io.LimitReader(body, maxBody))
	r.Body, r.Bytes = string(raw), len(raw)
	if err != nil {
		return err
	}
	var m message
	if json.Unmarshal(raw, &m) != nil { // whoever wants JSON looks at the body
		return nil
	}
	r.take(m)
	if r.Text != "" {
		r.FirstMS = c.now()
	}
	return nil
}

// message is a whole answer, a chunk or an error.
type message struct {
	Choices []struct {
		Message, Delta struct{ Content *string }
		Text           *string
		FinishReason   *string `json:"finish_reason"`
	}
	Usage *struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
	}
	Error *struct {
		Message string
		Code    any
		Param   *string
	}
}

// take notes what a message says and returns the text that it adds.
func (r *Reply) take(m message) (text string) {
	for _, c := range m.Choices {
		for _, part := range []*string{c.Message.Content, c.Delta.Content, c.Text} {
			if part != nil {
				text += *part
			}
		}
		if c.FinishReason != nil {
			r.Finish = *c.FinishReason
		}
	}
	if m.Usage != nil {
		r.PromptTokens, r.CompletionTokens = m.Usage.PromptTokens, m.Usage.CompletionTokens
	}
	if m.Error != nil {
		r.errorIs(m.Error.Code, m.Error.Message, m.Error.Param)
	}
	r.Text += text
	return text
}
