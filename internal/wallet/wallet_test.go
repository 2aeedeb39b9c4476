package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"
)

// The key and signature of the example that many wallets' documentation shares (Hardhat's first account).
const (
	exampleKey     = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
	exampleAddress = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
)

func example(t *testing.T) *Key {
	t.Helper()
	t.Setenv("FEALTY_TEST_KEY", "0x"+exampleKey)
	key, err := Load(Source{Env: "FEALTY_TEST_KEY"})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestLoadFromEnv(t *testing.T) {
	if got := AddressText(example(t).Address()); got != exampleAddress {
		t.Errorf("address %s, want %s", got, exampleAddress)
	}
}

func TestKeystoreRoundTrip(t *testing.T) {
	dir := t.TempDir()
	path, pass := filepath.Join(dir, "key.json"), filepath.Join(dir, "pass")
	key := example(t)
	if err := key.save(path, "correct horse", 2); err != nil { // weak scrypt: the test's time, not its point
		t.Fatal(err)
	}
	if err := os.WriteFile(pass, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := Load(Source{Keystore: path, PassphraseFile: pass})
	if err != nil {
		t.Fatal(err)
	}
	if opened.Address() != key.Address() {
		t.Errorf("opened %v, saved %v", opened, key)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("keystore has mode %v, want 0600", info.Mode().Perm())
	}
	if err := key.save(path, "correct horse", 2); !errors.Is(err, os.ErrExist) {
		t.Errorf("saving over a key gave %v, want os.ErrExist", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	sealed := filepath.Join(dir, "key.json")
	if err := example(t).save(sealed, "right", 2); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte(`{"crypto":`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BAD_KEY", exampleKey[:62]+"zz")
	t.Setenv("RIGHT", "right")
	t.Setenv("WRONG", "wrong-passphrase")
	for _, c := range []struct {
		name   string
		source Source
		says   string
	}{
		{"nothing", Source{}, "no key"},
		{"two places", Source{Keystore: sealed, Env: "BAD_KEY"}, "choose one"},
		{"unset variable", Source{Env: "FEALTY_NOT_SET"}, "FEALTY_NOT_SET is empty"},
		{"no hex", Source{Env: "BAD_KEY"}, "BAD_KEY holds no private key"},
		{"no file", Source{Keystore: filepath.Join(dir, "absent"), PassphraseEnv: "RIGHT"}, "absent"},
		{"no passphrase", Source{Keystore: sealed}, "needs a passphrase"},
		{"passphrase not set", Source{Keystore: sealed, PassphraseEnv: "FEALTY_NOT_SET"}, "FEALTY_NOT_SET"},
		{"wrong passphrase", Source{Keystore: sealed, PassphraseEnv: "WRONG"}, "does not open"},
		{"no keystore", Source{Keystore: broken, PassphraseEnv: "RIGHT"}, "not an encrypted V3 keystore"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.source)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want it to say %q", err, c.says)
			}
			for _, secret := range []string{exampleKey[:16], "wrong-passphrase"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error %q shows a secret", err)
				}
			}
		})
	}
}

func TestKeyNeverPrints(t *testing.T) {
	key := example(t)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "in", struct{ K *Key }{key})
	encoded, err := json.Marshal(struct{ K *Key }{key})
	if err != nil {
		t.Fatal(err)
	}
	private := new(big.Int).SetBytes(common.FromHex(exampleKey))
	for _, text := range []string{
		log.String(), string(encoded), key.String(),
		fmt.Sprintf("%v %+v %#v %s %d %x %q", key, key, key, key, key, key, key),
		fmt.Sprintf("%v %+v %#v %x", *key, *key, *key, *key), fmt.Sprintf("%+v", struct{ K *Key }{key}),
	} {
		for _, secret := range []string{exampleKey[:12], private.String()[:12]} {
			if strings.Contains(strings.ToLower(text), secret) {
				t.Errorf("%q shows the key", text)
			}
		}
	}
	if !strings.Contains(log.String(), exampleAddress) {
		t.Errorf("log %q lacks the address", log.String())
	}
}

func TestParseAddress(t *testing.T) {
	for _, text := range []string{
		exampleAddress, strings.ToLower(exampleAddress), "0x" + strings.ToUpper(exampleAddress[2:]),
		// The test vectors of EIP-55.
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
	} {
		address, err := ParseAddress(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !strings.EqualFold(AddressText(address), text) {
			t.Errorf("%s became %s", text, AddressText(address))
		}
	}
	for _, text := range []string{
		"", "0x", exampleAddress[2:], exampleAddress + "0", exampleAddress[:41], "0xg39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
		"0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266", // one letter's case is wrong
		" " + exampleAddress, "0X" + exampleAddress[2:],
	} {
		if address, err := ParseAddress(text); err == nil {
			t.Errorf("%q was read as %s", text, AddressText(address))
		}
	}
}

func TestHostSubject(t *testing.T) {
	want := crypto.Keccak256Hash([]byte("host:xn--mnchen-3ya.example"))
	for _, domain := range []string{"münchen.example", "MÜNCHEN.Example", "xn--mnchen-3ya.example", "XN--MNCHEN-3YA.EXAMPLE.", "mu\u0308nchen.example"} {
		if got, err := HostSubject(domain); err != nil || got != want {
			t.Errorf("%q: %x, %v; want %x", domain, got, err, want)
		}
	}
	for _, domain := range []string{
		"", ".", "a..b", "-a.example", "a-.example", "a_b.example", "a b.example", "https://a.example", "a.example:443", "a.example/x",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example", "xn--a.example", "\u202ea.example", "a.example..",
	} {
		if _, err := HostSubject(domain); err == nil {
			t.Errorf("%q was taken for a domain", domain)
		}
	}
}

func TestSubject(t *testing.T) {
	address := example(t).Address()
	subject := Subject(address)
	if back, ok := SubjectAddress(subject); !ok || back != address {
		t.Errorf("subject %x gave back %x, %v", subject, back, ok)
	}
	host, err := HostSubject("a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := SubjectAddress(host); ok {
		t.Error("a host was taken for a wallet")
	}
	if _, ok := SubjectAddress([32]byte{}); ok {
		t.Error("the zero subject was taken for a wallet")
	}
}

// A signature that MetaMask and ethers make of "hello world" with the example key.
func TestSignPersonalKnown(t *testing.T) {
	digest := PersonalDigest("hello world")
	if want := "d9eba16ed0ecae432b71fe008c98cc872bb4cc214d3220a36f365326cf807d68"; common.Bytes2Hex(digest[:]) != want {
		t.Errorf("EIP-191 digest %x, want %s", digest, want)
	}
}

func TestSignAndRecover(t *testing.T) {
	key := example(t)
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.String().Draw(t, "message")
		sig, err := key.SignPersonal(message)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := RecoverPersonal(message, sig); err != nil || who != key.Address() {
			t.Fatalf("recovered %x, %v", who, err)
		}
		if who, err := RecoverPersonal(message+"x", sig); err == nil && who == key.Address() {
			t.Fatal("the signature covers another message too")
		}
		twin := malleate(sig)
		if _, err := RecoverPersonal(message, twin); !errors.Is(err, ErrSignature) {
			t.Fatalf("the second form of the signature gave %v, want ErrSignature", err)
		}
	})
}

// malleate is the other signature that the same key and digest have: (r, N-s).
func malleate(sig []byte) []byte {
	twin := append([]byte(nil), sig...)
	s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(sig[32:64]))
	s.FillBytes(twin[32:64])
	twin[64] = 27 + 28 - sig[64]
	return twin
}

func FuzzRecover(f *testing.F) {
	f.Add("hello", []byte{1, 2, 3})
	f.Add("hello", make([]byte, 65))
	f.Fuzz(func(t *testing.T, message string, sig []byte) {
		if _, err := RecoverPersonal(message, sig); err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("error %v is not ErrSignature", err)
		}
	})
}

// chainOf answers as a contract account would, or fails.
type chainOf struct {
	code   []byte
	answer []byte
	err    error
	asked  *ethereum.CallMsg
}

func (c *chainOf) CodeAt(context.Context, common.Address, *big.Int) ([]byte, error) {
	if c.code == nil && c.err != nil {
		return nil, c.err
	}
	return c.code, nil
}

func (c *chainOf) CallContract(_ context.Context, call ethereum.CallMsg, _ *big.Int) ([]byte, error) {
	c.asked = &call
	return c.answer, c.err
}

type rpcError struct {
	code int
	text string
}

func (e rpcError) Error() string  { return e.text }
func (e rpcError) ErrorCode() int { return e.code }

func TestVerify(t *testing.T) {
	key := example(t)
	sig, err := key.SignPersonal("hello")
	if err != nil {
		t.Fatal(err)
	}
	code := []byte{1}
	yes := common.RightPadBytes(magic, 32)
	other := [20]byte{9}
	for _, c := range []struct {
		name    string
		chain   *chainOf
		address [20]byte
		want    error
	}{
		{"account's own key asks nobody", &chainOf{err: errors.New("down")}, key.Address(), nil},
		{"account without code", &chainOf{}, other, ErrSignature},
		{"contract says yes", &chainOf{code: code, answer: yes}, other, nil},
		{"contract says no", &chainOf{code: code, answer: make([]byte, 32)}, other, ErrSignature},
		{"contract answers yes and more", &chainOf{code: code, answer: append(yes, 0)}, other, ErrSignature},
		{"contract answers all ones", &chainOf{code: code, answer: append(magic[:4:4], []byte(strings.Repeat("\xff", 28))...)}, other, ErrSignature},
		{"contract answers nothing", &chainOf{code: code}, other, ErrSignature},
		{"contract reverts", &chainOf{code: code, err: rpcError{3, "execution reverted"}}, other, ErrSignature},
		{"contract burns its gas", &chainOf{code: code, err: rpcError{-32000, "out of gas"}}, other, ErrSignature},
		{"node is down", &chainOf{err: errors.New("connection refused")}, other, ErrUnavailable},
		{"node limits", &chainOf{code: code, err: rpcError{-32005, "limit exceeded"}}, other, ErrUnavailable},
		{"node lost the block", &chainOf{code: code, err: rpcError{-32000, "header not found"}}, other, ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Verifier{Chain: c.chain}
			if err := v.Verify(t.Context(), c.address, "hello", sig); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if asked := c.chain.asked; asked != nil && asked.Gas != defaultGas {
				t.Errorf("the call may use %d gas, want %d", asked.Gas, defaultGas)
			}
		})
	}
}

// stuck is a chain that answers when it is told to.
type stuck struct {
	chainOf
	asked, answer chan struct{}
}

func (s *stuck) CodeAt(ctx context.Context, _ common.Address, _ *big.Int) ([]byte, error) {
	s.asked <- struct{}{}
	<-s.answer
	return nil, nil
}

// However many people ask about contract accounts, the node is asked by few at once.
func TestContractChecksAreBounded(t *testing.T) {
	chain := &stuck{asked: make(chan struct{}, maxAsking), answer: make(chan struct{})}
	v := &Verifier{Chain: chain}
	done := make(chan error, maxAsking)
	for range maxAsking {
		go func() { done <- v.Verify(context.Background(), [20]byte{9}, "hello", nil) }()
	}
	for range maxAsking {
		<-chain.asked
	}
	if err := v.Verify(t.Context(), [20]byte{9}, "hello", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one more: %v, want ErrUnavailable", err)
	}
	close(chain.answer)
	for range maxAsking {
		if err := <-done; !errors.Is(err, ErrSignature) {
			t.Errorf("one of the first: %v", err)
		}
	}
	if err := v.Verify(t.Context(), [20]byte{9}, "hello", nil); !errors.Is(err, ErrSignature) {
		t.Errorf("afterwards: %v", err)
	}
}
