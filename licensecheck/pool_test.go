package licensecheck

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// twoNodes is a stage whose checker polls two nodes of one chain, each behind a faulty line.
func twoNodes(t *testing.T, with func(*Options)) (s *stage, first, second *faulty) {
	chain := startEmbedded(t)
	first, second = startFaulty(t, chain.http), startFaulty(t, chain.http)
	s = newStage(t, chain, nil, func(o *Options) {
		o.RPC, o.WS = []string{first.URL, second.URL}, ""
		o.ReadTimeout, o.PollHeads = hanging, 100*time.Millisecond
		if with != nil {
			with(o)
		}
	})
	return s, first, second
}

// While one node is well, nobody notices that another is not; and the one in use stays in
// use when the other is well again.
func TestFailover(t *testing.T) {
	t.Parallel()
	s, first, second := twoNodes(t, nil)
	licensed := s.somebody()
	s.covered(s.grant(licensed).Block)
	s.wants(licensed, policy.Allowed)
	for _, fault := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"refuses", badGateway},
		{"limits", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			http.Error(w, "slow down", http.StatusTooManyRequests)
		}},
		{"hangs", hangs},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }},
		{"empty bytes", every(`"result":"0x"`)},
		{"null", every(`"result":null`)},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s.t = t
			first.fail(fault.answer)
			s.wants(s.somebody(), policy.NoLicense)
			head, _ := s.checker.Head()
			s.covered(head + 1) // which the second node told
			first.mend()
			before := first.requests.Load()
			s.wants(s.somebody(), policy.NoLicense)
			if n := first.requests.Load() - before; n > 1 { // one may still be on its way
				t.Errorf("%d questions to the first node while the second is well", n)
			}
			if fault.name == "limits" {
				s.clock.advance(maxRest)
			}
			second.fail(badGateway)
			eventually(t, generous, "the first node is used again", func() bool {
				got, err := s.says(s.somebody())
				return err == nil && got == policy.NoLicense
			})
			second.mend()
			s.wants(licensed, policy.Allowed)
		})
	}
}

// A node that says "too many requests" is left alone for as long as it asks, within reason.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	chain := startEmbedded(t)
	proxy := startFaulty(t, chain.http)
	s := newStage(t, chain, nil, func(o *Options) {
		o.RPC, o.WS = []string{proxy.URL}, ""
		o.PollHeads = 20 * time.Millisecond
	})
	licensed := s.somebody()
	s.covered(s.grant(licensed).Block)
	s.wants(licensed, policy.Allowed)
	goOn := s.clock.stop() // else the rest may end while this counts
	proxy.fail(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	})
	s.wantsUnavailable(s.somebody())
	before, polls := proxy.requests.Load(), s.checker.Stats().WatchErrors
	eventually(t, generous, "ten polls have failed", func() bool { return s.checker.Stats().WatchErrors > polls+10 })
	s.clock.advance(cooldown)
	s.wantsUnavailable(s.somebody())
	s.wants(licensed, policy.Allowed)
	if n := proxy.requests.Load() - before; n > 1 { // one may have been on its way
		t.Errorf("%d questions to a node that asked to be left alone", n)
	}
	proxy.mend()
	goOn()
	s.clock.advance(maxRest) // and not an hour
	eventually(t, generous, "the node is asked again", func() bool {
		got, err := s.says(s.somebody())
		return err == nil && got == policy.NoLicense
	})
}

// A second node that is on another chain, or on another run of this one, is never believed:
// both have a registry at the same address, which grants what ours does not.
func TestNodeOfAnotherChain(t *testing.T) {
	t.Parallel()
	ours, other, third := startAnvil(t), startAnvil(t), startEmbedded(t) // the third has a chain id of its own
	theirs := newStage(t, other, nil, nil)
	stranger := theirs.somebody()
	theirs.grant(stranger)
	line := startFaulty(t, ours.http)
	s := newStage(t, ours, nil, func(o *Options) {
		o.RPC, o.WS, o.ChainID = []string{line.URL, other.http, third.http}, "", 0
		o.PollHeads = 50 * time.Millisecond
	})
	if s.owner.Address() != theirs.owner.Address() || s.model != theirs.model {
		t.Fatal("the chains do not repeat addresses: this test shows nothing")
	}
	licensed := s.somebody()
	s.covered(s.grant(licensed).Block)
	s.wants(stranger, policy.NoLicense)
	s.wants(licensed, policy.Allowed)

	line.fail(badGateway)
	s.clock.advance(negativeAge + time.Second)
	failed := s.checker.Stats().WatchErrors
	eventually(t, generous, "the other node was tried", func() bool { return s.checker.Stats().WatchErrors > failed+3 })
	s.wantsUnavailable(stranger)
	s.wantsUnavailable(s.somebody())
	s.wants(licensed, policy.Allowed)
	line.mend()
	s.clock.advance(cooldown)
	eventually(t, generous, "the chain is followed again", func() bool {
		got, err := s.says(stranger)
		return err == nil && got == policy.NoLicense
	})
	s.wants(licensed, policy.Allowed)
}

// A node that is some blocks behind does not bring back what was revoked in them: neither what
// memory holds, nor what it has forgotten.
func TestNodeBehind(t *testing.T) {
	t.Parallel()
	s, first, second := twoNodes(t, nil)
	kept, forgotten := s.somebody(), s.somebody()
	s.grant(kept)
	block := s.grant(forgotten).Block
	s.covered(block)
	s.wants(kept, policy.Allowed)
	s.wants(forgotten, policy.Allowed)
	s.did(s.owner.Revoke(s.context(), s.model, kept))
	s.covered(s.did(s.owner.Revoke(s.context(), s.model, forgotten)).Block)
	behind := lagging(func() string { return hexutil.EncodeUint64(block) })
	second.meddle.Store(&behind)
	first.fail(badGateway)
	s.checker.book.forgetRecord(key{s.model, forgotten})
	s.wants(forgotten, policy.LicenseRevoked)
	s.wants(kept, policy.LicenseRevoked)
	if second.requests.Load() == 0 {
		t.Error("the node that is behind was never asked")
	}
}

// Nodes whose newest block stays the same do not confirm anything, whatever the clock says.
func TestHeadsStop(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour} {
		t.Run(fmt.Sprint("wall clock steps by ", step), func(t *testing.T) {
			t.Parallel()
			chain := startEmbedded(t)
			line := startFaulty(t, chain.http)
			var wall wallClock
			s := newStage(t, chain, nil, func(o *Options) {
				o.RPC, o.WS, o.Now = []string{line.URL}, "", wall.now
				o.PollHeads = 50 * time.Millisecond
			})
			s.now = wall.now
			who := s.somebody()
			s.covered(s.did(s.owner.Grant(s.context(), s.model, who, registry.Terms{
				NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), Scope: policy.ScopeChat,
			})).Block)
			s.wants(who, policy.Allowed)
			head, _ := s.checker.Head()
			stuck := lagging(func() string { return hexutil.EncodeUint64(head) })
			line.meddle.Store(&stuck)
			wall.step(step)
			s.wants(who, policy.Allowed) // a step of the wall clock makes nothing older
			s.did(s.owner.Revoke(s.context(), s.model, who))
			for _, d := range []time.Duration{s.checker.options.MaxHeadAge + time.Second, s.checker.options.Hard} {
				wall.pass(d)
				failed := s.checker.Stats().WatchErrors
				eventually(t, generous, "two polls have failed", func() bool { return s.checker.Stats().WatchErrors > failed+1 })
			}
			s.wantsUnavailable(who)
			wall.step(-step - wall.gone()) // to the day's time, as the blocks have it
			line.mend()
			s.finally(who, policy.LicenseRevoked)
		})
	}
}

// Where a node does not know calls by block hash, it is asked by number, and whether that is
// still the same block.
func TestNodeWithoutBlockHashes(t *testing.T) {
	t.Parallel()
	chain := startEmbedded(t)
	line := startFaulty(t, chain.http)
	var byNumber atomic.Int64
	var moved atomic.Bool
	noHashes := meddler(func(f *faulty, method, params string) string {
		if method == "eth_call" && strings.Contains(params, "blockHash") {
			return `"error":{"code":-32602,"message":"invalid argument 1: hex string without 0x prefix"}`
		}
		if method == "eth_call" && !strings.Contains(params, "latest") {
			byNumber.Add(1)
		}
		if method == "eth_getBlockByNumber" && moved.Load() && !strings.Contains(params, "latest") {
			var block map[string]any
			var want json.RawMessage
			if json.Unmarshal([]byte(params), &[]any{&want}) != nil || f.node.Call(&block, method, want, false) != nil {
				return `"error":{"code":-32000,"message":"down"}`
			}
			block["hash"] = "0x" + strings.Repeat("9", 64)
			text, _ := json.Marshal(block)
			return `"result":` + string(text)
		}
		return ""
	})
	s := newStage(t, chain, nil, func(o *Options) {
		o.RPC, o.WS = []string{line.URL}, ""
		o.PollHeads = 30 * time.Second
		line.meddle.Store(&noHashes)
	})
	who := s.somebody()
	s.grant(who)
	s.wants(who, policy.Allowed)
	s.wants(s.somebody(), policy.NoLicense)
	if byNumber.Load() == 0 {
		t.Error("it was not asked by number")
	}
	moved.Store(true)
	s.wantsUnavailable(s.somebody())
}
