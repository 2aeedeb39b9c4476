package contract

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/policy"
)

// RevertError says why the registry refused, in words, with what helps.
type RevertError struct {
	Name string // the contract's error, as in LicenseRegistry.sol; empty: none of its own
	Text string
}

func (e *RevertError) Error() string { return "the registry refused: " + e.Text }

var bindings = NewLicenseRegistry()

// Revert finds a revert's data in an RPC error and puts it into words. It returns
// nil when the error is about something else.
func Revert(err error) *RevertError {
	var carries interface{ ErrorData() any }
	if !errors.As(err, &carries) {
		return nil
	}
	text, ok := carries.ErrorData().(string)
	if !ok || len(text) < 2 {
		return nil
	}
	data, err := hex.DecodeString(text[2:])
	if err != nil || len(data) < 4 {
		return nil //nolint:nilerr // no reason of the contract's
	}
	return revertOf(data)
}

// The errors that the registry passes on: of the compiler's arithmetic, and of ERC-20
// tokens (ERC-6093).
var (
	panicOverflow = append([]byte{0x4e, 0x48, 0x7b, 0x71}, common.LeftPadBytes([]byte{0x11}, 32)...)
	tooFewTokens  = []byte{0xe4, 0x50, 0xd3, 0x8c} // ERC20InsufficientBalance(address,uint256,uint256)
	notApproved   = []byte{0xfb, 0x8f, 0x41, 0xb2} // ERC20InsufficientAllowance(address,uint256,uint256)
)

func revertOf(data []byte) *RevertError {
	switch {
	case bytes.Equal(data, panicOverflow):
		return &RevertError{Text: "the license would end after the year 36812, which its record cannot hold"}
	case bytes.HasPrefix(data, tooFewTokens):
		return &RevertError{Text: "the wallet holds too few of the plan's token"}
	case bytes.HasPrefix(data, notApproved):
		return &RevertError{Text: "the wallet did not approve the payment in the plan's token"}
	}
	if reason, err := abi.UnpackRevert(data); err == nil {
		return &RevertError{Text: reason}
	}
	decoded, err := bindings.UnpackError(data)
	if err != nil {
		return &RevertError{Text: fmt.Sprintf("error 0x%x, which is not one of a license registry's: it is the plan's token that refuses, or this address is another contract", data[:4])}
	}
	parsed, _ := bindings.abi.ErrorByID([4]byte(data[:4]))
	return &RevertError{Name: parsed.Name, Text: words(decoded, parsed.Name)}
}

var plain = map[string]string{
	"NoModel":             "no model with this id is registered; register it first, or check the id",
	"ModelExists":         "you registered a model with this salt before; choose another salt",
	"ModelInactive":       "the owner has stopped sales of this model",
	"NotOwner":            "only the model's owner may do this; is the right key in use, and the right model id?",
	"NotIssuer":           "only the model's owner or an issuer named by the owner may do this; is the right key in use?",
	"NotPendingOwner":     "the model was not offered to this wallet; its owner must call transferModel first",
	"BadPlan":             "a plan needs a duration and a scope",
	"BadDigest":           "the digest is zero",
	"BadWindow":           "the license would end before it starts",
	"BadScope":            "the scope is empty, or holds \"host\" where that is not for sale",
	"BadController":       "a host grant needs a controller, and no other grant may have one",
	"BadSubject":          "this subject cannot hold this grant: it is zero, or a wallet named as a host",
	"GrantSuspended":      "the license is suspended; reinstate it first, or wait until it has run out",
	"GrantRevoked":        "the license is revoked; only the model's owner can reinstate it",
	"BadSignature":        "the signature is not the signer's",
	"DrawAlreadyRecorded": "the draw is on record already",
	"FailedCall":          "the payment could not be delivered to the model's owner",
}

var statusNames = [...]string{policy.None: "never granted", policy.Active: "active", policy.Suspended: "suspended", policy.Revoked: "revoked"}

// StatusName is a grant's status in words.
func StatusName(s policy.Status) string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("in the unknown status %d", s)
}

func words(decoded any, name string) string {
	switch e := decoded.(type) {
	case *LicenseRegistryNoPlan:
		return fmt.Sprintf("the model has no plan %d", e.Plan)
	case *LicenseRegistryPlanNotOnSale:
		return fmt.Sprintf("plan %d is not on sale", e.Plan)
	case *LicenseRegistryPlanMismatch:
		return fmt.Sprintf("the running license is under other terms (plan %d) than plan %d; wait until it ends, or switch plans", e.Current, e.Wanted)
	case *LicenseRegistrySamePlan:
		return fmt.Sprintf("the license is under plan %d already; buy it again to extend", e.Plan)
	case *LicenseRegistryTermsChanged:
		return fmt.Sprintf("the plan costs %v of %s, not what was expected; look at it again", e.Price, token(e.Token))
	case *LicenseRegistryWrongPayment:
		return fmt.Sprintf("%v wei were sent and %v are due", e.Sent, e.Due)
	case *LicenseRegistryBadVersion:
		return fmt.Sprintf("versions have no gaps and are never replaced; the next one is %d", e.Next)
	case *LicenseRegistrySeqMismatch:
		return fmt.Sprintf("the grant was written %d times, not %d: somebody changed it in the meantime; look at it again", e.Current, e.Expected)
	case *LicenseRegistryBadTransition:
		return "not possible while the license is " + StatusName(policy.Status(e.From))
	case *LicenseRegistryEpochMismatch:
		return "the model changed hands since this was signed"
	case *LicenseRegistrySignatureExpired:
		return "the signature was valid until " + unix(e.Deadline)
	case *LicenseRegistryNoCommitment:
		return fmt.Sprintf("the model has no commitment %d", e.Index)
	case *LicenseRegistryWrongHeader:
		return fmt.Sprintf("this is not the header of block %d, or the chain no longer remembers its hash", e.DrawBlock)
	}
	if text, ok := plain[name]; ok {
		return text
	}
	return name
}

func unix(t *big.Int) string { return time.Unix(t.Int64(), 0).UTC().Format(time.RFC3339) }

func token(a common.Address) string {
	if a == (common.Address{}) {
		return "the chain's coin"
	}
	return "token " + a.Hex()
}
