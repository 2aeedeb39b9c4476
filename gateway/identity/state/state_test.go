package state

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/redisurl"
	"github.com/fealty/fealty/internal/servertest"
)

// world is a real Redis and the gateways that guard it.
type world struct {
	t      *testing.T
	dir    string
	server servertest.Server
	client redis.UniversalClient
}

func newWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.server = servertest.Redis(t, servertest.Port(t), append([]string{"--dir", w.dir}, args...)...)
	w.client = patientClient(t, w.server.Addr)
	return w
}

// patience is for a machine that does much else, or stands still for a while: no gateway
// here may take a store that is well for one that is away.
const patience = time.Minute

// patientClient is as Open makes them, but for its patience.
func patientClient(t *testing.T, addr string) redis.UniversalClient {
	t.Helper()
	client, err := redisurl.Open("redis://"+addr, patience, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// restart kills the server and starts it on the data in dir.
func (w *world) restart(dir string) {
	w.t.Helper()
	w.server.Kill()
	_, port, _ := net.SplitHostPort(w.server.Addr)
	w.server = servertest.Redis(w.t, port, "--dir", dir)
}

// another is the data of a store that was prepared elsewhere. Preparing it under the
// eyes of the gateways would be an operator's word that this one counts now.
func (w *world) another() (dir string) {
	w.t.Helper()
	o := newWorld(w.t)
	o.init()
	w.ok(o.client.Save(w.t.Context()).Err())
	o.server.Kill()
	return o.dir
}

func (w *world) init() Initialised {
	w.t.Helper()
	done, err := Init(w.t.Context(), w.client)
	w.ok(err)
	return done
}

func (w *world) gateway(seen string) *Store {
	w.t.Helper()
	s, err := Watch(w.t.Context(), Options{Client: w.client, Every: 10 * time.Millisecond, Seen: seen})
	w.ok(err)
	w.t.Cleanup(func() { s.Close() })
	return s
}

// idle is a gateway that never looks by itself: what it notices, it notices when it asks.
func (w *world) idle() *Store {
	w.t.Helper()
	s, err := Watch(w.t.Context(), Options{Client: w.client, Every: time.Hour})
	w.ok(err)
	w.t.Cleanup(func() { s.Close() })
	return s
}

func (w *world) revoke(s *Store, id string) {
	w.t.Helper()
	w.ok(s.Write(w.t.Context(), func(p redis.Pipeliner) { p.Set(w.t.Context(), id, "revoked", 0) }))
}

// read asks for something that is not there: in a store that is whole, that is an answer.
func read(s *Store) error {
	return s.Read(context.Background(), func(p redis.Pipeliner) { p.Get(context.Background(), "nothing") })
}

func (w *world) becomes(s *Store, what string, ok func(error) bool) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = errors.Join(s.Err(), read(s)); ok(err) {
			return
		}
	}
	w.t.Errorf("after %v not %s: %v", patience, what, err)
}

// spoilt waits until whoever noticed that the store has lost data has told it so: a
// gateway says no to its own callers a moment earlier.
func (w *world) spoilt() {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		told, err := w.client.HExists(w.t.Context(), markName, "lost").Result()
		if err == nil && told {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("after %v the store does not say that it is lost: %v", patience, err)
		}
	}
}

func lost(err error) bool  { return errors.Is(err, ErrLost) && errors.Is(err, ErrUnavailable) }
func whole(err error) bool { return err == nil }

func TestUnmarkedStoreIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.gateway("")
	if err := read(s); !lost(err) || !strings.Contains(err.Error(), "fealty state init") {
		t.Errorf("before init: %v", err)
	}
	if done := w.init(); !done.Fresh || done.Lost != "" {
		t.Errorf("init: %+v", done)
	}
	w.becomes(s, "whole", whole)
	if done := w.init(); done.Fresh {
		t.Error("init changed a store that has its mark")
	}
}

// Each way to lose data, noticed by a gateway that runs and by one that only asks.
func TestLossIsNoticed(t *testing.T) {
	for name, lose := range map[string]func(w *world){
		"FLUSHALL":                    func(w *world) { w.ok(w.client.FlushAll(w.t.Context()).Err()) },
		"the mark deleted":            func(w *world) { w.ok(w.client.Del(w.t.Context(), markName).Err()) },
		"the generation deleted":      func(w *world) { w.ok(w.client.HDel(w.t.Context(), markName, "generation").Err()) },
		"an empty replica takes over": func(w *world) { w.restart(w.t.TempDir()) },
		"an old snapshot is restored": func(w *world) { w.restart(w.dir) },
		"another deployment's store":  func(w *world) { w.restart(w.another()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.init()
			w.ok(w.client.Save(t.Context()).Err()) // the old snapshot
			asks, runs := w.idle(), w.gateway("")
			w.revoke(asks, "a key")
			lose(w)
			w.becomes(asks, "lost", lost)
			w.becomes(runs, "lost", lost)
			if err := asks.Write(t.Context(), func(redis.Pipeliner) {}); !lost(err) {
				t.Errorf("a write after the loss: %v", err)
			}
		})
	}
}

// After a roll back no gateway serves: not the one that noticed, not one that starts
// later and remembers nothing, until an operator accepts what the store holds.
func TestRollBackUntilInit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init()
	w.ok(w.client.Save(t.Context()).Err())
	one, two := w.gateway(""), w.gateway("")
	w.revoke(one, "a key")
	w.restart(w.dir)
	w.becomes(one, "lost", lost)
	w.becomes(two, "lost", lost)
	w.spoilt()
	late := w.idle()
	if err := read(late); !lost(err) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("a gateway that starts after the loss: %v", err)
	}
	done := w.init()
	if !done.Fresh || !strings.Contains(done.Lost, "rolled back") {
		t.Errorf("init: %+v", done)
	}
	w.becomes(one, "whole again", whole)
	w.becomes(two, "whole again", whole)
}

// What comes back whole is believed again without anybody's help.
func TestStoreComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init()
	s := w.gateway("")
	w.revoke(s, "a key")
	s.Close() // so that nothing is written between the snapshot and the failover
	s = w.idle()
	w.ok(w.client.Save(t.Context()).Err())
	w.restart(t.TempDir())
	w.becomes(s, "lost", lost)
	w.restart(w.dir)
	w.becomes(s, "whole, since the right store is back", func(err error) bool {
		s.beat(t.Context()) // it looks, as it does every second; an answer may take too long
		return errors.Join(s.Err(), read(s)) == nil
	})
}

// A store that does not answer is not a lost one.
func TestOutageIsNoLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--appendonly", "yes", "--appendfsync", "always") // else a busy disk may lose what was answered
	w.init()
	s := w.gateway("")
	w.revoke(s, "a key")
	w.server.Kill()
	if err := read(s); !errors.Is(err, ErrUnavailable) || lost(err) || s.Err() != nil {
		t.Errorf("while it is down: %v, %v", err, s.Err())
	}
	w.becomes(s, "known to be away", func(error) bool { return s.Away() })
	_, port, _ := net.SplitHostPort(w.server.Addr)
	servertest.Redis(t, port, "--dir", w.dir, "--appendonly", "yes")
	w.becomes(s, "whole", whole)
	w.becomes(s, "known to be back", func(error) bool { return !s.Away() })
}

// All gateways stop, the store is rolled back, they start: the file remembers.
func TestSeenFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init()
	w.ok(w.client.Save(t.Context()).Err())
	seen := filepath.Join(t.TempDir(), "seen.json")
	s := w.gateway(seen)
	w.revoke(s, "a key")
	w.ok(s.Close())
	w.restart(w.dir)
	s = w.gateway(seen)
	if err := read(s); !lost(err) {
		t.Errorf("rolled back while no gateway ran: %v", err)
	}
	w.spoilt()
	w.ok(s.Close())
	w.init()
	s = w.gateway(seen)
	w.becomes(s, "whole", whole)
	w.ok(s.Close()) // each of them would write the file again

	w.ok(os.WriteFile(seen, []byte("{"), 0o600))
	if _, err := Watch(t.Context(), Options{Client: w.client, Seen: seen}); err == nil || !strings.Contains(err.Error(), seen) {
		t.Errorf("a damaged file: %v", err)
	}
	if _, err := Watch(t.Context(), Options{Client: w.client, Seen: "/nowhere/seen"}); err == nil || !strings.Contains(err.Error(), "redis.seen") {
		t.Errorf("a file that cannot be written: %v", err)
	}
}

// The answers of one round trip are read; redis.Nil is one of them, a refusal is not.
func TestReadAndWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init()
	s := w.idle()
	w.revoke(s, "a key")
	var there, not *redis.StringCmd
	err := s.Read(t.Context(), func(p redis.Pipeliner) { not, there = p.Get(t.Context(), "no"), p.Get(t.Context(), "a key") })
	if err != nil || !errors.Is(not.Err(), redis.Nil) || there.Val() != "revoked" {
		t.Errorf("read %v: %v, %v", err, not, there)
	}
	if err := s.Read(t.Context(), func(p redis.Pipeliner) { p.HGetAll(t.Context(), "a key") }); !errors.Is(err, ErrUnavailable) || lost(err) {
		t.Errorf("a command that Redis refuses: %v", err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if err := errors.Join(s.Write(t.Context(), func(redis.Pipeliner) {}), read(s)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := s.remembered().Writes; got < 400 {
		t.Errorf("%d writes counted of 400", got)
	}
}

func TestHowItKeepsData(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	const unchecked = "could not check"
	watch := func(args ...string) (err error) {
		w := newWorld(t, args...)
		for range 20 { // it asks for two seconds, which may be too short here
			log.Reset()
			var s *Store
			if s, err = Watch(t.Context(), Options{Client: w.client, Log: slog.New(slog.NewTextHandler(&log, nil))}); err == nil {
				s.Close()
			}
			if !strings.Contains(log.String(), unchecked) {
				break
			}
		}
		return err
	}
	if err := watch("--maxmemory-policy", "allkeys-lru"); err == nil || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("an evicting store: %v", err)
	}
	if err := watch(); err != nil || !strings.Contains(log.String(), "appendonly") {
		t.Errorf("without AOF: %v, log %q", err, log.String())
	}
	if err := watch("--appendonly", "yes"); err != nil || strings.Contains(log.String(), "appendonly") {
		t.Errorf("with AOF: %v, log %q", err, log.String())
	}
	if err := watch("--rename-command", "INFO", ""); err != nil || !strings.Contains(log.String(), unchecked) {
		t.Errorf("INFO denied: %v, log %q", err, log.String())
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "http://x", "redis://:secret@[", "redis://a:1,b:2", "redis://:secret@a:1?master_name=m&nonsense=1"} {
		if c, err := Open(url); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", url, c, err)
		}
	}
	c, err := Open("redis://127.0.0.1:26379?master_name=m&addr=127.0.0.1:26380")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A write that meets an old copy, and whose answer gets lost, does not hide the loss.
func TestWriteOnOldCopyIsNotCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init()
	s := w.idle()
	w.ok(w.client.Save(t.Context()).Err())
	w.revoke(s, "a key")
	known := s.remembered()
	w.restart(w.dir)
	f, err := s.ask(t.Context(), known, true, func(redis.Pipeliner) {})
	if err != nil || f.number != 0 {
		t.Errorf("a write on the old copy got the number %d, %v", f.number, err)
	}
	w.becomes(s, "lost", lost)
}

func (w *world) tell(addr string, command ...any) {
	w.t.Helper()
	w.ok(patientClient(w.t, addr).Do(w.t.Context(), command...).Err())
}

// A failover to a replica that has everything goes unnoticed but for a moment without
// answers; one to a replica that missed writes is a loss.
func TestFailover(t *testing.T) {
	for name, behind := range map[string]bool{"a replica that has everything": false, "a replica that is behind": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sentinel, master, replica := servertest.RedisSentinel(t)
			client := patientClient(t, sentinel.Addr+"?master_name="+servertest.SentinelMaster)
			w := &world{t: t, server: sentinel, client: client}
			w.init()
			s := w.idle()
			w.revoke(s, "before")
			if copied, err := client.Do(t.Context(), "WAIT", 1, 30_000).Int(); copied != 1 {
				t.Fatalf("the replica has not got it: %v", err)
			}
			if behind {
				w.tell(replica.Addr, "CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
				w.tell(master.Addr, "CLIENT", "KILL", "TYPE", "replica") // it cannot come back
				w.revoke(s, "a key")
			}
			master.Kill()
			want := whole
			if behind {
				want = lost
			}
			// The Sentinel waits for three seconds; for half a minute if it finds that it was not run
			// itself for two.
			for end := time.Now().Add(2 * patience); !want(read(s)) && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			if err := read(s); !want(err) {
				t.Errorf("after the failover: %v", err)
			}
		})
	}
}

// A store whose records are of a newer format is refused in words and left as it is, by
// gateways that run, by those that start, and by init. One of an older format is read.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init()
	s := w.gateway("")
	format := func(value string) { w.ok(w.client.HSet(t.Context(), markName, "format", value).Err()) }
	newer := func(err error) bool {
		return errors.Is(err, ErrNewer) && errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrLost) && strings.Contains(err.Error(), "upgrade")
	}
	w.becomes(s, "whole", whole)
	before := w.client.HGet(t.Context(), markName, "generation").Val()
	format("2")
	w.becomes(s, "too new", newer)
	if err := read(w.idle()); !newer(err) {
		t.Errorf("a gateway that starts: %v", err)
	}
	if done, err := Init(t.Context(), w.client); !errors.Is(err, ErrNewer) {
		t.Errorf("init: %+v, %v", done, err)
	}
	if got := w.client.HMGet(t.Context(), markName, "generation", "format").Val(); got[0] != before || got[1] != "2" {
		t.Errorf("the mark became %v", got)
	}
	format("1") // the newer version was rolled back before it changed a record
	w.becomes(s, "whole", whole)
	format("what")
	w.becomes(s, "damaged", func(err error) bool { return errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNewer) })
	w.ok(w.client.HDel(t.Context(), markName, "format").Err()) // as the first version left it
	w.becomes(s, "whole", whole)
}
