package openai

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		raw, data    []string
		end          error
	}{
		{"plain", "data: a\n\ndata: [DONE]\n\n", []string{"data: a\n\n", "data: [DONE]\n\n"}, []string{"a", "[DONE]"}, io.EOF},
		{"carriage returns, no space", "data:a\r\n\r\n", []string{"data:a\r\n\r\n"}, []string{"a"}, io.EOF},
		{"two lines", "event: x\ndata: a\ndata:  b\nid: 7\n\n", []string{"event: x\ndata: a\ndata:  b\nid: 7\n\n"}, []string{"a\n b"}, io.EOF},
		{"heartbeat", ":\n: hi\ndata: a\n\n", []string{":\n", ": hi\n", "data: a\n\n"}, []string{"", "", "a"}, io.EOF},
		{"blank lines", "\n\ndata: a\n\n\n", []string{"data: a\n\n"}, []string{"a"}, io.EOF},
		{"cut in an event", "data: a\n\ndata: b\n", []string{"data: a\n\n"}, []string{"a"}, io.ErrUnexpectedEOF},
		{"cut in a line", "data: a\n\ndat", []string{"data: a\n\n"}, []string{"a"}, io.ErrUnexpectedEOF},
		{"long line", "data: " + strings.Repeat("x", 100<<10) + "\n\n", []string{"data: " + strings.Repeat("x", 100<<10) + "\n\n"}, []string{strings.Repeat("x", 100<<10)}, io.EOF},
		{"endless line", strings.Repeat("x", maxEvent+2), nil, nil, ErrEventTooLarge},
	} {
		for how, in := range map[string]io.Reader{"at once": strings.NewReader(c.stream), "by bytes": iotest.OneByteReader(strings.NewReader(c.stream))} {
			r := NewEventReader(in)
			for i := range c.raw {
				e, err := r.Next()
				if err != nil || string(e.Raw) != c.raw[i] || string(e.Data) != c.data[i] {
					t.Fatalf("%s, %s: event %d is %q with data %q, %v", c.name, how, i, e.Raw, e.Data, err)
				}
			}
			if _, err := r.Next(); !errors.Is(err, c.end) {
				t.Errorf("%s, %s: ended with %v, want %v", c.name, how, err, c.end)
			}
		}
	}
}

// Whatever arrives, no byte but blank lines is lost or made up.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: a\n\n:\ndata: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var got bytes.Buffer
		for r := NewEventReader(bytes.NewReader(stream)); ; {
			e, err := r.Next()
			if err != nil {
				break
			}
			got.Write(e.Raw)
		}
		strip := func(b []byte) string { return strings.NewReplacer("\r", "", "\n", "").Replace(string(b)) }
		if !strings.HasPrefix(strip(stream), strip(got.Bytes())) {
			t.Fatalf("%q came out as %q", stream, got.Bytes())
		}
	})
}

func TestClientErrors(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body, _ := strings.Cut(answer, " ")
		w.Header().Set("retry-after", "3")
		w.WriteHeader(map[string]int{"200": 200, "429": 429, "402": 402}[status])
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	c := &Client{BaseURL: server.URL + "/v1/", Key: "hunter2"}
	for given, want := range map[string]string{
		`429 {"error":{"message":"slow down","code":"rate_limit_exceeded"}}`: "429 rate_limit_exceeded: slow down",
		`402 {"error":{"message":"buy","code":7,"param":"model"}}`:           "402 7: buy",
		`402 <html>`: "402 : Payment Required",
		`200 {`:      "unreadable answer", `200 {"choices":[]}`: "without choices",
	} {
		answer = given
		_, err := c.Chat(context.Background(), Ask{Model: "m"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %s", given, err, want)
		}
	}
	answer = `200 data: {"choices":[]}` + "\n\n"
	err := c.Stream(context.Background(), Ask{Model: "m"}, func(Reply) error { return nil })
	if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "cut") {
		t.Errorf("a stream without its end: %v", err)
	}
}
