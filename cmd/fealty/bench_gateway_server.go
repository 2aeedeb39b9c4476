package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fealty/fealty/gateway"
)

// contender is a server that is measured, in a process of its own.
type contender struct {
	name     string
	address  string
	admin    string // of a gateway
	governed bool   // it has the mode as a model; the others have it in the path
	log      string
	process  *exec.Cmd
}

// request is what a client sends to have an answer of the mode.
func (c *contender) request(mode, key string) []byte {
	path, more, accept := "/"+mode+"/v1/chat/completions", "", "application/json"
	if c.governed {
		path = "/v1/chat/completions"
	}
	if mode == modeStream || mode == modeIdle {
		more, accept = `,"stream":true`, "text/event-stream"
	}
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"system","content":"You answer in one sentence."},`+
		`{"role":"user","content":"Why is the sky blue?"}],"temperature":0.7,"max_tokens":64%s}`, mode, more)
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: %s\r\n"+
		"User-Agent: fealty-bench\r\nContent-Length: %d\r\n\r\n%s", path, c.address, key, accept, len(body), body)
}

// spawn starts a process that listens on a free address, and waits until it does.
func (b *benchGateway) spawn(ctx context.Context, name string, args func(address string) ([]string, error)) (*contender, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	argv, err := args(address)
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, address: address, log: filepath.Join(b.dir, strings.ReplaceAll(name, " ", "-")+".log")}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.process = exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.process.Cancel = func() error { return c.process.Process.Signal(syscall.SIGTERM) }
	c.process.WaitDelay = 10 * time.Second
	log, err := os.Create(c.log)
	if err != nil {
		cancel()
		return nil, err
	}
	defer log.Close()
	c.process.Stderr = log
	if err := c.process.Start(); err != nil {
		cancel()
		return nil, err
	}
	gone := make(chan struct{})
	go func() {
		_ = c.process.Wait() // it says how we ended it
		close(gone)
	}()
	b.onClose(func() error { cancel(); <-gone; return nil })
	return c, c.listens(ctx, gone)
}

func (c *contender) listens(ctx context.Context, gone chan struct{}) error {
	const patience = 60 * time.Second
	var d net.Dialer
	for began := time.Now(); ; {
		conn, err := d.DialContext(ctx, "tcp", c.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-gone:
			return fmt.Errorf("%s ended: %s", c.name, c.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(began) > patience {
			return fmt.Errorf("%s does not listen after %s: %s", c.name, patience, c.lastWords())
		}
	}
}

func (c *contender) lastWords() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-500):]))
}

// self starts this program with a hidden command or as a gateway.
func (b *benchGateway) self(ctx context.Context, name string, args ...string) (*contender, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.spawn(ctx, name, func(address string) ([]string, error) {
		return append(append([]string{program, "bench"}, args...), "--listen", address), nil
	})
}

// gateway starts 'fealty serve' with every mode of the mock as a model.
func (b *benchGateway) gateway(ctx context.Context, name string, change func(*gateway.Config)) (*contender, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var admin string
	c, err := b.spawn(ctx, name, func(address string) ([]string, error) {
		cfg, err := b.config(ctx, address)
		if err != nil {
			return nil, err
		}
		change(&cfg)
		admin = cfg.Admin.Listen
		text, err := yaml.MarshalWithOptions(cfg, yaml.OmitZero())
		if err != nil {
			return nil, err
		}
		path := filepath.Join(b.dir, strings.ReplaceAll(name, " ", "-")+".yaml")
		return []string{program, "serve", "--config", path}, os.WriteFile(path, text, 0o600)
	})
	if err != nil {
		return nil, err
	}
	c.governed, c.admin = true, admin
	return c, nil
}

// config has budgets that no benchmark uses up, so that they are counted and hold.
func (b *benchGateway) config(ctx context.Context, address string) (gateway.Config, error) {
	cfg, err := b.site().config("http://"+address, gateway.BackendConfig{})
	if err != nil {
		return cfg, err
	}
	if cfg.Admin.Listen, err = freeAddress(ctx); err != nil {
		return cfg, err
	}
	model := cfg.Models[0]
	model.Caps = gateway.CapsConfig{RPM: 1 << 30, TokensPerDay: 1 << 45}
	cfg.Models = nil
	for _, mode := range []string{modeInstant, modeSlow, modeStream, modeIdle, modeSilent} {
		model.Name = mode
		model.Backend = gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: "http://" + b.mock.address + "/" + mode + "/v1"}}}
		cfg.Models = append(cfg.Models, model)
	}
	return cfg, nil
}

// nginx starts Debian's with what its manual advises for a proxy: connections kept on
// both sides, no access log.
func (b *benchGateway) nginx(ctx context.Context) (*contender, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, errors.New("nginx is not installed (Debian: apt-get install nginx)")
		}
	}
	return b.spawn(ctx, "nginx", func(address string) ([]string, error) {
		conf := filepath.Join(b.dir, "nginx.conf")
		text := strings.NewReplacer("$listen", address, "$mock", b.mock.address, "$dir", b.dir).Replace(nginxConf)
		return []string{program, "-p", b.dir, "-e", "stderr", "-c", conf}, os.WriteFile(conf, []byte(text), 0o600)
	})
}

const nginxConf = `daemon off;
worker_processes auto;
pid $dir/nginx.pid;
error_log stderr error;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path $dir/nginx-body;
  proxy_temp_path $dir/nginx-proxy;
  fastcgi_temp_path $dir/nginx-fastcgi;
  uwsgi_temp_path $dir/nginx-uwsgi;
  scgi_temp_path $dir/nginx-scgi;
  keepalive_requests 1000000000;
  upstream mock { server $mock; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen $listen;
    location / {
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout 600s;
    }
  }
}
`

// clockTick is the unit of CPU time in /proc, on every platform of Linux's.
const clockTick = 10 * time.Millisecond

// cpu is what the process and its children have used so far.
func (c *contender) cpu() (time.Duration, error) {
	var ticks int64
	err := c.family(func(fields []string) {
		user, _ := strconv.ParseInt(fields[11], 10, 64) // utime and stime, proc_pid_stat(5)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		ticks += user + system
	})
	return time.Duration(ticks) * clockTick, err
}

// resident is the memory of the process and its children, in bytes.
func (c *contender) resident() (bytes int64, err error) {
	err = c.family(func(fields []string) {
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		bytes += pages * int64(os.Getpagesize())
	})
	return bytes, err
}

// family visits the process and its children: what follows the name in their stat.
func (c *contender) family(visit func(fields []string)) error {
	pid := strconv.Itoa(c.process.Process.Pid)
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(all) == 0 {
		return errors.Join(errors.New("CPU time of other processes is read from /proc, which Linux has"), err)
	}
	found := false
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
		fields := strings.Fields(rest)
		own := path == "/proc/"+pid+"/stat"
		if found = found || own; (own || fields[1] == pid) && len(fields) > 21 {
			visit(fields)
		}
	}
	if !found {
		return fmt.Errorf("%s has ended: %s", c.name, c.lastWords())
	}
	return nil
}
