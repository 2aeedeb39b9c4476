package upstream_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/internal/openai"
)

// served is an upstream that records what it was asked and answers what the test
// says.
type served struct {
	*httptest.Server
	asked  *http.Request
	body   []byte
	answer func(http.ResponseWriter, *http.Request)
	silent time.Duration // what its clients bear. Zero: patience
}

const (
	// patience is for a machine that does much else, or stands still for a while.
	patience = time.Minute
	// long is a wait that good servers have to stay below on such a machine, in tests where
	// another one's ends.
	long = 6 * time.Second
)

func serve(t *testing.T, answer func(http.ResponseWriter, *http.Request)) *served {
	s := &served{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = r
		s.body, _ = io.ReadAll(r.Body)
		s.answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *served) ask(t *testing.T, ctx context.Context, body string) (gateway.Answer, error) {
	t.Helper()
	return s.askFor(t, ctx, openai.Chat, body)
}

// whole reads what is answered to its end.
func (s *served) whole(t *testing.T, kind openai.Kind, body string) (got string, used openai.Usage, err error) {
	t.Helper()
	a, err := s.askFor(t, t.Context(), kind, body)
	if err != nil {
		return "", used, err
	}
	got, err = all(a)
	return got, a.Usage(), err
}

func (s *served) askFor(t *testing.T, ctx context.Context, kind openai.Kind, body string) (gateway.Answer, error) {
	t.Helper()
	b, err := upstream.New(upstream.Options{
		Servers: []upstream.Server{{URL: s.URL + "/v1", Model: "theirs", Key: []byte("our-key")}},
		Connect: patience, Silent: cmp.Or(s.silent, patience), Check: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r, err := openai.Parse(kind, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.Generate(ctx, gateway.Call{Request: r, Model: "ours", MaxTokens: 16})
	if err == nil {
		t.Cleanup(a.Close)
	}
	return a, err
}

const (
	plainAsk  = `{"model":"ours","messages":[{"role":"user","content":"hi"}],"vendor":{"x": 1}}`
	streamAsk = `{"model":"ours","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	usageAsk  = `{"model":"ours","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`
)

func events(parts ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, p := range parts {
			_, _ = io.WriteString(w, p)
			w.(http.Flusher).Flush()
		}
	}
}

func all(a gateway.Answer) (string, error) {
	var out bytes.Buffer
	for {
		part, err := a.Next()
		out.Write(part)
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
	}
}

func TestWhatGoesUpstream(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, ` {"id": "x", "choices" : [ {} ],"usage":{"prompt_tokens":5,"completion_tokens":3}} `)
	})
	a, err := s.ask(t, t.Context(), plainAsk)
	if err != nil {
		t.Fatal(err)
	}
	got, err := all(a)
	if want := ` {"id": "x", "choices" : [ {} ],"usage":{"prompt_tokens":5,"completion_tokens":3}} `; err != nil || got != want {
		t.Errorf("the answer came through as %q, %v", got, err)
	}
	if a.Usage() != openai.Spent(5, 3) {
		t.Errorf("metered %+v", a.Usage())
	}
	if want := `{"max_tokens":16,"model":"theirs","messages":[{"role":"user","content":"hi"}],"vendor":{"x": 1}}`; string(s.body) != want {
		t.Errorf("sent %s, want %s", s.body, want)
	}
	if s.asked.URL.Path != "/v1/chat/completions" || s.asked.Header.Get("Authorization") != "Bearer our-key" {
		t.Errorf("asked %s with %q", s.asked.URL.Path, s.asked.Header.Get("Authorization"))
	}
	for name := range s.asked.Header {
		switch name {
		case "Authorization", "Content-Type", "Content-Length", "User-Agent":
		default:
			t.Errorf("sent the header %s", name)
		}
	}
}

const (
	one   = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	two   = "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\" : \"stop\"}] , \"vendor\":1}\r\n\r\n"
	spent = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n"
	end   = "data: {\"choices\":[{\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n"
	done  = "data: [DONE]\n\n"
)

func TestStreams(t *testing.T) {
	for name, c := range map[string]struct {
		ask, want string
		parts     []string
		usage     openai.Usage
		code      string // of the error that ends it; "": none
	}{
		"usage stripped":      {streamAsk, one + two + done, []string{one, two, spent, done}, openai.Spent(5, 2), ""},
		"usage asked for":     {usageAsk, one + two + spent + done, []string{one, two, spent, done}, openai.Spent(5, 2), ""},
		"usage with the end":  {streamAsk, end + done, []string{end, done}, openai.Spent(5, 2), ""},
		"no usage":            {streamAsk, one + two + done, []string{one, two, done}, openai.Spent(11, 2), ""},
		"heartbeats":          {streamAsk, ":\n" + two + ": x\n" + done, []string{":\n", two, ": x\n", done}, openai.Spent(11, 1), ""},
		"in small pieces":     {streamAsk, two + done, []string{two[:3], two[3:20], two[20:] + done[:2], done[2:]}, openai.Spent(11, 1), ""},
		"a false end":         {streamAsk, one, []string{one, done}, openai.Spent(11, 1), "upstream_error"},
		"cut between events":  {streamAsk, one, []string{one}, openai.Spent(11, 1), "upstream_error"},
		"cut inside an event": {streamAsk, one, []string{one, two[:9]}, openai.Spent(11, 1), "upstream_error"},
		"cut before all":      {streamAsk, "", nil, openai.Usage{}, "upstream_error"},
		"its own error":       {streamAsk, one, []string{one, "data: {\"error\":{\"message\":\"worse\",\"code\":\"theirs\"}}\n\n", done}, openai.Spent(11, 1), "theirs"},
		"not JSON":            {streamAsk, one, []string{one, "data: {\n\n", done}, openai.Spent(11, 1), "upstream_error"},
	} {
		t.Run(name, func(t *testing.T) {
			got, used, err := serve(t, events(c.parts...)).whole(t, openai.Chat, c.ask)
			if got != c.want || used != c.usage {
				t.Errorf("got %q and %+v, want %q and %+v", got, used, c.want, c.usage)
			}
			if code := codeOf(err); code != c.code {
				t.Errorf("ended with %v, want code %q", err, c.code)
			}
		})
	}
}

func codeOf(err error) string {
	var e *openai.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestSilentUpstream(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"before the headers": "", "mid-stream": one} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := make(chan struct{})
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if first != "" {
					events(first)(w, r)
				}
				<-r.Context().Done()
				close(left)
			})
			s.silent = long // which the first event has to meet
			a, err := s.ask(t, t.Context(), streamAsk)
			if first != "" {
				if err != nil {
					t.Fatal(err)
				}
				_, err = all(a)
				a.Close()
			}
			if codeOf(err) != "upstream_silent" {
				t.Errorf("got %v, want upstream_silent", err)
			}
			wait(t, left)
		})
	}
}

func wait(t *testing.T, c chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("the upstream was not hung up on")
	}
}

func TestHangUp(t *testing.T) {
	left := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		events(one)(w, r)
		<-r.Context().Done()
		close(left)
	})
	why := &openai.Error{Code: "client_gone"}
	ctx, cancel := context.WithCancelCause(t.Context())
	a, err := s.ask(t, ctx, streamAsk)
	if err != nil {
		t.Fatal(err)
	}
	if part, err := a.Next(); err != nil || string(part) != one {
		t.Fatalf("%q, %v", part, err)
	}
	cancel(why)
	if _, err := a.Next(); codeOf(err) != "client_gone" {
		t.Errorf("got %v, want the reason of the cancellation", err)
	}
	wait(t, left)
}

func TestRefusals(t *testing.T) {
	for status, want := range map[int]string{400: "theirs", 413: "theirs", 422: "theirs", 401: "upstream_error", 402: "upstream_error", 403: "upstream_error", 404: "upstream_error", 429: "overloaded", 500: "upstream_error", 503: "overloaded", 302: "upstream_error"} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":{"message":"they say: hi","code":"theirs"}}`)
		})
		_, err := s.ask(t, t.Context(), plainAsk)
		var e *openai.Error
		if !errors.As(err, &e) || e.Code != want {
			t.Errorf("%d: got %v, want %s", status, err, want)
			continue
		}
		if ours := e.Code != "theirs"; ours && (e.Status < 500 || strings.Contains(err.Error(), "they say")) {
			t.Errorf("%d: %v blames the caller or repeats the upstream's text", status, err)
		} else if !ours && (!json.Valid(e.AppendBody(nil)) || !strings.Contains(string(e.AppendBody(nil)), "they say")) {
			t.Errorf("%d: the upstream's own body is lost: %s", status, e.AppendBody(nil))
		}
	}
}

func TestAnswersOfAnotherKind(t *testing.T) {
	for name, c := range map[string]struct{ ask, kind, encoding, body string }{
		"not JSON":            {plainAsk, "application/json", "", "{"},
		"HTML":                {plainAsk, "text/html", "", "{}"},
		"JSON for a stream":   {streamAsk, "application/json", "", "{}"},
		"compressed":          {plainAsk, "application/json", "gzip", "{}"},
		"shorter than stated": {plainAsk, "application/json", "", "short"},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			if c.encoding != "" {
				w.Header().Set("Content-Encoding", c.encoding)
			}
			if c.body == "short" {
				w.Header().Set("Content-Length", "100")
			}
			fmt.Fprint(w, c.body)
		})
		a, err := s.ask(t, t.Context(), c.ask)
		if err == nil {
			_, err = all(a)
		}
		if codeOf(err) != "upstream_error" {
			t.Errorf("%s: got %v, want upstream_error", name, err)
		}
	}
}

// The Responses API ends its streams by its own events, and counts by other names.
func TestResponses(t *testing.T) {
	const (
		begun = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"usage\":null}}\n\n"
		delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n"
		ended = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}}\n\n"
		wrong = "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"worse\",\"code\":\"theirs\"}}\n\n"
	)
	for name, c := range map[string]struct {
		parts []string
		want  string
		usage openai.Usage
		code  string
	}{
		"whole":         {[]string{begun, delta, ended}, begun + delta + ended, openai.Spent(7, 3), ""},
		"cut":           {[]string{begun, delta}, begun + delta, openai.Spent(1, 1), "upstream_error"},
		"its own error": {[]string{begun, wrong}, begun, openai.Usage{}, "theirs"},
		"not by [DONE]": {[]string{begun, delta, done}, begun + delta, openai.Spent(1, 1), "upstream_error"},
	} {
		got, used, err := serve(t, events(c.parts...)).whole(t, openai.Response, `{"model":"ours","input":"a","stream":true}`)
		if got != c.want || used != c.usage || codeOf(err) != c.code {
			t.Errorf("%s: got %q, %+v and %v", name, got, used, err)
		}
	}
}

// Embeddings and whole responses are metered by the upstream's word, or by size.
func TestOtherKinds(t *testing.T) {
	for _, c := range []struct {
		kind      openai.Kind
		ask, body string
		status    int
		usage     openai.Usage
		code      string
	}{
		{openai.Embedding, `{"model":"ours","input":"abcdefg"}`, `{"data":[],"usage":{"prompt_tokens":4,"total_tokens":4}}`, 200, openai.Spent(4, 0), ""},
		{openai.Embedding, `{"model":"ours","input":"abcdefg"}`, `{"data":[]}`, 200, openai.Spent(3, 0), ""},
		{openai.Response, `{"model":"ours","input":"a"}`, `{"usage":{"input_tokens":4,"output_tokens":9}}`, 200, openai.Spent(4, 9), ""},
		{openai.Response, `{"model":"ours","input":"a"}`, `{"detail":"Not Found"}`, 404, openai.Usage{}, "unsupported_endpoint"},
		{openai.Chat, plainAsk, `{"detail":"Not Found"}`, 404, openai.Usage{}, "upstream_error"},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		got, used, err := s.whole(t, c.kind, c.ask)
		if err == nil && got != c.body || used != c.usage || codeOf(err) != c.code {
			t.Errorf("%s: got %q, %+v and %v", c.ask, got, used, err)
		}
	}
}
