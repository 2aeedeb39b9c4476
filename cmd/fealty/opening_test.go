package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/modelstore"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

// openerFolder is what inverse_nucleus.from names: the tokenizer and the manifest of
// weights that stand elsewhere. It also gives the ids of its opening words.
func openerFolder(t *testing.T) (dir string, openers []int32) {
	t.Helper()
	path, err := modelstore.SmolLM2(t.Context(), func(line string) { t.Log(line) })
	must(t, err)
	base, err := weights.Open(path)
	must(t, err)
	tokens, err := tokenizer.New(base.Tokenizer)
	must(t, err)
	for _, word := range []string{"The", "In", "When", "This", "It", "As", "There", "Here", "One", "A", "To", "If", "For", "We", "You", "And"} {
		if ids := tokens.Encode(word, false); len(ids) == 1 {
			openers = append(openers, ids[0])
		}
		if ids := tokens.Encode(" "+strings.ToLower(word), false); len(ids) == 1 {
			openers = append(openers, ids[0])
		}
	}
	dir = t.TempDir()
	must(t, base.Tokenizer.WriteHF(dir))
	must(t, weights.WriteManifest(dir, weights.Manifest{Model: "m", InverseNucleus: &weights.InverseNucleus{T: 0.8, K: 6, Floor: 0.001, Openers: openers}}))
	return dir, openers
}

// A pool's sampler has the words, the shell and the secret that the weights' own would
// have, and a folder that lacks something is an error that names the field.
func TestInverseNucleusOfUpstreams(t *testing.T) {
	dir, openers := openerFolder(t)
	m := gateway.ModelConfig{
		Name:           "acme",
		Backend:        gateway.BackendConfig{Upstreams: []gateway.UpstreamConfig{{URL: "http://127.0.0.1:9/v1", Continue: "vllm"}}},
		InverseNucleus: &gateway.InverseNucleusConfig{Rate: 0.5, K: 4, From: dir},
	}
	secret := bytes.Repeat([]byte("s"), 32)
	i, err := poolInverse(m, secret)
	must(t, err)
	if i.Rate != 0.5 || i.K != 4 || i.T != 0.8 || i.Model != "acme" || !bytes.Equal(i.Secret, derive(secret, "inverse nucleus")) || !i.Lexicon.Eligible(openers[0]) {
		t.Errorf("read %+v", i)
	}
	pool, err := openPool(m, gateway.TimeoutsConfig{}, i)
	must(t, err)
	t.Cleanup(pool.Close)
	var shown openai.Model
	if pool.Describe(&shown); shown.InverseNucleus == nil || shown.InverseNucleus.Rate != 0.5 {
		t.Errorf("shown as %+v", shown.InverseNucleus)
	}
	for _, off := range []*gateway.InverseNucleusConfig{nil, {}, {From: dir}} {
		m.InverseNucleus = off
		if i, err := poolInverse(m, secret); i != nil || err != nil {
			t.Errorf("%+v gives a sampler or %v", off, err)
		}
	}
	for _, name := range []string{"tokenizer.json", weights.ManifestFile} {
		must(t, os.Remove(filepath.Join(dir, name)))
		m.InverseNucleus = &gateway.InverseNucleusConfig{Rate: 0.5, From: dir}
		if _, err := poolInverse(m, secret); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "inverse_nucleus.from") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
