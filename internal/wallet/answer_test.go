package wallet

import (
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
)

// What is signed of an answer is what go-ethereum's own EIP-712 makes of the types that
// docs/host-statement.md gives.
func TestAnswerDigest(t *testing.T) {
	a := Answer{ChainID: 8453, Registry: [20]byte{19: 7}, Model: [32]byte{1}, Host: [32]byte{2}, Request: [32]byte{3}, Answer: [32]byte{4}, Time: 1_795_300_000}
	hex := func(b [32]byte) string { return common.Hash(b).Hex() }
	want, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": {{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"}},
			"Answer":       {{Name: "model", Type: "bytes32"}, {Name: "host", Type: "bytes32"}, {Name: "request", Type: "bytes32"}, {Name: "answer", Type: "bytes32"}, {Name: "time", Type: "uint64"}},
		},
		PrimaryType: "Answer",
		Domain:      apitypes.TypedDataDomain{Name: "fealty answer", Version: "1", ChainId: math.NewHexOrDecimal256(8453), VerifyingContract: common.Address(a.Registry).Hex()},
		Message:     apitypes.TypedDataMessage{"model": hex(a.Model), "host": hex(a.Host), "request": hex(a.Request), "answer": hex(a.Answer), "time": "1795300000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != [32]byte(want) {
		t.Errorf("digest %x, want %x", a.Digest(), want)
	}
}

func TestSignAnswer(t *testing.T) {
	key, a := example(t), Answer{ChainID: 1, Time: 5}
	s, err := key.SignAnswer("api.example.com", a)
	if err != nil || s.Host != "api.example.com" || s.Time != 5 {
		t.Fatalf("%+v, %v", s, err)
	}
	if by, err := s.Signer(a); err != nil || by != key.Address() {
		t.Errorf("signed by %x, %v", by, err)
	}
	for name, change := range map[string]func(*Answer){
		"chain": func(a *Answer) { a.ChainID++ }, "registry": func(a *Answer) { a.Registry[0]++ }, "model": func(a *Answer) { a.Model[0]++ },
		"host": func(a *Answer) { a.Host[0]++ }, "request": func(a *Answer) { a.Request[0]++ }, "answer": func(a *Answer) { a.Answer[0]++ }, "time": func(a *Answer) { a.Time++ },
	} {
		other := a
		change(&other)
		if by, err := s.Signer(other); err == nil && by == key.Address() {
			t.Errorf("the signature covers another %s too", name)
		}
	}
	for _, bad := range []string{"", "0x", "0xzz", s.Signature + "00", s.Signature[:130]} {
		if _, err := (AnswerSignature{Signature: bad}).Signer(a); !errors.Is(err, ErrSignature) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
