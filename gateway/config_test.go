package gateway_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
)

func TestExampleConfig(t *testing.T) {
	cfg, err := gateway.LoadConfig("../configs/serve.yaml")
	must(t, err)
	if len(cfg.Models) != 2 || cfg.Models[0].License.ID()[31] != 1 || cfg.Identity.Domain() != "api.example.com" ||
		cfg.Timeouts.Drain != 25*time.Second || cfg.Chains[0].RPC[0].String() != "env:FEALTY_RPC" {
		t.Errorf("read %+v", cfg)
	}
}

// Each change to the example must be refused, by a message that names the field.
func TestConfigRefusals(t *testing.T) {
	raw, err := os.ReadFile("../configs/serve.yaml")
	must(t, err)
	example := string(raw)
	for _, c := range []struct{ old, new, names string }{
		{"deployment: example", "deploiment: example", "deploiment"},
		{"deployment: example", "deployment: example\ndeployment: other", "deployment"},
		{"deployment: example", "deployment: \"\"", "deployment"},
		{"secret: file:/run/secrets/fealty-deployment", "secret: hunter2hunter2", "must not stand in the config"},
		{"rpc: [env:FEALTY_RPC]", "rpc: [https://node.example/v1/hunter2]", "must not stand in the config"},
		{"token_ttl: 15m", "token_ttl: 2h", "identity.token_ttl"},
		{"token_ttl: 15m", "token_ttl: 15", "token_ttl"},
		{"chain: base                       #", "chain: bass #", "identity.chain"},
		{"key: file:/run/secrets/fealty-host", "delegation: x.json", "host.key"},
		{"key: file:/run/secrets/fealty-host", "sign_answers: true", "host.key"},
		{"key: file:/run/secrets/fealty-host", "key: 0x1234hunter2", "must not stand in the config"},
		{"issuer: https://login.example.com", "issuer: https://api.example.com", "identity.issuers[0].issuer"},
		{"issuer: https://login.example.com", "issuer: a|b", "identity.issuers[0].issuer"},
		{"jwks_url: https://login", "jwks_url: http://login", "identity.issuers[0].jwks_url"},
		{"audience: https://api.example.com", "audience: \"\"", "identity.issuers[0].audience"},
		{"algorithms: [RS256, ES256]", "algorithms: [RS256, HS256]", "identity.issuers[0].algorithms"},
		{"algorithms: [RS256, ES256]", "algorithms: []", "identity.issuers[0].algorithms"},
		{"# wallets: [\"eip155:8453:0x...\"]", "wallets: [0xabc]", "identity.issuers[0].wallets"},
		{"max_age: 1h", "max_age: 1m", "identity.issuers[0].max_age"},
		{"rate: 0.2", "rate: 1.2", "models[0].inverse_nucleus.rate"},
		{"rate: 0.2", "rate: -0.2", "models[0].inverse_nucleus.rate"},
		{"rate: 0.2", "rate: .nan", "models[0].inverse_nucleus.rate"},
		{"rate: 0.2", "rate: 0.2, where: everywhere", "models[0].inverse_nucleus.where"},
		{"name: acme-large", "name: gpt-4o", "is taken"},
		{"weights: ./served", "url: ./served", "url"},
		{"default_max_tokens: 512", "default_max_tokens: 4096", "models[0].default_max_tokens"},
		{"body: 4194304", "body: 10", "limits.body"},
		{"body: 4194304", "body: -1", "limits.body"},
		{"read: 30s", "read: -3s", "timeouts.read"},
		{"url: http://10.0.0.7:8000/v1", "url: http://user:pw@10.0.0.7/v1", "models[1].backend.upstreams[0].url"},
		{"url: https://models.example.net/v1", "url: https://models.example.net/v1?key=x", "models[1].backend.fallback[0].url"},
		{"attempts: 3", "attempts: -1", "models[1].backend.attempts"},
		{"prefix_affinity: 1024", "prefix_affinity: -1", "models[1].backend.prefix_affinity"},
		{"rate: 0.2}", "rate: 0.2, from: ./served}", "models[0].inverse_nucleus.from"},
		{"rate: 0.2, from: ./acme-large", "rate: 0.2", "models[1].inverse_nucleus.from"},
		{"from: ./acme-large", "from: ./acme-large, where: sentences", "models[1].inverse_nucleus.where"},
		{"continue: vllm  ", "continue: sglang", "models[1].backend.upstreams[0].continue"},
		{"health: {path: /models, every: 5s}", "health: {path: models}", "models[1].backend.health.path"},
		{"health: {path: /models, every: 5s}", "health: {every: 1ms}", "models[1].backend.health.every"},
		{"connect: 5s", "connect: 5h", "timeouts.connect"},
		{"listen: 127.0.0.1:8081", "listen: 0.0.0.0:8081", "admin.token"},
		{"hard: 5m", "hard: 5s", "chains[0].hard"},
		{"weights: {2: 4}", "weights: {2: 0}", "models[0].admission.weights[2]"},
		{"concurrent: 16", "concurrent: 0", "models[0].admission.queue"},
		{"wait: 10s", "wait: -1s", "models[0].admission.wait"},
		{"keys: 100", "keys: -1", "metrics.keys"},
		{"level: info", "level: loud", "log.level"},
		{"format: text", "format: xml", "log.format"},
		{"# tracing:", "tracing: {sample: 2} #", "tracing.sample"},
		{"# tls: {certificate: /run/secrets/fealty-cert.pem, key: file:/run/secrets/fealty-cert-key}", "tls: {certificate: cert.pem}", "tls"},
		{"# cors: {origins: [https://app.example.com]}", "cors: {origins: [app.example.com]}", "cors.origins"},
	} {
		if !strings.Contains(example, c.old) {
			t.Fatalf("the example no longer holds %q", c.old)
		}
		_, err := gateway.ParseConfig([]byte(strings.Replace(example, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: got %v, want an error that says %q", c.new, err, c.names)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats a secret: %v", c.new, err)
		}
	}
}

// Upstreams none of which can continue an answer leave nothing for the sampler to do.
func TestConfigRefusesWhatNoUpstreamCanDo(t *testing.T) {
	raw, err := os.ReadFile("../configs/serve.yaml")
	must(t, err)
	_, err = gateway.ParseConfig([]byte(strings.ReplaceAll(string(raw), "continue: vllm", "# ")))
	if err == nil || !strings.Contains(err.Error(), "models[1].inverse_nucleus: need continue") {
		t.Errorf("got %v", err)
	}
	_, err = gateway.ParseConfig([]byte(strings.Replace(string(raw), "continue: vllm\n", "# \n", 1)))
	must(t, err) // one of two: its answers alone are opened
}

func TestSecret(t *testing.T) {
	path := t.TempDir() + "/secret"
	must(t, os.WriteFile(path, []byte(" hunter2\n"), 0o600))
	t.Setenv("FEALTY_TEST_SECRET", "hunter3")
	for source, want := range map[string]string{"file:" + path: "hunter2", "env:FEALTY_TEST_SECRET": "hunter3"} {
		s, err := gateway.ParseSecret(source)
		must(t, err)
		if got, err := s.Resolve(); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", source, got, err)
		}
	}
	for _, source := range []string{"file:" + path + "x", "env:FEALTY_TEST_NOTHING"} {
		s, err := gateway.ParseSecret(source)
		must(t, err)
		if got, err := s.Resolve(); err == nil {
			t.Errorf("%s: resolved to %q", source, got)
		}
	}
}
