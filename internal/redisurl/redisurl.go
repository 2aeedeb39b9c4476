// Package redisurl opens the Redis that a URL names: one server, a cluster, or
// whichever server a group of Sentinels calls the master.
//
//	redis://[user:password@]host[:6379][/db]                one server
//	redis://host1:6379,host2:6379                           a cluster
//	redis+cluster://host[:6379]                             a cluster, by one of its nodes
//	redis://host1:26379,host2:26379[/db]?master_name=name   the master of Sentinels
//
// More Sentinels may also follow as &addr=host:port. The forms with rediss instead of redis
// use TLS. User and password are those of the servers; sentinel_username and
// sentinel_password in the query are those of the Sentinels. Such a URL may hold
// passwords, so no error shows any of it. Start with [Open].
package redisurl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Open makes a client; it connects when it is used. wait bounds each dial, read, write
// and wait for a free connection, and retries is how often a failed command is sent again.
func Open(rawURL string, wait time.Duration, retries int) (redis.UniversalClient, error) {
	o, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = wait, wait, wait, wait
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = retries, retries+1, true
	if retries == 0 {
		o.MaxRetries = -1 // 0 means three, to the library
	}
	return redis.NewUniversalClient(o), nil
}

// The library writes what goes wrong with connections to stderr, addresses included.
// Every command that suffers from it returns an error, and whoever sent it says so.
func init() { redis.SetLogger(quietly{}) }

type quietly struct{}

func (quietly) Printf(ctx context.Context, format string, v ...any) {
	if slog.Default().Enabled(ctx, slog.LevelDebug) {
		slog.DebugContext(ctx, "redis client", "says", fmt.Sprintf(format, v...))
	}
}

var errForm = errors.New("the Redis URL cannot be read; write redis://host:6379/0, redis://host1:6379,host2:6379 for a cluster, " +
	"or redis://host1:26379,host2:26379/0?master_name=NAME for Sentinels")

// parse takes the hosts apart, which url.Parse refuses to, and leaves the rest to the library.
func parse(rawURL string) (*redis.UniversalOptions, error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	scheme, cluster := strings.CutSuffix(scheme, "+cluster")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	at := strings.LastIndex(authority, "@") + 1
	hosts := strings.Split(authority[at:], ",")
	u, err := url.Parse(scheme + "://" + authority[:at] + hosts[0] + tail)
	if err != nil || scheme != "redis" && scheme != "rediss" {
		return nil, errForm
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errForm
	}
	u.RawQuery = ""
	base, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, errForm
	}
	o := &redis.UniversalOptions{DB: base.DB, Username: base.Username, Password: base.Password}
	if err := sentinels(o, query); err != nil {
		return nil, err
	}
	o.IsClusterMode = cluster || len(hosts) > 1 && o.MasterName == ""
	if o.Addrs, err = addresses(append(hosts, query["addr"]...), o.MasterName != ""); err != nil {
		return nil, err
	}
	if scheme == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12} // the name to verify is each host's own
	}
	switch {
	case cluster && o.MasterName != "":
		return nil, errForm
	case o.IsClusterMode && o.DB != 0:
		return nil, fmt.Errorf("the Redis URL names database %d of a cluster, which has only 0; leave it out", o.DB)
	}
	return o, nil
}

func addresses(hosts []string, sentinels bool) ([]string, error) {
	port := "6379"
	if sentinels {
		port = "26379"
	}
	out := make([]string, len(hosts))
	for i, h := range hosts {
		u, err := url.Parse("redis://" + h)
		if err != nil || u.Hostname() == "" || u.Host != h {
			return nil, errForm
		}
		if out[i] = u.Host; u.Port() == "" {
			out[i] = net.JoinHostPort(u.Hostname(), port)
		}
	}
	return out, nil
}

// sentinels takes over what the query says of them. A query that says anything else is refused.
func sentinels(o *redis.UniversalOptions, query url.Values) error {
	for name := range query {
		switch name {
		case "master_name", "addr", "sentinel_username", "sentinel_password":
		default:
			return errors.New("the Redis URL has a query that is not understood; it may hold master_name, addr, sentinel_username and sentinel_password")
		}
	}
	o.MasterName = query.Get("master_name")
	o.SentinelUsername, o.SentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	if len(query) > 0 && o.MasterName == "" {
		return errors.New("the Redis URL has a query without master_name; add the name that the Sentinels' `sentinel monitor` line gives")
	}
	return nil
}
