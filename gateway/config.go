package gateway

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fealty/fealty/gateway/identity/token"
)

// Config is configs/serve.yaml, which explains every field. Durations are written
// like 30s; sizes are bytes.
type Config struct {
	Listen     string         `yaml:"listen"`
	Admin      AdminConfig    `yaml:"admin"`
	Deployment string         `yaml:"deployment"`
	Host       HostConfig     `yaml:"host"`
	Secret     Secret         `yaml:"secret"`
	Redis      RedisConfig    `yaml:"redis"`
	Identity   IdentityConfig `yaml:"identity"`
	Chains     []ChainConfig  `yaml:"chains"`
	Models     []ModelConfig  `yaml:"models"`
	Rules      string         `yaml:"rules"` // file of Cedar policies; empty: none
	Limits     LimitsConfig   `yaml:"limits"`
	Timeouts   TimeoutsConfig `yaml:"timeouts"`
	Metrics    MetricsConfig  `yaml:"metrics"`
	TLS        TLSConfig      `yaml:"tls"`
	CORS       CORSConfig     `yaml:"cors"`
	Tracing    TracingConfig  `yaml:"tracing"`
	Log        LogConfig      `yaml:"log"`
}

// LogConfig is what stands in the log: never a prompt, an answer or a credential.
type LogConfig struct {
	Level    string `yaml:"level"`    // debug, info, warn or error. Empty: info
	Format   string `yaml:"format"`   // text or json. Empty: text
	Requests bool   `yaml:"requests"` // a line for each answer, as in the ledger
}

func (l LogConfig) validate(errs *problems) {
	errs.need("log.level", slices.Contains([]string{"", "debug", "info", "warn", "error"}, l.Level), "debug, info, warn or error")
	errs.need("log.format", slices.Contains([]string{"", "text", "json"}, l.Format), "text or json")
}

// MetricsConfig bounds what /metrics holds.
type MetricsConfig struct {
	Keys int `yaml:"keys"` // API keys that have counters of their own; further ones share one. Zero: none has
}

// AdminConfig is the second listener.
type AdminConfig struct {
	Listen string `yaml:"listen"`
	Token  Secret `yaml:"token"` // unset: none is asked for; then Listen must be loopback
}

// HostConfig says who serves.
type HostConfig struct {
	Domain string `yaml:"domain"` // the host grant is for keccak256("host:" + domain)
	// Key signs /.well-known/fealty.json: 64 hexadecimal digits, or an encrypted
	// keystore, which Passphrase opens. Unset: there is no such page.
	Key        Secret `yaml:"key"`
	Passphrase Secret `yaml:"passphrase"`
	// Delegation is a file from 'fealty license delegate'. Unset: Key is the controller's.
	Delegation string `yaml:"delegation"`
	// SignAnswers: answers are signed with Key, for who asks by the header x-fealty-sign.
	SignAnswers bool `yaml:"sign_answers"`
}

// RedisConfig holds redis:// URLs, which are secrets.
type RedisConfig struct {
	State Secret `yaml:"state"`
	Seen  string `yaml:"seen"`  // file of this gateway alone; unset: see configs/serve.yaml
	Cache Secret `yaml:"cache"` // unset: licenses are cached in memory only
}

// IdentityConfig is for wallet sign-in and tokens.
type IdentityConfig struct {
	Issuer      string        `yaml:"issuer"` // the gateway's public URL; its host is the sign-in domain
	Chain       string        `yaml:"chain"`  // a name from chains
	SigningKeys []Secret      `yaml:"signing_keys"`
	TokenTTL    time.Duration `yaml:"token_ttl"`
	CacheTTL    time.Duration `yaml:"cache_ttl"`
	Issuers     []OtherIssuer `yaml:"issuers"`
}

// OtherIssuer is an issuer besides the gateway whose tokens are accepted.
type OtherIssuer struct {
	Issuer     string        `yaml:"issuer"`     // the iss of its tokens, exactly
	JWKSURL    string        `yaml:"jwks_url"`   // https, or http on a loopback address
	Audience   string        `yaml:"audience"`   // must be among the aud of its tokens
	Algorithms []string      `yaml:"algorithms"` // asymmetric ones only
	Wallets    []string      `yaml:"wallets"`    // accounts that it may speak for; "*": all
	Refresh    time.Duration `yaml:"refresh"`    // Zero: 5m
	MaxAge     time.Duration `yaml:"max_age"`    // Zero: 1h
}

// ChainConfig is one chain and how it is read. The checker's settings are
// documented in licensecheck; zero means its default.
type ChainConfig struct {
	Name       string        `yaml:"name"`
	ChainID    uint64        `yaml:"chain_id"`
	RPC        []Secret      `yaml:"rpc"`
	WS         Secret        `yaml:"ws"`       // unset: new heads are polled
	Finality   string        `yaml:"finality"` // latest, safe, finalized or "N blocks"; empty: finalized
	Soft       time.Duration `yaml:"soft"`
	Hard       time.Duration `yaml:"hard"`
	MaxHeadAge time.Duration `yaml:"max_head_age"`
	PollHeads  time.Duration `yaml:"poll_heads"`
}

// ModelConfig is one model that is served.
type ModelConfig struct {
	Name    string        `yaml:"name"`
	Aliases []string      `yaml:"aliases"`
	License LicenseConfig `yaml:"license"`
	Backend BackendConfig `yaml:"backend"`
	// InverseNucleus absent: with weights on, as their manifest says; with upstreams off.
	InverseNucleus *InverseNucleusConfig `yaml:"inverse_nucleus"`
	DefaultTokens  int                   `yaml:"default_max_tokens"`
	MaxTokens      int                   `yaml:"max_tokens"`
	Caps           CapsConfig            `yaml:"caps"`
	Admission      AdmissionConfig       `yaml:"admission"`
}

// AdmissionConfig is how many requests of a model run at once, and who is next.
type AdmissionConfig struct {
	Concurrent int           `yaml:"concurrent"` // answers at once. Zero: no bound beside limits.concurrent
	Queue      int           `yaml:"queue"`      // requests that wait for their turn. Zero: 4 times concurrent
	Wait       time.Duration `yaml:"wait"`       // the longest that one waits. Zero: 10s
	// Weights by version of the plan: licensees share the model in this proportion. Zero: 1.
	Weights map[uint32]float64 `yaml:"weights"`
}

func (a AdmissionConfig) filled() AdmissionConfig {
	def(&a.Queue, 4*a.Concurrent)
	def(&a.Wait, 10*time.Second)
	return a
}

func (a AdmissionConfig) validate(errs *problems, at string) {
	errs.need(at+".concurrent", a.Concurrent >= 0 && a.Concurrent <= 1<<20, "0 to 1048576 requests")
	errs.need(at+".queue", a.Queue >= 0 && a.Queue <= 1<<20, "0 to 1048576 requests")
	errs.need(at+".queue", a.Queue == 0 || a.Concurrent > 0, "concurrent too: without it nobody waits")
	errs.within(at+".wait", a.Wait, time.Millisecond, time.Hour)
	for plan, w := range a.Weights {
		errs.need(fmt.Sprintf("%s.weights[%d]", at, plan), w >= 0.001 && w <= 1000, "a share from 0.001 to 1000")
	}
}

// CapsConfig is what the operator allows each licensee at most, whatever its plan.
type CapsConfig struct {
	RPM          uint32 `yaml:"rpm"`            // requests per minute. Zero: as the plan says
	TokensPerDay uint64 `yaml:"tokens_per_day"` // Zero: as the plan says
}

// LicenseConfig names the registry's record of a model.
type LicenseConfig struct {
	Chain    string `yaml:"chain"`
	Registry string `yaml:"registry"` // contract address
	Model    string `yaml:"model"`    // 32 bytes, hexadecimal
	Version  uint32 `yaml:"version"`
}

// ID is the model's id in the registry. The config was validated.
func (l LicenseConfig) ID() (id [32]byte) {
	raw, _ := hex.DecodeString(strings.TrimPrefix(l.Model, "0x")) // checked by Validate
	copy(id[:], raw)
	return id
}

// BackendConfig is either weights for the embedded engine or a pool of upstreams.
type BackendConfig struct {
	Weights string `yaml:"weights"` // folder or GGUF file
	Slots   int    `yaml:"slots"`   // zero: the engine's default
	Context int    `yaml:"context"` // tokens; zero: as the weights say
	Queue   int    `yaml:"queue"`   // zero: the engine's default
	// PrefixTokens of earlier prompts stay computed, for prompts that begin alike. Zero: none.
	PrefixTokens int              `yaml:"prefix_tokens"`
	Upstreams    []UpstreamConfig `yaml:"upstreams"`
	Fallback     []UpstreamConfig `yaml:"fallback"` // asked when none of Upstreams can answer
	Attempts     int              `yaml:"attempts"` // servers asked for one answer at most. Zero: 3
	// PrefixAffinity is how many bytes of a prompt choose the upstream that is
	// preferred. Absent: 1024; 0: none.
	PrefixAffinity *int         `yaml:"prefix_affinity"`
	Health         HealthConfig `yaml:"health"`
}

// UpstreamConfig is one OpenAI-style server.
type UpstreamConfig struct {
	URL   string   `yaml:"url"`   // ends in /v1
	Model string   `yaml:"model"` // its name there; empty: as here
	Key   Secret   `yaml:"key"`   // unset: none is sent
	Deny  []string `yaml:"deny"`  // request fields that it is never sent, beside the built-in list
	Allow []string `yaml:"allow"` // fields of that list that it may be sent
	// Continue is how it continues an answer whose first word is given: vllm, llamacpp
	// or completions. Empty: it cannot, and inverse nucleus sampling is off for it.
	Continue string `yaml:"continue"`
}

// HealthConfig is how upstreams are looked at between requests.
type HealthConfig struct {
	Path  string        `yaml:"path"`  // below the upstream's url. Empty: /models
	Every time.Duration `yaml:"every"` // Zero: 5s
}

// LimitsConfig bounds what clients may make the gateway hold.
type LimitsConfig struct {
	Body int `yaml:"body"` // bytes of a request. Zero: 4 MiB
	// Connections that a listener holds open at once, idle ones too. Zero: 65536
	Connections int `yaml:"connections"`
	Concurrent  int `yaml:"concurrent"` // requests being answered or waiting for it. Zero: 4096
}

// TimeoutsConfig bounds every wait.
type TimeoutsConfig struct {
	Read    time.Duration `yaml:"read"`    // for a whole request. Zero: 30s
	Idle    time.Duration `yaml:"idle"`    // between requests. Zero: 90s
	Write   time.Duration `yaml:"write"`   // for one write. Zero: 30s
	Request time.Duration `yaml:"request"` // for a whole answer. Zero: 30m
	Connect time.Duration `yaml:"connect"` // for a connection to an upstream. Zero: 5s
	Headers time.Duration `yaml:"headers"` // for an upstream's headers. Zero: as Silent
	Silent  time.Duration `yaml:"silent"`  // between an upstream's bytes. Zero: 2m
	Recheck time.Duration `yaml:"recheck"` // between license checks of a running answer. Zero: 1s
	Drain   time.Duration `yaml:"drain"`   // for answers to finish at shutdown. Zero: 25s
	// Unready is how long the gateway goes on as before after /readyz has begun to say no,
	// so that balancers notice. Zero: not at all.
	Unready time.Duration `yaml:"unready"`
	// Heartbeat is how long a stream may say nothing before it says that it is alive. Zero: 15s
	Heartbeat time.Duration `yaml:"heartbeat"`
}

// LoadConfig reads and validates a file.
func LoadConfig(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// ParseConfig reads and validates YAML. Unknown and duplicate keys are errors.
func ParseConfig(text []byte) (Config, error) {
	var c Config
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// Validate names the first fields that cannot work. It changes nothing.
func (c *Config) Validate() error {
	var errs problems
	errs.need("listen", c.Listen != "", "an address such as 127.0.0.1:8080")
	errs.need("deployment", plainName(c.Deployment), "a name of letters, digits, '-', '_' and '.', shared by the gateways that share budgets")
	errs.need("secret", c.Secret.Set(), "file:PATH of 32 random bytes or more, shared by the replicas")
	errs.need("redis.state", c.Redis.State.Set(), "the URL of the state store")
	errs.need("host.domain", c.Host.Domain != "", "the domain that holds the host grant")
	errs.need("host.key", c.Host.Key.Set() || !c.Host.Passphrase.Set() && c.Host.Delegation == "" && !c.Host.SignAnswers, "a key, for the passphrase, delegation or sign_answers that is set")
	c.Admin.validate(&errs)
	c.Identity.validate(&errs, c.Chains)
	c.Limits.validate(&errs)
	c.Timeouts.validate(&errs)
	c.TLS.validate(&errs)
	c.CORS.validate(&errs)
	c.Tracing.validate(&errs)
	c.Log.validate(&errs)
	errs.need("metrics.keys", c.Metrics.Keys >= 0 && c.Metrics.Keys <= 10_000, "0 to 10000 API keys")
	for i, chain := range c.Chains {
		chain.validate(&errs, fmt.Sprintf("chains[%d]", i))
	}
	c.validateModels(&errs)
	return errors.Join(errs...)
}

type problems []error

func (p *problems) need(field string, ok bool, want string) {
	if !ok {
		*p = append(*p, fmt.Errorf("%s: need %s", field, want))
	}
}

// within refuses a duration out of range; zero, the default, is always in it.
func (p *problems) within(field string, d, low, high time.Duration) {
	p.need(field, d == 0 || d >= low && d <= high, fmt.Sprintf("a duration from %s to %s, not %s", low, high, d))
}

func plainName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func httpURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == ""
}

// Domain is the issuer's host: the EIP-4361 domain.
func (i IdentityConfig) Domain() string {
	u, err := url.Parse(i.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}

func (i IdentityConfig) validate(errs *problems, chains []ChainConfig) {
	errs.need("identity.issuer", httpURL(i.Issuer), "the gateway's public URL")
	errs.need("identity.signing_keys", len(i.SigningKeys) > 0, "file:PATH of at least one Ed25519 key in PEM")
	errs.need("identity.chain", named(chains, i.Chain), "the name of one of chains")
	errs.within("identity.token_ttl", i.TokenTTL, time.Second, time.Hour)
	errs.within("identity.cache_ttl", i.CacheTTL, time.Millisecond, time.Minute)
	taken := map[string]bool{i.Issuer: true}
	for n, o := range i.Issuers {
		at := fmt.Sprintf("identity.issuers[%d]", n)
		errs.need(at+".issuer", !taken[o.Issuer], "an iss of its own, other than identity.issuer")
		taken[o.Issuer] = true
		o.validate(errs, at)
	}
}

func (o OtherIssuer) validate(errs *problems, at string) {
	errs.need(at+".issuer", o.Issuer != "" && !strings.Contains(o.Issuer, "|"), "the iss of its tokens, without '|'")
	errs.need(at+".jwks_url", token.KeysURL(o.JWKSURL), "an https URL without a user")
	errs.need(at+".audience", o.Audience != "", "what its tokens name this gateway: tokens for others must not work here")
	errs.need(at+".algorithms", len(o.Algorithms) > 0, "at least one of "+strings.Join(token.Algorithms, ", "))
	for _, a := range o.Algorithms {
		errs.need(at+".algorithms", slices.Contains(token.Algorithms, a), "only "+strings.Join(token.Algorithms, ", "))
	}
	for _, w := range o.Wallets {
		errs.need(at+".wallets", w == "*" || strings.HasPrefix(w, "eip155:"), `accounts such as eip155:1:0xAb..., or "*"`)
	}
	errs.within(at+".refresh", o.Refresh, time.Second, 24*time.Hour)
	errs.within(at+".max_age", o.MaxAge, time.Second, 7*24*time.Hour)
	errs.need(at+".max_age", o.MaxAge == 0 || o.MaxAge >= o.Refresh, "at least refresh")
}

func named(chains []ChainConfig, name string) bool {
	for _, c := range chains {
		if c.Name == name && name != "" {
			return true
		}
	}
	return false
}

func (c ChainConfig) validate(errs *problems, at string) {
	errs.need(at+".name", plainName(c.Name), "a name")
	errs.need(at+".chain_id", c.ChainID != 0, "the chain's id")
	errs.need(at+".rpc", len(c.RPC) > 0, "at least one URL, as file: or env:")
	errs.within(at+".soft", c.Soft, time.Second, time.Hour)
	errs.within(at+".hard", c.Hard, time.Second, 24*time.Hour)
	errs.need(at+".hard", c.Soft == 0 || c.Hard == 0 || c.Hard >= c.Soft, "at least soft")
}

func (c *Config) validateModels(errs *problems) {
	errs.need("models", len(c.Models) > 0, "at least one model")
	taken := map[string]bool{}
	for i, m := range c.Models {
		at := fmt.Sprintf("models[%d]", i)
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			errs.need(at, name != "" && len(name) <= 256 && !strings.ContainsAny(name, " \t\r\n"), "names of 1 to 256 bytes without spaces")
			errs.need(at, !taken[name], fmt.Sprintf("names of its own: %q is taken", name))
			taken[name] = true
		}
		errs.need(at+".license.chain", named(c.Chains, m.License.Chain), "the name of one of chains")
		m.validate(errs, at)
	}
}

func (m ModelConfig) validate(errs *problems, at string) {
	errs.need(at+".license.model", isHex(m.License.Model, 32), "0x and 64 hexadecimal digits")
	errs.need(at+".license.registry", isHex(m.License.Registry, 20), "0x and 40 hexadecimal digits")
	errs.need(at+".default_max_tokens", m.DefaultTokens >= 0 && m.DefaultTokens <= 1<<20, "0 to 1048576 tokens")
	errs.need(at+".max_tokens", m.MaxTokens >= 0 && m.MaxTokens <= 1<<20, "0 to 1048576 tokens")
	errs.need(at+".default_max_tokens", m.MaxTokens == 0 || m.DefaultTokens <= m.MaxTokens, "at most max_tokens")
	if n := m.InverseNucleus; n != nil {
		n.validate(errs, at+".inverse_nucleus", m.Backend)
	}
	m.Backend.validate(errs, at+".backend")
	m.Admission.validate(errs, at+".admission")
}

func (b BackendConfig) validate(errs *problems, at string) {
	pool := len(b.Upstreams) > 0
	errs.need(at, (b.Weights != "") != pool, "either weights or upstreams")
	errs.need(at+".fallback", pool || len(b.Fallback) == 0, "upstreams beside it: weights have none")
	errs.need(at, b.Slots >= 0 && b.Context >= 0 && b.Queue >= 0, "slots, context and queue that are not negative")
	errs.need(at+".prefix_tokens", b.PrefixTokens >= 0 && b.PrefixTokens <= 1<<24, "0 to 16777216 tokens")
	errs.need(at+".attempts", b.Attempts >= 0 && b.Attempts <= 100, "0 to 100 servers")
	errs.need(at+".prefix_affinity", b.PrefixAffinity == nil || *b.PrefixAffinity >= 0 && *b.PrefixAffinity <= 1<<20, "0 to 1048576 bytes")
	errs.need(at+".health.path", b.Health.Path == "" || b.Health.Path[0] == '/', "a path such as /models")
	errs.within(at+".health.every", b.Health.Every, 10*time.Millisecond, time.Hour)
	for name, list := range map[string][]UpstreamConfig{"upstreams": b.Upstreams, "fallback": b.Fallback} {
		for i, u := range list {
			errs.need(fmt.Sprintf("%s.%s[%d].url", at, name, i), httpURL(u.URL), "an http or https URL without user and query")
			errs.need(fmt.Sprintf("%s.%s[%d].continue", at, name, i), slices.Contains([]string{"", "vllm", "llamacpp", "completions"}, u.Continue), "vllm, llamacpp or completions")
		}
	}
}

func isHex(s string, size int) bool {
	raw, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	return err == nil && len(raw) == size && strings.HasPrefix(s, "0x")
}

func (l LimitsConfig) validate(errs *problems) {
	errs.need("limits.body", l.Body == 0 || l.Body >= 1<<10 && l.Body <= 1<<28, "1024 to 268435456 bytes")
	errs.need("limits.connections", l.Connections >= 0 && l.Connections <= 1<<20, "0 to 1048576 connections")
	errs.need("limits.concurrent", l.Concurrent >= 0 && l.Concurrent <= 1<<20, "0 to 1048576 requests")
}

func (t TimeoutsConfig) validate(errs *problems) {
	errs.within("timeouts.read", t.Read, time.Millisecond, time.Hour)
	errs.within("timeouts.idle", t.Idle, time.Millisecond, time.Hour)
	errs.within("timeouts.write", t.Write, time.Millisecond, time.Hour)
	errs.within("timeouts.request", t.Request, time.Millisecond, 24*time.Hour)
	errs.within("timeouts.connect", t.Connect, time.Millisecond, time.Minute)
	errs.within("timeouts.headers", t.Headers, time.Millisecond, time.Hour)
	errs.within("timeouts.silent", t.Silent, time.Millisecond, time.Hour)
	errs.within("timeouts.recheck", t.Recheck, time.Millisecond, time.Hour)
	errs.within("timeouts.drain", t.Drain, time.Millisecond, time.Hour)
	errs.within("timeouts.unready", t.Unready, time.Millisecond, time.Hour)
	errs.within("timeouts.heartbeat", t.Heartbeat, time.Millisecond, time.Hour)
}

// filled is the config with its documented defaults.
func (c Config) filled() Config {
	def(&c.Limits.Body, 4<<20)
	def(&c.Limits.Concurrent, 4096)
	def(&c.Limits.Connections, 1<<16)
	def(&c.CORS.MaxAge, time.Hour)
	def(&c.Tracing.Sample, 0.01)
	t := &c.Timeouts
	def(&t.Read, 30*time.Second)
	def(&t.Idle, 90*time.Second)
	def(&t.Write, 30*time.Second)
	def(&t.Request, 30*time.Minute)
	def(&t.Connect, 5*time.Second)
	def(&t.Silent, 2*time.Minute)
	def(&t.Headers, t.Silent)
	def(&t.Recheck, time.Second)
	def(&t.Drain, 25*time.Second)
	def(&t.Heartbeat, 15*time.Second)
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
