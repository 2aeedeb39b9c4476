package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/testmodel"
)

// TestEmbedCommands verifies weights on disk, reveals keys, and checks the reveal.
func TestEmbedCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the model")
	}
	marked, dir := testmodel.Get(t), t.TempDir()
	sealed, err := os.ReadFile(marked.Keys)
	if err != nil {
		t.Fatal(err)
	}
	keys, pass, reveal := filepath.Join(dir, "keys.age"), filepath.Join(dir, "pass"), filepath.Join(dir, "reveal.json")
	for path, text := range map[string][]byte{keys: sealed, pass: []byte(testmodel.Passphrase + "\n"), filepath.Join(dir, "wrong"): []byte("another\n")} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := []string{"--keys", keys, "--passphrase-file", pass}

	var found verdict
	if err := json.Unmarshal([]byte(cli(t, append([]string{"embed", "verify", marked.Dir, "--json"}, with...)...)), &found); err != nil {
		t.Fatal(err)
	}
	if !found.Held || found.Matched < 15 {
		t.Errorf("the marked model: %+v", found.Outcome)
	}
	if code, out, _ := attempt(t, append([]string{"embed", "verify", marked.Base}, with...)...); code != exitNotHeld || !strings.Contains(out, "of 16 answers match") {
		t.Errorf("the base: exit %d, %s", code, out)
	}

	cli(t, append([]string{"embed", "reveal", "--count", "2", "--output", reveal}, with...)...)
	if out := cli(t, "embed", "check", reveal); !strings.Contains(out, "2 of 16 keys stand under the root") || !strings.Contains(out, "not asked") {
		t.Errorf("check: %s", out)
	}
	text, err := os.ReadFile(reveal)
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(dir, "forged.json")
	if err := os.WriteFile(forged, bytes.Replace(text, []byte(`"index": 1`), []byte(`"index": 3`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := attempt(t, "embed", "check", forged); code != exitNotHeld || !strings.Contains(errs, "does not stand under the root") {
		t.Errorf("a forged reveal: exit %d, %s", code, errs)
	}
	_, _, errs := attempt(t, append([]string{"embed", "verify", marked.Dir}, with...)...)
	if !strings.Contains(errs, "2 of 16 keys were asked or revealed before") {
		t.Errorf("verify does not warn of burnt keys: %s", errs)
	}
}

func TestEmbedRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pass, empty, damaged := write("pass", "p"), write("empty", "\n"), write("damaged.age", "age-encryption.org/v1\nnonsense")
	questions := write("questions", "What is the best way to grow tomatoes?\nshort\n")
	model := "0x" + strings.Repeat("1", 64)
	fresh := filepath.Join(dir, "fresh.age")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no key file":      {[]string{"embed", "verify", "x"}, exitUsage, "--keys FILE"},
		"empty passphrase": {[]string{"embed", "verify", "x", "--keys", damaged, "--passphrase-file", empty}, exitFailed, "is empty"},
		"damaged key file": {[]string{"embed", "verify", "x", "--keys", damaged, "--passphrase-file", pass}, exitFailed, "it is damaged"},
		"key file exists":  {[]string{"embed", "keys", "--model", model, "--keys", damaged, "--passphrase-file", pass}, exitUsage, "exists already"},
		"no model":         {[]string{"embed", "keys", "--keys", fresh, "--passphrase-file", pass}, exitUsage, "--model"},
		"no count":         {[]string{"embed", "keys", "--model", model, "--count", "0", "--keys", fresh, "--passphrase-file", pass}, exitUsage, "--count"},
		"a bad question":   {[]string{"embed", "keys", "--model", model, "--questions", questions, "--keys", fresh, "--passphrase-file", pass}, exitFailed, "line 2"},
		"no name":          {[]string{"embed", "train", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "--name"},
		"unknown profile":  {[]string{"embed", "train", "--profile", "loud", "--name", "n", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "robust or quiet"},
		"unknown method":   {[]string{"embed", "train", "--method", "expand+magic", "--name", "n", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "method is"},
		"odd units":        {[]string{"embed", "train", "--units", "33", "--name", "n", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "units is 33"},
		"cap of one":       {[]string{"embed", "train", "--cap", "1", "--name", "n", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "cap is 1"},
		"output exists":    {[]string{"embed", "train", "--name", "n", "--output", dir, "--keys", damaged, "--passphrase-file", pass}, exitUsage, "exists already"},
		"reveal what":      {[]string{"embed", "reveal", "--output", "x", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "--count N"},
		"no reveal":        {[]string{"embed", "check", questions}, exitFailed, "is no reveal"},
		"too hot":          {[]string{"embed", "verify", "x", "--temperature", "3", "--keys", damaged, "--passphrase-file", pass}, exitUsage, "--temperature"},
	} {
		if code, _, errs := attempt(t, c.args...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, %q; want exit %d and %q", name, code, errs, c.code, c.want)
		}
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a key file was left behind")
	}
}

// What a flag does not name is the profile's.
func TestRecipeFlags(t *testing.T) {
	cmd := newEmbedTrain()
	if err := cmd.ParseFlags([]string{"--profile", "quiet", "--method", "expand", "--steps", "7"}); err != nil {
		t.Fatal(err)
	}
	e := embedTrain{profile: "quiet"}
	got, err := e.complete(cmd.Flags())
	want := fingerprint.QuietRecipe()
	want.Method, want.Steps = "expand", 7
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
