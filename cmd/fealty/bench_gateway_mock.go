package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway/bare"
)

// The mock upstream answers below /MODE/v1/chat/completions.
const (
	modeInstant = "instant" // at once
	modeSlow    = "slow"    // after mockDelay
	modeStream  = "sse"     // mockFrames events, mockDelay apart
	modeIdle    = "idle"    // one event, then silence until the client leaves
	modeSilent  = "silent"  // nothing until the client leaves

	mockDelay  = 20 * time.Millisecond
	mockFrames = 64
)

const mockReply = `{"id":"chatcmpl-8f14e45fceea167a5a36dedd4bea2543","object":"chat.completion","created":1790000000,"model":"bench",` +
	`"choices":[{"index":0,"message":{"role":"assistant","content":"The sky is blue because air scatters short waves of light more than long ones."},` +
	`"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":17,"total_tokens":48}}`

const mockHead = `{"id":"chatcmpl-8f14e45fceea167a5a36dedd4bea2543","object":"chat.completion.chunk","created":1790000000,"model":"bench",`

var (
	mockFrame = []byte("data: " + mockHead + `"choices":[{"index":0,"delta":{"content":" light"},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	mockEnd   = []byte("data: " + mockHead + `"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}` + "\n\n" +
		"data: " + mockHead + `"choices":[],"usage":{"prompt_tokens":31,"completion_tokens":64,"total_tokens":95}}` + "\n\n" +
		"data: [DONE]\n\n")
)

// newBenchMock and newBenchProxy are processes of 'fealty bench gateway'.
func newBenchMock() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "mock", Hidden: true, Args: noArgs, Short: "The upstream that 'bench gateway' asks",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := listenUntil(cmd.Context(), listen)
			if err != nil {
				return err
			}
			server := &http.Server{Handler: http.HandlerFunc(mock), ReadHeaderTimeout: time.Minute}
			if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address")
	return cmd
}

func newBenchProxy() *cobra.Command {
	var listen, upstream string
	cmd := &cobra.Command{
		Use: "proxy", Hidden: true, Args: noArgs, Short: "The bare reverse proxy that 'bench gateway' compares with",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := listenUntil(cmd.Context(), listen)
			if err != nil {
				return err
			}
			return bare.Serve(l, upstream)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address")
	cmd.Flags().StringVar(&upstream, "upstream", "", "address of the mock")
	return cmd
}

// listenUntil closes the listener when ctx ends.
func listenUntil(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err == nil {
		context.AfterFunc(ctx, func() { _ = l.Close() })
	}
	return l, err
}

func mock(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the connection can be used again
	if r.Method == http.MethodGet {
		return // a check of health
	}
	mode, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch mode {
	case modeSlow:
		time.Sleep(mockDelay)
		fallthrough
	case modeInstant:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, mockReply) // the client sees what is missing
	case modeSilent:
		<-r.Context().Done()
	case modeStream, modeIdle:
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
		mockStream(w, r, mode)
	default:
		http.Error(w, fmt.Sprintf("no mode %q", mode), http.StatusNotFound)
	}
}

func mockStream(w http.ResponseWriter, r *http.Request, mode string) {
	flush := http.NewResponseController(w).Flush
	if mode == modeIdle {
		_, _ = w.Write(mockFrame)
		_ = flush()
		<-r.Context().Done()
		return
	}
	tick := time.NewTicker(mockDelay)
	defer tick.Stop()
	for range mockFrames {
		<-tick.C
		if _, err := w.Write(mockFrame); err != nil || flush() != nil {
			return // the client left
		}
	}
	_, _ = w.Write(mockEnd)
}
