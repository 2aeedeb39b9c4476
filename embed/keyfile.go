package embed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"

	"github.com/fealty/fealty/internal/atomicfile"
)

// keyFileFormat is the version that this program writes and reads.
const keyFileFormat = 1

// largestKeyFile bounds what is decrypted: 1,024 keys take about 1 MB.
const largestKeyFile = 64 << 20

// Errors that callers tell apart.
var (
	ErrWrongKey    = errors.New("the passphrase or identity does not open it")
	ErrNewerFormat = errors.New("it was written by a newer version of fealty: upgrade")
	ErrDamaged     = errors.New("it is damaged: restore it from a copy")
	ErrOtherBase   = errors.New("it belongs to another base model")
)

type keyFile struct {
	Format int `json:"format"`
	*Set
}

// SaveSet writes the keys encrypted to the recipients (age.NewScryptRecipient
// for a passphrase), mode 0600. The file is either the old one or whole.
func SaveSet(path string, s *Set, to ...age.Recipient) error {
	sealed, err := seal(s, to)
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	err = atomicfile.Write(path, 0o600, func(f *os.File) error {
		_, err := f.Write(sealed)
		return errors.Join(err, f.Sync())
	})
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	return nil
}

func seal(s *Set, to []age.Recipient) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to...)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(w).Encode(keyFile{keyFileFormat, s}); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

// LoadSet opens a key file. The error wraps ErrWrongKey, ErrDamaged or
// ErrNewerFormat where that is the reason; it never quotes the content.
func LoadSet(path string, with ...age.Identity) (*Set, error) {
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	s, err := unseal(sealed, with)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return s, nil
}

func unseal(sealed []byte, with []age.Identity) (*Set, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), with...)
	var noMatch *age.NoIdentityMatchError
	switch {
	case errors.As(err, &noMatch):
		return nil, ErrWrongKey
	case err != nil:
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, largestKeyFile+1))
	if err != nil || len(plain) > largestKeyFile {
		return nil, ErrDamaged
	}
	return parseSet(plain)
}

// parseSet reads the version first: a newer file may have any shape.
func parseSet(plain []byte) (*Set, error) {
	var version struct{ Format int }
	if json.Unmarshal(plain, &version) != nil || version.Format < 1 {
		return nil, ErrDamaged
	}
	if version.Format > keyFileFormat {
		return nil, ErrNewerFormat
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	file := keyFile{Set: new(Set)}
	if d.Decode(&file) != nil { // its message could quote a question
		return nil, ErrDamaged
	}
	if err := file.validate(); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return file.Set, nil
}

// validate checks what the rest of the package relies on.
func (s *Set) validate() error {
	if len(s.Keys) == 0 {
		return errors.New("there is no key in it")
	}
	for _, i := range s.Burnt {
		if i < 0 || i >= len(s.Keys) {
			return fmt.Errorf("it marks a key %d of %d as burnt", i, len(s.Keys))
		}
	}
	for i, k := range s.Keys {
		if k.Question == "" || k.Secret == (Digest{}) {
			return fmt.Errorf("key %d has no question or no secret", i)
		}
		if len(k.Candidates) != s.Shell.K || s.Shell.K < 2 {
			return fmt.Errorf("key %d has %d candidates, the shell %d", i, len(k.Candidates), s.Shell.K)
		}
	}
	return nil
}

// CheckBase refuses keys that were chosen for another model.
func (s *Set) CheckBase(base, tokenizer Digest) error {
	if s.Base != base {
		return fmt.Errorf("%w: its base has the digest %.16s, this model %.16s", ErrOtherBase, s.Base, base)
	}
	if s.Tokenizer != tokenizer {
		return fmt.Errorf("%w: its tokenizer has the digest %.16s, this model's %.16s", ErrOtherBase, s.Tokenizer, tokenizer)
	}
	return nil
}
