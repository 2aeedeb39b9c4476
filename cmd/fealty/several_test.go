package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/servertest"
)

// several is three gateways, each a process of its own, with a state store behind
// Sentinels and a Redis cluster as their cache.
type several struct {
	*benchGateway
	gateways      []*contender
	master, cache servertest.Server
}

// Every answer of the mock is 48 tokens.
const (
	mockTokens = 48
	budget     = 100 // answers that the licensees' tokens of a day suffice for
)

func startSeveral(t *testing.T) *several {
	t.Helper()
	if testing.Short() {
		t.Skip("starts ten processes")
	}
	t.Setenv(beProgram, "1")
	sentinel, master, _ := servertest.RedisSentinel(t)
	cluster := servertest.RedisCluster(t)
	s := &several{master: master, cache: cluster[1], benchGateway: &benchGateway{
		benchSite: benchSite{p: newProgress(io.Discard), dir: t.TempDir(), redis: "of its own"},
	}}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	stateURL := "redis://" + sentinel.Addr + "?master_name=" + servertest.SentinelMaster
	for name, url := range map[string]string{
		"redis.url": stateURL, "cache.url": "redis://" + cluster[0].Addr + "," + cluster[1].Addr + "," + cluster[2].Addr,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(url), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := state.Open(stateURL)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := state.Init(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(http.HandlerFunc(mock))
	t.Cleanup(upstream.Close)
	s.mock = &contender{address: upstream.Listener.Addr().String()}
	s.startGateways(t)
	return s
}

func (s *several) startGateways(t *testing.T) {
	t.Helper()
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.license(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second", "third"} {
		g, err := s.gateway(t.Context(), name, func(cfg *gateway.Config) {
			for i := range cfg.Models {
				cfg.Models[i].Caps = gateway.CapsConfig{TokensPerDay: budget * mockTokens}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		s.gateways = append(s.gateways, g)
	}
}

// ask returns the status and the code of the refusal. 0: no gateway there.
func (s *several) ask(ctx context.Context, g *contender, key string) (status int, code string) {
	l := line{address: g.address}
	defer l.close()
	status, body, err := l.ask(ctx, g.request(modeInstant, key))
	if err != nil {
		return 0, ""
	}
	var refusal struct{ Error struct{ Code string } }
	_ = json.Unmarshal(body, &refusal) // an answer has no error
	return status, refusal.Error.Code
}

// TestSeveralGatewaysSurvive: while one of three gateways dies, the master of the state
// store, and a node of the cache's cluster, no licensee gets more than its budget, and
// a license that is revoked afterwards is refused by those that are left.
func TestSeveralGatewaysSurvive(t *testing.T) {
	farFromMidnight(t)
	s := startSeveral(t)
	ctx := t.Context()
	for _, g := range s.gateways {
		eventually(t, time.Minute, g.name+" serves a licensee", func() bool {
			status, code := s.ask(ctx, g, s.keys[1])
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Fatalf("%s refuses a licensee: %d %s", g.name, status, code)
			}
			return status == http.StatusOK
		})
	}
	answers := s.spend(t)
	if answers > budget || answers < budget/2 {
		t.Errorf("%d answers of a budget for %d", answers, budget)
	}
	s.revokeSecond(t)
}

// spend asks all gateways at once until those that are left say that the budget is
// used up, and ends processes meanwhile.
func (s *several) spend(t *testing.T) int {
	var answers, failed atomic.Int64
	var dies sync.Once
	deadline := time.Now().Add(5 * time.Minute)
	var all sync.WaitGroup
	for i, g := range s.gateways {
		all.Go(func() {
			for used := 0; used < 3; { // in a row: a lease of the dead gateway may still end
				if time.Now().After(deadline) {
					t.Errorf("%s does not say that the budget is used up", g.name)
					return
				}
				switch status, code := s.ask(t.Context(), g, s.keys[0]); {
				case status == http.StatusOK:
					used = 0
					if answers.Add(1) >= budget/3 {
						dies.Do(func() { s.kill(t) })
					}
				case status == http.StatusTooManyRequests:
					used++
					time.Sleep(300 * time.Millisecond)
				case status == 0 && i == 0:
					return // it is the one that died
				case status == http.StatusServiceUnavailable:
					failed.Add(1)
					time.Sleep(50 * time.Millisecond) // the Sentinel needs a moment
				default:
					t.Errorf("%s answers %d %s", g.name, status, code)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d answers, %d refused while the state store was away", answers.Load(), failed.Load())
	return int(answers.Load())
}

func (s *several) kill(t *testing.T) {
	if err := s.replicate(t.Context()); err != nil {
		t.Error("the master's last writes:", err)
	}
	if err := s.gateways[0].process.Process.Kill(); err != nil {
		t.Error(err)
	}
	s.master.Kill()
	s.cache.Kill()
}

// replicate stops writes to the state store's master until its replica has all of them. The
// last microseconds of a master that dies may be lost with it; a gateway that finds them
// missing answers nobody until an operator says that it may, which is another test's story.
func (s *several) replicate(ctx context.Context) error {
	client, err := state.Open("redis://" + s.master.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Do(ctx, "CLIENT", "PAUSE", 300_000, "WRITE").Err(); err != nil {
		return err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) { // the replica tells each second
		info, err := client.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(info, "master_repl_offset:")
		written, _, _ := strings.Cut(rest, "\r")
		switch {
		case written != "" && strings.Contains(info, ",offset="+written+","):
			return nil
		case time.Since(began) > time.Minute:
			return fmt.Errorf("the replica has not all after a minute: %s", info)
		}
	}
}

// revokeSecond revokes the other license: within seconds both gateways that are left
// refuse it, and go on doing so.
func (s *several) revokeSecond(t *testing.T) {
	if _, err := s.registry.Revoke(t.Context(), s.model, numbered(1, 1)); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	const bound = time.Minute // of a machine that is busy; milliseconds on others
	for _, g := range s.gateways[1:] {
		for {
			status, code := s.ask(t.Context(), g, s.keys[1])
			if code == "license_revoked" {
				break
			}
			if time.Since(revoked) > bound {
				t.Fatalf("%s answers %d %s %s after the revocation", g.name, status, code, time.Since(revoked))
			}
			time.Sleep(10 * time.Millisecond)
		}
		for range 20 {
			if status, code := s.ask(t.Context(), g, s.keys[1]); !strings.HasPrefix(code, "license_") {
				t.Fatalf("%s answers %d %s after it knew of the revocation", g.name, status, code)
			}
		}
	}
}
