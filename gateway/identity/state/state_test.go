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
	client, err := Open("redis://" + w.server.Addr)
	w.ok(err)
	w.client = client
	t.Cleanup(func() { client.Close() })
	return w
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
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err = errors.Join(s.Err(), read(s)); ok(err) {
			return
		}
	}
	w.t.Errorf("after 20 s not %s: %v", what, err)
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
	late := w.idle()
	if err := late.Err(); !lost(err) || !strings.Contains(err.Error(), "rolled back") {
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
	s.beat(t.Context())
	if err := errors.Join(s.Err(), read(s)); err != nil {
		t.Errorf("the right store is back: %v", err)
	}
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
	if err := w.gateway(seen).Err(); !lost(err) {
		t.Errorf("rolled back while no gateway ran: %v", err)
	}
	w.init()
	s = w.gateway(seen)
	w.becomes(s, "whole", whole)
	w.ok(s.Close()) // it would write the file again

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
	watch := func(args ...string) error {
		w := newWorld(t, args...)
		log.Reset()
		s, err := Watch(t.Context(), Options{Client: w.client, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			s.Close()
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
	if err := watch("--rename-command", "INFO", ""); err != nil || !strings.Contains(log.String(), "could not check") {
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
	if f, err := s.ask(t.Context(), known, true, func(redis.Pipeliner) {}); err != nil || f.number != 0 {
		t.Errorf("a write on the old copy got the number %d, %v", f.number, err)
	}
	w.becomes(s, "lost", lost)
}

func (w *world) tell(addr string, command ...any) {
	w.t.Helper()
	client, err := Open("redis://" + addr)
	w.ok(err)
	defer client.Close()
	w.ok(client.Do(w.t.Context(), command...).Err())
}

// A failover to a replica that has everything goes unnoticed but for a moment without
// answers; one to a replica that missed writes is a loss.
func TestFailover(t *testing.T) {
	for name, behind := range map[string]bool{"a replica that has everything": false, "a replica that is behind": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sentinel, master, replica := servertest.RedisSentinel(t)
			client, err := Open("redis://" + sentinel.Addr + "?master_name=" + servertest.SentinelMaster)
			w := &world{t: t, server: sentinel, client: client}
			w.ok(err)
			t.Cleanup(func() { client.Close() })
			w.init()
			s := w.idle()
			w.revoke(s, "before")
			if copied, err := client.Do(t.Context(), "WAIT", 1, 5000).Int(); copied != 1 {
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
			for end := time.Now().Add(2 * time.Minute); !want(read(s)) && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond) // the Sentinel waits for seconds
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
