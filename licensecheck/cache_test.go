package licensecheck

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// inRedis waits until the checker's record is in Redis, and answers with its text.
func (s *stage) inRedis(who [32]byte) (text string) {
	s.t.Helper()
	c := s.checker.cache
	eventually(s.t, generous, "the record is in Redis", func() bool {
		if text = c.client.Get(s.t.Context(), c.name(key{s.model, who})).Val(); text == "" {
			s.reput(who) // a busy machine may have been too slow for the first time
		}
		return text != ""
	})
	return text
}

// written waits until all that was passed on so far is in Redis: one goroutine writes it in order.
func (s *stage) written() {
	s.t.Helper()
	last := key{s.model, s.somebody()}
	yes := policy.License{Status: policy.Active, Seq: 1}
	s.checker.pass(last, record{grant: policy.Grant{Final: yes, Latest: yes}})
	c := s.checker.cache
	eventually(s.t, generous, "all is written", func() bool { return c.client.Exists(s.t.Context(), c.name(last)).Val() == 1 })
}

// newcomer is a gateway that starts now; the stage asks it from here on.
func (s *stage) newcomer() *Checker {
	s.t.Helper()
	s.checker = s.open(nil)
	return s.checker
}

// A Redis that stops without a word, or answers late, costs a little time and no answer.
func TestRedisFrozenAndSlow(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t, "0")
	line := startWire(t, server.Addr)
	s := newStage(t, startEmbedded(t), &testRedis{url: "redis://" + line.addr, kill: server.Kill}, func(o *Options) { o.redisWait = cacheWait })
	licensed, revoked := s.somebody(), s.somebody()
	s.grant(licensed)
	s.grant(revoked)
	s.soon(licensed, policy.Allowed)
	s.soon(revoked, policy.Allowed)
	s.inRedis(licensed)
	s.did(s.owner.Revoke(s.context(), s.model, revoked))
	s.soon(revoked, policy.LicenseRevoked)
	for _, fault := range []struct {
		name       string
		begin, end func()
		errs       bool
	}{
		{"frozen", server.Freeze, server.Thaw, true},
		{"slower than it may be", func() { line.delay.Store(int64(3 * cacheWait)) }, func() { line.delay.Store(0) }, true},
		{"slow", func() { line.delay.Store(int64(cacheWait / 4)) }, func() { line.delay.Store(0) }, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s.t = t
			fault.begin()
			defer fault.end()
			before := s.checker.Stats().CacheErrors
			for range 3 {
				for who, want := range map[[32]byte]policy.Reason{licensed: policy.Allowed, revoked: policy.LicenseRevoked, s.somebody(): policy.NoLicense} {
					s.checker.book.forgetRecord(key{s.model, who})
					started := time.Now()
					s.wants(who, want)
					if took := time.Since(started); took > generous/2 {
						t.Errorf("an answer took %v", took)
					}
				}
				s.clock.advance(2 * cooldown) // the breaker closes, and Redis is tried again
			}
			if fault.errs && s.checker.Stats().CacheErrors == before {
				t.Error("no error of the cache was counted")
			}
		})
		s.t = t
		eventually(t, generous, "the cache is used again", func() bool {
			s.checker.book.forgetRecord(key{s.model, licensed})
			before := s.checker.Stats().CacheHits
			s.wants(licensed, policy.Allowed)
			return s.checker.Stats().CacheHits > before
		})
	}
}

// A Redis that lost everything is one that knows nothing: the chain is asked.
func TestRedisFlushed(t *testing.T) {
	t.Parallel()
	redis := startRealRedis(t)
	s := newStage(t, startEmbedded(t), redis, nil)
	licensed, revoked := s.somebody(), s.somebody()
	s.grant(licensed)
	s.soon(licensed, policy.Allowed)
	s.grant(revoked)
	s.soon(revoked, policy.Allowed)
	s.inRedis(licensed)
	s.heard(s.did(s.owner.Revoke(s.context(), s.model, revoked)).Block)
	s.wants(revoked, policy.LicenseRevoked)
	s.written() // what waited to be would come after the loss
	if err := redis.client(t).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.wants(licensed, policy.Allowed)
	s.newcomer()
	s.wants(licensed, policy.Allowed)
	s.wants(revoked, policy.LicenseRevoked)
	if got := s.checker.Stats(); got.CacheHits != 0 || got.ChainReads != 2 {
		t.Errorf("the new gateway read the cache %d times and the chain %d times, want 0 and 2", got.CacheHits, got.ChainReads)
	}
	s.inRedis(licensed) // it put back what was lost
}

// Records of another format, registry or deployment are left alone; one of ours that says
// what was true before the run of coverage is no answer, however young Redis makes it.
func TestRedisHoldsWhatIsNotForUs(t *testing.T) {
	t.Parallel()
	redis := startRealRedis(t)
	s := newStage(t, startAnvil(t), redis, nil)
	client := redis.client(t)
	who, revoked := s.somebody(), s.somebody()
	s.grant(revoked)
	s.soon(revoked, policy.Allowed)
	text := s.inRedis(revoked)

	ours := s.checker.cache.name(key{s.model, who})
	id, _ := s.checker.chain.who()
	elsewhere := func(change func(*node.Identity)) string {
		other := id
		change(&other)
		c := &cache{finality: s.checker.cache.finality}
		c.rename(other)
		return c.name(key{s.model, who})
	}
	format := func(n int) string {
		return strings.Replace(ours, fmt.Sprintf("license:%d:", cacheFormat), fmt.Sprintf("license:%d:", n), 1)
	}
	finality := &cache{finality: "5-blocks"}
	finality.rename(id)
	names := []string{
		finality.name(key{s.model, who}),
		format(cacheFormat - 1), format(cacheFormat + 1),
		elsewhere(func(i *node.Identity) { i.ChainID++ }),
		elsewhere(func(i *node.Identity) { i.Registry[0]++ }),
		elsewhere(func(i *node.Identity) { i.BlockHash[0]++ }),
	}
	for _, name := range names {
		if name == ours {
			t.Fatal("a name that is not to be ours is")
		}
		client.Set(t.Context(), name, text, time.Hour)
	}
	s.wants(who, policy.NoLicense)
	s.newcomer()
	s.wants(who, policy.NoLicense)
	for _, name := range names {
		if client.Get(t.Context(), name).Val() != text {
			t.Errorf("the record at %s was touched", name)
		}
	}

	s.did(s.owner.Revoke(s.context(), s.model, revoked))
	s.covered(s.mine(2 * stride))
	client.Set(t.Context(), s.checker.cache.name(key{s.model, revoked}), text, s.checker.options.Hard) // as a write that slept
	s.newcomer()
	s.wants(revoked, policy.LicenseRevoked)
	if n := s.checker.Stats().CacheHits; n != 0 {
		t.Errorf("%d answers from Redis, want none", n)
	}
}

// The cache follows a Sentinel to the new master, and finds there what the old one held.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	sentinel, master, replica := servertest.RedisSentinel(t)
	redis := &testRedis{url: "redis://" + sentinel.Addr + "/0?master_name=" + servertest.SentinelMaster, kill: master.Kill}
	s := newStage(t, startEmbedded(t), redis, nil)
	licensed, revoked := s.somebody(), s.somebody()
	s.grant(licensed)
	s.grant(revoked)
	s.soon(licensed, policy.Allowed)
	s.soon(revoked, policy.Allowed)
	s.inRedis(licensed)
	s.inRedis(revoked)
	copies := (&testRedis{url: "redis://" + replica.Addr}).client(t)
	eventually(t, generous, "the replica has both", func() bool { return copies.DBSize(t.Context()).Val() == 2 })

	master.Kill()
	s.did(s.owner.Revoke(s.context(), s.model, revoked))
	s.soon(revoked, policy.LicenseRevoked) // while nobody is master
	s.wants(licensed, policy.Allowed)
	eventually(t, 2*generous, "the replica is the master", func() bool { // a Sentinel that stood still for 2 s does nothing for 30
		return strings.Contains(copies.Info(t.Context(), "replication").Val(), "role:master")
	})
	eventually(t, generous, "a new gateway reads the new master", func() bool {
		s.newcomer()
		s.wants(licensed, policy.Allowed)
		s.wants(revoked, policy.LicenseRevoked)
		return s.checker.Stats().CacheHits == 1
	})
}

// somebodyOf is a wallet whose record belongs to one of a cluster's nodes.
func (s *stage) somebodyOf(node, of int) [32]byte {
	s.t.Helper()
	c := s.checker.cache
	for {
		who := s.somebody()
		slot, err := c.client.ClusterKeySlot(s.t.Context(), c.name(key{s.model, who})).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		if int(slot)*of/16384 == node {
			return who
		}
	}
}

// The cache spreads over a cluster, and goes on without one of its nodes.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	nodes := servertest.RedisCluster(t)
	redis := &testRedis{url: "redis://" + nodes[0].Addr + "," + nodes[1].Addr + "," + nodes[2].Addr, kill: nodes[0].Kill}
	s := newStage(t, startAnvil(t), redis, nil)
	people := make([][32]byte, 24)
	for i := range people {
		people[i] = s.somebodyOf(i%len(nodes), len(nodes))
		s.write(bindings.PackGrant(s.model, people[i], s.encoded(time.Hour), 0))
	}
	for _, who := range people {
		s.soon(who, policy.Allowed)
		s.inRedis(who)
	}
	for _, n := range nodes {
		if (&testRedis{url: "redis://" + n.Addr}).client(t).DBSize(t.Context()).Val() == 0 {
			t.Error("a node of the cluster holds nothing")
		}
	}
	s.newcomer()
	for _, who := range people {
		s.wants(who, policy.Allowed)
	}
	if hits := s.checker.Stats().CacheHits; hits != uint64(len(people)) {
		t.Errorf("%d answers from the cluster, want %d", hits, len(people))
	}
	nodes[0].Kill()
	s.write(bindings.PackRevoke(s.model, people[0], 1))
	s.soon(people[0], policy.LicenseRevoked)
	s.newcomer()
	for i, who := range people {
		want := policy.Allowed
		if i == 0 {
			want = policy.LicenseRevoked
		}
		s.wants(who, want)
	}
}
