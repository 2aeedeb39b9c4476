package gateway_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	sdkoption "github.com/openai/openai-go/v3/option"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/wallet"
)

// signing makes a rig whose gateway signs answers, and says with which key.
func signing(t *testing.T, options ...option) (*rig, *wallet.Key) {
	t.Helper()
	key, _ := newWallet(t)
	return newRig(t, append([]option{func(c *gateway.Config, d *gateway.Deps) { c.Host.SignAnswers, d.Proof.Key = true, key }}, options...)...), key
}

// asking sends a request that asks for a signature with this value of the header.
func (r *rig) asking(value, path, body string) *http.Response {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "POST", r.url+path, strings.NewReader(body))
	must(r.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set(wallet.SignHeader, value)
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(r.t, err)
	return resp
}

// signedBy is who signed these bytes as the answer to this request, for the rig's
// model, by the rules that docs/host-statement.md gives to outsiders.
func (r *rig) signedBy(signature, request, answer string) [20]byte {
	r.t.Helper()
	var s wallet.AnswerSignature
	if err := json.Unmarshal([]byte(signature), &s); err != nil {
		r.t.Fatalf("%q: %v", signature, err)
	}
	if s.Host != "api.example.com" || int64(s.Time) != r.now().Unix() {
		r.t.Errorf("signed for %s at %d", s.Host, s.Time)
	}
	by, err := s.Signer(wallet.Answer{
		ChainID: 8453, Registry: [20]byte{19: 1}, Model: [32]byte{31: 1}, Host: r.host,
		Request: sha256.Sum256([]byte(request)), Answer: sha256.Sum256([]byte(answer)), Time: s.Time,
	})
	must(r.t, err)
	return by
}

// parted separates a stream's events from its comments.
func parted(t *testing.T, body io.Reader) (events, signature string) {
	t.Helper()
	for in := bufio.NewReader(body); ; {
		line, err := in.ReadString('\n')
		if s, ok := strings.CutPrefix(line, wallet.SignatureComment); ok {
			signature = strings.TrimSuffix(s, "\n")
		} else if !strings.HasPrefix(line, ":") {
			events += line
		}
		if err == io.EOF {
			return events, signature
		}
		must(t, err)
	}
}

// Every kind of answer is signed for who asks, over exactly what was asked and
// answered; refusals are not.
func TestAnswersAreSigned(t *testing.T) {
	r, key := signing(t)
	for _, c := range wire {
		resp := r.asking("1", c.path, c.body)
		var answer, signature string
		if strings.HasPrefix(resp.Header.Get("content-type"), "text/event-stream") {
			answer, signature = parted(t, resp.Body)
		} else {
			raw, err := io.ReadAll(resp.Body)
			must(t, err)
			answer, signature = string(raw), resp.Header.Get(wallet.SignatureHeader)
		}
		must(t, resp.Body.Close())
		if by := r.signedBy(signature, c.body, answer); by != key.Address() {
			t.Errorf("%s %.60s: signed by %x", c.path, c.body, by)
		}
		if r.signedBy(signature, c.body+" ", answer) == key.Address() || r.signedBy(signature, c.body, answer+" ") == key.Address() {
			t.Errorf("%s: the signature covers other bytes too", c.path)
		}
	}
	resp := r.asking("1", "/v1/chat/completions", chatBody(`,"temperature":9`))
	defer resp.Body.Close()
	if resp.StatusCode != 400 || resp.Header.Get(wallet.SignatureHeader) != "" {
		t.Errorf("a refusal: %d, %v", resp.StatusCode, resp.Header)
	}
}

// Nobody gets a signature who did not ask, and none is given without the operator's
// leave or by a key whose delegation has ended.
func TestAnswersThatAreNotSigned(t *testing.T) {
	key, _ := newWallet(t)
	for name, c := range map[string]struct {
		ask    string
		change option
	}{
		"not asked":        {"", func(*gateway.Config, *gateway.Deps) {}},
		"asked otherwise":  {"yes", func(*gateway.Config, *gateway.Deps) {}},
		"by default":       {"1", func(c *gateway.Config, _ *gateway.Deps) { c.Host.SignAnswers = false }},
		"delegation ended": {"1", func(_ *gateway.Config, d *gateway.Deps) { d.Proof.Until = today.Add(-time.Second) }},
	} {
		r := newRig(t, func(c *gateway.Config, d *gateway.Deps) { c.Host.SignAnswers, d.Proof.Key = true, key }, c.change)
		for _, extra := range []string{"", `,"stream":true`} {
			resp := r.asking(c.ask, "/v1/chat/completions", chatBody(extra))
			events, signature := parted(t, resp.Body)
			if resp.StatusCode != 200 || events == "" || signature != "" || resp.Header.Get(wallet.SignatureHeader) != "" {
				t.Errorf("%s: %d %q %v", name, resp.StatusCode, signature, resp.Header)
			}
			must(t, resp.Body.Close())
		}
	}
}

// Heartbeats fall where they will and are no part of what is signed. A stream that is
// cut has no signature.
func TestSignedStreamWithHeartbeats(t *testing.T) {
	said := make(chan struct{})
	r, key := signing(t, func(c *gateway.Config, d *gateway.Deps) {
		c.Timeouts.Heartbeat = 10 * time.Millisecond
		d.Models["echo"] = gateway.Model{Backend: slow{d.Models["echo"].Backend, said}, Licenses: d.Models["echo"].Licenses}
	})
	body := chatBody(`,"stream":true`)
	resp := r.asking("1", "/v1/chat/completions", body)
	defer resp.Body.Close()
	var raw strings.Builder
	in := bufio.NewReader(resp.Body)
	for !strings.HasSuffix(raw.String(), ":\n") { // until a heartbeat has come the answer does not begin
		line, err := in.ReadString('\n')
		must(t, err)
		raw.WriteString(line)
	}
	close(said)
	raw.WriteString(rest(t, in))
	events, signature := parted(t, strings.NewReader(raw.String()))
	if r.signedBy(signature, body, events) != key.Address() || !strings.HasSuffix(events, "data: [DONE]\n\n") {
		t.Errorf("%q", raw.String())
	}
	cut := r.asking("1", "/v1/chat/completions", strings.Replace(body, "hi", "break", 1))
	defer cut.Body.Close()
	events, signature = parted(t, cut.Body)
	if !strings.Contains(events, "internal_error") || signature != "" {
		t.Errorf("a stream that was cut: %q, signed %q", events, signature)
	}
}

// slow answers when it is told to.
type slow struct {
	gateway.Backend
	told chan struct{}
}

func (s slow) Generate(ctx context.Context, c gateway.Call) (gateway.Answer, error) {
	a, err := s.Backend.Generate(ctx, c)
	return slowAnswer{a, s.told}, err
}

type slowAnswer struct {
	gateway.Answer
	told chan struct{}
}

func (a slowAnswer) Next() ([]byte, error) {
	<-a.told
	return a.Answer.Next()
}

// The official SDKs do not notice the signature of a stream.
func TestSDKsReadSignedStream(t *testing.T) {
	r, _ := signing(t)
	nodeSDK(t, "signed", map[string]any{
		"base": r.url + "/v1", "key": r.key, "body": json.RawMessage(chatBody(`,"stream":true`)), "headers": map[string]string{wallet.SignHeader: "1"}, "text": "HI",
	})
	client := sdk.NewClient(sdkoption.WithBaseURL(r.url+"/v1"), sdkoption.WithAPIKey(r.key), sdkoption.WithHeader(wallet.SignHeader, "1"))
	stream := client.Chat.Completions.NewStreaming(t.Context(), sdk.ChatCompletionNewParams{Model: "echo", Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage("hi")}})
	text := ""
	for stream.Next() {
		for _, c := range stream.Current().Choices {
			text += c.Delta.Content
		}
	}
	if stream.Err() != nil || text != "HI" {
		t.Errorf("%q, %v", text, stream.Err())
	}
}
