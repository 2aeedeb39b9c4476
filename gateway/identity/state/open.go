package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Open connects to a redis:// or rediss:// URL. With ?master_name=NAME its host, and
// each &addr=HOST:PORT, is a Sentinel. It connects on first use. A cluster is
// refused: its parts can be lost one by one, and only one of them holds the mark.
func Open(url string) (redis.UniversalClient, error) {
	redis.SetLogger(silent{})
	if strings.Contains(url, ",") {
		return nil, errors.New("state: a Redis cluster cannot hold the state; name one server, or its Sentinels with ?master_name=NAME&addr=HOST:PORT")
	}
	if strings.Contains(url, "master_name=") {
		o, err := redis.ParseFailoverURL(url)
		if err != nil {
			return nil, errURL
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.MaxRetries = wait, 2*wait, 2*wait, once
		o.ContextTimeoutEnabled = true
		return redis.NewFailoverClient(o), nil
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errURL
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.MaxRetries = wait, 2*wait, 2*wait, once
	o.ContextTimeoutEnabled = true
	return redis.NewClient(o), nil
}

const (
	wait = time.Second // bounds dialling; sending a command and its answer take twice that at most
	// once keeps the library from sending a command again whose answer got lost: a nonce
	// would be refused as spent, and a lease taken twice.
	once = -1
)

// errURL does not quote the URL, which may hold a password.
var errURL = errors.New("state: the URL of the state store cannot be read; write redis://host:6379/0")

// silent drops the library's own log lines: every error is returned, and logged by
// whoever it stops.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// inspect refuses a store that drops data when it is full, and warns of one that
// forgets it at a restart. It asks INFO, which hosted servers allow where they deny
// CONFIG.
func inspect(ctx context.Context, client redis.UniversalClient, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 2*wait)
	defer cancel()
	memory, err := client.Info(ctx, "memory").Result()
	persistence, err2 := client.Info(ctx, "persistence").Result()
	if err := errors.Join(err, err2); err != nil {
		log.Warn("could not check how the state store keeps data; make sure that it has appendonly yes and maxmemory-policy noeviction", "error", err)
		return nil
	}
	if policy := infoField(memory, "maxmemory_policy"); policy != "noeviction" {
		return fmt.Errorf("state: the state store has maxmemory-policy %q and may drop revocations when it is full; set it to noeviction", policy)
	}
	if infoField(persistence, "aof_enabled") != "1" {
		log.Warn("the state store has appendonly off: it forgets keys, revocations and usage at a restart; set appendonly yes")
	}
	return nil
}

func infoField(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// recall reads the file that remembers the mark.
func (s *Store) recall() error {
	if s.o.Seen == "" {
		return nil
	}
	text, err := os.ReadFile(s.o.Seen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.known)
	}
	if err != nil {
		return fmt.Errorf("redis.seen: %s cannot be read (%w); restore it, or remove it if you know that the state store is whole", s.o.Seen, err)
	}
	return nil
}

// remember writes that file, whole or not at all.
func (s *Store) remember() error {
	known := s.remembered()
	if s.o.Seen == "" || known.Generation == "" {
		return nil
	}
	text, err := json.Marshal(known)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.o.Seen), ".seen-*")
	if err != nil {
		return fmt.Errorf("redis.seen: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.o.Seen)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("redis.seen: %w", err), os.Remove(f.Name()))
	}
	return nil
}
