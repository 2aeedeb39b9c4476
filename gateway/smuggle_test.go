package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smuggled stands behind each attack: if the server reads the attack's end where a
// front server would not, this is answered as a request of its own.
const smuggled = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: smuggled\r\n\r\n"

// exchange sends bytes over one connection and returns the status of each response,
// and whether the server closed the connection.
func (r *rig) exchange(text string) (statuses []int, closed bool) {
	r.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(r.t, err)
	defer c.Close()
	must(r.t, c.SetDeadline(time.Now().Add(patience)))
	go func() { _, _ = io.WriteString(c, text) }()
	in := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			reset := errors.Is(err, syscall.ECONNRESET)
			return statuses, reset || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
}

// Requests whose end two servers could see in different places are answered once, with
// a 400, and the connection is closed: nothing behind them is a request.
func TestRequestSmuggling(t *testing.T) {
	r := newRig(t)
	const body = `{"model":"echo","messages":[{"role":"user","content":"hi"}]}`
	line := "POST /v1/chat/completions HTTP/1.1\r\n"
	common := "Host: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + r.key + "\r\n"
	head := line + common
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	for name, text := range map[string]string{
		"CL.TE":                     head + length + "Transfer-Encoding: chunked\r\n\r\n" + chunked,
		"TE.CL":                     head + "Transfer-Encoding: chunked\r\n" + length + "\r\n" + chunked,
		"CL.0":                      head + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"TE.TE":                     head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked,
		"TE twice":                  head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"TE list":                   head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked,
		"TE identity":               head + "Transfer-Encoding: identity\r\n" + length + "\r\n" + body,
		"TE unknown":                head + "Transfer-Encoding: xchunked\r\n\r\n" + chunked,
		"TE behind a tab":           head + "Transfer-Encoding:\tchunked\r\n" + length + "\r\n" + chunked,
		"TE behind a vertical tab":  head + "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunked,
		"TE in quotes":              head + "Transfer-Encoding: \"chunked\"\r\n\r\n" + chunked,
		"TE before a colon's space": head + "Transfer-Encoding : chunked\r\n\r\n" + chunked,
		"TE in HTTP/1.0":            strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n" + chunked,
		"two lengths, equal":        head + length + length + "\r\n" + body,
		"two lengths, other":        head + length + "Content-Length: 0\r\n\r\n" + body,
		"length list":               head + fmt.Sprintf("Content-Length: %d, %d\r\n\r\n", len(body), len(body)) + body,
		"length with a sign":        head + fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(body)) + body,
		"negative length":           head + "Content-Length: -1\r\n\r\n" + body,
		"hexadecimal length":        head + fmt.Sprintf("Content-Length: 0x%x\r\n\r\n", len(body)) + body,
		"length over 64 bits":       head + "Content-Length: 18446744073709551617\r\n\r\n" + body,
		"length that is empty":      head + "Content-Length:\r\n\r\n" + body,
		"length before a space":     head + strings.Replace(length, ":", " :", 1) + "\r\n" + body,
		"obs-fold":                  head + "X-A: b\r\n c\r\n" + length + "\r\n" + body,
		"obs-fold of TE":            head + "Transfer-Encoding:\r\n chunked\r\n" + length + "\r\n" + chunked,
		"space before first header": line + " X-A: b\r\n" + common + length + "\r\n" + body,
		"bare LF in headers":        head + "X-A: b\n" + length + "\r\n" + body,
		"bare LF everywhere":        strings.ReplaceAll(head+length+"\r\n", "\r\n", "\n") + body,
		"bare LF hides a header":    head + "X-A: b\nTransfer-Encoding: chunked\r\n" + length + "\r\n" + chunked,
		"bare CR in a value":        head + "X-A: b\rTransfer-Encoding: chunked\r\n" + length + "\r\n" + body,
		"NUL in a value":            head + "X-A: b\x00c\r\n" + length + "\r\n" + body,
		"NUL in a name":             head + "X-\x00A: b\r\n" + length + "\r\n" + body,
		"no colon":                  head + "X-A\r\n" + length + "\r\n" + body,
		"chunk size with a sign":    head + "Transfer-Encoding: chunked\r\n\r\n+" + chunked,
		"chunk size with 0x":        head + "Transfer-Encoding: chunked\r\n\r\n0x" + chunked,
		"chunk size too large":      head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + body + "\r\n0\r\n\r\n",
		"chunk size that is empty":  head + "Transfer-Encoding: chunked\r\n\r\n\r\n" + body + "\r\n0\r\n\r\n",
		"chunk ends in LF":          head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\n%s\r\n0\r\n\r\n", len(body), body),
		"chunk longer than said":    head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body)-2, body),
		"LF in a chunk extension":   head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x;a=\n%s\r\n0\r\n\r\n", len(body), body),
		"TE in a trailer":           head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\nContent-Length: 5\r\n\r\n", len(body), body),
		"two hosts":                 head + "Host: y\r\n" + length + "\r\n" + body,
		"no host":                   strings.Replace(head, "Host: x\r\n", "", 1) + length + "\r\n" + body,
		"a third word":              strings.Replace(head, " HTTP/1.1", " x HTTP/1.1", 1) + length + "\r\n" + body,
		"HTTP/0.9":                  "POST /v1/chat/completions\r\n" + common + length + "\r\n" + body,
		"HTTP/2 preface":            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"method with a tab":         strings.Replace(head, "POST ", "POST\t", 1) + length + "\r\n" + body,
		"NUL in the path":           strings.Replace(head, "chat", "ch\x00at", 1) + length + "\r\n" + body,
	} {
		before := r.engine.count()
		statuses, closed := r.exchange(text + smuggled)
		if len(statuses) != 1 || statuses[0] != http.StatusBadRequest || !closed {
			t.Errorf("%s: statuses %v, closed %t; want one 400 and a closed connection", name, statuses, closed)
		}
		if r.engine.count() != before {
			t.Errorf("%s: it was generated", name)
		}
	}
	// Two readers agree about these: a request each.
	for name, text := range map[string]string{
		"a length":        head + length + "\r\n" + body,
		"chunks":          head + "Transfer-Encoding: chunked\r\n\r\n" + chunked,
		"chunk extension": head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\n\r\n", len(body), body),
	} {
		statuses, _ := r.exchange(text + strings.Replace(smuggled, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		if fmt.Sprint(statuses) != "[200 200]" {
			t.Errorf("%s: statuses %v, want two of 200", name, statuses)
		}
	}
}
