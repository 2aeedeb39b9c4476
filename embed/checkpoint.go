package embed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fealty/fealty/internal/atomicfile"
)

// checkpoint is a training's file. Its contents tell the keys (their states and where
// the mark is), so it is sealed with AES-256-GCM under what only the key file
// holds. The zero value keeps nothing.
type checkpoint struct {
	path  string
	key   Digest
	every time.Duration // between two writes
	last  time.Time
}

// checkpointEvery bounds what a kill costs. Tests shorten it.
var checkpointEvery = 20 * time.Second

// kept is what it holds. All else follows from the base, the keys and the recipe.
type kept struct {
	Gathered *gathered
	Begun    []byte // the generator after gathering
	Steps    int    // taken; 0: the fields below are empty
	Random   []byte // the generator now
	Values   [][]float32
	Means    [][]float32 // of Adam
	Squares  [][]float32
	Margins  []float32
	Diverg   []float32
}

// newCheckpoint binds the file to the base's tokenizer, the keys with their draw, and
// the recipe.
func newCheckpoint(path string, base Digest, keys []Drawn, r Recipe) (checkpoint, error) {
	recipe, err := json.Marshal(r)
	if err != nil {
		return checkpoint{}, err
	}
	t := newTranscript("fealty checkpoint 1")
	t.field(base[:])
	t.field(recipe)
	for _, k := range keys {
		t.field(k.Secret[:])
		t.field([]byte(k.Question))
		t.number(uint64(k.Choice))
	}
	return checkpoint{path: path, key: t.digest(), every: checkpointEvery}, nil
}

// load returns nil if there is no file yet.
func (c *checkpoint) load() (*kept, error) {
	if c.path == "" {
		return nil, nil
	}
	sealed, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	var k kept
	plain, err := c.open(sealed)
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(plain)).Decode(&k)
	}
	if err != nil {
		return nil, fmt.Errorf("the checkpoint %s is damaged or of another training (other keys, draw, base or recipe): remove it to train from the start", c.path)
	}
	return &k, nil
}

func (c *checkpoint) open(sealed []byte) ([]byte, error) {
	aead := c.cipher()
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("short")
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
}

func (c *checkpoint) cipher() cipher.AEAD {
	block, err := aes.NewCipher(c.key[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// save replaces the file at once, so that a kill leaves the old or the new one.
func (c *checkpoint) save(k *kept) error {
	var plain bytes.Buffer
	if err := gob.NewEncoder(&plain).Encode(k); err != nil {
		return err
	}
	aead := c.cipher()
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+plain.Len()+aead.Overhead())
	rand.Read(nonce) // never fails
	err := atomicfile.Write(c.path, 0o600, func(f *os.File) error {
		_, err := f.Write(aead.Seal(nonce, nonce, plain.Bytes(), nil))
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	c.last = time.Now()
	return nil
}

// keep writes where the training is, when it is time to.
func (c *course) keep() error {
	if c.saved.path == "" || time.Since(c.saved.last) < c.saved.every {
		return nil
	}
	k := &kept{Gathered: c.seen, Begun: c.begun, Steps: c.steps, Margins: c.margins, Diverg: c.diverg}
	k.Random, _ = c.source.MarshalBinary() // never fails
	for i, a := range c.parts.arrays() {
		k.Values = append(k.Values, *a)
		k.Means, k.Squares = append(k.Means, c.adams[i].mean), append(k.Squares, c.adams[i].square)
	}
	return c.saved.save(k)
}

// resume goes to where the file says.
func (c *course) resume(k *kept) error {
	if k == nil || k.Steps == 0 {
		return nil
	}
	arrays := c.parts.arrays()
	if len(k.Values) != len(arrays) || len(k.Margins) != len(c.margins) || len(k.Diverg) != len(c.diverg) {
		return fmt.Errorf("the checkpoint %s does not fit the recipe: remove it to train from the start", c.saved.path)
	}
	for i, a := range arrays {
		copy(*a, k.Values[i])
		c.adams[i] = &adam{values: *a, mean: k.Means[i], square: k.Squares[i], steps: k.Steps}
	}
	c.steps, c.margins, c.diverg = k.Steps, slices.Clone(k.Margins), slices.Clone(k.Diverg)
	return c.source.UnmarshalBinary(k.Random)
}
