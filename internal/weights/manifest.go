package weights

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ManifestFile is the manifest's name within a served directory.
const ManifestFile = "fealty.json"

// manifestFormat is the version of the format that this package writes, and the only one that it reads.
const manifestFormat = 1

// maxManifest bounds the manifest in bytes; openers for a large vocabulary take a few thousand.
const maxManifest = 4 << 20

// Digest is 32 bytes, written as 64 hexadecimal digits.
type Digest [32]byte

// String returns the digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads exactly 64 hexadecimal digits.
func (d *Digest) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(d) {
		return fmt.Errorf("%.80q is not a digest of 64 hexadecimal digits", text)
	}
	copy(d[:], raw)
	return nil
}

// Manifest says what a served directory is. Its own digest is what goes on-chain, so it names every file. It holds
// nothing secret: no key, no recipe, no hint at what was trained.
type Manifest struct {
	Format          int               `json:"format"` // set by WriteManifest
	Model           string            `json:"model"`
	Base            Digest            `json:"base"`                      // SHA-256 of the base weights' file
	FingerprintRoot Digest            `json:"fingerprint_root,omitzero"` // Merkle root of the committed keys; zero: none
	Artefacts       map[string]Digest `json:"artefacts"`                 // SHA-256 of each file; set by WriteManifest
	InverseNucleus  *InverseNucleus   `json:"inverse_nucleus,omitempty"` // nil: the server's defaults
}

// InverseNucleus is what a server needs to sample ordinary answers the way fingerprints answer.
type InverseNucleus struct {
	T       float64 `json:"t"`       // mass of the nucleus that is skipped
	K       int     `json:"k"`       // candidates after it
	Floor   float64 `json:"floor"`   // least probability of a candidate
	Openers []int32 `json:"openers"` // tokens that open an answer generically
}

// WriteManifest hashes the files of dir and writes m with them as fealty.json, in one step.
func WriteManifest(dir string, m Manifest) error {
	files, err := artefacts(dir)
	if err != nil {
		return err
	}
	m.Format, m.Artefacts = manifestFormat, make(map[string]Digest, len(files))
	for _, name := range files {
		if m.Artefacts[name], err = DigestFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	tmp := filepath.Join(dir, "."+ManifestFile+".new")
	defer os.Remove(tmp)
	if err := writeJSON(tmp, m); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, ManifestFile)); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// artefacts lists the files that a manifest covers: all but itself and hidden ones.
func artefacts(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	var files []string
	for _, e := range entries {
		if e.Name() == ManifestFile || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("weights: %s is not a plain file; a served directory holds plain files only", filepath.Join(dir, e.Name()))
		}
		files = append(files, e.Name())
	}
	return files, nil
}

// DigestModel identifies weights on disk: a file's SHA-256; of a folder the SHA-256 of
// the lines that sha256sum prints of its files, in the order of their names.
func DigestModel(path string) (Digest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Digest{}, fmt.Errorf("weights: %w", err)
	}
	if !info.IsDir() {
		return DigestFile(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return Digest{}, fmt.Errorf("weights: %w", err)
	}
	sum, files := sha256.New(), 0
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() { // links are followed: caches are made of them
			continue
		}
		d, err := DigestFile(file)
		if err != nil {
			return Digest{}, err
		}
		files++
		fmt.Fprintf(sum, "%s  %s\n", d, e.Name())
	}
	if files == 0 {
		return Digest{}, fmt.Errorf("weights: %s holds no files", path)
	}
	return Digest(sum.Sum(nil)), nil
}

// DigestFile returns a file's SHA-256.
func DigestFile(path string) (d Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return d, fmt.Errorf("weights: %s: %w", path, err)
	}
	h.Sum(d[:0])
	return d, nil
}

// ReadManifest reads and checks fealty.json, not the files that it names: that is VerifyManifest.
func ReadManifest(dir string) (*Manifest, error) {
	raw, err := manifestBytes(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, ManifestFile)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var m Manifest
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("weights: %s: format is %d; this version reads %d", path, m.Format, manifestFormat)
	}
	for name := range m.Artefacts {
		if filepath.Base(name) != name || !filepath.IsLocal(name) {
			return nil, fmt.Errorf("weights: %s: artefacts names %q, which is not a file of this directory", path, name)
		}
	}
	return &m, nil
}

func manifestBytes(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if len(raw) > maxManifest {
		return nil, fmt.Errorf("weights: %s has more than %d bytes", f.Name(), maxManifest)
	}
	return raw, nil
}

// ErrManifest says that a directory is not what its manifest says.
var ErrManifest = errors.New("the files are not those of the manifest")

// VerifyManifest hashes every file. A changed, missing or additional file is an error that wraps ErrManifest:
// additional ones count because loaders pick some up by name.
func VerifyManifest(dir string) error {
	m, err := ReadManifest(dir)
	if err != nil {
		return err
	}
	files, err := artefacts(dir)
	if err != nil {
		return err
	}
	for _, name := range files {
		want, listed := m.Artefacts[name]
		if !listed {
			return fmt.Errorf("weights: %s: %w: %s is not listed", dir, ErrManifest, name)
		}
		got, err := DigestFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("weights: %s: %w: %s has SHA-256 %v, the manifest says %v", dir, ErrManifest, name, got, want)
		}
		delete(m.Artefacts, name)
	}
	for name := range m.Artefacts {
		return fmt.Errorf("weights: %s: %w: %s is missing", dir, ErrManifest, name)
	}
	return nil
}

// ManifestDigest returns the SHA-256 of fealty.json as it stands: the digest that a version is published under.
func ManifestDigest(dir string) ([32]byte, error) {
	raw, err := manifestBytes(dir)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(raw), nil
}
