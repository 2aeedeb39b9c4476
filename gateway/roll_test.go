package gateway_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/policy"
)

// While gateways of this version and of the next share a store, this one serves keys that
// the next one wrote, and changes no more of them than it knows. (The cache of licenses
// is apart: each version has records of its own there.)
func TestRecordsOfTheNextVersion(t *testing.T) {
	r := newRig(t)
	token := r.signIn(r.wallet)
	made := r.post("/v1/keys", token, `{"name":"ci","rpm":100}`)
	client := statetest.Client(t, r.redis.Addr())
	name := "fealty:1:key:" + made.field("id")
	stored := func() string {
		text, err := client.Get(t.Context(), name).Result()
		must(t, err)
		return text
	}
	must(t, client.Set(t.Context(), name, strings.Replace(stored(), "{", `{"regions":["eu"],`, 1), 0).Err())
	if got := r.post("/v1/chat/completions", made.field("key"), chatBody("")); got.status != 200 {
		t.Errorf("a key of the next version: %d %s", got.status, got.body)
	}
	must(t, client.Set(t.Context(), name, strings.Replace(stored(), "{", `{"format":2,`, 1), 0).Err())
	must(t, client.Publish(t.Context(), "fealty:1:revoked", made.field("id")).Err()) // as whoever changes a key does
	until(t, "a key with bounds that cannot be read is not served", func() bool {
		got := r.post("/v1/chat/completions", made.field("key"), chatBody(""))
		return got.status == 503 && strings.Contains(got.body, "state_unavailable")
	})
	if got := r.do("PATCH", "/v1/keys/"+made.field("id"), token, `{"rpm":99}`); got.status != 200 {
		t.Errorf("narrowed: %d %s", got.status, got.body)
	}
	if got := r.do("DELETE", "/v1/keys/"+made.field("id"), token, ""); got.status != 200 {
		t.Errorf("revoked: %d %s", got.status, got.body)
	}
	for _, want := range []string{`"format":2`, `"regions":["eu"]`, `"rpm":99`, `"revoked":true`, `"name":"ci"`} {
		if got := stored(); !strings.Contains(got, want) {
			t.Errorf("no %s is left in %s", want, got)
		}
	}
	if got := r.post("/v1/chat/completions", made.field("key"), chatBody("")).refusal(); got.code != "credential_revoked" {
		t.Errorf("a revoked key of the next version: %+v", got)
	}
}

// mixed is a store with records of this version, of the one before and of the one after.
type mixed struct {
	t       *testing.T
	client  redis.UniversalClient
	subject [32]byte
	keys    []string // one of each version
	budget  string   // name of a counter
}

const spentBefore = 1000 // tokens, as the version before counted them

// mixFormats writes what other versions leave in a store: keys, a counter, a sum, and open
// records of gateways that died. The mark has no format, as the first version left it.
func mixFormats(r *rig) *mixed {
	t := r.t.(*testing.T)
	client := statetest.Client(t, r.redis.Addr())
	m := &mixed{t: t, client: client, subject: r.subject, keys: []string{r.key, r.apiKey(r.wallet), r.apiKey(r.wallet)}}
	ctx, now, subject := t.Context(), today.UTC(), hex.EncodeToString(r.subject[:])
	m.budget = fmt.Sprintf("fealty:1:used:{test:echo:%s}:d%d", subject, now.Unix()/86400)
	m.rewrite(m.keys[1], `"name":"test",`, ``)          // a field that the version before did not have
	m.rewrite(m.keys[2], `{`, `{"region":"somewhere",`) // one that this version does not have
	const usage = "fealty:1:{usage}:"
	open := func(request, more string) string {
		return fmt.Sprintf(`{"Time":%q,"Request":%q,"Subject":%s,"Model":"echo","PromptTokens":7,"CompletionTokens":5%s}`,
			now.Format(time.RFC3339Nano), request, strings.ReplaceAll(fmt.Sprint(r.subject), " ", ","), more)
	}
	_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HDel(ctx, "fealty:1:state", "format")
		p.IncrBy(ctx, m.budget, spentBefore)
		p.HSet(ctx, usage+"sum:"+subject+":"+now.Format(time.DateOnly), "k echo requests", 1, "k echo prompt", spentBefore, "k echo cached", 9)
		p.SAdd(ctx, usage+"gateways", "older", "newer")
		p.HSet(ctx, usage+"open:older", "req_1", open("req_1", ""))
		p.HSet(ctx, usage+"open:newer", "req_2", open("req_2", `,"Version":3,"Region":"somewhere"`))
		return nil
	})
	must(t, err)
	return m
}

// rewrite changes the record of a key.
func (m *mixed) rewrite(key, old, now string) {
	m.t.Helper()
	id, _, _ := strings.Cut(strings.TrimPrefix(key, "fk_"), "_")
	name := "fealty:1:key:" + id
	text := m.client.Get(m.t.Context(), name).Val()
	if !strings.Contains(text, old) {
		m.t.Fatalf("no %s in %q", old, text)
	}
	must(m.t, m.client.Set(m.t.Context(), name, strings.Replace(text, old, now, 1), 0).Err())
}

// hold wants all that was spent, by whatever version, in the ledger and in the budget.
func (m *mixed) hold(r *rig, answered int) {
	m.t.Helper()
	var requests, tokens int64
	must(m.t, r.ledger.Flush(m.t.Context()))
	until(m.t, "the records of the dead are ended", func() bool {
		totals, err := r.ledger.Totals(m.t.Context(), m.subject, today.AddDate(0, 0, -1), today)
		must(m.t, err)
		requests, tokens = 0, 0
		for _, t := range totals {
			requests, tokens = requests+t.Requests, tokens+t.PromptTokens+t.CompletionTokens
		}
		return requests >= int64(1+2+answered)
	})
	served := tokens - 2*12 // those of the dead were not counted against this budget
	if served <= spentBefore {
		m.t.Errorf("the ledger has %d tokens, of which %d are of before", served, spentBefore)
	}
	until(m.t, "the budget has all that the ledger has", func() bool { return m.spent() >= served })
}

// spent is the counter of the day.
func (m *mixed) spent() int64 {
	n, err := m.client.Get(m.t.Context(), m.budget).Int64()
	must(m.t, err)
	return n
}

// refused raises the format: nothing is served, the reason is told, and all comes back
// with the format.
func (m *mixed) refused(r *rig) {
	m.t.Helper()
	before := m.spent()
	format := func(n int) { must(m.t, m.client.HSet(m.t.Context(), "fealty:1:state", "format", n).Err()) }
	ask := func() reply { return r.post("/v1/chat/completions", m.keys[0], chatBody("")) }
	format(state.Format + 1)
	until(m.t, "a newer format is refused", func() bool { return ask().status != 200 })
	if got := ask().refusal(); got != (refusal{503, "state_unavailable", "", "true"}) {
		m.t.Errorf("with a newer format: %+v", got)
	}
	if got := r.do("GET", "/readyz", "", ""); got.status != 503 || !strings.Contains(got.body, "newer version") {
		m.t.Errorf("readyz: %d %s", got.status, got.body)
	}
	if n := m.spent(); n < before {
		m.t.Errorf("the budget had %d tokens spent and has %d", before, n)
	}
	format(state.Format)
	until(m.t, "it is served again", func() bool { return ask().status == 200 })
}

// fleet is gateways behind a client that does what a balancer does: it asks those that
// are ready, and asks another one if a connection fails before the answer has begun.
type fleet struct {
	mu   sync.Mutex
	rigs []*rig
}

func (f *fleet) set(rigs ...*rig) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rigs = rigs
}

func (f *fleet) pick(n int) *rig {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rigs[n%len(f.rigs)]
}

// Two gateways are replaced one after the other under load, on a store that has records
// of the version before and of the one after: no request fails, no stream is cut, nothing
// that was spent is forgotten. A format that they cannot read is refused, and left alone.
func TestRollingRestart(t *testing.T) {
	slowly := func(c *gateway.Config, _ *gateway.Deps) { c.Timeouts.Unready = 300 * time.Millisecond }
	first := newRig(t, slowly)
	records := mixFormats(first)
	more := func() *rig {
		r := newRigOn(t, first.redis, slowly)
		r.chain.set(first.subject, func(g *policy.Grant) { *g = license(everything) })
		r.key = first.key
		return r
	}
	second := more()
	f := &fleet{}
	f.set(first, second)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var answered atomic.Int64
	for i := range 4 {
		clients.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				f.ask(t, n, records.keys[n%len(records.keys)])
				answered.Add(1)
			}
		})
	}
	replace := func(old, kept *rig) *rig {
		fresh := more()
		f.set(old, kept, fresh)
		served := answered.Load()
		until(t, "all three serve", func() bool { return answered.Load() > served+30 })
		down := make(chan struct{})
		go func() { defer close(down); old.shutdown(patience) }()
		until(t, "it says that it is not ready", old.unready)
		f.set(kept, fresh) // as a balancer does
		<-down
		return fresh
	}
	third := replace(first, second)
	last := replace(second, third)
	stop()
	clients.Wait()
	if n := answered.Load(); n < 100 {
		t.Errorf("only %d requests: too few to tell", n)
	}
	records.hold(last, int(answered.Load()))
	records.refused(last)
}

// unready is what a balancer sees of a gateway that is to take no more requests.
func (r *rig) unready() bool {
	resp, err := http.Get(r.admin + "/readyz")
	if err != nil {
		return true // it does not listen any more
	}
	defer resp.Body.Close()
	return resp.StatusCode == 503
}

// ask sends one streamed request with a key, to another gateway if a connection fails.
func (f *fleet) ask(t *testing.T, n int, key string) {
	for attempt := range 5 {
		r := f.pick(n + attempt)
		req, err := http.NewRequestWithContext(context.Background(), "POST", r.url+"/v1/chat/completions", strings.NewReader(chatBody(`,"stream":true`)))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || err != nil || !strings.Contains(string(text), "[DONE]") {
			t.Errorf("status %d, %v: %s", resp.StatusCode, err, text)
		}
		return
	}
	t.Error("five gateways in a row could not be connected to")
}
