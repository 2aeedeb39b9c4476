package registry_test

import (
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/policy"
)

// TestMain runs the tests side by side on few cores too: they wait for blocks.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func samples() map[string]registry.Signed {
	domain := registry.Domain{ChainID: 8453, Registry: [20]byte{1, 2, 3}}
	return map[string]registry.Signed{
		"Voucher": {Domain: domain, Voucher: &registry.Voucher{
			Model: [32]byte{4}, Subject: [32]byte{5}, Controller: [20]byte{6}, Seq: 1<<63 + 1, Epoch: 7,
			Terms:    registry.Terms{NotBefore: time.Unix(100, 0), NotAfter: time.Unix(1<<39, 0), Scope: policy.ScopeHost, Plan: 3},
			Deadline: time.Unix(1<<38, 0), Signer: [20]byte{8},
		}},
		"Permit": {Domain: domain, Permit: &registry.Permit{
			Model: [32]byte{4}, Subject: [20]byte{5}, Plan: 2, Price: new(big.Int).Lsh(big.NewInt(1), 127), Token: [20]byte{9}, Seq: 11, Deadline: time.Unix(1<<38, 0),
		}},
	}
}

// The file is what wallets sign: go-ethereum's own reading of it gives the same digest.
func TestSignedIsTypedData(t *testing.T) {
	t.Parallel()
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, signed := range samples() {
		if err := signed.Sign(key); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		var typed apitypes.TypedData
		if err := json.Unmarshal(text, &typed); err != nil {
			t.Fatal(err)
		}
		digest, _, err := apitypes.TypedDataAndHash(typed)
		if err != nil || typed.PrimaryType != name {
			t.Fatalf("%s: %v: %s", typed.PrimaryType, err, text)
		}
		signed.Signature[64] -= 27
		public, err := crypto.SigToPub(digest, signed.Signature)
		if err != nil || crypto.PubkeyToAddress(*public) != key.Address() {
			t.Errorf("%s: go-ethereum reads another message: %s", name, text)
		}
	}
}

func TestSignedBadInput(t *testing.T) {
	t.Parallel()
	for name, signed := range samples() {
		text, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ old, new, says string }{
			{`"primaryType":"` + name, `"primaryType":"Mail`, "neither a Voucher nor a Permit"},
			{`"fealty LicenseRegistry"`, `"Dai"`, "not for a license registry"},
			{`"deadline":`, `"dead_line":`, "cannot be read"},
			{`"deadline":`, `"deadline":-`, "deadline must lie"},
			{`"domain":`, `"extra":1,"domain":`, "not a voucher or permit"},
		} {
			changed := strings.Replace(string(text), c.old, c.new, 1)
			if changed == string(text) {
				t.Fatalf("%s: nothing to replace: %s in %s", name, c.old, text)
			}
			if strings.Contains(c.new, "dead_line") { // the types name it too
				changed = strings.ReplaceAll(string(text), c.old, c.new)
			}
			var read registry.Signed
			if err := json.Unmarshal([]byte(changed), &read); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s with %s: got %v, want it to say %q", name, c.new, err, c.says)
			}
		}
	}
	if _, err := json.Marshal(registry.Signed{}); err == nil {
		t.Error("nothing was marshalled")
	}
}
