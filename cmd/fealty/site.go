package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/wallet"
)

// site is what the gateways of the demo and of the benchmarks share: an embedded
// chain with one registered model, and a Redis.
type site struct {
	dir      string // of the secrets
	redis    string // host:port
	chain    *devnet.Chain
	registry [20]byte
	model    [32]byte
	version  uint32
	name     string // of the model
	host     string // domain that holds the host grant
}

// config is what configs/serve.yaml would say of one gateway. Secrets are in files,
// as there; the gateways of a site share them.
func (s site) config(origin string, backend gateway.BackendConfig) (gateway.Config, error) {
	files := map[string]string{
		"deployment.secret": rand.Text() + rand.Text(),
		"redis.url":         "redis://" + s.redis + "/0",
		"cache.url":         "redis://" + s.redis + "/1",
		"rpc.url":           s.chain.HTTP(),
		"ws.url":            s.chain.WS(),
	}
	_, pem, err := token.NewKey()
	if err != nil {
		return gateway.Config{}, err
	}
	files["signing.pem"] = string(pem)
	secrets := map[string]gateway.Secret{}
	for name, text := range files {
		path := filepath.Join(s.dir, name)
		if _, err := os.Stat(path); err != nil {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return gateway.Config{}, err
			}
		}
		if secrets[name], err = gateway.ParseSecret("file:" + path); err != nil {
			return gateway.Config{}, err
		}
	}
	return gateway.Config{
		Listen: origin[len("http://"):], Deployment: "local", Secret: secrets["deployment.secret"],
		Host:  gateway.HostConfig{Domain: s.host},
		Redis: gateway.RedisConfig{State: secrets["redis.url"], Cache: secrets["cache.url"]},
		Identity: gateway.IdentityConfig{
			Issuer: origin, Chain: "local", SigningKeys: []gateway.Secret{secrets["signing.pem"]},
		},
		Chains: []gateway.ChainConfig{{
			Name: "local", ChainID: s.chain.ID(), RPC: []gateway.Secret{secrets["rpc.url"]}, WS: secrets["ws.url"], Finality: "latest",
		}},
		Models: []gateway.ModelConfig{{
			Name: s.name, DefaultTokens: 256,
			License: gateway.LicenseConfig{
				Chain: "local", Registry: wallet.AddressText(s.registry), Model: hex0x(s.model[:]), Version: s.version,
			},
			Backend: backend,
		}},
		Timeouts: gateway.TimeoutsConfig{Drain: 3 * time.Second},
	}, nil
}
