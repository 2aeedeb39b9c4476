package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/atomicfile"
	"github.com/fealty/fealty/internal/redisurl"
)

// Open connects to the Redis that a URL names, as package redisurl reads it, on first
// use. A cluster is refused: its parts can be lost one by one, and only one of them
// holds the mark. No command is sent again whose answer got lost: a nonce would be
// refused as spent, and a lease taken twice.
func Open(url string) (redis.UniversalClient, error) {
	client, err := redisurl.Open(url, 2*wait, 0)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if _, cluster := client.(*redis.ClusterClient); cluster {
		return nil, errors.Join(errCluster, client.Close())
	}
	return client, nil
}

var errCluster = errors.New("state: a Redis cluster cannot hold the state; name one server, or its Sentinels with ?master_name=NAME&addr=HOST:PORT")

// wait bounds a step of the guard's own; a command takes twice that at most.
const wait = time.Second

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
	err = atomicfile.Write(s.o.Seen, 0o600, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("redis.seen: %w", err)
	}
	return nil
}
