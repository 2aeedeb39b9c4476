// Package wallet holds private keys and knows the forms in which the chain names
// people: addresses, subjects, signatures.
//
// A key comes from an encrypted keystore file or from a named environment
// variable, never from a command line, and no way of printing a [Key] shows it.
// The package sends no transactions; licensecheck/registry does. Start with
// [Load], or with [Verifier] for other people's signatures.
package wallet

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/uuid"
)

// Key is a private key of secp256k1. It signs, and prints as its address only.
type Key struct {
	private *ecdsa.PrivateKey
	address [20]byte
}

// Generate makes a fresh key.
func Generate() (*Key, error) {
	private, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("wallet: no randomness for a key: %w", err)
	}
	return newKey(private), nil
}

func newKey(private *ecdsa.PrivateKey) *Key {
	return &Key{private: private, address: crypto.PubkeyToAddress(private.PublicKey)}
}

// Source says where a key is. Set Keystore, or Env alone.
type Source struct {
	Keystore       string // path of an encrypted (V3) keystore file
	PassphraseFile string // its passphrase: the file's content without the last line break
	PassphraseEnv  string // or the name of the environment variable that holds it
	Env            string // the name of an environment variable that holds the key in hex
}

// Load reads the key. Its errors name the file or variable, never what is in it.
func Load(s Source) (*Key, error) {
	switch {
	case s.Keystore != "" && s.Env != "":
		return nil, errors.New("wallet: a keystore file and a key variable are both set; choose one")
	case s.Keystore != "":
		return loadKeystore(s)
	case s.Env != "":
		return loadEnv(s.Env)
	}
	return nil, errors.New("wallet: no key; name a keystore file, or an environment variable that holds a key")
}

func loadEnv(name string) (*Key, error) {
	text := strings.TrimPrefix(strings.TrimSpace(os.Getenv(name)), "0x")
	if text == "" {
		return nil, fmt.Errorf("wallet: environment variable %s is empty; it must hold a private key of 64 hex digits", name)
	}
	private, err := crypto.HexToECDSA(text)
	if err != nil { // err may quote the digits
		return nil, fmt.Errorf("wallet: environment variable %s holds no private key; it needs 64 hex digits", name)
	}
	return newKey(private), nil
}

func loadKeystore(s Source) (*Key, error) {
	sealed, err := os.ReadFile(s.Keystore)
	if err != nil {
		return nil, fmt.Errorf("wallet: keystore file: %w", err)
	}
	passphrase, err := s.passphrase()
	if err != nil {
		return nil, err
	}
	opened, err := keystore.DecryptKey(sealed, passphrase)
	if errors.Is(err, keystore.ErrDecrypt) {
		return nil, fmt.Errorf("wallet: keystore file %s does not open with this passphrase", s.Keystore)
	}
	if err != nil {
		return nil, fmt.Errorf("wallet: keystore file %s is not an encrypted V3 keystore: %w", s.Keystore, err)
	}
	return newKey(opened.PrivateKey), nil
}

func (s Source) passphrase() (string, error) {
	if s.PassphraseFile != "" {
		text, err := os.ReadFile(s.PassphraseFile)
		if err != nil {
			return "", fmt.Errorf("wallet: passphrase file: %w", err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
	if s.PassphraseEnv == "" {
		return "", errors.New("wallet: the keystore file needs a passphrase; name a file or an environment variable that holds it")
	}
	text, ok := os.LookupEnv(s.PassphraseEnv)
	if !ok {
		return "", fmt.Errorf("wallet: environment variable %s, which should hold the keystore's passphrase, is not set", s.PassphraseEnv)
	}
	return text, nil
}

// Save writes the key to a new keystore file that only its owner may read.
func (k *Key) Save(path, passphrase string) error {
	return k.save(path, passphrase, keystore.StandardScryptN)
}

// save takes the cost of scrypt, which tests keep low.
func (k *Key) save(path, passphrase string, n int) error {
	if passphrase == "" {
		return errors.New("wallet: an empty passphrase protects nothing; choose one")
	}
	sealed, err := keystore.EncryptKey(&keystore.Key{Id: uuid.New(), Address: k.address, PrivateKey: k.private}, passphrase, n, keystore.StandardScryptP)
	if err != nil {
		return fmt.Errorf("wallet: sealing the key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("wallet: keystore file: %w", err)
	}
	if _, err := f.Write(sealed); err != nil {
		return errors.Join(fmt.Errorf("wallet: keystore file: %w", err), f.Close(), os.Remove(path))
	}
	return f.Close()
}

// Address is the account of the key.
func (k *Key) Address() [20]byte { return k.address }

// SignPersonal signs a message as wallets do (EIP-191): 65 bytes, the last one 27 or 28.
func (k *Key) SignPersonal(message string) ([]byte, error) {
	digest := PersonalDigest(message)
	sig, err := k.SignDigest(digest)
	if err != nil {
		return nil, err
	}
	sig[64] += 27
	return sig, nil
}

// SignDigest signs a digest that the caller built, such as EIP-712's: 65 bytes, the last one 0 or 1.
func (k *Key) SignDigest(digest [32]byte) ([]byte, error) {
	sig, err := crypto.Sign(digest[:], k.private)
	if err != nil {
		return nil, fmt.Errorf("wallet: signing: %w", err)
	}
	return sig, nil
}

// SignTx signs a transaction for the chain with this id.
func (k *Key) SignTx(tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	return types.SignTx(tx, types.LatestSignerForChainID(chainID), k.private)
}

// String is the key's address: a key in a log or an error shows nothing else.
func (k Key) String() string { return "wallet " + AddressText(k.address) }

// GoString keeps %#v from printing the fields.
func (k Key) GoString() string { return k.String() }

// Format keeps every other verb from printing the fields.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue is what slog writes.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps encoders away from the fields.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// AddressText is the address with its EIP-55 checksum.
func AddressText(address [20]byte) string { return common.Address(address).Hex() }

// ParseAddress reads an address of 0x and 40 hex digits. Mixed case must be a right
// EIP-55 checksum: it tells a typo from an address.
func ParseAddress(text string) ([20]byte, error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 40 || !common.IsHexAddress(text) {
		return [20]byte{}, fmt.Errorf("wallet: %.60q is no address; it needs 0x and 40 hex digits", text)
	}
	address := common.HexToAddress(text)
	mixed := digits != strings.ToLower(digits) && digits != strings.ToUpper(digits)
	if mixed && address.Hex() != text {
		return [20]byte{}, fmt.Errorf("wallet: address %s has a wrong checksum; look for a typo", text)
	}
	return address, nil
}
