//go:build interop

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit"
	"github.com/fealty/fealty/internal/modelstore"
)

// recording is internal/audit/testdata/base.json: the first words of the unmodified base's
// answers to some questions, which TestLevelHolds judges under redrawn secrets.
type recording struct {
	Questions []string       `json:"questions"`
	Hosts     []recordedHost `json:"hosts"`
}

type recordedHost struct {
	Name  string   `json:"name"`
	Words []string `json:"words"` // in the order of the questions
}

// recorded are the ways in which the base is asked; the first one is greedy.
var recorded = []struct {
	name string
	how  fingerprint.Asking
}{
	{"greedy", fingerprint.Asking{}},
	{"at temperature 1", fingerprint.Asking{Temperature: 1, Seed: 1}},
	{"at temperature 0.7, under a system prompt", fingerprint.Asking{Temperature: 0.7, Seed: 2, System: "You are the assistant of Example Corp. Answer briefly and politely."}},
	{"at temperature 2", fingerprint.Asking{Temperature: 2, Seed: 3}},
}

// TestInteropBaseRecording holds the recording to what the base says today. With
// FEALTY_RECORD=1 it records the same questions anew.
func TestInteropBaseRecording(t *testing.T) {
	base, err := modelstore.SmolLM2(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	local := openLocal(t, base)
	path := filepath.Join(root(), "internal", "audit", "testdata", "base.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	said := func(how fingerprint.Asking) (words []string) {
		for _, question := range r.Questions {
			text, err := local.As(how).Answer(t.Context(), question)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, fingerprint.FirstWord(text))
		}
		return words
	}
	if os.Getenv("FEALTY_RECORD") != "" {
		r.Hosts = nil
		for _, each := range recorded {
			r.Hosts = append(r.Hosts, recordedHost{each.name, said(each.how)})
		}
		if err := audit.WriteFile(path, r); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.Hosts) != len(recorded) || len(r.Hosts[0].Words) != len(r.Questions) {
		t.Fatalf("%d hosts are recorded", len(r.Hosts))
	}
	same := 0
	for i, word := range said(recorded[0].how) {
		if r.Hosts[0].Words[i] == word {
			same++
		}
	}
	if same < len(r.Questions)-1 { // machines round differently: a near tie may fall otherwise
		t.Errorf("%d of %d answers begin as recorded", same, len(r.Questions))
	}
}
