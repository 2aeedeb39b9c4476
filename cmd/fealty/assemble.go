package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/gateway/embedded"
	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/gateway/rules"
	"github.com/fealty/fealty/gateway/upstream"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/licensecheck"
	"github.com/fealty/fealty/sampler"
)

// node is one gateway with everything that it holds open.
type node struct {
	server *gateway.Server
	log    *slog.Logger

	reloading sync.Mutex // of what follows
	parts     []*part    // in the order of opening
	opening   []*part    // of the wiring under way
	making    *part
	closing   sync.WaitGroup // parts that reloads replaced

	address string // of the public API, once it listens
	admin   string
	serving sync.WaitGroup
	failed  chan error
}

// Close frees what the gateway held, last opened first. Shut the server down before.
func (n *node) Close() error {
	n.closing.Wait()
	err := closeParts(n.parts)
	n.parts = nil
	return err
}

// assemble wires a gateway from its config. Nothing listens yet.
func assemble(ctx context.Context, cfg gateway.Config, log *slog.Logger) (*node, error) {
	n := &node{log: log, failed: make(chan error, 1)}
	deps, err := n.wire(ctx, cfg)
	if err == nil {
		n.server, err = gateway.New(deps, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, closeParts(n.opening))
	}
	n.adopt(n.opening)
	return n, nil
}

// wire opens what the config asks for and the gateway does not hold yet.
func (n *node) wire(ctx context.Context, cfg gateway.Config) (deps gateway.Deps, err error) {
	n.opening = nil
	if err := cfg.Validate(); err != nil {
		return deps, fmt.Errorf("config: %w", err)
	}
	secret, err := cfg.Secret.Resolve()
	if err != nil {
		return deps, err
	}
	deps = gateway.Deps{Log: n.log, Models: map[string]gateway.Model{}}
	if deps.Host, err = wallet.HostSubject(cfg.Host.Domain); err != nil {
		return deps, fmt.Errorf("host.domain: %w", err)
	}
	if deps.Rules, err = loadRules(cfg.Rules); err != nil {
		return deps, err
	}
	if deps.Tracer, err = n.openTracing(ctx, cfg); err != nil {
		return deps, fmt.Errorf("tracing: %w", err)
	}
	if err := n.openState(ctx, cfg, secret, &deps); err != nil {
		return deps, err
	}
	for _, m := range cfg.Models {
		if deps.Models[m.Name], err = n.openModel(ctx, cfg, m, secret); err != nil {
			return deps, fmt.Errorf("model %q: %w", m.Name, err)
		}
	}
	deps.Collectors = n.collectors()
	deps.Proof, err = n.proof(ctx, cfg, deps.Host)
	return deps, err
}

// loadRules reads the operator's own rules; no file is no rules.
func loadRules(path string) (*rules.Rules, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return rules.Parse(path, text)
}

// openState connects who calls, what is left and what was used to the state store. The
// store itself and what is written to it outlive every reload.
func (n *node) openState(ctx context.Context, cfg gateway.Config, secret []byte, deps *gateway.Deps) error {
	store, err := hold(n, "state", nil, func() (*state.Store, error) { return n.openStore(ctx, cfg) })
	if err != nil {
		return err
	}
	deps.Identities, err = n.openIdentity(ctx, cfg, secret, store)
	if err != nil {
		return err
	}
	if deps.Limits, err = hold(n, "limits", nil, func() (*limit.Limiter, error) {
		l := limit.New(store, cfg.Deployment)
		n.onClose(l.Close)
		return l, nil
	}); err != nil {
		return err
	}
	deps.Ledger, err = hold(n, "ledger", nil, func() (*usage.Ledger, error) {
		l := usage.New(store, n.log)
		n.onClose(l.Close)
		return l, nil
	})
	return err
}

func (n *node) openStore(ctx context.Context, cfg gateway.Config) (*state.Store, error) {
	url, err := cfg.Redis.State.Resolve()
	if err != nil {
		return nil, err
	}
	client, err := state.Open(string(url))
	if err != nil {
		return nil, err
	}
	n.onClose(client.Close)
	store, err := state.Watch(ctx, state.Options{Client: client, Seen: cfg.Redis.Seen, Log: n.log})
	if err != nil {
		return nil, err
	}
	n.onClose(store.Close)
	return store, nil
}

func (n *node) openIdentity(ctx context.Context, cfg gateway.Config, secret []byte, store *state.Store) (*identity.Service, error) {
	keys, err := signingKeys(cfg.Identity.SigningKeys)
	if err != nil {
		return nil, err
	}
	chain, err := chainNamed(cfg, cfg.Identity.Chain)
	if err != nil {
		return nil, err
	}
	rpc, err := chain.RPC[0].Resolve()
	if err != nil {
		return nil, err
	}
	recipe := []any{cfg.Identity, keys, string(rpc), chain.ChainID, string(secret)}
	return hold(n, "identity", recipe, func() (*identity.Service, error) {
		verifier, err := wallet.DialVerifier(ctx, string(rpc))
		if err != nil {
			return nil, err
		}
		n.onClose(func() error { verifier.Close(); return nil })
		service, err := identity.New(identity.Options{
			State: store, Secret: secret, Keys: keys, Wallets: verifier, Others: otherIssuers(cfg.Identity.Issuers),
			Issuer: cfg.Identity.Issuer, Domain: cfg.Identity.Domain(), ChainID: chain.ChainID,
			TokenTTL: cfg.Identity.TokenTTL, CacheTTL: cfg.Identity.CacheTTL, Log: n.log,
		})
		if err != nil {
			return nil, err
		}
		n.onClose(service.Close)
		return service, nil
	})
}

func otherIssuers(list []gateway.OtherIssuer) (out []identity.Other) {
	for _, o := range list {
		out = append(out, identity.Other{Wallets: o.Wallets, RemoteOptions: token.RemoteOptions{
			Name: o.Issuer, URL: o.JWKSURL, Audience: o.Audience, Algorithms: o.Algorithms, Refresh: o.Refresh, MaxAge: o.MaxAge,
		}})
	}
	return out
}

func signingKeys(files []gateway.Secret) ([]token.Key, error) {
	var keys []token.Key
	for _, f := range files {
		text, err := f.Resolve()
		if err != nil {
			return nil, err
		}
		key, err := token.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("identity.signing_keys: %s: %w", f, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func chainNamed(cfg gateway.Config, name string) (gateway.ChainConfig, error) {
	for _, c := range cfg.Chains {
		if c.Name == name {
			return c, nil
		}
	}
	return gateway.ChainConfig{}, fmt.Errorf("chains: none is named %q", name)
}

// openModel makes what serves one model: its license checker and its backend.
func (n *node) openModel(ctx context.Context, cfg gateway.Config, m gateway.ModelConfig, secret []byte) (gateway.Model, error) {
	checker, err := n.checker(ctx, cfg, m.License)
	if err != nil {
		return gateway.Model{}, err
	}
	recipe, err := recipeOf(m, checker, secret, cfg.Timeouts)
	if err != nil {
		return gateway.Model{}, err
	}
	backend, err := hold(n, "backend "+m.Name, recipe, func() (gateway.Backend, error) {
		return n.backend(ctx, m, checker, secret, cfg.Timeouts)
	})
	if err != nil {
		return gateway.Model{}, err
	}
	return gateway.Model{Backend: backend, Licenses: checker}, nil
}

// checker is shared by the models of one registry: it follows the chain once.
func (n *node) checker(ctx context.Context, cfg gateway.Config, l gateway.LicenseConfig) (*licensecheck.Checker, error) {
	o, err := checkerOptions(cfg, l)
	if err != nil {
		return nil, err
	}
	return hold(n, "checker "+l.Chain+" "+strings.ToLower(l.Registry), o, func() (*licensecheck.Checker, error) {
		o.Log = n.log
		c, err := licensecheck.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		n.onClose(c.Close)
		return c, nil
	})
}

// checkerOptions are what the config says of the chain and the registry of a license.
func checkerOptions(cfg gateway.Config, l gateway.LicenseConfig) (o licensecheck.Options, err error) {
	chain, err := chainNamed(cfg, l.Chain)
	if err != nil {
		return o, err
	}
	o = licensecheck.Options{
		ChainID: chain.ChainID, Finality: chain.Finality, Soft: chain.Soft, Hard: chain.Hard,
		MaxHeadAge: chain.MaxHeadAge, PollHeads: chain.PollHeads,
	}
	registry, err := hex.DecodeString(strings.TrimPrefix(l.Registry, "0x"))
	if err != nil {
		return o, fmt.Errorf("license.registry: %w", err)
	}
	copy(o.Registry[:], registry)
	for _, secret := range chain.RPC {
		url, err := secret.Resolve()
		if err != nil {
			return o, err
		}
		o.RPC = append(o.RPC, string(url))
	}
	if o.WS, err = optional(chain.WS); err != nil {
		return o, err
	}
	if o.Cache, err = optional(cfg.Redis.Cache); err != nil {
		return o, err
	}
	secret, err := cfg.Secret.Resolve()
	o.CacheKey = derive(secret, "license cache")
	return o, err
}

func optional(s gateway.Secret) (string, error) {
	if !s.Set() {
		return "", nil
	}
	value, err := s.Resolve()
	return string(value), err
}

func (n *node) backend(ctx context.Context, m gateway.ModelConfig, c *licensecheck.Checker, secret []byte, t gateway.TimeoutsConfig) (gateway.Backend, error) {
	if m.Backend.Weights != "" {
		return n.embedded(ctx, m, c, secret)
	}
	inverse, err := poolInverse(m, secret)
	if err != nil {
		return nil, err
	}
	pool, err := openPool(m, t, inverse)
	if err != nil {
		return nil, err
	}
	n.onClose(func() error { pool.Close(); return nil })
	return pool, nil
}

// openPool is the servers that answer for one model.
func openPool(m gateway.ModelConfig, t gateway.TimeoutsConfig, inverse *sampler.Inverse) (*upstream.Pool, error) {
	b := m.Backend
	o := upstream.Options{
		Connect: t.Connect, Headers: t.Headers, Silent: t.Silent, Attempts: b.Attempts,
		CheckPath: b.Health.Path, Check: b.Health.Every, Inverse: inverse,
	}
	if n := b.PrefixAffinity; n != nil {
		if o.Affinity = *n; *n == 0 {
			o.Affinity = -1
		}
	}
	var err error
	if o.Servers, err = upstreamServers(b.Upstreams); err != nil {
		return nil, err
	}
	if o.Fallback, err = upstreamServers(b.Fallback); err != nil {
		return nil, err
	}
	return upstream.New(o)
}

func upstreamServers(list []gateway.UpstreamConfig) (out []upstream.Server, err error) {
	for _, u := range list {
		key, err := optional(u.Key)
		if err != nil {
			return nil, err
		}
		out = append(out, upstream.Server{URL: u.URL, Model: u.Model, Key: []byte(key), Deny: u.Deny, Allow: u.Allow, Continue: u.Continue})
	}
	return out, nil
}

// embedded loads weights into an engine of this process. Weights of a published
// version must be the ones that its manifest names.
func (n *node) embedded(ctx context.Context, m gateway.ModelConfig, c *licensecheck.Checker, secret []byte) (gateway.Backend, error) {
	manifest, err := n.attest(ctx, m, c)
	if err != nil {
		return nil, err
	}
	source, err := weights.Open(m.Backend.Weights)
	if err != nil {
		return nil, err
	}
	local, err := startLocal(source, engine.Options{
		Slots: m.Backend.Slots, Context: m.Backend.Context, Queue: m.Backend.Queue, PrefixTokens: m.Backend.PrefixTokens,
	})
	if err != nil {
		return nil, err
	}
	n.onClose(local.engine.Close)
	inverse, err := inverseOf(m, manifest, local.tokens, secret)
	if err != nil {
		return nil, err
	}
	return embedded.New(embedded.Options{
		Engine: embedded.Local(local.engine), Tokenizer: local.tokens, Context: local.engine.Options().Context,
		Vocabulary: source.Config.Vocab, Inverse: inverse, Attested: manifest != nil && m.License.Version != 0,
	})
}

// attest hashes the weights and compares them with what the chain names. A base
// model that nobody published has no manifest; it is served as not attested, and
// only when the config asks for no version.
func (n *node) attest(ctx context.Context, m gateway.ModelConfig, c *licensecheck.Checker) (*weights.Manifest, error) {
	dir := m.Backend.Weights
	manifest, err := weights.ReadManifest(dir)
	none := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) // a GGUF file has none beside it
	if none && m.License.Version == 0 {
		n.log.Warn("weights are not attested: they have no manifest and license.version is not set", "model", m.Name)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("backend.weights: %w", err)
	}
	if err := weights.VerifyManifest(dir); err != nil {
		return nil, fmt.Errorf("backend.weights: %w", err)
	}
	if m.License.Version == 0 {
		n.log.Warn("weights are not attested: license.version is not set", "model", m.Name)
		return manifest, nil
	}
	digest, err := weights.ManifestDigest(dir)
	if err != nil {
		return nil, fmt.Errorf("backend.weights: %w", err)
	}
	published, err := c.Version(ctx, m.License.ID(), m.License.Version)
	if err != nil {
		return nil, err
	}
	if published.Manifest != digest {
		return nil, fmt.Errorf("backend.weights: fealty.json in %s has SHA-256 %x, but version %d on-chain is %x; serve the published weights or set license.version",
			dir, digest, m.License.Version, published.Manifest)
	}
	return manifest, nil
}

// poolInverse is the sampler of a model whose weights are elsewhere; nil: none.
func poolInverse(m gateway.ModelConfig, secret []byte) (*sampler.Inverse, error) {
	set := m.InverseNucleus
	if set == nil || set.From == "" {
		return nil, nil
	}
	manifest, err := weights.ReadManifest(set.From)
	if err != nil {
		return nil, fmt.Errorf("inverse_nucleus.from: %w", err)
	}
	spec, err := tokenizer.ReadHF(set.From)
	if err != nil {
		return nil, fmt.Errorf("inverse_nucleus.from: %w", err)
	}
	tokens, err := tokenizer.New(spec)
	if err != nil {
		return nil, fmt.Errorf("inverse_nucleus.from: %w", err)
	}
	return inverseOf(m, manifest, tokens, secret)
}

// inverseOf is nil when the config turns it off, or when there is no manifest to
// know the model's opening words from.
func inverseOf(m gateway.ModelConfig, manifest *weights.Manifest, tokens *tokenizer.Tokenizer, secret []byte) (*sampler.Inverse, error) {
	set := m.InverseNucleus
	if manifest == nil || manifest.InverseNucleus == nil {
		if set != nil && set.Rate > 0 {
			return nil, errors.New("inverse_nucleus: the weights have no fealty.json, which names the opening words; serve weights written by 'fealty embed train'")
		}
		return nil, nil
	}
	shell := sampler.Shell{T: manifest.InverseNucleus.T, K: manifest.InverseNucleus.K, Floor: manifest.InverseNucleus.Floor}
	rate, where := defaultInverseRate, sampler.First
	if set != nil {
		rate, where = set.Rate, orElse(set.Where, where)
		shell.T, shell.K = orElse(set.T, shell.T), orElse(set.K, shell.K)
	}
	if rate == 0 {
		return nil, nil
	}
	lexicon := sampler.NewLexicon(fingerprint.Texts(tokens), manifest.InverseNucleus.Openers)
	return &sampler.Inverse{Shell: shell, Rate: rate, Where: where, Secret: derive(secret, "inverse nucleus"), Model: m.Name, Lexicon: lexicon}, nil
}

// defaultInverseRate holds until the measured curve of quality against stealth
// says otherwise (DESIGN: on by default).
const defaultInverseRate = 0.2

func orElse[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// derive makes a secret for one purpose from the deployment's.
func derive(secret []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("fealty " + purpose + " 1"))
	return mac.Sum(nil)
}
