//go:build interop

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/internal/testmodel"
)

// TestInteropK6 plays each script of k6/ once, briefly, against a stage. How fast
// this machine is does not matter: the bounds on times are off.
func TestInteropK6(t *testing.T) {
	k := newK6(t)
	marked := testmodel.Get(t)
	k.startStage(marked.Dir)
	k.secrets()

	found := k.play("load", 0, append(slices.Clone(slow), "RATES=0.5,1", "STEP=8s", "KNEE=1", "GOOD=0.7")...)
	found.want(t, "knee: highest rate up to which steps are good", 1)
	found.want(t, "ended as refused", 0)
	found = k.play("soak", 0, append(slices.Clone(slow), "DURATION=20s", "RATE=0.5", "PARTS=2", "FIRST=1")...)
	found.want(t, "requests without a whole answer", 0)
	if found.value("memory: last part's median to the first 3") == nil {
		t.Error("soak does not follow the gateway's memory")
	}
	k.stealth(marked)
	checkStealthPrice(t, marked)
	found = k.play("enforce", 0, "TIMEOUT=300s", "REQUIRE=all", "LOAD=3", "TOKENS=1000")
	found.want(t, "revoked while streaming, once", 1)
	if len(found.Rows) != 4*14+6+2 || len(found.Notes) != 0 {
		t.Errorf("enforce: %d rows, notes %q", len(found.Rows), found.Notes)
	}

	// A script must be able to say no: this licensee is refused.
	refused := filepath.Join(k.dir, "unpaid.json")
	k.write(refused, fmt.Sprintf(`{"licensed": [%q]}`, k.credentials.Refused["unpaid"]))
	found = k.play("load", 99, append(slices.Clone(slow), "RATES=5", "STEP=8s", "KNEE=5", "FEALTY_CREDENTIALS="+refused)...)
	found.want(t, "at 5/s: good answers", 0)
}

// TestInteropK6Plain loads a server that is no gateway: llama.cpp, with a key in the
// environment.
func TestInteropK6Plain(t *testing.T) {
	k := newK6(t)
	k.env = []string{"FEALTY_URL=" + startLlamaCPP(t, testmodel.Get(t).Base), "FEALTY_MODEL=base", "FEALTY_API_KEY=any"}
	found := k.play("load", 0, append(slices.Clone(slow), "RATES=0.5", "STEP=8s", "KNEE=0.5", "GOOD=0.7")...)
	found.want(t, "knee: highest rate up to which steps are good", 0.5)
	found.want(t, "streams that were truncated", 0)
}

func newK6(t *testing.T) *k6 {
	t.Helper()
	k := &k6{t: t, path: os.Getenv("FEALTY_K6"), dir: t.TempDir()}
	if k.path == "" {
		t.Fatal("FEALTY_K6 is not set; run 'make interop'")
	}
	return k
}

// slow switches the bounds on times off.
var slow = []string{"TIMEOUT=300s", "TOKENS=8", "SLO_TTFT=1e6", "SLO_TOTAL=1e6", "DRIFT=1e9"}

// stealth takes samples of a plan and judges them.
func (k *k6) stealth(marked *testmodel.Marked) {
	k.t.Helper()
	at := func(name string) string { return filepath.Join(k.dir, name) }
	keys, err := os.ReadFile(marked.Keys) // a copy: the plan burns its keys
	if err != nil {
		k.t.Fatal(err)
	}
	k.write(at("keys.age"), string(keys))
	k.write(at("keys.pass"), testmodel.Passphrase)
	k.write(at("ordinary"), "Why is the sky blue?\nHow is bread, cake and \"pie\" made?\nWhat do bees do?\nHow are boats built?\nWhy do leaves fall?\nHow do I rest?\n")
	cli(k.t, "audit", "stealth", "plan", "--keys", at("keys.age"), "--passphrase-file", at("keys.pass"), "--ordinary", at("ordinary"),
		"--count", "6", "--max-tokens", "8", "--output", at("plan.json"), "--labels", at("labels.json"))
	if plan, err := os.ReadFile(at("plan.json")); err != nil || strings.Contains(string(plan), "fingerprint") {
		k.t.Errorf("the plan tells fingerprints from ordinary prompts: %v", err)
	}
	env := []string{"TIMEOUT=300s", "PLAN=" + at("plan.json"), "SAMPLES=" + at("samples.csv"), "ROUNDS=1", "FAILED=0", "THINK=0.01"}
	k.play("stealth", 0, env...)
	// A second run must not write over the samples of the first.
	k.play("stealth", 99, env...)
	open := newK6(k.t)
	open.startStage(marked.Dir, "--rate", "1")
	open.play("stealth", 0, append(env, "SAMPLES="+at("full.csv"))...)

	values := figures(k.t, "audit", "stealth", "--csv", at("samples.csv"), "--full", at("full.csv"), "--labels", at("labels.json"),
		"--base", marked.Base, "--served", marked.Dir, "--json")
	const surprise = "reader, as served: AUC of first word's surprise"
	if values["as served: samples"].Value != 22 || values["reader, as served: fingerprints that match"].Value < 0.9 || values[surprise].Value < 0.7 ||
		values["host that suppresses with the base (its nucleus, 0.8): fingerprints stopped"].Value < 0.9 {
		k.t.Error("the figures do not fit: a reader with the base must see most fingerprints of a robust model, and a base's nucleus must stop them")
	}
	if f := values["network: ttft: p of not being equivalent within 5 % (TOST)"]; f.Held == nil || *f.Held != (f.Value <= 0.05) {
		k.t.Errorf("equivalence: %+v", f)
	}
	if values["rate 1: samples"].Value != 22 || values["reader, rate 1: fingerprints that match"].Value < 0.9 {
		k.t.Error("at rate 1 the fingerprints must answer as before")
	}
	if _, ok := values["reader, rate 1, among prompts that reach the shell: ordinary prompts"]; !ok {
		k.t.Error("nothing is said of the prompts that reach the shell")
	}
}

// checkStealthPrice measures the sampler's price on a few prompts.
func checkStealthPrice(t *testing.T, marked *testmodel.Marked) {
	t.Helper()
	values := figures(t, "audit", "stealth", "price", "--served", marked.Dir, "--prompts", "4", "--tasks", "1", "--max-tokens", "8", "--json")
	for _, where := range []string{"first", "sentences"} {
		off, on := values["where "+where+", rate 0: perplexity of answers"], values["where "+where+", rate 1: perplexity of answers"]
		if off.Value < 1 || on.Value < 1 || values["where "+where+": words chosen per answer at rate 1"].Value > 8 {
			t.Errorf("where %s: off %+v, on %+v", where, off, on)
		}
	}
}

type k6 struct {
	t           *testing.T
	path, dir   string
	env         []string
	credentials credentials
}

// startStage runs 'fealty audit stage' until the test ends. Unless flags say otherwise its
// sampler opens nothing: which ordinary prompts it would open hangs on a random secret, and a
// reader takes those for marked.
func (k *k6) startStage(weights string, flags ...string) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(k.t.Context())
	stage := filepath.Join(k.dir, "stage")
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"audit", "stage", "--output", stage, "--weights", weights, "--rate", "0"}, flags...), strings.NewReader(""), &out, &errs)
	}()
	k.t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitHeld {
			k.t.Errorf("audit stage: exit %d: %s", code, errs.String())
		}
		ended <- 0
	})
	env := filepath.Join(stage, "stage.env")
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		select {
		case code := <-ended:
			ended <- code
			k.t.Fatalf("audit stage ended before it was up: %s", errs.String())
		default:
		}
		if _, err := os.Stat(env); err == nil {
			break
		}
		if time.Now().After(deadline) {
			k.t.Fatal("audit stage is not up after 10 minutes")
		}
	}
	text, err := os.ReadFile(env)
	if err != nil {
		k.t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		k.env = append(k.env, strings.ReplaceAll(lines.Text(), "'", ""))
	}
}

func (k *k6) secrets() {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join(k.dir, "stage", "credentials.json"))
	if err != nil {
		k.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &k.credentials); err != nil {
		k.t.Fatal(err)
	}
}

func (k *k6) write(path, text string) {
	k.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// scriptReport is the JSON that a script leaves.
type scriptReport struct {
	Test  string   `json:"test"`
	Held  bool     `json:"held"`
	Notes []string `json:"notes"`
	Rows  []struct {
		Name  string   `json:"name"`
		Value *float64 `json:"value"`
	} `json:"rows"`
}

// value is a row's; nil if there is no such row, or nothing was measured.
func (r scriptReport) value(name string) *float64 {
	for _, row := range r.Rows {
		if row.Name == name {
			return row.Value
		}
	}
	return nil
}

func (r scriptReport) want(t *testing.T, name string, value float64) {
	t.Helper()
	if got := r.value(name); got == nil {
		t.Errorf("%s: no row %q, or one without a value", r.Test, name)
	} else if *got != value {
		t.Errorf("%s: %q is %v, want %v", r.Test, name, *got, value)
	}
}

// play runs a script, wants the exit status, and reads what it left.
func (k *k6) play(script string, status int, env ...string) (found scriptReport) {
	k.t.Helper()
	report := filepath.Join(k.dir, fmt.Sprintf("%s-%d", script, status))
	cmd := exec.CommandContext(k.t.Context(), k.path, "run", "--quiet", "--no-usage-report", "--address", "", filepath.Join(root(), "k6", script+".js"))
	cmd.Dir = k.dir
	cmd.Env = append(append(append(os.Environ(), k.env...), "REPORT="+report), env...)
	var stdout, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &errs
	err := cmd.Run()
	out := stdout.String() + errs.String()
	k.t.Logf("%s", out)
	if says := map[bool]string{true: " s: all targets held\n", false: " s: NOT ALL TARGETS HELD\n"}[status == 0]; !strings.Contains(stdout.String(), "\n"+script+" against ") || !strings.Contains(stdout.String(), says) {
		k.t.Errorf("%s: the summary on stdout has no line of the verdict%s", script, says)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != status || err == nil && status != 0 || err != nil && exit == nil {
		k.t.Errorf("%s: %v, want exit status %d", script, err, status)
	}
	text, err := os.ReadFile(report + ".json")
	if err != nil {
		k.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &found); err != nil || found.Test != script || found.Held != (status == 0) {
		k.t.Errorf("%s: report %v of %q, held %v", script, err, found.Test, found.Held)
	}
	page, err := os.ReadFile(report + ".html")
	if err != nil || !strings.Contains(string(page), "<h1>"+script) || strings.Contains(string(page), "src=") || strings.Contains(string(page), "href=") {
		k.t.Errorf("%s: the page is missing, empty or loads something: %v", script, err)
	}
	for name, secret := range k.credentials.Refused {
		if strings.Contains(out+string(text)+string(page), secret) {
			k.t.Errorf("%s shows the credential %s", script, name)
		}
	}
	return found
}
