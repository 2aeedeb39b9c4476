// Package bare is a reverse proxy of fasthttp's and nothing else: no credential, no
// limit, no log. `fealty bench gateway` and its readers measure the gateway against
// it; it is not for serving. Start with [Serve].
package bare

import (
	"errors"
	"net"
	"net/http"

	"github.com/valyala/fasthttp"
)

// Serve passes requests on to the server at the address until the listener closes.
// Answers of requests that accept text/event-stream are passed on as they come.
func Serve(l net.Listener, upstream string) error {
	whole := &fasthttp.HostClient{Addr: upstream, MaxConns: 1 << 16, NoDefaultUserAgentHeader: true}
	streamed := &fasthttp.HostClient{Addr: upstream, MaxConns: 1 << 16, NoDefaultUserAgentHeader: true, StreamResponseBody: true}
	server := &fasthttp.Server{
		NoDefaultServerHeader: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			client := whole
			if string(ctx.Request.Header.Peek("Accept")) == "text/event-stream" {
				client = streamed
				ctx.Response.ImmediateHeaderFlush = true
			}
			if err := client.Do(&ctx.Request, &ctx.Response); err != nil {
				ctx.Error(err.Error(), http.StatusBadGateway)
			}
		},
	}
	err := server.Serve(l)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
