package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxReply bounds what the client reads of one answer, in bytes.
const maxReply = 8 << 20

// Client asks an OpenAI-style server. The zero values of its fields mean no key
// and the default HTTP client.
type Client struct {
	BaseURL string // ends in /v1, as the official clients want it
	Key     string // sent as a bearer token; never shown
	HTTP    *http.Client
}

// Ask is what a [Client] sends. Zero pointers are left out.
type Ask struct {
	Model         string         `json:"model"`
	Messages      []Message      `json:"messages,omitempty"`
	Prompt        string         `json:"prompt,omitempty"`
	MaxTokens     int            `json:"max_tokens,omitempty"`
	Temperature   *float64       `json:"temperature,omitempty"`
	Seed          *int64         `json:"seed,omitempty"`
	Stop          []string       `json:"stop,omitempty"`
	Stream        bool           `json:"stream,omitempty"`
	StreamOptions *StreamOptions `json:"stream_options,omitempty"`
}

// StreamOptions asks for the usage chunk.
type StreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// Chat asks for one whole chat answer.
func (c *Client) Chat(ctx context.Context, ask Ask) (*Reply, error) {
	ask.Stream, ask.StreamOptions = false, nil
	return c.whole(ctx, Chat.Path(), ask)
}

// Complete asks for one whole text completion.
func (c *Client) Complete(ctx context.Context, ask Ask) (*Reply, error) {
	ask.Stream, ask.StreamOptions = false, nil
	return c.whole(ctx, Completion.Path(), ask)
}

// Models lists what the server offers to this key.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var list ModelList
	err := c.read(ctx, http.MethodGet, "/models", nil, &list)
	return list.Data, err
}

// Text is the answer's text, of the first choice.
func (r *Reply) Text() string {
	switch {
	case len(r.Choices) == 0:
		return ""
	case r.Choices[0].Message != nil:
		return r.Choices[0].Message.Content
	case r.Choices[0].Text != nil:
		return *r.Choices[0].Text
	}
	return ""
}

func (c *Client) whole(ctx context.Context, path string, ask Ask) (*Reply, error) {
	var reply Reply
	if err := c.read(ctx, http.MethodPost, path, ask, &reply); err != nil {
		return nil, err
	}
	if len(reply.Choices) == 0 {
		return nil, fmt.Errorf("%s%s answered without choices", c.BaseURL, path)
	}
	return &reply, nil
}

// Stream asks for a streamed chat answer and calls each with every chunk, the
// usage chunk included. A stream that ends without [DONE] is an error.
func (c *Client) Stream(ctx context.Context, ask Ask, each func(Reply) error) error {
	ask.Stream, ask.StreamOptions = true, &StreamOptions{IncludeUsage: true}
	resp, err := c.send(ctx, http.MethodPost, Chat.Path(), ask)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events := NewEventReader(resp.Body)
	for {
		event, err := events.Next()
		if err != nil {
			return fmt.Errorf("the stream was cut before %s: %w", Done, err)
		}
		if string(event.Data) == Done {
			return nil
		}
		if event.Data == nil {
			continue
		}
		if err := chunk(event.Data, each); err != nil {
			return err
		}
	}
}

func chunk(data []byte, each func(Reply) error) error {
	var next struct {
		Reply
		Error *wireError `json:"error"`
	}
	if err := json.Unmarshal(data, &next); err != nil {
		return fmt.Errorf("unreadable chunk: %w", err)
	}
	if next.Error != nil {
		return next.Error.as(http.StatusOK)
	}
	return each(next.Reply)
}

func (c *Client) read(ctx context.Context, method, path string, body, into any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return fmt.Errorf("reading the answer of %s%s: %w", c.BaseURL, path, err)
	}
	if len(raw) > maxReply {
		return fmt.Errorf("the answer of %s%s is larger than %d bytes", c.BaseURL, path, maxReply)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("unreadable answer of %s%s: %w", c.BaseURL, path, err)
	}
	return nil
}

// send returns an answer of status 200, whose body the caller closes. Any other
// status is an *[Error].
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.BaseURL, "/")+path, payload)
	if err != nil {
		return nil, errors.New("the base URL cannot be read: give one like http://127.0.0.1:8080/v1")
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, ReadError(resp)
}

func (c *Client) client() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return http.DefaultClient
}

type wireError struct {
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Code    any     `json:"code"` // some servers send a number
}

func (w *wireError) as(status int) *Error {
	e := &Error{Status: status, Message: w.Message}
	if w.Code != nil {
		e.Code = fmt.Sprint(w.Code)
	}
	if w.Param != nil {
		e.Param = *w.Param
	}
	return e
}

// ReadError reads the error that a server answered with. Raw holds its body if
// that has the OpenAI shape.
func ReadError(resp *http.Response) *Error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what is readable is what there is to say
	var body struct {
		Error *wireError `json:"error"`
	}
	e := &Error{Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
	if json.Unmarshal(raw, &body) == nil && body.Error != nil {
		e = body.Error.as(resp.StatusCode)
		e.Raw = raw
	}
	e.Retry = resp.Header.Get("x-should-retry") != "false" &&
		(resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError)
	if seconds, err := strconv.ParseFloat(resp.Header.Get("retry-after"), 64); err == nil && seconds > 0 && seconds < 1e6 {
		e.RetryAfter = time.Duration(seconds * float64(time.Second))
	}
	return e
}
