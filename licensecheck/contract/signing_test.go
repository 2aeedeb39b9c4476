package contract

import (
	"math/big"
	"strconv"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/fealty/fealty/internal/wallet"
)

const (
	voucherType = "Voucher"
	permitType  = "Permit"
)

// typed is EIP-712 as go-ethereum's own implementation has it: an independent reading of the types.
var typed = apitypes.Types{
	"EIP712Domain": {{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"}},
	"Terms":        {{Name: "notBefore", Type: "uint40"}, {Name: "notAfter", Type: "uint40"}, {Name: "scope", Type: "uint32"}, {Name: "plan", Type: "uint32"}, {Name: "controller", Type: "address"}},
	voucherType: {
		{Name: "modelId", Type: "bytes32"}, {Name: "subject", Type: "bytes32"}, {Name: "terms", Type: "Terms"},
		{Name: "expectedSeq", Type: "uint64"}, {Name: "epoch", Type: "uint64"}, {Name: "deadline", Type: "uint40"}, {Name: "signer", Type: "address"},
	},
	permitType: {
		{Name: "modelId", Type: "bytes32"}, {Name: "subject", Type: "address"}, {Name: "plan", Type: "uint32"}, {Name: "price", Type: "uint128"},
		{Name: "token", Type: "address"}, {Name: "expectedSeq", Type: "uint64"}, {Name: "deadline", Type: "uint40"},
	},
}

func (w *world) sign(key *wallet.Key, kind string, message apitypes.TypedDataMessage) []byte {
	w.t.Helper()
	return signTyped(w.t, w.registry, key, kind, message)
}

func signTyped(t testing.TB, registry common.Address, key *wallet.Key, kind string, message apitypes.TypedDataMessage) []byte {
	t.Helper()
	digest, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
		Types: typed, PrimaryType: kind, Message: message,
		Domain: apitypes.TypedDataDomain{
			Name: "fealty LicenseRegistry", Version: "1",
			ChainId: math.NewHexOrDecimal256(chainID.Int64()), VerifyingContract: registry.Hex(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.SignDigest([32]byte(digest))
	if err != nil {
		t.Fatal(err)
	}
	sig[64] += 27
	return sig
}

func (w *world) voucher(signer common.Address, to [32]byte) LicenseRegistryVoucher {
	return LicenseRegistryVoucher{ModelId: w.model, Subject: to, Terms: w.terms(month), Deadline: big.NewInt(w.now() + 600), Signer: signer}
}

func voucherMessage(v LicenseRegistryVoucher) apitypes.TypedDataMessage {
	return apitypes.TypedDataMessage{
		"modelId": hex32(v.ModelId), "subject": hex32(v.Subject), "expectedSeq": decimal(v.ExpectedSeq), "epoch": decimal(v.Epoch),
		"deadline": v.Deadline.String(), "signer": v.Signer.Hex(),
		"terms": map[string]any{
			"notBefore": v.Terms.NotBefore.String(), "notAfter": v.Terms.NotAfter.String(), "scope": decimal(uint64(v.Terms.Scope)),
			"plan": decimal(uint64(v.Terms.Plan)), "controller": v.Terms.Controller.Hex(),
		},
	}
}

func permitMessage(p LicenseRegistryPermit) apitypes.TypedDataMessage {
	return apitypes.TypedDataMessage{
		"modelId": hex32(p.ModelId), "subject": p.Subject.Hex(), "plan": decimal(uint64(p.Plan)), "price": p.Price.String(),
		"token": p.Token.Hex(), "expectedSeq": decimal(p.ExpectedSeq), "deadline": p.Deadline.String(),
	}
}

func decimal(v uint64) string { return strconv.FormatUint(v, 10) }

func hex32(b [32]byte) string { return common.Hash(b).Hex() }

func addressOf(key *wallet.Key) []byte {
	address := key.Address()
	return address[:]
}

func callTo(to common.Address, data []byte) ethereum.CallMsg {
	return ethereum.CallMsg{To: &to, Data: data}
}
