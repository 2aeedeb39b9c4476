package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
)

// Asker puts the questions of an assignment to the endpoint, in order, and writes each
// into a journal. It implements embed.Answerer: what the journal holds already is
// answered from it.
type Asker struct {
	Plan    *Plan
	Items   []Item
	Journal *Journal
	Key     string // credential for the endpoint; "" for none
	Told    func(done, total int)

	at    int
	fail  func(error) // ends the run: the journal cannot be written
	fresh bool        // a question was sent by this process
	peer  lastPeer
	http  *http.Client
}

// longestWait bounds what a host that limits rates can make an auditor wait for one try.
const longestWait = 2 * time.Minute

const largestAnswer = 4096 // bytes kept of an answer

// Answer implements embed.Answerer.
func (a *Asker) Answer(ctx context.Context, question string) (string, error) {
	if a.at >= len(a.Items) || a.Items[a.at].Question != question {
		return "", fmt.Errorf("question %d is not the one that the order names", a.at)
	}
	at := a.at
	a.at++
	if at >= len(a.Journal.done) {
		if err := a.ask(ctx, a.Items[at]); err != nil {
			if ctx.Err() == nil {
				a.fail(err)
			}
			return "", err
		}
	}
	if a.Told != nil {
		a.Told(at+1, len(a.Items))
	}
	e := a.Journal.done[at]
	if e.Error != "" {
		return "", errors.New(e.Error)
	}
	return e.Answer, nil
}

// ask puts one question and notes how it ended.
func (a *Asker) ask(ctx context.Context, item Item) error {
	if a.fresh {
		if err := sleep(ctx, userPause(a.Plan.Asking.Pace)); err != nil {
			return err
		}
	}
	a.fresh = true
	e := Entry{Key: item.Key, Question: item.Question, Asked: now()}
	if err := a.Journal.begin(e); err != nil {
		return err
	}
	reply, attempts, err := a.try(ctx, item.Question)
	if ctx.Err() != nil && reply == nil {
		return errors.Join(ctx.Err(), a.Journal.abandon(item.Key))
	}
	e.Ended, e.Attempts = now(), attempts
	if err != nil {
		e.Error = cut(clean(err))
	} else if e.ID, e.Answer, e.Signed = cut(reply.ID), answerOf(reply), a.peer.signed; e.Answer == "" {
		e.Error = "the answer is empty"
	}
	if p, ok := a.peer.get(); ok {
		if err := a.Journal.met(p); err != nil {
			return err
		}
	}
	return a.Journal.finish(e)
}

// try repeats a question as long as no answer comes: a refusal that says that it is
// worth it, or no reply at all. The first answer is the one that counts.
func (a *Asker) try(ctx context.Context, question string) (reply *openai.Reply, attempts int, err error) {
	how := a.Plan.Asking
	for attempts = 1; ; attempts++ {
		reply, err = a.once(ctx, question)
		wait, again := retry(err, attempts)
		if !again || attempts >= how.Attempts || ctx.Err() != nil {
			return reply, attempts, err
		}
		if sleep(ctx, wait) != nil {
			return nil, attempts, err
		}
	}
}

// retry says whether the same request may succeed later, and when.
func retry(err error, attempt int) (time.Duration, bool) {
	var refused *openai.Error
	var network net.Error
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &refused):
		if refused.RetryAfter > 0 {
			return min(refused.RetryAfter, longestWait), refused.Retry
		}
		return time.Duration(attempt) * time.Second, refused.Retry
	case errors.As(err, &network):
		return time.Duration(attempt) * time.Second, true
	}
	return 0, false
}

func (a *Asker) once(ctx context.Context, question string) (*openai.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.Plan.Asking.Timeout*float64(time.Second)))
	defer cancel()
	return a.client().Chat(a.peer.watch(ctx), a.Plan.Ask(question))
}

// Preflight sends one ordinary question, so that a wrong credential or model name is
// found before any key is burnt.
func (a *Asker) Preflight(ctx context.Context) error {
	if _, err := a.once(ctx, "Hello, how are you today?"); err != nil {
		var refused *openai.Error
		if errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests {
			return fmt.Errorf("the endpoint refuses an ordinary question: %s; look at --model and --api-key. No key was asked", clean(err))
		}
	}
	return nil
}

// client does not follow redirects: who answers must be who was asked.
func (a *Asker) client() *openai.Client {
	if a.http == nil {
		a.http = Dialling(a.Plan.Connect)
		a.http.Transport, a.peer.sign = &a.peer, a.Plan.Sign
		a.peer.next = Dialling(a.Plan.Connect).Transport
	}
	return &openai.Client{BaseURL: a.Plan.Endpoint, Key: a.Key, HTTP: a.http}
}

// EndpointClient asks an endpoint at a URL, connecting to an address of [Dialling].
func EndpointClient(url, connect, credential string) *openai.Client {
	return &openai.Client{BaseURL: url, Key: credential, HTTP: Dialling(connect)}
}

// Dialling is a client that connects to an address, host:port, whatever DNS says; "" is
// an ordinary one. It does not follow redirects.
func Dialling(address string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if address != "" {
		var d net.Dialer
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// lastPeer remembers who answered last, and the signature of that answer. Questions are
// asked one after the other.
type lastPeer struct {
	next   http.RoundTripper
	sign   bool          // ask for signatures
	signed *SignedAnswer // nil: the last answer had none
	mu     sync.Mutex
	peer   Peer
}

func (l *lastPeer) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.peer.Address = info.Conn.RemoteAddr().String()
	}})
}

// RoundTrip implements http.RoundTripper.
func (l *lastPeer) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.signed = nil; l.sign {
		r = r.Clone(r.Context())
		r.Header.Set(wallet.SignHeader, "1")
	}
	resp, err := l.next.RoundTrip(r)
	if err == nil && l.sign {
		l.signed = keepSigned(resp)
	}
	if err == nil && resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		sum := sha256.Sum256(resp.TLS.PeerCertificates[0].Raw)
		l.mu.Lock()
		l.peer.Certificate = hex.EncodeToString(sum[:])
		l.mu.Unlock()
	}
	return resp, err
}

func (l *lastPeer) get() (Peer, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer, l.peer != Peer{}
}

// userPause is log-normal, as pauses between a person's messages are, with this mean.
func userPause(mean float64) time.Duration {
	const sigma = 0.8
	pause := mean * math.Exp(sigma*rand.NormFloat64()-sigma*sigma/2)
	return time.Duration(min(pause, 20*mean) * float64(time.Second))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clean is an error as a transcript may show it: a timeout is told as one.
func clean(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no whole answer within the time"
	}
	return err.Error()
}

// answerOf is what a transcript keeps of an answer: "" if it says nothing.
func answerOf(r *openai.Reply) string {
	text := r.Text()
	if strings.TrimSpace(text) == "" {
		return ""
	}
	return cut(text)
}

// cut keeps valid UTF-8 of bounded length.
func cut(text string) string {
	if len(text) > largestAnswer {
		text = text[:largestAnswer]
	}
	return strings.ToValidUTF8(text, "�")
}
