package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// ErrSignature: the account did not sign this message.
var ErrSignature = errors.New("wallet: the signature is not this account's")

// ErrUnavailable: the chain, which alone knows what a contract account accepts, did
// not answer. It is neither a yes nor a no; trying again can help.
var ErrUnavailable = errors.New("wallet: the chain could not be asked about a contract account")

// PersonalDigest is what EIP-191 signs for a text message.
func PersonalDigest(message string) [32]byte {
	prefix := "\x19Ethereum Signed Message:\n" + strconv.Itoa(len(message))
	return crypto.Keccak256Hash([]byte(prefix), []byte(message))
}

// RecoverPersonal is the account whose key signed the message by EIP-191.
func RecoverPersonal(message string, signature []byte) ([20]byte, error) {
	return recoverDigest(PersonalDigest(message), signature)
}

// recoverDigest refuses the second form that every ECDSA signature has (high s), so
// that a signature is one string of bytes.
func recoverDigest(digest [32]byte, signature []byte) ([20]byte, error) {
	if len(signature) != crypto.SignatureLength {
		return [20]byte{}, fmt.Errorf("%w: it has %d bytes, not 65", ErrSignature, len(signature))
	}
	sig := bytes.Clone(signature)
	if sig[64] >= 27 {
		sig[64] -= 27
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64])
	if !crypto.ValidateSignatureValues(sig[64], r, s, true) {
		return [20]byte{}, fmt.Errorf("%w: its values are out of range", ErrSignature)
	}
	public, err := crypto.SigToPub(digest[:], sig)
	if err != nil {
		return [20]byte{}, fmt.Errorf("%w: no key recovers from it", ErrSignature)
	}
	return crypto.PubkeyToAddress(*public), nil
}

// Caller reads a chain. *ethclient.Client is one.
type Caller interface {
	CodeAt(ctx context.Context, account common.Address, block *big.Int) ([]byte, error)
	CallContract(ctx context.Context, call ethereum.CallMsg, block *big.Int) ([]byte, error)
}

// Verifier checks other people's signatures: of plain accounts with no call at all,
// of contract accounts by asking them (ERC-1271) on the registry's chain.
type Verifier struct {
	Chain   Caller
	Gas     uint64        // of one ERC-1271 call; zero: 200,000
	Timeout time.Duration // of all calls for one signature; zero: 2 s

	asking atomic.Int32
}

// ParseAddress is [ParseAddress].
func (*Verifier) ParseAddress(text string) ([20]byte, error) { return ParseAddress(text) }

// AddressText is [AddressText].
func (*Verifier) AddressText(address [20]byte) string { return AddressText(address) }

// Verify returns nil only if the account signed the message; otherwise an error that
// wraps [ErrSignature], or [ErrUnavailable] when nobody knows.
func (v *Verifier) Verify(ctx context.Context, address [20]byte, message string, signature []byte) error {
	digest := PersonalDigest(message)
	if who, err := recoverDigest(digest, signature); err == nil && who == address {
		return nil
	}
	return v.askContract(ctx, address, digest, signature)
}

const (
	maxContractSignature = 8 << 10 // bytes; a Safe with dozens of owners stays below
	defaultGas           = 200_000
	defaultTimeout       = 2 * time.Second
	maxAsking            = 16 // signatures at once
)

// undeployed ends the signatures of ERC-6492. To verify one, the chain would have to
// run code that the signer chose, for an account that may never exist.
var undeployed = bytes.Repeat([]byte{0x64, 0x92}, 16)

// magic is ERC-1271's isValidSignature(bytes32,bytes) selector, which is its answer too.
var magic = []byte{0x16, 0x26, 0xba, 0x7e}

func (v *Verifier) askContract(ctx context.Context, address [20]byte, digest [32]byte, signature []byte) error {
	if len(signature) > maxContractSignature {
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrSignature, len(signature), maxContractSignature)
	}
	if bytes.HasSuffix(signature, undeployed) {
		return fmt.Errorf("%w: it is for a contract account that is not deployed yet (ERC-6492); deploy the account, then sign again", ErrSignature)
	}
	// Anybody may ask about any contract: the node's time is not theirs without end.
	defer v.asking.Add(-1)
	if v.asking.Add(1) > maxAsking {
		return fmt.Errorf("%w: %d signatures of contract accounts are being checked already", ErrUnavailable, maxAsking)
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(v.Timeout, defaultTimeout))
	defer cancel()
	code, err := v.Chain.CodeAt(ctx, address, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(code) == 0 {
		return fmt.Errorf("%w, and no contract account is at this address on the chain that was asked", ErrSignature)
	}
	to := common.Address(address)
	answer, err := v.Chain.CallContract(ctx, ethereum.CallMsg{To: &to, Gas: orDefault(v.Gas, defaultGas), Data: packIsValid(digest, signature)}, nil)
	if err != nil {
		return callError(err)
	}
	if len(answer) != 32 || !bytes.Equal(answer[:4], magic) || !allZero(answer[4:]) {
		return ErrSignature
	}
	return nil
}

// callError tells a contract that failed from a node that did not answer. Nodes
// agree on code 3 for a revert only; other failures of the contract have words.
func callError(err error) error {
	var answered rpc.Error
	if errors.As(err, &answered) && (answered.ErrorCode() == codeReverted || failed.MatchString(answered.Error())) {
		return fmt.Errorf("%w: the contract account refused", ErrSignature)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

const codeReverted = 3

var failed = regexp.MustCompile(`(?i)revert|out of gas|invalid opcode|invalid jump|stack (under|over)flow|bad instruction`)

func packIsValid(digest [32]byte, signature []byte) []byte {
	data := append(bytes.Clone(magic), digest[:]...)
	data = append(data, common.LeftPadBytes([]byte{64}, 32)...)
	data = append(data, common.LeftPadBytes(big.NewInt(int64(len(signature))).Bytes(), 32)...)
	return append(data, common.RightPadBytes(signature, (len(signature)+31)/32*32)...)
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
