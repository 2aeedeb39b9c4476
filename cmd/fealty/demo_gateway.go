package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
)

// startGateway serves the fingerprinted weights, wired as 'fealty serve' wires it.
func (d *demo) startGateway(ctx context.Context) error {
	if err := d.startRedis(ctx); err != nil {
		return err
	}
	backend := gateway.BackendConfig{Weights: d.served}
	n, origin, err := d.serve(ctx, d.listen, backend)
	if err != nil {
		return err
	}
	d.node, d.gateway = n, origin
	return nil
}

func (d *demo) startRedis(ctx context.Context) (err error) {
	if d.redis, err = devnet.StartRedis(); err != nil {
		return err
	}
	d.onClose(d.redis.Close)
	client, err := state.Open("redis://" + d.redis.Addr() + "/0")
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = state.Init(ctx, client)
	return err
}

// serve starts one gateway at the address, or at a free port if that is taken.
// Changes are made to the config that the demo's gateways have.
func (d *demo) serve(ctx context.Context, address string, backend gateway.BackendConfig, changes ...func(*gateway.Config)) (*node, string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		if l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return nil, "", err
		}
		d.p.say("    %s is taken; using %s", address, l.Addr())
	}
	origin := "http://" + l.Addr().String()
	cfg, err := site{
		dir: d.dir, redis: d.redis.Addr(), chain: d.chain, registry: d.registry.Address(), model: d.model, version: d.version,
		name: demoModel, host: demoHost,
	}.config(origin, backend)
	if err != nil {
		return nil, "", err
	}
	for _, change := range changes {
		change(&cfg)
	}
	log := slog.New(slog.NewTextHandler(d.p, &slog.HandlerOptions{Level: slog.LevelError}))
	n, err := assemble(ctx, cfg, log)
	if err != nil {
		return nil, "", err
	}
	n.serveOn(l)
	d.onClose(func() error { return errors.Join(n.Shutdown(), n.Close()) })
	return n, origin, nil
}

// makeKeys signs each wallet in and makes an API key with the token.
func (d *demo) makeKeys(ctx context.Context) error {
	d.keys = map[string]string{}
	for _, name := range []string{"licensee", "auditor", "guest", "stranger"} {
		a, err := openAccount(ctx, d.gateway, d.wallets[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		k, err := a.createKey(ctx, keyRequest{Name: name})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		d.keys[name] = k.Key
	}
	return nil
}

// servesThroughUpstream puts a second gateway in front of the first: the same code,
// with a URL instead of weights. It holds an API key of its own for the first.
func (d *demo) servesThroughUpstream(ctx context.Context) error {
	path := filepath.Join(d.dir, "upstream.key")
	if err := os.WriteFile(path, []byte(d.keys["auditor"]), 0o600); err != nil {
		return err
	}
	key, err := gateway.ParseSecret("file:" + path)
	if err != nil {
		return err
	}
	_, origin, err := d.serve(ctx, "127.0.0.1:0", gateway.BackendConfig{
		Upstreams: []gateway.UpstreamConfig{{URL: d.gateway + "/v1", Model: demoModel, Key: key}},
	})
	if err != nil {
		return err
	}
	second := *d
	second.gateway = origin
	if d.story.Requests.UpstreamStatus, err = second.expect(ctx, d.keys["licensee"], http.StatusOK, ""); err != nil {
		return err
	}
	_, err = second.expect(ctx, d.keys["stranger"], http.StatusPaymentRequired, "no_license")
	return err
}

// stay keeps the gateway up until Ctrl-C and says what to try.
func (d *demo) stay(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	registry, guest := d.registry.Address(), d.wallets["guest"].Address()
	fmt.Fprintf(out, next, len(steps)-len(d.story.Failed), len(steps), time.Since(d.started).Seconds(),
		d.gateway, d.keys["guest"], demoModel,
		d.gateway, d.keys["guest"], demoModel,
		wallet.AddressText(guest), d.chain.HTTP(), wallet.AddressText(registry), hex0x(d.model[:]), d.dir, d.dir,
		d.keys["auditor"], d.gateway, d.dir, d.dir)
	select {
	case <-cmd.Context().Done():
		d.p.say("stopping: running answers finish, then everything is removed")
		return nil
	case err := <-d.node.failed:
		return err
	}
}

const next = `
%d of %d steps held, in %.0f s. The gateway is up until you press Ctrl-C. Try:

  curl -sN %s/v1/chat/completions -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \
    -d '{"model":"%s","stream":true,"messages":[{"role":"user","content":"Why is the sky blue?"}]}'

Python, with the OpenAI SDK:

  from openai import OpenAI
  client = OpenAI(base_url="%s/v1", api_key="%s")
  print(client.chat.completions.create(model="%s", messages=[{"role": "user", "content": "Why is the sky blue?"}]).choices[0].message.content)

Revoke that license on-chain; the same key is refused within two seconds:

  bin/fealty license revoke --subject %s --rpc %s --registry %s --model %s --keystore %s/creator.json --passphrase-file %s/creator.pass

Ask the endpoint for its fingerprints, as an outsider with a license:

  AUDIT_KEY=%s bin/fealty audit verify %s/v1 --api-key env:AUDIT_KEY --keys %s/keys.age --passphrase-file %s/keys.pass
`
