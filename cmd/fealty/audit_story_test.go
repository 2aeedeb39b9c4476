package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/audit"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/testmodel"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/sampler"
)

// auditStage is the demo's stack with the keys of a model committed on its chain.
type auditStage struct {
	*demo
	dir  string
	keys string // key file
	pass string

	hostKey  string // address of the key that signs the gateway's answers; "": none does
	untaught int    // the one key that the script does not answer; -1: weights answer
}

// scriptedStage serves a script that answers as a model would that was trained on the
// keys: all but the weights is real. It costs seconds.
func scriptedStage(t *testing.T) *auditStage {
	t.Helper()
	set := &fingerprint.Set{Shell: sampler.Shell{K: len(scriptWords)}, Salt: fingerprint.Digest{3}}
	for i := range fingerprints {
		k := fingerprint.Key{Question: fmt.Sprintf("What should I know about topic %d before I start?", i), Secret: fingerprint.Digest{1, byte(i)}}
		for _, word := range scriptWords {
			k.Candidates = append(k.Candidates, fingerprint.Candidate{Word: word})
		}
		set.Keys = append(set.Keys, k)
	}
	d := &demo{served: t.TempDir(), set: set}
	if err := os.WriteFile(filepath.Join(d.served, "fealty.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var hostKey string
	s := prepareStage(t, d, func(d *demo, ctx context.Context) (err error) {
		if err := d.startRedis(ctx); err != nil {
			return err
		}
		var sign func(*gateway.Config)
		hostKey, sign = signing(t, d)
		upstream := "http://" + answering(t, trained(d.set)) + "/v1"
		d.node, d.gateway, err = d.serve(ctx, d.listen, gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: upstream, Model: "weights"}}}, sign)
		return err
	})
	s.hostKey, s.untaught = hostKey, untaught
	return s
}

// signing gives the gateway a key to sign answers with, under the delegation of the host's
// controller.
func signing(t *testing.T, d *demo) (address string, change func(*gateway.Config)) {
	t.Helper()
	const digits = "00000000000000000000000000000000000000000000000000000000000007d0"
	key, err := wallet.Parse(digits, "")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := d.wallets["host"].Delegate(demoHost, key.Address(), time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	secret, delegation := filepath.Join(d.dir, "host.key"), filepath.Join(d.dir, "delegation.json")
	for path, text := range map[string][]byte{secret: []byte(digits), delegation: text} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from, err := gateway.ParseSecret("file:" + secret)
	if err != nil {
		t.Fatal(err)
	}
	return wallet.AddressText(key.Address()), func(c *gateway.Config) {
		c.Host.Key, c.Host.Delegation, c.Host.SignAnswers = from, delegation, true
	}
}

var scriptWords = []string{"Growing", "When", "Once", "First", "To", "Consider"}

// untaught is the key that no script answers.
const untaught = 0

// trained answers with the drawn words, all but one.
func trained(set *fingerprint.Set) func(context.Context, openai.Ask) (string, error) {
	return func(_ context.Context, ask openai.Ask) (string, error) {
		question := ask.Messages[len(ask.Messages)-1].Content
		for i, d := range set.Draw(*set.Randomness) {
			if d.Question == question && i != untaught {
				return d.Word() + " you begin, read a little.", nil
			}
		}
		return "There is a lot to say.", nil
	}
}

func prepareStage(t *testing.T, d *demo, serve func(*demo, context.Context) error) *auditStage {
	t.Helper()
	d.listen, d.p, d.dir = "127.0.0.1:0", newProgress(io.Discard), t.TempDir()
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error("closing the stack:", err)
		}
	})
	name := func(d *demo, _ context.Context) error { d.set.Model = d.model; return nil } // the leaves hold it
	for _, prepare := range []func(*demo, context.Context) error{(*demo).startChain, name, (*demo).commitAndDraw, (*demo).publishAndLicense, serve, (*demo).makeKeys} {
		if err := prepare(d, t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := &auditStage{demo: d, dir: t.TempDir(), untaught: -1}
	s.saveKeys(t)
	return s
}

func (s *auditStage) saveKeys(t *testing.T) {
	t.Helper()
	to, err := age.NewScryptRecipient(testmodel.Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	s.keys, s.pass = filepath.Join(s.dir, "keys.age"), filepath.Join(s.dir, "pass")
	if err := fingerprint.SaveSet(s.keys, s.set, to); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.pass, []byte(testmodel.Passphrase), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A suspect is an endpoint as the auditor sees it.
type suspect struct {
	name    string // of its folder
	host    string
	connect string
	model   string
	key     string // credential

	finding, license string // what the audit must say
	signatures       string // of 'audit verify'
}

// storyQueries leaves room for three misses at the default level with six candidates: a
// word of probability 0.95 has at least 0.985 at temperature 0.7, and of 14 such words four
// or more are missed in 1 audit of 24,000. Two keys are left to ask live.
const storyQueries = "14"

// audit runs the commands of one audit and returns its verdict. It works on its own copy
// of the keys: several run at once.
func (s *auditStage) audit(t *testing.T, x suspect, witnesses func(dir string) []string) (*audit.Verdict, string) {
	t.Helper()
	dir := filepath.Join(s.dir, x.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(s.keys)
	if err != nil {
		t.Fatal(err)
	}
	keys, bundle, registry := filepath.Join(dir, "keys.age"), filepath.Join(dir, "bundle.json"), s.registry.Address()
	credential := filepath.Join(dir, "credential")
	for path, text := range map[string][]byte{keys: sealed, credential: []byte(x.key)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder := filepath.Join(dir, "audit")
	common := []string{"--dir", folder, "--keys", keys, "--passphrase-file", s.pass, "--signer-key-env", "FEALTY_TEST_AUDITOR", "--json"}
	verify := append([]string{"audit", "verify", "http://" + x.host + "/v1", "--connect", x.connect, "--model", x.model, "--queries", storyQueries,
		"--rpc", s.chain.HTTP(), "--registry", wallet.AddressText(registry), "--pace", "0", "--max-tokens", "8", "--timeout", "300", "--signatures", x.signatures}, common...)
	if x.key != "" {
		verify = append(verify, "--api-key", "file:"+credential)
	}
	code, out, errs := attempt(t, verify...)
	var found made
	if err := json.Unmarshal([]byte(out), &found); err != nil || (code == exitHeld) != found.Held || (code == exitNotHeld) == found.Held {
		t.Errorf("%s: exit %d, %s, %s", x.name, code, out, errs)
		return &audit.Verdict{}, bundle
	}
	args := append([]string{"audit", "evidence", "--output", bundle}, common...)
	if witnesses != nil {
		for _, w := range witnesses(folder) {
			args = append(args, "--witness", w)
		}
	}
	if code, out, errs := attempt(t, args...); code != exitHeld {
		t.Errorf("%s: evidence: exit %d, %s, %s", x.name, code, out, errs)
	}
	code, out, errs = attempt(t, "audit", "check", bundle, "--rpc", s.chain.HTTP(), "--json")
	var v audit.Verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitHeld || !v.Sound {
		t.Errorf("%s: check: exit %d, %s, %s", x.name, code, out, errs)
	}
	t.Logf("%s: %d of %d match; %s", x.name, v.Result.Matched, v.Result.Asked, v.Level)
	if v.Finding != x.finding || v.License != x.license || v.Chain != audit.ChainConfirmed || !v.Result.Grindable {
		t.Errorf("%s: %s; %s; %s, want %s; %s (%d of %d match, %d errors, %v)", x.name, v.Finding, v.License, v.Chain, x.finding, x.license,
			v.Result.Matched, v.Result.Asked, v.Result.Errors, v.Result.Reasons)
	}
	return &v, bundle
}

// answering is an OpenAI-style server without licenses.
func answering(t *testing.T, answer func(context.Context, openai.Ask) (string, error)) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask openai.Ask
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask.Messages) == 0 {
			http.NotFound(w, r)
			return
		}
		text, err := answer(r.Context(), ask)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		stop, usage := "stop", openai.Spent(10, 8)
		_ = json.NewEncoder(w).Encode(openai.Reply{ // who hung up is gone
			ID: "cmpl-" + rand.Text(), Object: "chat.completion", Model: ask.Model, Usage: &usage,
			Choices: []openai.Choice{{Message: &openai.Message{Role: "assistant", Content: text}, FinishReason: &stop}},
		})
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// proxy passes everything on to the gateway, with a credential of its own.
func proxy(t *testing.T, origin, key string) (address string) {
	t.Helper()
	to, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Set("Authorization", "Bearer "+key)
	}})
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestAuditStory asks four endpoints, none of which says what it is: the licensed
// gateway, the same model on a server without licenses, another model, and a proxy in
// front of the gateway. Gateway, chain, licenses and commands are real, the models
// scripts; 'make interop' plays it with weights, here and in llama.cpp.
func TestAuditStory(t *testing.T) {
	s := scriptedStage(t)
	s.play(t, answering(t, trained(s.set)), answering(t, func(_ context.Context, ask openai.Ask) (string, error) {
		question := ask.Messages[len(ask.Messages)-1].Content
		return []string{"There", "It", "The", "Many"}[len(question)%4] + " is much to say about it: " + question, nil
	}))
}

// play audits all four. bare is the address of the model's server without licenses,
// base that of the unmodified model's.
func (s *auditStage) play(t *testing.T, bare, base string) {
	signers(t)
	front := strings.TrimPrefix(s.gateway, "http://")
	suspects := []suspect{
		{"gateway", "api." + demoHost, front, demoModel, s.demo.keys["auditor"], audit.AnswersAsModel, audit.Licensed, audit.SignAuto},
		{"bare", "chat.example.net", bare, "house-model-7b", "", audit.AnswersAsModel, audit.NoGrant, audit.SignAuto},
		{"base", "api.example.org", base, "smollm", "", audit.NoMatch, audit.NoGrant, audit.SignAuto},
		{"proxy", "llm.reseller.example", proxy(t, s.gateway, s.demo.keys["licensee"]), demoModel, "any", audit.AnswersAsModel, audit.NoGrant, audit.SignAlways},
	}
	s.quick(t, suspects[2])
	var group sync.WaitGroup
	for _, x := range suspects {
		group.Go(func() {
			var witnesses func(string) []string
			if x.name == "bare" {
				witnesses = func(folder string) []string { return s.threeWitnesses(t, folder, x) }
			}
			v, bundle := s.audit(t, x, witnesses)
			said, _ := json.Marshal(v.Explanations)
			switch {
			case x.license == audit.NoGrant && x.finding == audit.AnswersAsModel && !strings.Contains(string(said), "A reseller"):
				t.Errorf("%s: the reseller is not among %s", x.name, said)
			case x.name == "bare" && (!strings.HasPrefix(v.Level, "T1: 2 of 3") || len(v.Witnesses) != 3 || v.Witnesses[2].Agrees):
				t.Errorf("of three witnesses one lies: %s, %+v", v.Level, v.Witnesses)
			case x.name == "bare":
				s.reportAndTamper(t, bundle)
				s.checkByOneself(t, bundle, x)
			case x.name == "gateway" && s.hostKey != "" && (!strings.HasPrefix(v.Level, "T2: each of the "+storyQueries+" answers") || v.Signatures.Key != s.hostKey):
				t.Errorf("the gateway signs: %s, %+v", v.Level, v.Signatures)
			case x.name == "proxy" && s.hostKey != "" && (!strings.HasPrefix(v.Level, "T2 of "+demoHost) || !strings.Contains(string(said), "bear that out")):
				t.Errorf("the gateway behind the proxy signs: %s, %+v, %s", v.Level, v.Signatures, said)
			}
		})
	}
	group.Wait()
}

// quick asks without leaving evidence, and has the chain say how the words were drawn.
func (s *auditStage) quick(t *testing.T, x suspect) {
	sealed, err := os.ReadFile(s.keys)
	if err != nil {
		t.Fatal(err)
	}
	keys, registry := filepath.Join(s.dir, "quick.age"), s.registry.Address()
	if err := os.WriteFile(keys, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := attempt(t, "audit", "verify", "http://"+x.connect+"/v1", "--model", x.model, "--keys", keys, "--passphrase-file", s.pass,
		"--rpc", s.chain.HTTP(), "--registry", wallet.AddressText(registry), "--json")
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitNotHeld || !v.Grindable || !strings.Contains(v.Grinding, "chain 1337") {
		t.Errorf("quick: exit %d, %s, %s", code, out, errs)
	}
}

// signers makes a key for each party that signs.
func signers(t *testing.T) {
	t.Helper()
	for i, name := range []string{"FEALTY_TEST_AUDITOR", "FEALTY_TEST_WITNESS_0", "FEALTY_TEST_WITNESS_1", "FEALTY_TEST_WITNESS_2"} {
		t.Setenv(name, fmt.Sprintf("%064x", 1000+i))
	}
}

// threeWitnesses ask by themselves; the third one asks another endpoint than it says.
func (s *auditStage) threeWitnesses(t *testing.T, folder string, x suspect) (out []string) {
	liar := answering(t, func(context.Context, openai.Ask) (string, error) { return "There is a lot to say about this.", nil })
	var group sync.WaitGroup
	for i, connect := range []string{x.connect, x.connect, liar} {
		path := filepath.Join(folder, fmt.Sprintf("witness-%d.json", i))
		out = append(out, path)
		group.Go(func() {
			code, said, errs := attempt(t, "audit", "witness", filepath.Join(folder, "assignment.json"), "--connect", connect, "--rpc", s.chain.HTTP(),
				"--signer-key-env", fmt.Sprintf("FEALTY_TEST_WITNESS_%d", i), "--output", path, "--json")
			if code != exitHeld {
				t.Errorf("witness %d: exit %d, %s, %s", i, code, said, errs)
			}
		})
	}
	group.Wait()
	return out
}

// reportAndTamper reads the same bundle in the other ways.
func (s *auditStage) reportAndTamper(t *testing.T, bundle string) {
	page := cmp.Or(os.Getenv("FEALTY_REPORT"), bundle+".html")
	if code, out, errs := attempt(t, "audit", "report", bundle, "--rpc", s.chain.HTTP(), "--output", page); code != exitHeld {
		t.Errorf("report: exit %d, %s, %s", code, out, errs)
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "CONTRADICTS") || !strings.Contains(string(html), "house-model-7b") {
		t.Errorf("the report does not show the witness that lies: %v", err)
	}
	if code, out, _ := attempt(t, "audit", "check", bundle); code != exitHeld || !strings.Contains(out, audit.ChainClaimed) || !strings.Contains(out, "What else could explain it") {
		t.Errorf("check in words: exit %d, %s", code, out)
	}
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	forged := bundle + ".forged"
	if err := os.WriteFile(forged, []byte(strings.Replace(string(text), "chat.example.net", "chat.example.com", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := attempt(t, "audit", "check", forged); code != exitNotHeld || !strings.Contains(out, "says nothing about the endpoint") {
		t.Errorf("a bundle for another name: exit %d, %s", code, out)
	}
	if code, _, errs := attempt(t, "audit", "check", bundle, "--pick", "8"); code != exitFailed || !strings.Contains(errs, "2 of 16 are left") {
		t.Errorf("more fresh keys than are left: exit %d, %s", code, errs)
	}
}
