package licensecheck

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// The failure table, row by row, on a chain that dies. (Without Redis, whose clock the test cannot move.)
func TestChainDies(t *testing.T) {
	t.Parallel()
	s := newStage(t, startEmbedded(t), nil, nil)
	licensed, revoked, stranger := s.somebody(), s.somebody(), s.somebody()
	s.grant(revoked)
	s.covered(s.did(s.owner.Revoke(s.context(), s.model, revoked)).Block)
	s.covered(s.grant(licensed).Block)
	s.wants(licensed, policy.Allowed)
	s.wants(revoked, policy.LicenseRevoked)
	s.wants(stranger, policy.NoLicense)
	s.chain.kill()
	s.clock.stop()

	s.wants(licensed, policy.Allowed)
	s.clock.advance(negativeAge + time.Second)
	s.wants(licensed, policy.Allowed)
	for _, who := range [][32]byte{stranger, revoked, s.somebody()} {
		s.wantsUnavailable(who) // a no that nobody confirms is no no
		s.clock.advance(cooldown)
	}
	if g, _ := s.checker.Check(s.context(), s.model, licensed); g.Stale {
		t.Error("a record younger than soft is called stale")
	}
	s.clock.advance(s.checker.options.Soft)
	if g, err := s.checker.Check(s.context(), s.model, licensed); err != nil || !g.Stale {
		t.Errorf("between soft and hard: %+v, %v; want a stale grant", g, err)
	}
	s.wants(licensed, policy.Allowed)
	s.clock.advance(s.checker.options.Hard)
	s.wantsUnavailable(licensed)
}

// A license that ends while the chain is away ends all the same.
func TestStaleEndsWithTheWindow(t *testing.T) {
	t.Parallel()
	s := newStage(t, startEmbedded(t), nil, func(o *Options) { o.Hard = 24 * time.Hour })
	who := s.somebody()
	s.covered(s.grant(who).Block) // for an hour
	s.wants(who, policy.Allowed)
	s.chain.kill()
	s.clock.advance(45 * time.Minute)
	s.wants(who, policy.Allowed)
	s.clock.advance(30 * time.Minute)
	s.wantsUnavailable(who)
}

func TestRedisDiesAndComesBack(t *testing.T) {
	t.Parallel()
	redis := startRealRedis(t)
	s := newStage(t, startEmbedded(t), redis, nil)
	before, after := s.somebody(), s.somebody()
	s.grant(before)
	s.soon(before, policy.Allowed)
	redis.kill()

	s.wants(before, policy.Allowed)
	s.wants(s.somebody(), policy.NoLicense)
	s.grant(after)
	s.soon(after, policy.Allowed)
	s.did(s.owner.Revoke(s.context(), s.model, before))
	s.soon(before, policy.LicenseRevoked)
	if s.checker.Stats().CacheErrors == 0 {
		t.Error("no error of the cache was counted")
	}

	back := startRealRedisAt(t, redis.port())
	s.clock.advance(2 * cooldown)
	late := s.somebody()
	s.grant(late)
	client := back.client(t)
	eventually(t, generous, "records are in the new Redis", func() bool {
		s.wants(late, policy.Allowed)
		s.says(s.somebody())
		return client.DBSize(t.Context()).Val() > 0 || !s.reput(late)
	})
	s.wants(before, policy.LicenseRevoked)
}

// reput makes the checker pass a record on again, as the next reading would.
func (s *stage) reput(who [32]byte) bool {
	r, ok := s.checker.book.settle(key{s.model, who})
	if ok {
		s.checker.pass(key{s.model, who}, r)
	}
	return ok
}

// A gateway that starts finds what others left in Redis, and follows it from there.
func TestRedisServesANewGateway(t *testing.T) {
	t.Parallel()
	redis := startRealRedis(t)
	s := newStage(t, startEmbedded(t), redis, nil)
	who := s.somebody()
	s.grant(who)
	s.soon(who, policy.Allowed)
	s.inRedis(who)
	s.wants(s.somebody(), policy.NoLicense)
	if n, err := redis.client(t).DBSize(t.Context()).Result(); n != 1 || err != nil {
		t.Errorf("Redis holds %d records (%v); a stranger's has no place there", n, err)
	}

	s.checker = s.open(nil)
	s.wants(who, policy.Allowed)
	if got := s.checker.Stats(); got.CacheHits != 1 || got.ChainReads != 0 {
		t.Errorf("the new gateway's first answer came from %+v, want one cache hit", got)
	}
	s.did(s.owner.Revoke(s.context(), s.model, who))
	s.soon(who, policy.LicenseRevoked)
	s.checker = s.open(nil)
	s.wants(who, policy.LicenseRevoked)
}

// What is in Redis is what was put there, and older readings do not replace newer ones.
func TestCacheKeepsTheNewest(t *testing.T) {
	t.Parallel()
	for _, start := range []func(testing.TB) *testRedis{startMiniredis, startRealRedis} {
		o := Options{Hard: 5 * time.Minute, redisWait: generous, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		redis := start(t)
		c, err := openCache(redis.url, o, node.Identity{ChainID: 1}, &counters{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.close() })
		yes := policy.License{Status: policy.Active, Seq: 1, NotAfter: 1, Scope: 1}
		k, at := key{model: [32]byte{1}}, func(number uint64) record {
			return record{grant: policy.Grant{Final: yes, Latest: yes, Plan: policy.Plan{RPM: 3}}, final: mark{number, [32]byte{7}}, latest: mark{number, [32]byte{7}}}
		}
		eventually(t, generous, "the connection stands", func() bool {
			c.store(write{k, at(8)})
			c.store(write{k, at(7)})
			got, ok := c.get(t.Context(), k)
			if ok && got != at(8) {
				t.Errorf("stored %+v, got %+v", at(8), got)
			}
			return ok
		})
		if left := redis.client(t).PTTL(t.Context(), c.name(k)).Val(); left <= 0 || left > o.Hard {
			t.Errorf("the record stays for %v, want %v at most", left, o.Hard)
		}
	}
}

// Whatever stands in Redis that is not a record of ours, or is one of the future, is a miss.
func TestBadCacheRecordsAreMisses(t *testing.T) {
	t.Parallel()
	redis := startMiniredis(t)
	s := newStage(t, startEmbedded(t), redis, func(o *Options) { o.CacheKey = []byte("of this deployment") })
	who := s.somebody()
	client := redis.client(t)
	yes := policy.License{Status: policy.Active, NotAfter: time.Now().Add(time.Hour).Unix(), Scope: policy.ScopeChat, Seq: 9}
	top, _, ok := s.checker.book.newest()
	if !ok {
		t.Fatal("no block is covered")
	}
	here := mark{top.Number, top.Hash}
	forged := record{grant: policy.Grant{Final: yes, Latest: yes}, final: here, latest: here}
	orphan := forged
	orphan.latest.hash, orphan.final.hash = [32]byte{1}, [32]byte{1}
	ours, stranger := s.checker.cache, &cache{}
	name, other := ours.name(key{s.model, who}), ours.name(key{s.model, s.somebody()})
	for what, text := range map[string]string{
		"empty": "", "short": "123", "garbage": strings.Repeat("x", 500), "cut": ours.encode(name, forged)[:100],
		"no blocks":                      ours.encode(name, record{grant: forged.grant}),
		"block that the chain never had": ours.encode(name, orphan),
		"without our secret":             stranger.encode(name, forged),
		"of another wallet":              ours.encode(other, forged),
		"newer than it was":              strings.Repeat("f", headLen) + ours.encode(name, forged)[headLen:],
	} {
		t.Run(what, func(t *testing.T) {
			s.t = t
			if err := client.Set(t.Context(), name, text, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			s.checker.book.forgetRecord(key{s.model, who})
			s.wants(who, policy.NoLicense)
		})
	}
}

func (b *book) forgetRecord(k key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records.remove(k)
}

// A chain that starts anew at the same addresses is another chain: nothing known of the old one counts.
func TestChainRestartsFromGenesis(t *testing.T) {
	t.Parallel()
	port := servertest.Port(t)
	first := startAnvilAt(t, port)
	s := newStage(t, first, startRealRedis(t), nil)
	who, model, registryAt := s.somebody(), s.model, s.owner.Address()
	s.grant(who)
	s.soon(who, policy.Allowed)
	first.kill()

	s.chain = startAnvilAt(t, port)
	s.deploy()
	if s.owner.Address() != registryAt || s.model != model {
		t.Fatal("the new chain does not repeat the old one's addresses: this test shows nothing")
	}
	eventually(t, generous, "the old grant is gone", func() bool {
		got, err := s.says(who)
		return err == nil && got == policy.NoLicense
	})
	s.grant(who)
	s.soon(who, policy.Allowed)
}

// Reorganisations take back what they remove: a grant, and a revocation.
func TestReorganisation(t *testing.T) {
	t.Parallel()
	s := newStage(t, startAnvil(t), startRealRedis(t), nil)
	granted, revoked := s.somebody(), s.somebody()
	before := s.grant(revoked).Block
	s.soon(revoked, policy.Allowed)
	s.covered(before + 1)
	s.did(s.owner.Revoke(s.context(), s.model, revoked))
	s.soon(revoked, policy.LicenseRevoked)
	block := s.grant(granted).Block
	s.soon(granted, policy.Allowed)
	s.heard(block)

	told := make(chan [32]byte, 16)
	defer s.checker.OnChange(func(_, subject [32]byte) { told <- subject })()
	s.rpc(nil, "evm_setIntervalMining", 0) // a block more, and the depth would be one too few
	head, _, err := s.owner.Block(s.context())
	if err != nil {
		t.Fatal(err)
	}
	s.rpc(nil, "anvil_reorg", head-before, []any{})
	s.rpc(nil, "evm_setIntervalMining", 1)
	s.finally(granted, policy.NoLicense)
	s.finally(revoked, policy.Allowed)
	if a, b := <-told, <-told; a == b || a != granted && b != granted || a != revoked && b != revoked {
		t.Errorf("told of %x and %x, want both whose change was undone", a[:4], b[:4])
	}
	if s.checker.Stats().Reorgs == 0 {
		t.Error("no reorganisation was counted")
	}
}

// every answers each call of a request, single or batched, with this result.
func every(result string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		reply := func(id json.RawMessage) string { return `{"jsonrpc":"2.0","id":` + string(id) + `,` + result + `}` }
		w.Header().Set("Content-Type", "application/json")
		type request struct{ ID json.RawMessage }
		var one request
		var many []request
		if json.Unmarshal(body, &many) != nil {
			json.Unmarshal(body, &one)
			io.WriteString(w, reply(one.ID))
			return
		}
		replies := make([]string, len(many))
		for i, q := range many {
			replies[i] = reply(q.ID)
		}
		io.WriteString(w, "["+strings.Join(replies, ",")+"]")
	}
}

// hanging is how long a question waits for a node that hangs: a good one answers within it
// on a machine that stands still for a while.
const hanging = 10 * time.Second

// No answer that is not an answer allows, or denies.
func TestFaultyNode(t *testing.T) {
	t.Parallel()
	chain := startEmbedded(t)
	proxy := startFaulty(t, chain.http)
	s := newStage(t, chain, nil, func(o *Options) {
		o.RPC, o.WS = []string{proxy.URL}, ""
		o.ReadTimeout, o.PollHeads = hanging, 100*time.Millisecond
	})
	licensed := s.somebody()
	s.covered(s.grant(licensed).Block)
	for _, fault := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"refuses", badGateway},
		{"limits", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "slow down", http.StatusTooManyRequests) }},
		{"hangs", hangs},
		{"talks HTML", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }},
		{"says nothing", func(http.ResponseWriter, *http.Request) {}},
		{"null", every(`"result":null`)},
		{"empty bytes", every(`"result":"0x"`)},
		{"zero word", every(`"result":"0x` + strings.Repeat("0", 64) + `"`)},
		{"empty object", every(`"result":{}`)},
		{"error", every(`"error":{"code":-32000,"message":"missing trie node"}`)},
		{"old head", every(`"result":{"number":"0x1","hash":"0x` + strings.Repeat("1", 64) + `","parentHash":"0x` + strings.Repeat("2", 64) + `","timestamp":"0x1"}`)},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s.t = t
			s.wants(licensed, policy.Allowed)
			proxy.answer.Store(&fault.answer)
			s.wantsUnavailable(s.somebody())
			s.clock.advance(cooldown)
			s.wantsUnavailable(s.somebody())
			s.wants(licensed, policy.Allowed)
			proxy.answer.Store(nil)
			eventually(t, generous, "the checker recovers", func() bool {
				got, err := s.says(s.somebody())
				return err == nil && got == policy.NoLicense
			})
		})
	}
}

// Two hundred first requests of one licensee ask the chain once; a crowd of unknown wallets asks in batches.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, startEmbedded(t), nil, nil)
	who := s.somebody()
	s.covered(s.grant(who).Block)
	count := func(subject func(int) [32]byte) uint64 {
		before := s.checker.Stats().ChainReads
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				if _, err := s.says(subject(i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return s.checker.Stats().ChainReads - before
	}
	if n := count(func(int) [32]byte { return who }); n != 1 {
		t.Errorf("200 requests of one wallet made %d calls, want 1", n)
	}
	strangers := make([][32]byte, 200)
	for i := range strangers {
		strangers[i] = s.somebody()
	}
	// Each call under way gathers up to a batch for the next; stragglers may need a few more.
	if n := count(func(i int) [32]byte { return strangers[i] }); n > 50 {
		t.Errorf("200 wallets made %d calls", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t, startEmbedded(t), nil, nil)
	secret := "s3cret-key"
	good := func() Options {
		return Options{RPC: []string{s.chain.http + "/v2/" + secret}, Registry: s.owner.Address(), ReadTimeout: generous}
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
		is     error
		says   string
	}{
		{"another chain", func(o *Options) { o.ChainID = 5; o.RPC[0] = s.chain.http }, ErrWrong, "chain 1337, not 5"},
		{"no contract", func(o *Options) { o.Registry = [20]byte{9}; o.RPC[0] = s.chain.http }, ErrWrong, "no contract at"},
		{"nobody there", func(o *Options) { o.RPC[0] = "http://127.0.0.1:1/" + secret }, ErrUnavailable, "refused"},
		{"no URL", func(o *Options) { o.RPC = nil }, nil, "no RPC URL"},
		{"bad URL", func(o *Options) { o.RPC[0] = "localhost:" + secret }, nil, "cannot be read"},
		{"bad cache", func(o *Options) { o.Cache = "redis://x:" + secret + "@h:p/0"; o.RPC[0] = s.chain.http }, nil, "URL of the cache"},
		{"no registry", func(o *Options) { o.Registry = [20]byte{} }, nil, "no registry"},
		{"hard below soft", func(o *Options) { o.Hard = time.Second }, nil, "hard is 1s"},
		{"head older than soft", func(o *Options) { o.MaxHeadAge = time.Hour }, nil, "max head age"},
		{"finality", func(o *Options) { o.Finality = "soon" }, nil, `finality is "soon"`},
		{"negative", func(o *Options) { o.Soft = -1 }, nil, "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good()
			c.change(&o)
			checker, err := Open(s.context(), o)
			if err == nil {
				checker.Close()
				t.Fatal("it opened")
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v is not %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), secret) {
				t.Errorf("error %q; want it to say %q and no secret", err, c.says)
			}
		})
	}
}

// What the registry's writers are told when something is wrong with their set-up.
func TestRegistryErrorsHelp(t *testing.T) {
	t.Parallel()
	s := newStage(t, startEmbedded(t), nil, nil)
	poor, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	ctx := s.context()
	if _, _, err := s.owner.As(poor).Register(ctx, [32]byte{1}); !errors.Is(err, registry.ErrFunds) || !strings.Contains(err.Error(), wallet.AddressText(poor.Address())) {
		t.Errorf("a wallet without money: %v", err)
	}
	if _, _, err := s.owner.As(nil).Register(ctx, [32]byte{1}); err == nil || !strings.Contains(err.Error(), "needs a wallet") {
		t.Errorf("no wallet: %v", err)
	}
	if _, err := s.buyer.Revoke(ctx, s.model, s.somebody()); err == nil || !strings.Contains(err.Error(), "owner or an issuer") {
		t.Errorf("a stranger revokes: %v", err)
	}
	if _, err := s.buyer.Buy(ctx, s.model, 9); err == nil || !strings.Contains(err.Error(), "no plan 9") {
		t.Errorf("no such plan: %v", err)
	}
	if _, err := s.owner.Model(ctx, [32]byte{9}); err == nil || !strings.Contains(err.Error(), "no model") {
		t.Errorf("no such model: %v", err)
	}
	if _, err := registry.Open(ctx, registry.Options{RPC: s.chain.http, Registry: [20]byte{9}}); err == nil || !strings.Contains(err.Error(), "no contract at") {
		t.Errorf("no contract: %v", err)
	}
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	s := newStage(t, startEmbedded(t), startMiniredis(t), nil)
	s.wants(s.somebody(), policy.NoLicense)
	if ours() == "" {
		t.Fatal("no goroutine of ours runs: this test shows nothing")
	}
	if err := s.checker.Close(); err != nil {
		t.Fatal(err)
	}
	if left := ours(); left != "" {
		t.Errorf("after Close:\n%s", left)
	}
	if _, err := s.checker.Check(context.Background(), s.model, s.somebody()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a check after Close gives %v, want ErrUnavailable", err)
	}
}

// ours is the goroutines of the checker that run.
func ours() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for _, g := range strings.Split(string(stacks), "\n\n") {
		for _, f := range []string{"licensecheck.(*watcher)", "licensecheck.(*lane).run", "licensecheck.(*cache).write"} {
			if strings.Contains(g, f) {
				found = append(found, g)
				break
			}
		}
	}
	return strings.Join(found, "\n\n")
}

// What is not final yet does not count, but a revocation does: it acts before either is final.
func TestFinalizedTag(t *testing.T) {
	t.Parallel()
	s := newStage(t, startEmbedded(t), nil, func(o *Options) { o.Finality = "finalized" })
	who := s.somebody()
	s.covered(s.grant(who).Block)
	g, err := s.checker.Check(s.context(), s.model, who)
	if err != nil || g.Latest.Status != policy.Active || g.Final.Status != policy.None {
		t.Fatalf("a grant in the newest block: %+v, %v; want it in the latest view only", g, err)
	}
	s.wants(who, policy.NoLicense)
	s.did(s.owner.Revoke(s.context(), s.model, who))
	s.soon(who, policy.LicenseRevoked)
}
