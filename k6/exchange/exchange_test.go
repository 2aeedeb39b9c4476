package exchange

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve answers with a handler over a real connection.
func serve(t *testing.T, h http.HandlerFunc) Request {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return Request{Method: "POST", URL: s.URL + "/v1/chat/completions", Body: "{}", Headers: map[string]string{"Authorization": "Bearer k"}}
}

func delta(text string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
}

const usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n"

func streaming(parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, p := range parts {
			fmt.Fprint(w, p)
			w.(http.Flusher).Flush()
		}
	}
}

func TestStreams(t *testing.T) {
	const end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	for name, c := range map[string]struct {
		parts                  []string
		text, finish, code     string
		frames, gaps, comments int
		truncated, cut, failed bool
	}{
		"whole":           {parts: []string{delta(""), delta("a"), ":\n", delta("b"), delta("c"), end, usage, "data: [DONE]\n\n"}, text: "abc", finish: "stop", frames: 7, gaps: 2, comments: 1},
		"split data":      {parts: []string{"data: {\"choices\":\r\ndata: [{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n", "data:[DONE]\n\n"}, text: "x", frames: 2},
		"no [DONE]":       {parts: []string{delta("a"), end}, text: "a", finish: "stop", frames: 2, truncated: true},
		"half an event":   {parts: []string{delta("a"), "data: [DONE]"}, text: "a", frames: 1, truncated: true},
		"cut by an error": {parts: []string{delta("a"), "data: {\"error\":{\"message\":\"m\",\"code\":\"license_revoked\"}}\n\n"}, text: "a", code: "license_revoked", frames: 2, cut: true},
		"garbage":         {parts: []string{"data: {nonsense\n\n"}, frames: 1, truncated: true, failed: true},
	} {
		r := Do(t.Context(), http.DefaultTransport, serve(t, streaming(c.parts...)))
		if r.Text != c.text || r.Finish != c.finish || r.ErrorCode != c.code || r.Frames != c.frames || len(r.GapsMS) != c.gaps ||
			r.Heartbeats != c.comments || r.Truncated != c.truncated || r.Cut != c.cut || (r.Error != "") != c.failed {
			t.Errorf("%s: %+v", name, r)
		}
		if r.Status != 200 || !r.Stream || r.OK() != (name == "whole" || name == "split data") {
			t.Errorf("%s: status %d, stream %v, ok %v", name, r.Status, r.Stream, r.OK())
		}
	}
}

// told is a transport that tells when the client has the headers of an answer, and when
// it has read the first piece of text.
type told struct{ headers, text chan struct{} }

func (w told) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(q)
	if err == nil {
		close(w.headers)
		resp.Body = &watchedBody{resp.Body, sync.OnceFunc(func() { close(w.text) })}
	}
	return resp, err
}

type watchedBody struct {
	io.ReadCloser
	text func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if bytes.Contains(p[:n], []byte(`"content":"a"`)) {
		b.text()
	}
	return n, err
}

// The time to the first token is that of the first text, not of the headers or of
// the role chunk before it. Each wait begins when the client has what came before it:
// a machine that stands still in between only makes the times longer.
func TestFirstTokenIsText(t *testing.T) {
	const wait = 150 * time.Millisecond
	has := told{make(chan struct{}), make(chan struct{})}
	r := Do(t.Context(), has, serve(t, func(w http.ResponseWriter, q *http.Request) {
		streaming(delta(""))(w, q)
		<-has.headers
		time.Sleep(wait)
		streaming(delta("a"))(w, q)
		<-has.text
		time.Sleep(wait)
		streaming(delta("b"), "data: [DONE]\n\n")(w, q)
	}))
	least := float64(wait.Milliseconds())
	if r.FirstMS < least || r.FirstMS-r.HeadersMS < least/2 || len(r.GapsMS) != 1 || r.GapsMS[0] < least/2 || r.TotalMS < 2*least {
		t.Errorf("headers %v, first %v, gaps %v, total %v ms", r.HeadersMS, r.FirstMS, r.GapsMS, r.TotalMS)
	}
}

func TestWhole(t *testing.T) {
	r := Do(t.Context(), http.DefaultTransport, serve(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("headers %v", q.Header)
		}
		w.Header().Set("X-Request-Id", "req_1")
		fmt.Fprint(w, `{"choices":[{"message":{"content":"Paris."},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`)
	}))
	if !r.OK() || r.Stream || r.Text != "Paris." || r.Finish != "length" || r.PromptTokens != 5 || r.CompletionTokens != 2 || r.FirstMS == 0 {
		t.Errorf("%+v", r)
	}
	if r.Headers["x-request-id"] != "req_1" || !strings.Contains(r.HeaderNames, "content-type date x-request-id") || r.HeaderBytes < 40 {
		t.Errorf("headers %q, %d bytes: %v", r.HeaderNames, r.HeaderBytes, r.Headers)
	}
}

func TestRefused(t *testing.T) {
	r := Do(t.Context(), http.DefaultTransport, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(402)
		fmt.Fprint(w, `{"error":{"message":"Buy one.","type":"x","param":"model","code":"no_license"}}`)
	}))
	if r.OK() || r.Status != 402 || r.ErrorCode != "no_license" || r.Param != "model" || r.Message != "Buy one." || r.FirstMS != 0 {
		t.Errorf("%+v", r)
	}
}

func TestFaults(t *testing.T) {
	hangs := serve(t, func(w http.ResponseWriter, q *http.Request) {
		streaming(delta("a"))(w, q)
		<-q.Context().Done()
	})
	var r *Reply
	for wait := 200 * time.Millisecond; wait < time.Minute && (r == nil || r.Text == ""); wait *= 2 { // until the time suffices for the text
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		r = Do(ctx, http.DefaultTransport, hangs)
		cancel()
	}
	if !r.TimedOut || r.Truncated || r.Text != "a" || r.OK() {
		t.Errorf("a stream that hangs: %+v", r)
	}
	r = Do(t.Context(), http.DefaultTransport, Request{Method: "POST", URL: "http://127.0.0.1:1"})
	if r.Status != 0 || r.Error == "" || r.TimedOut {
		t.Errorf("nobody listens: %+v", r)
	}
	r = Do(t.Context(), http.DefaultTransport, serve(t, streaming("data: "+strings.Repeat("x", maxLine+1))))
	if !r.Truncated || r.Error == "" {
		t.Errorf("an endless line: %+v", r)
	}
}
