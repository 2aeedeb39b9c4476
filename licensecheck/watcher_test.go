package licensecheck

import (
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/policy"
)

// A subscription that goes silent, or breaks, costs a poll interval and comes back by itself.
func TestSubscriptionDies(t *testing.T) {
	t.Parallel()
	chain := startEmbedded(t)
	u, err := url.Parse(chain.ws)
	if err != nil {
		t.Fatal(err)
	}
	line := startWire(t, u.Host)
	s := newStage(t, chain, nil, func(o *Options) {
		o.WS, o.MaxHeadAge, o.PollHeads = "ws://"+line.addr, 3*time.Second, 500*time.Millisecond
	})
	eventually(t, generous, "the checker subscribes", func() bool { return line.opened.Load() >= 1 })
	for _, fault := range []struct {
		name       string
		begin, end func()
	}{
		{"silent", func() { line.silent.Store(true) }, func() { line.silent.Store(false) }},
		{"cut", line.cut, func() {}},
	} {
		who := s.somebody()
		s.grant(who)
		s.soon(who, policy.Allowed)
		before := line.opened.Load()
		fault.begin()
		s.did(s.owner.Revoke(s.context(), s.model, who))
		s.soon(who, policy.LicenseRevoked)
		eventually(t, 2*generous, fault.name+": it subscribes again", func() bool { return line.opened.Load() > before })
		fault.end()
	}
}

// Coverage goes on over a gap: what was missed in it takes effect, is told, and nothing is
// read singly; unless it is so long that a new run is cheaper.
func TestGap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		blocks int
		gaps   uint64
	}{{3 * stride, 0}, {reach + stride, 1}} {
		t.Run(fmt.Sprint(c.blocks, " blocks"), func(t *testing.T) {
			t.Parallel()
			chain := startAnvil(t)
			line := startFaulty(t, chain.http)
			s := newStage(t, chain, nil, func(o *Options) {
				o.RPC, o.WS, o.PollHeads = []string{line.URL}, "", 100*time.Millisecond
			})
			kept, revoked := s.somebody(), s.somebody()
			s.grant(kept)
			s.heard(s.grant(revoked).Block)
			s.wants(kept, policy.Allowed)
			s.wants(revoked, policy.Allowed)
			told := make(chan [32]byte, 16)
			s.checker.OnChange(func(_, subject [32]byte) { told <- subject })

			line.fail(badGateway)
			s.did(s.owner.Revoke(s.context(), s.model, revoked))
			s.wants(revoked, policy.Allowed) // nobody could know
			head := s.mine(c.blocks)
			before, asked := s.checker.Stats(), line.asked.Load()
			line.mend()
			s.covered(head)
			s.wants(kept, policy.Allowed)
			after := s.checker.Stats()
			if c.gaps > 0 {
				s.clock.advance(25 * time.Second) // soft will have passed soon since they were confirmed
			}
			s.finally(revoked, policy.LicenseRevoked)
			if got := after.Gaps - before.Gaps; got != c.gaps {
				t.Errorf("%d runs of coverage began, want %d", got, c.gaps)
			}
			if n := line.asked.Load() - asked; n > int64(c.blocks/4) {
				t.Errorf("%d requests for %d blocks", n, c.blocks)
			}
			if c.gaps > 0 {
				return
			}
			if after.ChainReads != before.ChainReads {
				t.Errorf("%d grants were read singly", after.ChainReads-before.ChainReads)
			}
			if got := <-told; got != revoked {
				t.Errorf("told of %x", got)
			}
		})
	}
}

// While coverage has a gap, records keep the age that they had, and each that is asked for
// is read once more: not all of them.
func TestRecordsOutliveARun(t *testing.T) {
	t.Parallel()
	chain := startAnvil(t)
	line := startFaulty(t, chain.http)
	s := newStage(t, chain, nil, func(o *Options) {
		o.RPC, o.WS, o.PollHeads = []string{line.URL}, "", 100*time.Millisecond
		o.Soft, o.Hard = 5*time.Minute, 10*time.Minute
	})
	who := s.somebody()
	s.covered(s.grant(who).Block)
	s.wants(who, policy.Allowed)
	s.clock.advance(200 * time.Second)
	head, _ := s.checker.Head()
	s.covered(head + 1) // confirms the record, which was read two hundred seconds before
	line.fail(badGateway)
	head = s.mine(reach + stride)
	line.mend()
	s.covered(head)
	if s.checker.Stats().Gaps == 0 {
		t.Fatal("no new run began: this test shows nothing")
	}
	line.fail(badGateway)
	s.clock.advance(200 * time.Second) // four hundred since it was read, two hundred since it was confirmed
	if g, err := s.checker.Check(s.context(), s.model, who); err != nil || g.Stale || g.Final.Status != policy.Active {
		t.Errorf("%+v, %v; want a grant that is not stale", g, err)
	}
}

// With finality further back than the run of coverage, as on most second layers, coverage
// confirms records all the same.
func TestFinalityFarBack(t *testing.T) {
	t.Parallel()
	chain := startAnvil(t)
	line := startFaulty(t, chain.http)
	s := newStage(t, chain, nil, nil)
	who, fresh := s.somebody(), s.somebody()
	s.covered(s.grant(who).Block)
	s.mine(250)
	s.checker = s.open(func(o *Options) {
		o.RPC, o.WS, o.PollHeads, o.Finality = []string{line.URL}, "", 100*time.Millisecond, "240 blocks"
	})
	if first, final := s.checker.book.reaches(); first <= final {
		t.Fatal("the run reaches back to the final block: this test shows nothing")
	}
	s.grant(fresh)
	s.wants(who, policy.Allowed)
	s.wants(fresh, policy.NoLicense)
	read := s.clock.now()
	s.covered(s.mine(2))
	eventually(t, generous, "the record is confirmed without being read", func() bool { // a poll may have been under way
		_, confirmed, ok := s.checker.book.find(key{s.model, who})
		return ok && confirmed.After(read)
	})
	s.did(s.owner.Revoke(s.context(), s.model, who))
	s.soon(who, policy.LicenseRevoked)
	s.covered(s.mine(240))
	s.finally(fresh, policy.Allowed)
}

// reaches is the first block of the run, and the final one.
func (b *book) reaches() (first, final uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blocks[0].Number, b.final.number
}

// A flood of wallets that nobody knows costs those who hold a license nothing: neither the
// place in memory nor the way to the chain, even when both are needed.
func TestFloodOfUnknownWallets(t *testing.T) {
	chain := startEmbedded(t)
	line := startFaulty(t, chain.http)
	s := newStage(t, chain, startRealRedis(t), func(o *Options) {
		o.RPC, o.WS, o.Records, o.Pending = []string{line.URL}, "", 50, 16
	})
	licensed := s.somebody()
	s.covered(s.grant(licensed).Block)
	s.wants(licensed, policy.Allowed)
	s.inRedis(licensed)
	slow := meddler(func(_ *faulty, method, _ string) string {
		if method == "eth_call" {
			time.Sleep(50 * time.Millisecond) // the fault itself
		}
		return ""
	})
	line.meddle.Store(&slow)
	var flood sync.WaitGroup
	var over atomic.Bool
	var asked, refused atomic.Int64
	defer flood.Wait()
	defer over.Store(true)
	for i := range 40 {
		flood.Go(func() {
			for n := 0; !over.Load(); n++ {
				who := [32]byte{1, byte(i), byte(n), byte(n >> 8)}
				g, err := s.checker.Check(s.context(), s.model, who)
				time.Sleep(time.Millisecond) // the pace of the flood
				asked.Add(1)
				if err != nil {
					refused.Add(1)
				} else if g.Final.Status != policy.None {
					t.Errorf("a wallet from nowhere holds %+v", g)
				}
			}
		})
	}
	eventually(t, generous, "the flood is on", func() bool { return refused.Load() > 100 })
	calls := line.requests.Load()
	started := time.Now()
	for time.Since(started) < 2*time.Second { // as long as this flood is
		s.within(generous/2, "from memory", func() { s.wants(licensed, policy.Allowed) })
		if _, _, held := s.checker.book.find(key{s.model, licensed}); !held {
			t.Fatal("the flood pushed the licensee out of memory")
		}
		s.checker.book.forgetRecord(key{s.model, licensed})
		s.soon(licensed, policy.Allowed) // from Redis
		s.checker.book.forgetRecord(key{s.model, licensed})
		s.within(generous/2, "from the chain", func() {
			if _, err := s.checker.ask(s.context(), key{s.model, licensed}, true); err != nil { // as in a gap
				t.Error(err)
			}
		})
	}
	over.Store(true)
	flood.Wait()
	took := time.Since(started)
	if n, most := line.requests.Load()-calls, int64(took/strangerPause+10)*4; n > most {
		t.Errorf("the flood cost the node %d requests in %v, want %d at most", n, took, most)
	}
	if held, most := s.checker.Stats().Records, 55; held > most {
		t.Errorf("%d records in memory, want %d at most", held, most)
	}
	t.Logf("%d asked, %d told to come back, in %v", asked.Load(), refused.Load(), took)
}

func (s *stage) within(most time.Duration, what string, f func()) {
	s.t.Helper()
	started := time.Now()
	f()
	if took := time.Since(started); took > most {
		s.t.Errorf("%s in %v, want %v at most", what, took, most)
	}
}

// What a healthy chain is asked does not depend on how many licensees there are.
func TestReadsDoNotGrow(t *testing.T) {
	t.Parallel()
	chain := startAnvil(t)
	line := startFaulty(t, chain.http)
	s := newStage(t, chain, nil, nil)
	s.rpc(nil, "evm_setIntervalMining", 0)
	perBlock := func(records int) (calls float64) {
		c := s.open(func(o *Options) { o.RPC, o.WS, o.Soft, o.PollHeads = []string{line.URL}, "", generous, generous })
		defer c.Close()
		fill(c, s.model, records)
		const blocks = 4
		for n := range blocks + 1 {
			if n == 1 {
				calls = -float64(line.calls.Load())
			}
			s.mine(1)
			if err := c.watcher.step(s.context()); err != nil { // its own next step is a minute away
				t.Fatal(err)
			}
			for i := range records {
				if g, err := c.Check(t.Context(), s.model, numbered(i)); err != nil || g.Stale {
					t.Fatalf("record %d: %+v, %v", i, g, err)
				}
			}
		}
		if reads := c.Stats().ChainReads; reads != 0 {
			t.Errorf("%d records were read singly", reads)
		}
		return (calls + float64(line.calls.Load())) / blocks
	}
	few, many := perBlock(1_000), perBlock(20_000)
	if few != many || few == 0 {
		t.Errorf("%v calls a block with 1,000 records, %v with 20,000", few, many)
	}
	t.Logf("%v calls a block", few)
}

func numbered(i int) [32]byte {
	return [32]byte{7, byte(i), byte(i >> 8), byte(i >> 16)}
}

// fill puts records of licensees into memory, as if each had been read at the newest block.
func fill(c *Checker, model [32]byte, records int) {
	top, _, _ := c.book.newest()
	now := c.options.Now()
	yes := policy.License{Status: policy.Active, NotAfter: now.Add(24 * time.Hour).Unix(), Scope: policy.ScopeChat, Seq: 1}
	for i := range records {
		c.book.place(key{model, numbered(i)}, record{grant: policy.Grant{Final: yes, Latest: yes}, final: markOf(top), latest: markOf(top), read: now})
	}
}

// A listener hears of thousands of changes in one block without holding the watcher up.
func TestManyChangesInABlock(t *testing.T) {
	t.Parallel()
	s := newStage(t, startAnvil(t), nil, nil)
	const people = 150
	told := make(chan [32]byte, 3*people)
	s.checker.OnChange(func(_, subject [32]byte) { told <- subject })
	for _, step := range []struct {
		data func(i int) []byte
		want policy.Reason
	}{
		{func(i int) []byte { return bindings.PackGrant(s.model, numbered(i), s.encoded(time.Hour), 0) }, policy.Allowed},
		{func(i int) []byte { return bindings.PackRevoke(s.model, numbered(i), 1) }, policy.LicenseRevoked},
	} {
		for i := range people {
			s.write(step.data(i))
		}
		heard := map[[32]byte]bool{}
		deadline := time.After(2 * generous)
		for len(heard) < people {
			select {
			case who := <-told:
				heard[who] = true
				s.wants(who, step.want) // whoever is told finds it so
			case <-deadline:
				t.Fatalf("told of %d changes, want %d", len(heard), people)
			}
		}
	}
}

// Whoever asks just after a reorganisation, before the next poll, is answered from the new chain.
func TestReadJustAfterReorganisation(t *testing.T) {
	t.Parallel()
	s := newStage(t, startAnvil(t), nil, nil)
	s.mine(5)
	s.checker = s.open(func(o *Options) { o.WS, o.PollHeads = "", 25*time.Second })
	s.rpc(nil, "evm_setIntervalMining", 0) // the new chain stays as long as the old one
	if err := s.checker.watcher.step(s.context()); err != nil {
		t.Fatal(err)
	}
	s.rpc(nil, "anvil_reorg", 4, []any{})
	s.wants(s.somebody(), policy.NoLicense)
	if n := s.checker.Stats().Reorgs; n != 1 {
		t.Errorf("%d reorganisations were seen, want 1", n)
	}
}
