package gateway

import (
	"bytes"
	"net/http"

	"github.com/valyala/fasthttp"

	"github.com/fealty/fealty/internal/openai"
)

// framed refuses requests whose end another server could see elsewhere (RFC 9112,
// sections 2.2, 5.2 and 6.3): a server in front that reads them differently would take
// what one client sent for the request of another. fasthttp refuses most of them; it
// reads lines that end in a bare LF, folded lines, and a length beside chunks.
func framed(h *fasthttp.RequestHeader) *openai.Error {
	length, chunks := false, false
	for raw := h.RawHeaders(); len(raw) > 0; {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			break
		}
		line := raw[:end]
		raw = raw[end+1:]
		if end == 0 || line[end-1] != '\r' {
			return ambiguous("a line of its headers ends in a bare line feed")
		}
		switch line[0] {
		case ' ', '\t':
			return ambiguous("a header is folded over several lines")
		case 'c', 'C':
			length = length || isHeader(line, "content-length")
		case 't', 'T':
			chunks = chunks || isHeader(line, "transfer-encoding")
		}
	}
	if chunks && (length || h.ContentLength() != -1) {
		return ambiguous("its length is given in two ways")
	}
	return nil
}

func isHeader(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name))
}

func ambiguous(why string) *openai.Error {
	return &openai.Error{
		Status: http.StatusBadRequest, Code: "invalid_http",
		Message: "The request is not valid HTTP/1.1: " + why + ".",
	}
}
