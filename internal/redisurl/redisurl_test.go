package redisurl

import (
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/servertest"
)

func TestForms(t *testing.T) {
	for url, want := range map[string]redis.UniversalOptions{
		"redis://h":                       {Addrs: []string{"h:6379"}},
		"redis://h:1/2":                   {Addrs: []string{"h:1"}, DB: 2},
		"redis://u:p%40s@[::1]:1":         {Addrs: []string{"[::1]:1"}, Username: "u", Password: "p@s"},
		"redis://:p@h1:1,h2,h3:3":         {Addrs: []string{"h1:1", "h2:6379", "h3:3"}, Password: "p", IsClusterMode: true},
		"redis+cluster://h:1":             {Addrs: []string{"h:1"}, IsClusterMode: true},
		"redis://h:1/3?master_name=m":     {Addrs: []string{"h:1"}, DB: 3, MasterName: "m"},
		"redis://u:p@h1,h2?master_name=m": {Addrs: []string{"h1:26379", "h2:26379"}, Username: "u", Password: "p", MasterName: "m"},
		"redis://h1:1?master_name=m&addr=h2:2&addr=h3&sentinel_username=a&sentinel_password=b": {
			Addrs: []string{"h1:1", "h2:2", "h3:26379"}, MasterName: "m", SentinelUsername: "a", SentinelPassword: "b",
		},
	} {
		got, err := parse(url)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v; want %+v", url, got, err, want)
		}
	}
	secure, err := parse("rediss://h1,h2")
	if err != nil || secure.TLSConfig == nil || secure.TLSConfig.ServerName != "" || secure.TLSConfig.InsecureSkipVerify {
		t.Errorf("rediss: %+v, %v; want TLS that verifies each host by its own name", secure, err)
	}
}

func TestWrongForms(t *testing.T) {
	for _, c := range []struct{ url, says string }{
		{"", "cannot be read"},
		{"s3cret", "cannot be read"},
		{"http://:s3cret@h", "cannot be read"},
		{"redis://:s3cret@", "cannot be read"},
		{"redis://:s3cret@h:port", "cannot be read"},
		{"redis://:s3cret@h1,,h2", "cannot be read"},
		{"redis://:s3cret@h1,h2/x", "cannot be read"},
		{"redis://:s3cret@h1,h2/1", "only 0"},
		{"redis+magic://:s3cret@h", "cannot be read"},
		{"redis+cluster://:s3cret@h?master_name=m", "cannot be read"},
		{"redis://:s3cret@h?addr=h2", "without master_name"},
		{"redis://:s3cret@h?master_name=", "without master_name"},
		{"redis://:s3cret@h?master_name=m&addr=h:port", "cannot be read"},
		{"redis://h?dial_timeout=s3cret", "not understood"},
	} {
		_, err := Open(c.url, time.Second, 0)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v; want it to say %q and no secret", c.url, err, c.says)
		}
	}
}

// One server, a cluster and the master of a Sentinel keep what is put there.
func TestReal(t *testing.T) {
	t.Parallel()
	one := servertest.Redis(t, "0")
	cluster := servertest.RedisCluster(t)
	sentinel, _, _ := servertest.RedisSentinel(t)
	for _, url := range []string{
		"redis://" + one.Addr,
		"redis://" + cluster[0].Addr + "," + cluster[1].Addr,
		"redis+cluster://" + cluster[2].Addr,
		"redis://" + sentinel.Addr + "/1?master_name=" + servertest.SentinelMaster,
	} {
		client, err := Open(url, 30*time.Second, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, key := range []string{"a", "b", "c", "d"} { // of several nodes of a cluster
			if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
				t.Fatalf("%s: %v", url, err)
			}
			if got := client.Get(t.Context(), key).Val(); got != "v" {
				t.Errorf("%s: %q is %q", url, key, got)
			}
		}
	}
}

// What goes wrong is an error for the caller, and no line on stderr. The library takes
// hold of stderr when it starts, so it takes a process of its own to see.
func TestQuiet(t *testing.T) {
	if os.Getenv("FEALTY_TEST_QUIET") != "" {
		client, err := Open("redis://127.0.0.1:1,127.0.0.1:2?master_name=m", 50*time.Millisecond, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Error("nobody listens, and it answers")
		}
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestQuiet$")
	child.Env = append(os.Environ(), "FEALTY_TEST_QUIET=1")
	var stderr strings.Builder
	child.Stderr = &stderr
	if err := child.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%v; stderr: %s", err, stderr.String())
	}
}
