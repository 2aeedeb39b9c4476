package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/policy"
)

// received counts what one client got of an answer: of the echo engine a letter is a
// token. leave > 0: it hangs up after so many events.
func (r *rig) received(words string, stream bool, leave int) (tokens int, whole bool, status int) {
	body := fmt.Sprintf(`{"model":"echo","stream":%t,"messages":[{"role":"user","content":%q}]}`, stream, words)
	resp := r.send("POST", "/v1/chat/completions", r.key, body)
	defer resp.Body.Close()
	if !stream || resp.StatusCode != 200 {
		text, err := io.ReadAll(resp.Body)
		must(r.t, err)
		return strings.Count(string(text), "X"), err == nil, resp.StatusCode
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		tokens += strings.Count(lines.Text(), "X")
		if tokens > 0 && tokens == leave {
			return tokens, false, resp.StatusCode
		}
		whole = whole || lines.Text() == "data: [DONE]"
	}
	return tokens, whole, resp.StatusCode
}

// The sum of the ledger is what counting clients received: exactly, where they read
// to the end; where they left, at least that.
func TestLedgerEqualsWhatClientsReceived(t *testing.T) {
	r := newRig(t)
	random := rand.New(rand.NewPCG(1, 2))
	var whole, least, most, wholes atomic.Int64
	var all sync.WaitGroup
	const clients = 120
	for i := range clients {
		n, stream, leave := 1+random.IntN(40), random.IntN(3) > 0, 0
		words := strings.Repeat("x", n)
		switch random.IntN(4) {
		case 0:
			leave = 1 + random.IntN(n)
		case 1:
			words += " break" // the engine fails after two tokens
		}
		all.Go(func() {
			got, done, status := r.received(words, stream, leave)
			switch {
			case done && status == 200:
				whole.Add(int64(len(words)))
				wholes.Add(1)
			case status == 200:
				least.Add(int64(got))
				most.Add(int64(len(words)))
			case status != 500:
				t.Errorf("client %d: status %d", i, status)
			default: // not streamed and broken: nothing was received
				most.Add(int64(len(words)))
			}
		})
	}
	all.Wait()
	r.settled()
	var requests int
	var ok, others int64
	must(t, r.ledger.Flush(t.Context()))
	must(t, r.ledger.Entries(t.Context(), r.now(), func(e usage.Entry) error {
		if requests++; e.Status == "ok" {
			ok += int64(e.CompletionTokens)
		} else {
			others += int64(e.CompletionTokens)
		}
		return nil
	}))
	// A client that left may have left behind an answer that had just ended.
	if requests != clients || ok < whole.Load() || ok+others < whole.Load()+least.Load() || ok+others > whole.Load()+most.Load() {
		t.Errorf("%d requests, %d tokens of whole answers, %d of others; clients received %d, and %d to %d of answers that they left",
			requests, ok, others, whole.Load(), least.Load(), most.Load())
	}
	if wholes.Load() < clients/4 || least.Load() == 0 {
		t.Errorf("the test is not varied: %d whole answers, %d tokens of others", wholes.Load(), least.Load())
	}
}

// 200 requests at once over three gateways on a budget of ten: ten are answered.
func TestBudgetOfTen(t *testing.T) {
	first := newRig(t)
	rigs := []*rig{first, newRigOn(t, first.redis), newRigOn(t, first.redis)}
	for _, r := range rigs {
		r.key = first.key
		r.chain.set(first.subject, func(g *policy.Grant) { *g = license(everything); g.Plan = policy.Plan{RPM: 10} })
	}
	var statuses [600]atomic.Int32
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() { _, _, status := rigs[i%3].received("x", false, 0); statuses[status].Add(1) })
	}
	all.Wait()
	if ok, over := statuses[http.StatusOK].Load(), statuses[http.StatusTooManyRequests].Load(); ok != 10 || over != 190 {
		t.Errorf("%d answered, %d over the limit; want 10 and 190", ok, over)
	}
}
