package embed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
)

// Digest is a SHA-256 sum; in JSON and text it is 64 hexadecimal digits.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes hexadecimal digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts 64 hexadecimal digits, with or without 0x.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 66 && text[0] == '0' && text[1] == 'x' {
		text = text[2:]
	}
	if len(text) != 64 {
		return fmt.Errorf("a digest has 64 hexadecimal digits, this one %d characters", len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// transcript hashes a sequence of fields. Each is preceded by its length in
// eight bytes, big endian, so that no two sequences give the same bytes.
type transcript struct{ hash.Hash }

func newTranscript(domain string) transcript {
	t := transcript{sha256.New()}
	t.field([]byte(domain))
	return t
}

func (t transcript) field(b []byte) {
	t.number(uint64(len(b)))
	t.Write(b)
}

func (t transcript) number(n uint64) {
	t.Write(binary.BigEndian.AppendUint64(nil, n))
}

func (t transcript) digest() (d Digest) {
	t.Sum(d[:0])
	return d
}
