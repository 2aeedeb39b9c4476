package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/audit/stealth"
)

// What needs no model: the command judges a table at the network, and says which
// observers it could not be.
func TestAuditStealthAtTheNetwork(t *testing.T) {
	dir := t.TempDir()
	var labels stealth.Labels
	table := "order,id,round,began,streamed,status,error,headers_ms,ttft_ms,gap_ms,total_ms,frames,bytes,header_bytes,header_names,finish,prompt_tokens,completion_tokens,text\n"
	for i := range 60 {
		p := stealth.Prompt{ID: fmt.Sprint("p", i), Question: "?", Fingerprint: i%3 == 0}
		labels.Prompts = append(labels.Prompts, p)
		late := 0
		if p.Fingerprint {
			late = 40 // of about 100: an observer sees that at once
		}
		table += fmt.Sprintf("%d,%s,0,1,true,200,,2,%d,5,%d,9,900,200,content-type,stop,10,8,Well\n", i, p.ID, 100+i%7, 200+i%5+late)
	}
	text, err := json.Marshal(labels)
	if err != nil {
		t.Fatal(err)
	}
	csv, labelled := filepath.Join(dir, "samples.csv"), filepath.Join(dir, "labels.json")
	for path, content := range map[string]string{csv: table, labelled: string(text)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rows := figures(t, "audit", "stealth", "--csv", csv, "--labels", labelled, "--json")
	same, late := rows["network: ttft: p of not being equivalent within 5 % (TOST)"], rows["network: total: p of not being equivalent within 5 % (TOST)"]
	if same.Held == nil || !*same.Held || late.Held == nil || *late.Held {
		t.Errorf("equal first tokens: %+v; answers 40 ms late: %+v", same, late)
	}
	if shift := rows["network: total: fingerprints' shift"]; math.Abs(shift.Value-40) > 2 || shift.Low == nil || *shift.Low > 40 || *shift.High < 40 {
		t.Errorf("shift %+v, want 40 ms", shift)
	}
	for _, observer := range []string{"reader of the traffic", "holder of the weights"} {
		if rows[observer].Reason == "" {
			t.Errorf("%s: %+v; without a model nothing was measured, and the row must say so", observer, rows[observer])
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"audit", "stealth", "--csv", csv}, strings.NewReader(""), &out, &errs); code != exitUsage {
		t.Errorf("without labels: exit %d: %s", code, errs.String())
	}
}

// A rate is the exact mixture of the two ways, and a fact is a word of its own.
func TestStealthPrice(t *testing.T) {
	off, on := []float64{1, 2, 3}, []float64{2, 2, 5}
	for rate, want := range map[float64]float64{0: 2, 0.5: 2.5, 1: 3} {
		if m := mixed(off, on, rate); math.Abs(m.Value-want) > 1e-12 || (rate > 0) != (m.High > m.Low) {
			t.Errorf("rate %v: %+v, want %v", rate, m, want)
		}
	}
	for text, want := range map[string]bool{"It is Au.": true, "Paul said so": false, "au": true, "": false} {
		if names(text, "Au|Aurum") != want {
			t.Errorf("%q names gold: want %v", text, want)
		}
	}
	for i, line := range strings.Split(strings.TrimSpace(taskList), "\n") {
		if question, fact, ok := strings.Cut(line, "\t"); !ok || !strings.HasSuffix(question, "?") || fact == "" || names(question, fact) {
			t.Errorf("task %d: %q asks for %q", i+1, question, fact)
		}
	}
	p := []float64{0.5, 0.3, 0.15, 0.05}
	if f := nucleusFloor(p, 0.8); f != 0.3 {
		t.Errorf("the least of the nucleus of 0.8 is %v, want 0.3", f)
	}
	if math.Abs(entropy([]float64{0.5, 0.5})-math.Ln2) > 1e-12 || divergence(p, p) != 0 || math.Abs(divergence([]float64{1, 0}, []float64{0.5, 0.5})-math.Ln2) > 1e-12 {
		t.Error("entropy or divergence of known distributions")
	}
	logits := []float32{1, 0, -1}
	if got, want := surprise(logits, 1), -math.Log(softmax64(logits)[1]); math.Abs(got-want) > 1e-6 {
		t.Errorf("surprise %v, want %v", got, want)
	}
}

// figures runs a command that measures and gives its rows by name.
func figures(t *testing.T, args ...string) map[string]figure {
	t.Helper()
	text := cli(t, args...)
	t.Logf("%s", text)
	var found report
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	values := map[string]figure{}
	for _, f := range found.Rows {
		values[f.Name] = f
	}
	return values
}
