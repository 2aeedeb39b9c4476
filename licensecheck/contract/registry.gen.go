// Code generated via abigen V2 - DO NOT EDIT.
// This file is a generated binding and any manual changes will be lost.

package contract

import (
	"bytes"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Reference imports to suppress errors if they are not otherwise used.
var (
	_ = bytes.Equal
	_ = errors.New
	_ = big.NewInt
	_ = common.Big1
	_ = types.BloomLookup
	_ = abi.ConvertType
)

// LicenseRegistryGrantView is an auto generated low-level Go binding around an user-defined struct.
type LicenseRegistryGrantView struct {
	Word       *big.Int
	Head       [32]byte
	Controller common.Address
	Plan       RegistryStatePlan
}

// LicenseRegistryPermit is an auto generated low-level Go binding around an user-defined struct.
type LicenseRegistryPermit struct {
	ModelId     [32]byte
	Subject     common.Address
	Plan        uint32
	Price       *big.Int
	Token       common.Address
	ExpectedSeq uint64
	Deadline    *big.Int
}

// LicenseRegistryQuery is an auto generated low-level Go binding around an user-defined struct.
type LicenseRegistryQuery struct {
	ModelId [32]byte
	Subject [32]byte
}

// LicenseRegistryTerms is an auto generated low-level Go binding around an user-defined struct.
type LicenseRegistryTerms struct {
	NotBefore  *big.Int
	NotAfter   *big.Int
	Scope      uint32
	Plan       uint32
	Controller common.Address
}

// LicenseRegistryVoucher is an auto generated low-level Go binding around an user-defined struct.
type LicenseRegistryVoucher struct {
	ModelId     [32]byte
	Subject     [32]byte
	Terms       LicenseRegistryTerms
	ExpectedSeq uint64
	Epoch       uint64
	Deadline    *big.Int
	Signer      common.Address
}

// RegistryStateCommitment is an auto generated low-level Go binding around an user-defined struct.
type RegistryStateCommitment struct {
	Root        [32]byte
	CommitBlock uint64
	DrawBlock   uint64
	Randomness  [32]byte
}

// RegistryStateModel is an auto generated low-level Go binding around an user-defined struct.
type RegistryStateModel struct {
	Owner        common.Address
	Active       bool
	Epoch        uint64
	PendingOwner common.Address
	Plans        uint32
	Versions     uint32
	Commits      uint32
}

// RegistryStatePlan is an auto generated low-level Go binding around an user-defined struct.
type RegistryStatePlan struct {
	Price        *big.Int
	Duration     *big.Int
	Scope        uint32
	Rpm          uint32
	OnSale       bool
	Token        common.Address
	TokensPerDay uint64
}

// LicenseRegistryMetaData contains all meta data concerning the LicenseRegistry contract.
var LicenseRegistryMetaData = bind.MetaData{
	ABI: "[{\"inputs\":[{\"internalType\":\"uint64\",\"name\":\"drawDelay_\",\"type\":\"uint64\"}],\"stateMutability\":\"nonpayable\",\"type\":\"constructor\"},{\"inputs\":[],\"name\":\"BadController\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"BadDigest\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"BadPlan\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"BadScope\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"BadSignature\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"BadSubject\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"enumRegistryState.Status\",\"name\":\"from\",\"type\":\"uint8\"}],\"name\":\"BadTransition\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint32\",\"name\":\"next\",\"type\":\"uint32\"}],\"name\":\"BadVersion\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"BadWindow\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"DrawAlreadyRecorded\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint64\",\"name\":\"current\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"signed\",\"type\":\"uint64\"}],\"name\":\"EpochMismatch\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"FailedCall\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"enumBlockHeader.HeaderField\",\"name\":\"\",\"type\":\"uint8\"}],\"name\":\"FieldNotPresentInBlockHeader\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"GrantRevoked\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"GrantSuspended\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"balance\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"needed\",\"type\":\"uint256\"}],\"name\":\"InsufficientBalance\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"InvalidShortString\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ModelExists\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ModelInactive\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint32\",\"name\":\"index\",\"type\":\"uint32\"}],\"name\":\"NoCommitment\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"NoModel\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"}],\"name\":\"NoPlan\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"NotIssuer\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"NotOwner\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"NotPendingOwner\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint32\",\"name\":\"current\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"wanted\",\"type\":\"uint32\"}],\"name\":\"PlanMismatch\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"}],\"name\":\"PlanNotOnSale\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"RLPInvalidEncoding\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ReentrancyGuardReentrantCall\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"SafeERC20FailedOperation\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"}],\"name\":\"SamePlan\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint64\",\"name\":\"current\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"expected\",\"type\":\"uint64\"}],\"name\":\"SeqMismatch\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint40\",\"name\":\"deadline\",\"type\":\"uint40\"}],\"name\":\"SignatureExpired\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"string\",\"name\":\"str\",\"type\":\"string\"}],\"name\":\"StringTooLong\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"TermsChanged\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint64\",\"name\":\"drawBlock\",\"type\":\"uint64\"}],\"name\":\"WrongHeader\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"sent\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"due\",\"type\":\"uint256\"}],\"name\":\"WrongPayment\",\"type\":\"error\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"bool\",\"name\":\"active\",\"type\":\"bool\"}],\"name\":\"ActiveSet\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint32\",\"name\":\"index\",\"type\":\"uint32\"},{\"indexed\":false,\"internalType\":\"bytes32\",\"name\":\"randomness\",\"type\":\"bytes32\"}],\"name\":\"DrawRecorded\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[],\"name\":\"EIP712DomainChanged\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint256\",\"name\":\"word\",\"type\":\"uint256\"},{\"indexed\":false,\"internalType\":\"bytes32\",\"name\":\"head\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"address\",\"name\":\"controller\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"address\",\"name\":\"by\",\"type\":\"address\"}],\"name\":\"GrantChanged\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"issuer\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint64\",\"name\":\"epoch\",\"type\":\"uint64\"},{\"indexed\":false,\"internalType\":\"bool\",\"name\":\"allowed\",\"type\":\"bool\"}],\"name\":\"IssuerSet\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint32\",\"name\":\"index\",\"type\":\"uint32\"},{\"indexed\":false,\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint64\",\"name\":\"drawBlock\",\"type\":\"uint64\"}],\"name\":\"KeysCommitted\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"creator\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"name\":\"ModelRegistered\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"from\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"}],\"name\":\"ModelTransferStarted\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"from\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint64\",\"name\":\"epoch\",\"type\":\"uint64\"}],\"name\":\"ModelTransferred\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"components\":[{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"uint40\",\"name\":\"duration\",\"type\":\"uint40\"},{\"internalType\":\"uint32\",\"name\":\"scope\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"rpm\",\"type\":\"uint32\"},{\"internalType\":\"bool\",\"name\":\"onSale\",\"type\":\"bool\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint64\",\"name\":\"tokensPerDay\",\"type\":\"uint64\"}],\"indexed\":false,\"internalType\":\"structRegistryState.Plan\",\"name\":\"terms\",\"type\":\"tuple\"}],\"name\":\"PlanAdded\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"indexed\":false,\"internalType\":\"bool\",\"name\":\"onSale\",\"type\":\"bool\"}],\"name\":\"PlanOnSale\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"indexed\":false,\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"}],\"name\":\"Purchased\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint32\",\"name\":\"version\",\"type\":\"uint32\"},{\"indexed\":false,\"internalType\":\"bytes32\",\"name\":\"manifestDigest\",\"type\":\"bytes32\"}],\"name\":\"VersionPublished\",\"type\":\"event\"},{\"inputs\":[],\"name\":\"HOST\",\"outputs\":[{\"internalType\":\"uint32\",\"name\":\"\",\"type\":\"uint32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"}],\"name\":\"acceptModel\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"components\":[{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"uint40\",\"name\":\"duration\",\"type\":\"uint40\"},{\"internalType\":\"uint32\",\"name\":\"scope\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"rpm\",\"type\":\"uint32\"},{\"internalType\":\"bool\",\"name\":\"onSale\",\"type\":\"bool\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint64\",\"name\":\"tokensPerDay\",\"type\":\"uint64\"}],\"internalType\":\"structRegistryState.Plan\",\"name\":\"terms\",\"type\":\"tuple\"}],\"name\":\"addPlan\",\"outputs\":[{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"}],\"name\":\"commitKeys\",\"outputs\":[{\"internalType\":\"uint32\",\"name\":\"index\",\"type\":\"uint32\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"index\",\"type\":\"uint32\"}],\"name\":\"commitment\",\"outputs\":[{\"components\":[{\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"commitBlock\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"drawBlock\",\"type\":\"uint64\"},{\"internalType\":\"bytes32\",\"name\":\"randomness\",\"type\":\"bytes32\"}],\"internalType\":\"structRegistryState.Commitment\",\"name\":\"\",\"type\":\"tuple\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"deployedAt\",\"outputs\":[{\"internalType\":\"uint64\",\"name\":\"\",\"type\":\"uint64\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"drawDelay\",\"outputs\":[{\"internalType\":\"uint64\",\"name\":\"\",\"type\":\"uint64\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"eip712Domain\",\"outputs\":[{\"internalType\":\"bytes1\",\"name\":\"fields\",\"type\":\"bytes1\"},{\"internalType\":\"string\",\"name\":\"name\",\"type\":\"string\"},{\"internalType\":\"string\",\"name\":\"version\",\"type\":\"string\"},{\"internalType\":\"uint256\",\"name\":\"chainId\",\"type\":\"uint256\"},{\"internalType\":\"address\",\"name\":\"verifyingContract\",\"type\":\"address\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"},{\"internalType\":\"uint256[]\",\"name\":\"extensions\",\"type\":\"uint256[]\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"components\":[{\"internalType\":\"uint40\",\"name\":\"notBefore\",\"type\":\"uint40\"},{\"internalType\":\"uint40\",\"name\":\"notAfter\",\"type\":\"uint40\"},{\"internalType\":\"uint32\",\"name\":\"scope\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"internalType\":\"address\",\"name\":\"controller\",\"type\":\"address\"}],\"internalType\":\"structLicenseRegistry.Terms\",\"name\":\"terms\",\"type\":\"tuple\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"}],\"name\":\"grant\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"}],\"internalType\":\"structLicenseRegistry.Query[]\",\"name\":\"queries\",\"type\":\"tuple[]\"}],\"name\":\"grants\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"number\",\"type\":\"uint256\"},{\"internalType\":\"bytes32\",\"name\":\"parentHash\",\"type\":\"bytes32\"},{\"internalType\":\"uint256\",\"name\":\"timestamp\",\"type\":\"uint256\"},{\"components\":[{\"internalType\":\"uint256\",\"name\":\"word\",\"type\":\"uint256\"},{\"internalType\":\"bytes32\",\"name\":\"head\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"controller\",\"type\":\"address\"},{\"components\":[{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"uint40\",\"name\":\"duration\",\"type\":\"uint40\"},{\"internalType\":\"uint32\",\"name\":\"scope\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"rpm\",\"type\":\"uint32\"},{\"internalType\":\"bool\",\"name\":\"onSale\",\"type\":\"bool\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint64\",\"name\":\"tokensPerDay\",\"type\":\"uint64\"}],\"internalType\":\"structRegistryState.Plan\",\"name\":\"plan\",\"type\":\"tuple\"}],\"internalType\":\"structLicenseRegistry.GrantView[]\",\"name\":\"views\",\"type\":\"tuple[]\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"who\",\"type\":\"address\"}],\"name\":\"isIssuer\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"}],\"name\":\"latestVersion\",\"outputs\":[{\"internalType\":\"uint32\",\"name\":\"version\",\"type\":\"uint32\"},{\"internalType\":\"bytes32\",\"name\":\"manifestDigest\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"creator\",\"type\":\"address\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"name\":\"modelIdOf\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"}],\"name\":\"modelOf\",\"outputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"owner\",\"type\":\"address\"},{\"internalType\":\"bool\",\"name\":\"active\",\"type\":\"bool\"},{\"internalType\":\"uint64\",\"name\":\"epoch\",\"type\":\"uint64\"},{\"internalType\":\"address\",\"name\":\"pendingOwner\",\"type\":\"address\"},{\"internalType\":\"uint32\",\"name\":\"plans\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"versions\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"commits\",\"type\":\"uint32\"}],\"internalType\":\"structRegistryState.Model\",\"name\":\"\",\"type\":\"tuple\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"version\",\"type\":\"uint32\"}],\"name\":\"planOf\",\"outputs\":[{\"components\":[{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"uint40\",\"name\":\"duration\",\"type\":\"uint40\"},{\"internalType\":\"uint32\",\"name\":\"scope\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"rpm\",\"type\":\"uint32\"},{\"internalType\":\"bool\",\"name\":\"onSale\",\"type\":\"bool\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint64\",\"name\":\"tokensPerDay\",\"type\":\"uint64\"}],\"internalType\":\"structRegistryState.Plan\",\"name\":\"\",\"type\":\"tuple\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"version\",\"type\":\"uint32\"},{\"internalType\":\"bytes32\",\"name\":\"manifestDigest\",\"type\":\"bytes32\"}],\"name\":\"publishVersion\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"purchase\",\"outputs\":[],\"stateMutability\":\"payable\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"subject\",\"type\":\"address\"},{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"},{\"internalType\":\"uint40\",\"name\":\"deadline\",\"type\":\"uint40\"}],\"internalType\":\"structLicenseRegistry.Permit\",\"name\":\"p\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"}],\"name\":\"purchaseFor\",\"outputs\":[],\"stateMutability\":\"payable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"index\",\"type\":\"uint32\"},{\"internalType\":\"bytes\",\"name\":\"header\",\"type\":\"bytes\"}],\"name\":\"recordDraw\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"components\":[{\"internalType\":\"uint40\",\"name\":\"notBefore\",\"type\":\"uint40\"},{\"internalType\":\"uint40\",\"name\":\"notAfter\",\"type\":\"uint40\"},{\"internalType\":\"uint32\",\"name\":\"scope\",\"type\":\"uint32\"},{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"internalType\":\"address\",\"name\":\"controller\",\"type\":\"address\"}],\"internalType\":\"structLicenseRegistry.Terms\",\"name\":\"terms\",\"type\":\"tuple\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"epoch\",\"type\":\"uint64\"},{\"internalType\":\"uint40\",\"name\":\"deadline\",\"type\":\"uint40\"},{\"internalType\":\"address\",\"name\":\"signer\",\"type\":\"address\"}],\"internalType\":\"structLicenseRegistry.Voucher\",\"name\":\"v\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"}],\"name\":\"redeem\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"name\":\"registerModel\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"}],\"name\":\"reinstate\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"}],\"name\":\"revoke\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bool\",\"name\":\"active\",\"type\":\"bool\"}],\"name\":\"setActive\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"issuer\",\"type\":\"address\"},{\"internalType\":\"bool\",\"name\":\"allowed\",\"type\":\"bool\"}],\"name\":\"setIssuer\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"internalType\":\"bool\",\"name\":\"onSale\",\"type\":\"bool\"}],\"name\":\"setOnSale\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes32\",\"name\":\"subject\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"}],\"name\":\"suspend\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"plan\",\"type\":\"uint32\"},{\"internalType\":\"uint128\",\"name\":\"price\",\"type\":\"uint128\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint64\",\"name\":\"expectedSeq\",\"type\":\"uint64\"}],\"name\":\"switchPlan\",\"outputs\":[],\"stateMutability\":\"payable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"}],\"name\":\"transferModel\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"modelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint32\",\"name\":\"version\",\"type\":\"uint32\"}],\"name\":\"versionDigest\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"}]",
	ID:  "LicenseRegistry",
	Bin: "0x6101a080604052346101b0576020816135dd803803809161002082856101b4565b8339810103126101b057516001600160401b0381168082036101b05760405161004a6040826101b4565b6016815260208101907f6665616c7479204c6963656e73655265676973747279000000000000000000008252604051916100856040846101b4565b600183526020830191603160f81b835261009e816101eb565b610120526100ab846101eb565b61014052519020918260e05251902080610100524660a0526040519060208201927f8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f8452604083015260608201524660808201523060a082015260a0815261011460c0826101b4565b5190206080523060c052156101a15761016052436001600160401b0316610180526040516133869081610257823960805181612f0e015260a05181612fc5015260c05181612ed8015260e05181612f5d01526101005181612f8301526101205181610d8c01526101405181610db501526101605181818161090701526112cd015261018051816105490152f35b632a0c9bb560e11b5f5260045ffd5b5f80fd5b601f909101601f19168101906001600160401b038211908210176101d757604052565b634e487b7160e01b5f52604160045260245ffd5b601f815111610216576020815191015160208210610207571790565b5f198260200360031b1b161790565b604460209160405192839163305a27a960e01b83528160048401528051918291826024860152018484015e5f828201840152601f01601f19168101030190fdfe60806040526004361015610011575f80fd5b5f3560e01c806308b1fcae14611ea85780630916acd914611c775780630c5b6bd7146118eb578063215d41c01461188a5780632a394a3b146117d35780632efc165a1461167a5780634853aa6b1461158557806349f289dc1461156957806352e6e3041461150457806358edd4c8146113f65780635dbc76fd1461122c5780636023152e146111fc5780636485d678146111545780637163420114610fd75780637e71d8fa14610ea757806381fd370514610e6c57806384b0196e14610d745780638940f35614610c1557806399dc28f0146109e15780639f2dda4c1461092b578063a3171a56146108e8578063ad8cd84c1461080e578063b8be2bc0146107b0578063bdc383fd14610708578063ca5d27dc14610632578063d140b7e8146105ed578063e9e107521461056d578063eae4c19f1461052a578063ee894d68146102545763f93690bb14610163575f80fd5b346102505761017136611fff565b9061017c3384612484565b1561024157825f525f5160206133665f395f51905f5260205260405f20815f526020526101ad60405f209283612719565b60ff825460901c166101be8161228f565b600281146101de82828015948561022c575b6101d991612299565b61228f565b90610203575b156101f4576101f29261274b565b005b6330cd747160e01b5f5260045ffd5b50825f525f5160206133465f395f51905f5260205260018060a01b0360405f20541633146101e4565b50506102378161228f565b60038114816101d0565b6354ec506360e01b5f5260045ffd5b5f80fd5b34610250576101003660031901126102505760043560e0366023190112610250575f8181525f5160206133465f395f51905f5260205260409020546001600160a01b031633036101f45764ffffffffff6102ac6121b0565b16151580610514575b15610505576101006102c561239e565b166104f657805f525f5160206133465f395f51905f52602052600160405f20018054906102fa63ffffffff8360a01c16612387565b9163ffffffff83169263ffffffff60a01b9060a01b169063ffffffff60a01b1916179055815f525f5160206133265f395f51905f5260205260405f20815f5260205260405f20916024356001600160801b0381169081810361025057845464ffffffffff60801b6103696121b0565b60801b1663ffffffff60a81b61037d61239e565b60a81b169060843563ffffffff811681036102505763ffffffff60c81b9060c81b16928563ffffffff60c81b199166ffffffffffffff60c81b161716171717855560a435918215159586840361025057805460ff60e81b191684151560e81b60ff60e81b1617815560010160c4356001600160a01b03811681036102505781546001600160a01b0319166001600160a01b039190911617815561041e612158565b815467ffffffffffffffff60a01b191660a09190911b67ffffffffffffffff60a01b161790556040518581526020810191909152905064ffffffffff610462612470565b1660408201526064359063ffffffff8216809203610250576020957f690f839b05d3e339cdd709bfd47705736ca7882c3cc9a0982ff84c8ccb820b099361010093606084015263ffffffff6104b5611fc3565b1660808401525060a08201526001600160a01b036104d1612099565b1660c08201526001600160401b036104e7611fe9565b1660e0820152a2604051908152f35b6339791f4160e21b5f5260045ffd5b632171b80b60e01b5f5260045ffd5b5063ffffffff61052261239e565b1615156102b5565b34610250575f3660031901126102505760206040516001600160401b037f0000000000000000000000000000000000000000000000000000000000000000168152f35b34610250576020366003190112610250576004355f9081525f5160206133465f395f51905f5260209081526040808320600101547fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f3704835281842060c09190911c63ffffffff16808552908352928190205481519384529183019190915290f35b34610250576101003660031901126102505760043560a036604319011261025057610616611fe9565b6106203383612484565b15610241576101f291602435906125ac565b346102505760403660031901126102505761064b611fd6565b5f606060405161065a816121f3565b82815282602082015282604082015201526004355f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f370560205263ffffffff60405f2091165f52602052608060405f206040516106b6816121f3565b6001600160401b0382549283835281600182015491606060026020870192848616845284604089019660401c168652015495019485526040519586525116602085015251166040830152516060820152f35b34610250576040366003190112610250576004356107246120af565b5f8281525f5160206133465f395f51905f5260205260409020546001600160a01b031633036101f4575f8281525f5160206133465f395f51905f526020526040812060010180546001600160a01b0319166001600160a01b03939093169283179055909133917f44379583bbcbdaccdfcb3359b1b56e281399ff5080270beb89c3f69e0a868e939080a4005b6080366003190112610250576107e96107c7611fd6565b6107cf6120ea565b6107d76120c5565b916107e0612816565b33600435612871565b5f7f9b779b17422d0df92223018b32b4d1fa46e071723d6817e2486d003becc55f005d005b346102505760603660031901126102505760043561082a611fd6565b6108326120db565b5f8381525f5160206133465f395f51905f5260205260409020546001600160a01b031633036101f457816040916108938261088e7f0c11a3001d012d0c42135603006013bfbda87943b7755103118396c005aa21cd9688612cf6565b61244f565b5f8581525f5160206133265f395f51905f52602090815284822063ffffffff851683529052839020805460ff60e81b191682151560e81b60ff60e81b1617905563ffffffff83519216825215156020820152a2005b34610250575f3660031901126102505760206040516001600160401b037f0000000000000000000000000000000000000000000000000000000000000000168152f35b346102505760203660031901126102505760043561094981336123cd565b5f8181525f5160206133465f395f51905f526020526040902080549092906001600160a01b03166109d257825460ff60a01b19339081166001600160a81b031990921691909117600160a01b179093556040519081526020929082907f02bd55e59b7beba8ff4751d152394a70402b39f777bb765c825d9fe13e277821908590a3604051908152f35b6356dc809360e01b5f5260045ffd5b34610250576020366003190112610250576004356001600160401b0381116102505736602382011215610250578060040135906001600160401b038211610250576024810190602436918460061b01011161025057610a3f82612407565b91610a4d6040519384612229565b808352601f19610a5c82612407565b015f5b818110610bdf5750505f5b818110610b1c57835f19430190438211610b0857906040519182916080830190438452406020840152426040840152608060608401528151809152602060a084019201905f5b818110610abe575050500390f35b919350916020610140600192610afa60608851805184528581015186850152868060a01b03604082015116604085015201516060830190612029565b019401910191849392610ab0565b634e487b7160e01b5f52601160045260245ffd5b80610b2a600192848661241e565b35805f525f5160206133665f395f51905f5260205260405f206020610b5084878961241e565b01355f52602052610bbe60405f2080549285820154916002878060a01b0391015416905f525f5160206133265f395f51905f5260205260405f2063ffffffff808660701c16165f5260205260405f209160405194610bad866121f3565b85526020850152604084015261230a565b6060820152610bcd828761242e565b52610bd8818661242e565b5001610a6a565b602090604051610bee816121f3565b5f81525f838201525f6040820152610c046122d4565b606082015282828801015201610a5f565b3461025057610c2336611fff565b610c309291923383612484565b1561024157815f525f5160206133665f395f51905f5260205260405f20835f52602052610c6160405f209182612719565b610c8460ff825460901c16610c758161228f565b600181148015610d6157612299565b80547ffbe20c738af2f029931e473f5b318ccddc6a3951e42b9293222d3e266758359d91608091600360901b9067ffffffffffffffff60981b610cdb60ff60901b198316841760981c6001600160401b0316612124565b60981b169068ffffffffffffffffff60901b191617179081815560018101805491600260018060a01b0391015416916040516020810191825284604082015283606082015260608152610d2e8682612229565b51902080915560405192835260208301526040820152336060820152a3005b634e487b7160e01b5f52602160045260245ffd5b50610d6b8161228f565b60028114612299565b34610250575f36600319011261025057610e10610db07f0000000000000000000000000000000000000000000000000000000000000000612e97565b610dd97f0000000000000000000000000000000000000000000000000000000000000000612e97565b6020610e1e60405192610dec8385612229565b5f84525f368137604051958695600f60f81b875260e08588015260e0870190612100565b908582036040870152612100565b4660608501523060808501525f60a085015283810360c08501528180845192838152019301915f5b828110610e5557505050500390f35b835185528695509381019392810192600101610e46565b34610250576040366003190112610250576004356001600160a01b038116810361025057610e9f602091602435906123cd565b604051908152f35b60a036600319011261025057600435610ebe611fd6565b610ec66120ea565b90610ecf6120c5565b92608435936001600160401b03851685036102505763ffffffff93610ef2612816565b825f525f5160206133665f395f51905f5260205260405f20335f52602052610f1e60405f209687612719565b8554610f3c60ff8260901c16610f338161228f565b60018114612299565b85851695869160701c1614610fc45794610fb6610f61610fbd936107e99887876129e1565b9564ffffffffff42169063ffffffff885464ffffffffff610f87818360801c16866123b1565b60405195610f948761220e565b865216602085015260a81c16604083015260608201525f608082015282612b0e565b338361274b565b3390612ba9565b8463700457e560e01b5f5260045260245ffd5b366003190161010081126102505760e0136102505760e4356001600160401b0381116102505761100b903690600401611f96565b90611014612816565b61101c612185565b9060c4359264ffffffffff841693848103610250576040519460208601917fb65b238f2bb823b9f3d8fac2d1d4e015dfa649c363062b9fba8f03fa8b381f8683526004359283604089015260018060a01b036110766120af565b1660608901526044359463ffffffff86168087036102505760808a0152606435966001600160801b0388168089036102505760a08b0152608435986001600160a01b038a16808b036102505760c08c015260a435946001600160401b03861694858703610250578c6111469861110e976107e99f60e00152610100820152610100815261110561012082612229565b51902091612541565b5f8381525f5160206133665f395f51905f52602052604090206001600160a01b03611137612185565b165f5260205260405f20612719565b61114e612185565b90612871565b3461025057604036600319011261025057600435602435801515809103610250575f8281525f5160206133465f395f51905f5260205260409020546001600160a01b031633036101f4575f8281525f5160206133465f395f51905f526020908152604091829020805460ff60a01b191660a085901b60ff60a01b1617905590519182527f8b5a4a996153fc04f53ece734a3046a942c6a9b55d792f524232c592db5cbeb291a2005b3461025057604036600319011261025057602061122261121a6120af565b600435612484565b6040519015158152f35b34610250576040366003190112610250576004355f8181525f5160206133465f395f51905f52602052604090205460243591906001600160a01b031633036101f45781156113e757805f525f5160206133465f395f51905f52602052600160405f2001908154918260e01c9263ffffffff60e01b6112a985612387565b60e01b169060018060e01b03161790556001600160401b0343166001600160401b037f00000000000000000000000000000000000000000000000000000000000000001681016001600160401b038111610b08576020947f8aa6c527a5b27f756bfc8472cc7b3fd2bff538011bddacd9bc690e32c75b9ce392606092600260405191611334836121f3565b8483528983019384526001600160401b0360408401911693848252868401915f8352895f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f37058c5260405f2063ffffffff8c165f528c5260405f20945185556001600160401b03600186019251166fffffffffffffffff00000000000000008354925160401b16916001600160801b031916171790555191015560405191868352878301526040820152a2604051908152f35b631e88da2b60e21b5f5260045ffd5b34610250576060366003190112610250576004356114126120af565b9061141b6120db565b5f8281525f5160206133465f395f51905f5260205260409020549092906001600160a01b031633036101f45760407f89a171acc63e95a7fe74548c3e45bea2775e11c23e9e32252561341092fa750491835f525f5160206133465f395f51905f526020526001600160401b03825f205460a81c1694845f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f3702602052825f206001600160401b0387165f52602052825f2060018060a01b0383165f52602052825f209015159060ff1981541660ff83161790558251958652602086015260018060a01b031693a3005b346102505760403660031901126102505761151d611fd6565b6115256122d4565b506004355f525f5160206133265f395f51905f5260205263ffffffff60405f2091165f5260205260e061155a60405f2061230a565b6115676040518092612029565bf35b34610250575f3660031901126102505760206040516101008152f35b346102505760203660031901126102505761159e6122d4565b506004355f525f5160206133465f395f51905f5260205260e060405f2063ffffffff6040516115cc816121c4565b818354918160018060a01b038416958683526001602084019160ff8760a01c16151583526001600160401b03604086019760a81c1687520154946001600160401b03606085019160018060a01b03881683526080860193858960a01c16855260c060a0880197878b831c16895201988c1c89526040519a8b5251151560208b01525116604089015260018060a01b03905116606088015251166080860152511660a0840152511660c0820152f35b3461025057606036600319011261025057600435611696611fd6565b5f8281525f5160206133465f395f51905f526020526040902054604435906001600160a01b031633036101f457825f525f5160206133465f395f51905f52602052600160405f20019182549263ffffffff8460c01c1661170c63ffffffff6116fd836122bc565b1663ffffffff851614916122bc565b90156117ba575082156113e7577f1a49103492c9afec9a192f92d675556619285b71bc6e345be1e771a37d5fc8519363ffffffff60c01b8360c01b169063ffffffff60c01b1916179055835f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f370460205260405f2063ffffffff82165f526020528160405f20556117b5604051928392836020909392919363ffffffff60408201951681520152565b0390a2005b63ffffffff906391aefaa760e01b5f521660045260245ffd5b34610250576117e136611fff565b6117ee9291923383612484565b1561024157815f525f5160206133665f395f51905f5260205260405f20835f5260205261181f60405f209182612719565b61183360ff825460901c16610f338161228f565b80547ffbe20c738af2f029931e473f5b318ccddc6a3951e42b9293222d3e266758359d91608091600160911b9067ffffffffffffffff60981b610cdb60ff60901b198316841760981c6001600160401b0316612124565b34610250576040366003190112610250576118a3611fd6565b6004355f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f370460205263ffffffff60405f2091165f52602052602060405f2054604051908152f35b3461025057606036600319011261025057600435611907611fd6565b6044356001600160401b03811161025057611926903690600401611f96565b90835f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f370560205260405f2063ffffffff84165f5260205260405f2091825415611c5e5760028301928354611c4f576001600160401b03600161198a36858761224a565b6020815191012092015460401c1690610101824303105f14611c24578140905b03611c125750906119bc91369161224a565b916040519260208101905160801b178060801c906119d9816130f2565b6002819493941015610d4d576001149081611bff575b5015611b4757604051926001600160801b0360208501939216905b808310611b7e57505050818103601f190160051c82526040528051600d1015611b6a578051600d1015611b56576101c00151926040528260801c9260218411611b4757611a56816130f2565b6002819792971015610d4d57611b475785611ab6575050507fc7fabd7245c456b0972b922270bf14970a457012dc1a9ef04b8045a4dd9ee61292505f80925b556040805163ffffffff9092168252602082019290925290819081016117b5565b816020019081602011610b085782036020019081111502601f8111611b35576001600160801b03905f199060031b1b92160151169260018060fd1b0381168103610b085760031b61010003926101008411610b08577fc7fabd7245c456b0972b922270bf14970a457012dc1a9ef04b8045a4dd9ee612931c8092611a95565b634e487b715f5260326020526024601cfd5b633cf75c0160e21b5f5260045ffd5b634e487b7160e01b5f52603260045260245ffd5b631ee1e6c960e11b5f52600d60045260245ffd5b909192818411611b3557611ba9611b958584612442565b611b9f86866130e5565b9060801b176130f2565b509094611bb686836130e5565b84611bc182846130e5565b11611b3557611be992611be391611bd884896130e5565b9060801b17976130e5565b906130e5565b93815260208101809111610b0857929190611a0a565b611c0a9150836130e5565b8314886119ef565b63058d32f760e11b5f5260045260245ffd5b815f525f602052602080805f71f90827f1c53a10cb7a02335b1753200029355afa50602051906119aa565b63eff7b37b60e01b5f5260045ffd5b63ffffffff846306f9de0560e01b5f521660045260245ffd5b346102505736600319016101808112610250576101601361025057610164356001600160401b03811161025057611cb2903690600401611f96565b60043590815f525f5160206133465f395f51905f526020526001600160401b0360405f205460a81c16806001600160401b03611cec612141565b161490611cf7612141565b9115611e88575050611d10611d0a61216e565b83612484565b1561024157611d1d61216e565b611d2561219b565b916040519460208601927f53c11d9babd5b6cb707e353782acb0f25ae00df347a3b5aed8ee9bc65312bf90845264ffffffffff611d60612470565b16604088015260643564ffffffffff811680910361025057606088015263ffffffff611d8a611fc3565b16608088015260a4359363ffffffff85168095036102505787611e7a9560a06101f29a015260018060a01b03611dbe612099565b1660c082015260c08152611dd360e082612229565b5190209486602435809764ffffffffff611deb612158565b6001600160401b03611dfb612141565b81611e0461219b565b93611e0d61216e565b966040519860208a019a7f0e05be44c8b61def6f5c3b1380e2e8496851b3017db0241b3be8f166980826868c5260408b015260608a015260808901521660a08701521660c08501521660e083015260018060a01b0316610100820152610100815261110561012082612229565b611e82612158565b916125ac565b6001600160401b0392506375174c0b60e01b5f526004521660245260445ffd5b34610250576020366003190112610250576004355f8181525f5160206133465f395f51905f5260205260409020600181018054919290916001600160a01b03163303611f875782546001600160a01b03198082163317855583541690925582546001600160a01b03929092169167ffffffffffffffff60a81b611f3760a883901c6001600160401b0316612124565b60a81b16906001600160401b0360a81b1916178093556001600160401b036040519360a81c1683527f823a00aec1ea9233fd2b41b9d39e828b178ee05615eb8f94d9843f087f30f4b860203394a4005b630614e5c760e21b5f5260045ffd5b9181601f84011215610250578235916001600160401b038311610250576020838186019501011161025057565b6084359063ffffffff8216820361025057565b6024359063ffffffff8216820361025057565b60e435906001600160401b038216820361025057565b60609060031901126102505760043590602435906044356001600160401b03811681036102505790565b6001600160401b0360c080926001600160801b03815116855264ffffffffff602082015116602086015263ffffffff604082015116604086015263ffffffff606082015116606086015260808101511515608086015260018060a01b0360a08201511660a0860152015116910152565b60c435906001600160a01b038216820361025057565b602435906001600160a01b038216820361025057565b606435906001600160a01b038216820361025057565b60443590811515820361025057565b604435906001600160801b038216820361025057565b805180835260209291819084018484015e5f828201840152601f01601f1916010190565b6001600160401b03166001600160401b038114610b085760010190565b610104356001600160401b03811681036102505790565b60e4356001600160401b03811681036102505790565b610144356001600160a01b03811681036102505790565b6024356001600160a01b03811681036102505790565b6101243564ffffffffff811681036102505790565b60443564ffffffffff811681036102505790565b60e081019081106001600160401b038211176121df57604052565b634e487b7160e01b5f52604160045260245ffd5b608081019081106001600160401b038211176121df57604052565b60a081019081106001600160401b038211176121df57604052565b90601f801991011681019081106001600160401b038211176121df57604052565b9291926001600160401b0382116121df5760405191612273601f8201601f191660200184612229565b829481845281830111610250578281602093845f960137010152565b60041115610d4d57565b156122a15750565b638902980d60e01b5f526122b48161228f565b60045260245ffd5b63ffffffff60019116019063ffffffff8211610b0857565b604051906122e1826121c4565b5f60c0838281528260208201528260408201528260608201528260808201528260a08201520152565b90604051612317816121c4565b60c06001600160401b036001839560ff81546001600160801b038116875264ffffffffff8160801c16602088015263ffffffff8160a81c16604088015263ffffffff8160c81c16606088015260e81c1615156080860152015460018060a01b03811660a085015260a01c16910152565b63ffffffff1663ffffffff8114610b085760010190565b60643563ffffffff811681036102505790565b9064ffffffffff8091169116019064ffffffffff8211610b0857565b9060405190602082019246845230604084015260018060a01b0316606083015260808201526080815261240160a082612229565b51902090565b6001600160401b0381116121df5760051b60200190565b9190811015611b565760061b0190565b8051821015611b565760209160051b010190565b91908203918211610b0857565b156124575750565b63ffffffff906335adfdf160e21b5f521660045260245ffd5b6044359064ffffffffff8216820361025057565b5f8181525f5160206133465f395f51905f5260205260409020546001600160a01b038116801515939190846124bb575b5050505090565b6001600160a01b038316149350909183156124dd575b5050505f8080806124b4565b909192505f527fb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f37026020526001600160401b038060405f209260a81c16165f5260205260405f209060018060a01b03165f5260205260ff60405f2054165f80806124d1565b9064ffffffffff9095949392951680421161259a575060426125849495612566612ed5565b906040519161190160f01b8352600283015260228201522090612d37565b1561258b57565b635cd5d23360e01b5f5260045ffd5b63270812fb60e11b5f5260045260245ffd5b9190825f525f5160206133665f395f51905f5260205260405f20815f526020526125da60405f209283612719565b6125e382612dc8565b80156126dc576044359264ffffffffff8416808503610250576064359064ffffffffff82169081830361025057101561270a576084359463ffffffff861680870361025057156104f65760a43563ffffffff811680821415908161025057159081156126f7575b61025057816126589161244f565b61010087161580159190826126eb575b156126dc5760c435916001600160a01b038316808403610250571515036126cd5760a0366043190112610250576126cb976126c694604051946126aa8661220e565b8552602085015260408401526060830152608082015284612b0e565b61274b565b565b6314a67c4b60e21b5f5260045ffd5b631126193360e01b5f5260045ffd5b508560a01c1515612668565b50505f6127048286612cf6565b9061264a565b632a0c9bb560e11b5f5260045ffd5b6001600160401b0380915460981c16911690818103612736575050565b630874cb7960e31b5f5260045260245260445ffd5b909180547ffbe20c738af2f029931e473f5b318ccddc6a3951e42b9293222d3e266758359d91608091600160901b9067ffffffffffffffff60981b6127a460ff60901b198316841760981c6001600160401b0316612124565b60981b169068ffffffffffffffffff60901b191617179081815560018101805491600260018060a01b03910154169160405160208101918252846040820152836060820152606081526127f78682612229565b51902080915560405192835260208301526040820152336060820152a3565b7f9b779b17422d0df92223018b32b4d1fa46e071723d6817e2486d003becc55f005c6128625760017f9b779b17422d0df92223018b32b4d1fa46e071723d6817e2486d003becc55f005d565b633ee5aeb560e01b5f5260045ffd5b929493906128b59060018060a01b031691845f525f5160206133665f395f51905f5260205260405f20835f5260205260405f20966128ae88612dc8565b84866129e1565b9264ffffffffff865460281c1642105f1461297757855463ffffffff8160701c1663ffffffff8516908181148061295b575b156129465750506126cb959661293a6129146129419364ffffffffff808a5460801c169160281c166123b1565b825469ffffffffff0000000000191660289190911b69ffffffffff000000000016178255565b838361274b565b612ba9565b6357e11f8960e01b5f5260045260245260445ffd5b5063ffffffff875460a81c1663ffffffff8460501c16146128e7565b6129416126cb95966129dc64ffffffffff421663ffffffff885464ffffffffff6129a6818360801c16856123b1565b604051946129b38661220e565b855216602084015260a81c16604082015263ffffffff871660608201525f608082015282612b0e565b61293a565b5f8181525f5160206133465f395f51905f52602052604090205491949392916001600160a01b031615612aff57805f525f5160206133465f395f51905f5260205260ff60405f205460a01c1615612af057612a408561088e8184612cf6565b5f525f5160206133265f395f51905f5260205260405f2063ffffffff85165f5260205260405f20809481549060ff8260e81c1615612ad757506001600160801b03809116921682149283612abc575b50600101546001600160a01b03169115612aa7575050565b635f7dbc6160e01b5f5260045260245260445ffd5b60018201546001600160a01b0391821691161492505f612a8f565b63ffffffff906305a52b5760e51b5f521660045260245ffd5b633cc9537560e01b5f5260045ffd5b632040f2d560e21b5f5260045ffd5b8151815460208401516040850151606086015163ffffffff60701b60709190911b1663ffffffff60501b60509290921b9190911671ffffffffffffffffffffffffffffffffffff1990931664ffffffffff9094169390931760289190911b69ffffffffff0000000000161717178155608090910151600290910180546001600160a01b039092166001600160a01b0319909216919091179055565b83546001909401545f8281525f5160206133465f395f51905f5260205260409020546001600160a01b03918216959116936001600160801b039091169285159290918315612ce8576001600160801b03855b16803403612cd2575060807fa4f0d3969556617834e64b83d1628f6cbb5d5e5a6e50c203f2bfe4b8fe8b59b99163ffffffff60405191168152336020820152886040820152866060820152a3612cbd57604051916323b872dd60e01b5f523360045260245260445260205f60648180865af19060015f5114821615612c9c575b6040525f60605215612c8a5750565b635274afe760e01b5f5260045260245ffd5b906001811516612cb457823b15153d15161690612c7b565b503d5f823e3d90fd5b80919250612cc9575050565b6126cb91612e31565b630374cb4760e21b5f523460045260245260445ffd5b6001600160801b035f612bfb565b9063ffffffff168015159182612d0b57505090565b9091505f525f5160206133465f395f51905f5260205263ffffffff600160405f20015460a01c16101590565b929190833b612d745790612d4b9291612feb565b50612d558161228f565b159182612d6157505090565b6001600160a01b03918216911614919050565b6064835f946020969460405194630b135d3f60e11b8652600486015260406024860152816044860152838501378281018201859052601f01601f191601915afa630b135d3f60e11b5f5114601f3d11161690565b5460ff8160901c16612dd98161228f565b60038114612e2257600290612ded8161228f565b1490811591612e0d575b5015612dff57565b62f68df760e71b5f5260045ffd5b64ffffffffff915060281c164210155f612df7565b63af9adea160e01b5f5260045ffd5b814710612e80575f808093819382604051612e4d602082612229565b526001600160a01b03165af115612e6057565b3d15612e71576040513d5f823e3d90fd5b63d6bda27560e01b5f5260045ffd5b504763cf47918160e01b5f5260045260245260445ffd5b60ff811690601f8211612ec65760405191612eb3604084612229565b6020808452838101919036833783525290565b632cd44ac360e21b5f5260045ffd5b307f00000000000000000000000000000000000000000000000000000000000000006001600160a01b03161480612fc2575b15612f30577f000000000000000000000000000000000000000000000000000000000000000090565b60405160208101907f8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f82527f000000000000000000000000000000000000000000000000000000000000000060408201527f000000000000000000000000000000000000000000000000000000000000000060608201524660808201523060a082015260a0815261240160c082612229565b507f00000000000000000000000000000000000000000000000000000000000000004614612f07565b90604183036130155761300e9250602081013591604082359201355f1a9061301f565b9192909190565b50505f9160029190565b91907f7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a084116130a1579160209360809260ff5f9560405194855216868401526040830152606082015282805260015afa15613096575f516001600160a01b0381161561308c57905f905f90565b505f906001905f90565b6040513d5f823e3d90fd5b5050505f9160039190565b60ff60bf199116019060ff8211610b0857565b60ff6036199116019060ff8211610b0857565b60ff607f199116019060ff8211610b0857565b91908201809211610b0857565b908160801c918215611b47576020835f0301602081111502601f8111611b35575f199060031b1b6001600160801b038216511660f81c60c081105f1461323d57608081101561314757505f9250600191839150565b60b781116131aa5761315a60ff916130d2565b168093119081613173575b5015611b4757600191905f90565b6001841480159250613187575b505f613165565b600160ff1b91506001600160f81b0319906131a1906132f3565b1610155f613180565b6131b66131bb916130d2565b6130bf565b60ff81169182851115611b47576131d1906132f3565b906001600160f81b0319821615611b475760ff81168303610b08576107f89060031b16610100036101008111610b08571c928382603782119283613229575b50505015611b475760018101809111610b085791905f90565b613234929350612442565b1183825f613210565b9060f78211613263575061325260ff916130ac565b1680921115611b4757600191908290565b906131b6613270916130ac565b60ff81169182851115611b4757613286906132f3565b906001600160f81b0319821615611b475760ff81168303610b08576107f89060031b16610100036101008111610b08571c9283826037821192836132df575b50505015611b475760018101809111610b08579190600190565b6132ea929350612442565b1183825f6132c5565b60208160801c60010301602181111502601f8111611b35576001600160801b036001915f199060031b1b92160151169056feb2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f3703b2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f3701b2a14547c8181749f0701e21cb4faaec422267ba3c36aea057706af21f0f3700",
}

// LicenseRegistry is an auto generated Go binding around an Ethereum contract.
type LicenseRegistry struct {
	abi abi.ABI
}

// GetABI returns the ABI associated with this contract binding.
func (c *LicenseRegistry) GetABI() abi.ABI {
	return c.abi
}

// NewLicenseRegistry creates a new instance of LicenseRegistry.
func NewLicenseRegistry() *LicenseRegistry {
	parsed, err := LicenseRegistryMetaData.ParseABI()
	if err != nil {
		panic(errors.New("invalid ABI: " + err.Error()))
	}
	return &LicenseRegistry{abi: *parsed}
}

// Instance creates a wrapper for a deployed contract instance at the given address.
// Use this to create the instance object passed to abigen v2 library functions Call, Transact, etc.
func (c *LicenseRegistry) Instance(backend bind.ContractBackend, addr common.Address) *bind.BoundContract {
	return bind.NewBoundContract(addr, c.abi, backend, backend, backend)
}

// PackConstructor is the Go binding used to pack the parameters required for
// contract deployment.
//
// Solidity: constructor(uint64 drawDelay_) returns()
func (licenseRegistry *LicenseRegistry) PackConstructor(drawDelay_ uint64) []byte {
	enc, err := licenseRegistry.abi.Pack("", drawDelay_)
	if err != nil {
		panic(err)
	}
	return enc
}

// PackHOST is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x49f289dc.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function HOST() view returns(uint32)
func (licenseRegistry *LicenseRegistry) PackHOST() []byte {
	enc, err := licenseRegistry.abi.Pack("HOST")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackHOST is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x49f289dc.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function HOST() view returns(uint32)
func (licenseRegistry *LicenseRegistry) TryPackHOST() ([]byte, error) {
	return licenseRegistry.abi.Pack("HOST")
}

// UnpackHOST is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x49f289dc.
//
// Solidity: function HOST() view returns(uint32)
func (licenseRegistry *LicenseRegistry) UnpackHOST(data []byte) (uint32, error) {
	out, err := licenseRegistry.abi.Unpack("HOST", data)
	if err != nil {
		return *new(uint32), err
	}
	out0 := *abi.ConvertType(out[0], new(uint32)).(*uint32)
	return out0, nil
}

// PackAcceptModel is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x08b1fcae.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function acceptModel(bytes32 modelId) returns()
func (licenseRegistry *LicenseRegistry) PackAcceptModel(modelId [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("acceptModel", modelId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAcceptModel is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x08b1fcae.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function acceptModel(bytes32 modelId) returns()
func (licenseRegistry *LicenseRegistry) TryPackAcceptModel(modelId [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("acceptModel", modelId)
}

// PackAddPlan is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xee894d68.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function addPlan(bytes32 modelId, (uint128,uint40,uint32,uint32,bool,address,uint64) terms) returns(uint32 plan)
func (licenseRegistry *LicenseRegistry) PackAddPlan(modelId [32]byte, terms RegistryStatePlan) []byte {
	enc, err := licenseRegistry.abi.Pack("addPlan", modelId, terms)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAddPlan is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xee894d68.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function addPlan(bytes32 modelId, (uint128,uint40,uint32,uint32,bool,address,uint64) terms) returns(uint32 plan)
func (licenseRegistry *LicenseRegistry) TryPackAddPlan(modelId [32]byte, terms RegistryStatePlan) ([]byte, error) {
	return licenseRegistry.abi.Pack("addPlan", modelId, terms)
}

// UnpackAddPlan is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xee894d68.
//
// Solidity: function addPlan(bytes32 modelId, (uint128,uint40,uint32,uint32,bool,address,uint64) terms) returns(uint32 plan)
func (licenseRegistry *LicenseRegistry) UnpackAddPlan(data []byte) (uint32, error) {
	out, err := licenseRegistry.abi.Unpack("addPlan", data)
	if err != nil {
		return *new(uint32), err
	}
	out0 := *abi.ConvertType(out[0], new(uint32)).(*uint32)
	return out0, nil
}

// PackCommitKeys is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x5dbc76fd.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function commitKeys(bytes32 modelId, bytes32 root) returns(uint32 index)
func (licenseRegistry *LicenseRegistry) PackCommitKeys(modelId [32]byte, root [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("commitKeys", modelId, root)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCommitKeys is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x5dbc76fd.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function commitKeys(bytes32 modelId, bytes32 root) returns(uint32 index)
func (licenseRegistry *LicenseRegistry) TryPackCommitKeys(modelId [32]byte, root [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("commitKeys", modelId, root)
}

// UnpackCommitKeys is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x5dbc76fd.
//
// Solidity: function commitKeys(bytes32 modelId, bytes32 root) returns(uint32 index)
func (licenseRegistry *LicenseRegistry) UnpackCommitKeys(data []byte) (uint32, error) {
	out, err := licenseRegistry.abi.Unpack("commitKeys", data)
	if err != nil {
		return *new(uint32), err
	}
	out0 := *abi.ConvertType(out[0], new(uint32)).(*uint32)
	return out0, nil
}

// PackCommitment is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xca5d27dc.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function commitment(bytes32 modelId, uint32 index) view returns((bytes32,uint64,uint64,bytes32))
func (licenseRegistry *LicenseRegistry) PackCommitment(modelId [32]byte, index uint32) []byte {
	enc, err := licenseRegistry.abi.Pack("commitment", modelId, index)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCommitment is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xca5d27dc.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function commitment(bytes32 modelId, uint32 index) view returns((bytes32,uint64,uint64,bytes32))
func (licenseRegistry *LicenseRegistry) TryPackCommitment(modelId [32]byte, index uint32) ([]byte, error) {
	return licenseRegistry.abi.Pack("commitment", modelId, index)
}

// UnpackCommitment is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xca5d27dc.
//
// Solidity: function commitment(bytes32 modelId, uint32 index) view returns((bytes32,uint64,uint64,bytes32))
func (licenseRegistry *LicenseRegistry) UnpackCommitment(data []byte) (RegistryStateCommitment, error) {
	out, err := licenseRegistry.abi.Unpack("commitment", data)
	if err != nil {
		return *new(RegistryStateCommitment), err
	}
	out0 := *abi.ConvertType(out[0], new(RegistryStateCommitment)).(*RegistryStateCommitment)
	return out0, nil
}

// PackDeployedAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xeae4c19f.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function deployedAt() view returns(uint64)
func (licenseRegistry *LicenseRegistry) PackDeployedAt() []byte {
	enc, err := licenseRegistry.abi.Pack("deployedAt")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackDeployedAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xeae4c19f.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function deployedAt() view returns(uint64)
func (licenseRegistry *LicenseRegistry) TryPackDeployedAt() ([]byte, error) {
	return licenseRegistry.abi.Pack("deployedAt")
}

// UnpackDeployedAt is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xeae4c19f.
//
// Solidity: function deployedAt() view returns(uint64)
func (licenseRegistry *LicenseRegistry) UnpackDeployedAt(data []byte) (uint64, error) {
	out, err := licenseRegistry.abi.Unpack("deployedAt", data)
	if err != nil {
		return *new(uint64), err
	}
	out0 := *abi.ConvertType(out[0], new(uint64)).(*uint64)
	return out0, nil
}

// PackDrawDelay is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa3171a56.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function drawDelay() view returns(uint64)
func (licenseRegistry *LicenseRegistry) PackDrawDelay() []byte {
	enc, err := licenseRegistry.abi.Pack("drawDelay")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackDrawDelay is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa3171a56.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function drawDelay() view returns(uint64)
func (licenseRegistry *LicenseRegistry) TryPackDrawDelay() ([]byte, error) {
	return licenseRegistry.abi.Pack("drawDelay")
}

// UnpackDrawDelay is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xa3171a56.
//
// Solidity: function drawDelay() view returns(uint64)
func (licenseRegistry *LicenseRegistry) UnpackDrawDelay(data []byte) (uint64, error) {
	out, err := licenseRegistry.abi.Unpack("drawDelay", data)
	if err != nil {
		return *new(uint64), err
	}
	out0 := *abi.ConvertType(out[0], new(uint64)).(*uint64)
	return out0, nil
}

// PackEip712Domain is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x84b0196e.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function eip712Domain() view returns(bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)
func (licenseRegistry *LicenseRegistry) PackEip712Domain() []byte {
	enc, err := licenseRegistry.abi.Pack("eip712Domain")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackEip712Domain is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x84b0196e.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function eip712Domain() view returns(bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)
func (licenseRegistry *LicenseRegistry) TryPackEip712Domain() ([]byte, error) {
	return licenseRegistry.abi.Pack("eip712Domain")
}

// Eip712DomainOutput serves as a container for the return parameters of contract
// method Eip712Domain.
type Eip712DomainOutput struct {
	Fields            [1]byte
	Name              string
	Version           string
	ChainId           *big.Int
	VerifyingContract common.Address
	Salt              [32]byte
	Extensions        []*big.Int
}

// UnpackEip712Domain is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x84b0196e.
//
// Solidity: function eip712Domain() view returns(bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)
func (licenseRegistry *LicenseRegistry) UnpackEip712Domain(data []byte) (Eip712DomainOutput, error) {
	out, err := licenseRegistry.abi.Unpack("eip712Domain", data)
	outstruct := new(Eip712DomainOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Fields = *abi.ConvertType(out[0], new([1]byte)).(*[1]byte)
	outstruct.Name = *abi.ConvertType(out[1], new(string)).(*string)
	outstruct.Version = *abi.ConvertType(out[2], new(string)).(*string)
	outstruct.ChainId = abi.ConvertType(out[3], new(big.Int)).(*big.Int)
	outstruct.VerifyingContract = *abi.ConvertType(out[4], new(common.Address)).(*common.Address)
	outstruct.Salt = *abi.ConvertType(out[5], new([32]byte)).(*[32]byte)
	outstruct.Extensions = *abi.ConvertType(out[6], new([]*big.Int)).(*[]*big.Int)
	return *outstruct, nil
}

// PackGrant is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd140b7e8.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function grant(bytes32 modelId, bytes32 subject, (uint40,uint40,uint32,uint32,address) terms, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) PackGrant(modelId [32]byte, subject [32]byte, terms LicenseRegistryTerms, expectedSeq uint64) []byte {
	enc, err := licenseRegistry.abi.Pack("grant", modelId, subject, terms, expectedSeq)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGrant is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd140b7e8.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function grant(bytes32 modelId, bytes32 subject, (uint40,uint40,uint32,uint32,address) terms, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) TryPackGrant(modelId [32]byte, subject [32]byte, terms LicenseRegistryTerms, expectedSeq uint64) ([]byte, error) {
	return licenseRegistry.abi.Pack("grant", modelId, subject, terms, expectedSeq)
}

// PackGrants is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x99dc28f0.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function grants((bytes32,bytes32)[] queries) view returns(uint256 number, bytes32 parentHash, uint256 timestamp, (uint256,bytes32,address,(uint128,uint40,uint32,uint32,bool,address,uint64))[] views)
func (licenseRegistry *LicenseRegistry) PackGrants(queries []LicenseRegistryQuery) []byte {
	enc, err := licenseRegistry.abi.Pack("grants", queries)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGrants is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x99dc28f0.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function grants((bytes32,bytes32)[] queries) view returns(uint256 number, bytes32 parentHash, uint256 timestamp, (uint256,bytes32,address,(uint128,uint40,uint32,uint32,bool,address,uint64))[] views)
func (licenseRegistry *LicenseRegistry) TryPackGrants(queries []LicenseRegistryQuery) ([]byte, error) {
	return licenseRegistry.abi.Pack("grants", queries)
}

// GrantsOutput serves as a container for the return parameters of contract
// method Grants.
type GrantsOutput struct {
	Number     *big.Int
	ParentHash [32]byte
	Timestamp  *big.Int
	Views      []LicenseRegistryGrantView
}

// UnpackGrants is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x99dc28f0.
//
// Solidity: function grants((bytes32,bytes32)[] queries) view returns(uint256 number, bytes32 parentHash, uint256 timestamp, (uint256,bytes32,address,(uint128,uint40,uint32,uint32,bool,address,uint64))[] views)
func (licenseRegistry *LicenseRegistry) UnpackGrants(data []byte) (GrantsOutput, error) {
	out, err := licenseRegistry.abi.Unpack("grants", data)
	outstruct := new(GrantsOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Number = abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	outstruct.ParentHash = *abi.ConvertType(out[1], new([32]byte)).(*[32]byte)
	outstruct.Timestamp = abi.ConvertType(out[2], new(big.Int)).(*big.Int)
	outstruct.Views = *abi.ConvertType(out[3], new([]LicenseRegistryGrantView)).(*[]LicenseRegistryGrantView)
	return *outstruct, nil
}

// PackIsIssuer is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x6023152e.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function isIssuer(bytes32 modelId, address who) view returns(bool)
func (licenseRegistry *LicenseRegistry) PackIsIssuer(modelId [32]byte, who common.Address) []byte {
	enc, err := licenseRegistry.abi.Pack("isIssuer", modelId, who)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackIsIssuer is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x6023152e.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function isIssuer(bytes32 modelId, address who) view returns(bool)
func (licenseRegistry *LicenseRegistry) TryPackIsIssuer(modelId [32]byte, who common.Address) ([]byte, error) {
	return licenseRegistry.abi.Pack("isIssuer", modelId, who)
}

// UnpackIsIssuer is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x6023152e.
//
// Solidity: function isIssuer(bytes32 modelId, address who) view returns(bool)
func (licenseRegistry *LicenseRegistry) UnpackIsIssuer(data []byte) (bool, error) {
	out, err := licenseRegistry.abi.Unpack("isIssuer", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackLatestVersion is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe9e10752.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function latestVersion(bytes32 modelId) view returns(uint32 version, bytes32 manifestDigest)
func (licenseRegistry *LicenseRegistry) PackLatestVersion(modelId [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("latestVersion", modelId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackLatestVersion is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe9e10752.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function latestVersion(bytes32 modelId) view returns(uint32 version, bytes32 manifestDigest)
func (licenseRegistry *LicenseRegistry) TryPackLatestVersion(modelId [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("latestVersion", modelId)
}

// LatestVersionOutput serves as a container for the return parameters of contract
// method LatestVersion.
type LatestVersionOutput struct {
	Version        uint32
	ManifestDigest [32]byte
}

// UnpackLatestVersion is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xe9e10752.
//
// Solidity: function latestVersion(bytes32 modelId) view returns(uint32 version, bytes32 manifestDigest)
func (licenseRegistry *LicenseRegistry) UnpackLatestVersion(data []byte) (LatestVersionOutput, error) {
	out, err := licenseRegistry.abi.Unpack("latestVersion", data)
	outstruct := new(LatestVersionOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Version = *abi.ConvertType(out[0], new(uint32)).(*uint32)
	outstruct.ManifestDigest = *abi.ConvertType(out[1], new([32]byte)).(*[32]byte)
	return *outstruct, nil
}

// PackModelIdOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x81fd3705.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function modelIdOf(address creator, bytes32 salt) view returns(bytes32)
func (licenseRegistry *LicenseRegistry) PackModelIdOf(creator common.Address, salt [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("modelIdOf", creator, salt)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackModelIdOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x81fd3705.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function modelIdOf(address creator, bytes32 salt) view returns(bytes32)
func (licenseRegistry *LicenseRegistry) TryPackModelIdOf(creator common.Address, salt [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("modelIdOf", creator, salt)
}

// UnpackModelIdOf is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x81fd3705.
//
// Solidity: function modelIdOf(address creator, bytes32 salt) view returns(bytes32)
func (licenseRegistry *LicenseRegistry) UnpackModelIdOf(data []byte) ([32]byte, error) {
	out, err := licenseRegistry.abi.Unpack("modelIdOf", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackModelOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x4853aa6b.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function modelOf(bytes32 modelId) view returns((address,bool,uint64,address,uint32,uint32,uint32))
func (licenseRegistry *LicenseRegistry) PackModelOf(modelId [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("modelOf", modelId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackModelOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x4853aa6b.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function modelOf(bytes32 modelId) view returns((address,bool,uint64,address,uint32,uint32,uint32))
func (licenseRegistry *LicenseRegistry) TryPackModelOf(modelId [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("modelOf", modelId)
}

// UnpackModelOf is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x4853aa6b.
//
// Solidity: function modelOf(bytes32 modelId) view returns((address,bool,uint64,address,uint32,uint32,uint32))
func (licenseRegistry *LicenseRegistry) UnpackModelOf(data []byte) (RegistryStateModel, error) {
	out, err := licenseRegistry.abi.Unpack("modelOf", data)
	if err != nil {
		return *new(RegistryStateModel), err
	}
	out0 := *abi.ConvertType(out[0], new(RegistryStateModel)).(*RegistryStateModel)
	return out0, nil
}

// PackPlanOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x52e6e304.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function planOf(bytes32 modelId, uint32 version) view returns((uint128,uint40,uint32,uint32,bool,address,uint64))
func (licenseRegistry *LicenseRegistry) PackPlanOf(modelId [32]byte, version uint32) []byte {
	enc, err := licenseRegistry.abi.Pack("planOf", modelId, version)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPlanOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x52e6e304.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function planOf(bytes32 modelId, uint32 version) view returns((uint128,uint40,uint32,uint32,bool,address,uint64))
func (licenseRegistry *LicenseRegistry) TryPackPlanOf(modelId [32]byte, version uint32) ([]byte, error) {
	return licenseRegistry.abi.Pack("planOf", modelId, version)
}

// UnpackPlanOf is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x52e6e304.
//
// Solidity: function planOf(bytes32 modelId, uint32 version) view returns((uint128,uint40,uint32,uint32,bool,address,uint64))
func (licenseRegistry *LicenseRegistry) UnpackPlanOf(data []byte) (RegistryStatePlan, error) {
	out, err := licenseRegistry.abi.Unpack("planOf", data)
	if err != nil {
		return *new(RegistryStatePlan), err
	}
	out0 := *abi.ConvertType(out[0], new(RegistryStatePlan)).(*RegistryStatePlan)
	return out0, nil
}

// PackPublishVersion is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x2efc165a.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function publishVersion(bytes32 modelId, uint32 version, bytes32 manifestDigest) returns()
func (licenseRegistry *LicenseRegistry) PackPublishVersion(modelId [32]byte, version uint32, manifestDigest [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("publishVersion", modelId, version, manifestDigest)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPublishVersion is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x2efc165a.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function publishVersion(bytes32 modelId, uint32 version, bytes32 manifestDigest) returns()
func (licenseRegistry *LicenseRegistry) TryPackPublishVersion(modelId [32]byte, version uint32, manifestDigest [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("publishVersion", modelId, version, manifestDigest)
}

// PackPurchase is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb8be2bc0.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function purchase(bytes32 modelId, uint32 plan, uint128 price, address token) payable returns()
func (licenseRegistry *LicenseRegistry) PackPurchase(modelId [32]byte, plan uint32, price *big.Int, token common.Address) []byte {
	enc, err := licenseRegistry.abi.Pack("purchase", modelId, plan, price, token)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPurchase is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb8be2bc0.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function purchase(bytes32 modelId, uint32 plan, uint128 price, address token) payable returns()
func (licenseRegistry *LicenseRegistry) TryPackPurchase(modelId [32]byte, plan uint32, price *big.Int, token common.Address) ([]byte, error) {
	return licenseRegistry.abi.Pack("purchase", modelId, plan, price, token)
}

// PackPurchaseFor is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x71634201.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function purchaseFor((bytes32,address,uint32,uint128,address,uint64,uint40) p, bytes signature) payable returns()
func (licenseRegistry *LicenseRegistry) PackPurchaseFor(p LicenseRegistryPermit, signature []byte) []byte {
	enc, err := licenseRegistry.abi.Pack("purchaseFor", p, signature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPurchaseFor is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x71634201.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function purchaseFor((bytes32,address,uint32,uint128,address,uint64,uint40) p, bytes signature) payable returns()
func (licenseRegistry *LicenseRegistry) TryPackPurchaseFor(p LicenseRegistryPermit, signature []byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("purchaseFor", p, signature)
}

// PackRecordDraw is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x0c5b6bd7.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function recordDraw(bytes32 modelId, uint32 index, bytes header) returns()
func (licenseRegistry *LicenseRegistry) PackRecordDraw(modelId [32]byte, index uint32, header []byte) []byte {
	enc, err := licenseRegistry.abi.Pack("recordDraw", modelId, index, header)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRecordDraw is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x0c5b6bd7.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function recordDraw(bytes32 modelId, uint32 index, bytes header) returns()
func (licenseRegistry *LicenseRegistry) TryPackRecordDraw(modelId [32]byte, index uint32, header []byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("recordDraw", modelId, index, header)
}

// PackRedeem is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x0916acd9.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function redeem((bytes32,bytes32,(uint40,uint40,uint32,uint32,address),uint64,uint64,uint40,address) v, bytes signature) returns()
func (licenseRegistry *LicenseRegistry) PackRedeem(v LicenseRegistryVoucher, signature []byte) []byte {
	enc, err := licenseRegistry.abi.Pack("redeem", v, signature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRedeem is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x0916acd9.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function redeem((bytes32,bytes32,(uint40,uint40,uint32,uint32,address),uint64,uint64,uint40,address) v, bytes signature) returns()
func (licenseRegistry *LicenseRegistry) TryPackRedeem(v LicenseRegistryVoucher, signature []byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("redeem", v, signature)
}

// PackRegisterModel is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9f2dda4c.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function registerModel(bytes32 salt) returns(bytes32 modelId)
func (licenseRegistry *LicenseRegistry) PackRegisterModel(salt [32]byte) []byte {
	enc, err := licenseRegistry.abi.Pack("registerModel", salt)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRegisterModel is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9f2dda4c.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function registerModel(bytes32 salt) returns(bytes32 modelId)
func (licenseRegistry *LicenseRegistry) TryPackRegisterModel(salt [32]byte) ([]byte, error) {
	return licenseRegistry.abi.Pack("registerModel", salt)
}

// UnpackRegisterModel is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x9f2dda4c.
//
// Solidity: function registerModel(bytes32 salt) returns(bytes32 modelId)
func (licenseRegistry *LicenseRegistry) UnpackRegisterModel(data []byte) ([32]byte, error) {
	out, err := licenseRegistry.abi.Unpack("registerModel", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackReinstate is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xf93690bb.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function reinstate(bytes32 modelId, bytes32 subject, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) PackReinstate(modelId [32]byte, subject [32]byte, expectedSeq uint64) []byte {
	enc, err := licenseRegistry.abi.Pack("reinstate", modelId, subject, expectedSeq)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackReinstate is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xf93690bb.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function reinstate(bytes32 modelId, bytes32 subject, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) TryPackReinstate(modelId [32]byte, subject [32]byte, expectedSeq uint64) ([]byte, error) {
	return licenseRegistry.abi.Pack("reinstate", modelId, subject, expectedSeq)
}

// PackRevoke is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8940f356.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function revoke(bytes32 modelId, bytes32 subject, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) PackRevoke(modelId [32]byte, subject [32]byte, expectedSeq uint64) []byte {
	enc, err := licenseRegistry.abi.Pack("revoke", modelId, subject, expectedSeq)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRevoke is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8940f356.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function revoke(bytes32 modelId, bytes32 subject, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) TryPackRevoke(modelId [32]byte, subject [32]byte, expectedSeq uint64) ([]byte, error) {
	return licenseRegistry.abi.Pack("revoke", modelId, subject, expectedSeq)
}

// PackSetActive is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x6485d678.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function setActive(bytes32 modelId, bool active) returns()
func (licenseRegistry *LicenseRegistry) PackSetActive(modelId [32]byte, active bool) []byte {
	enc, err := licenseRegistry.abi.Pack("setActive", modelId, active)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSetActive is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x6485d678.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function setActive(bytes32 modelId, bool active) returns()
func (licenseRegistry *LicenseRegistry) TryPackSetActive(modelId [32]byte, active bool) ([]byte, error) {
	return licenseRegistry.abi.Pack("setActive", modelId, active)
}

// PackSetIssuer is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x58edd4c8.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function setIssuer(bytes32 modelId, address issuer, bool allowed) returns()
func (licenseRegistry *LicenseRegistry) PackSetIssuer(modelId [32]byte, issuer common.Address, allowed bool) []byte {
	enc, err := licenseRegistry.abi.Pack("setIssuer", modelId, issuer, allowed)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSetIssuer is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x58edd4c8.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function setIssuer(bytes32 modelId, address issuer, bool allowed) returns()
func (licenseRegistry *LicenseRegistry) TryPackSetIssuer(modelId [32]byte, issuer common.Address, allowed bool) ([]byte, error) {
	return licenseRegistry.abi.Pack("setIssuer", modelId, issuer, allowed)
}

// PackSetOnSale is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xad8cd84c.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function setOnSale(bytes32 modelId, uint32 plan, bool onSale) returns()
func (licenseRegistry *LicenseRegistry) PackSetOnSale(modelId [32]byte, plan uint32, onSale bool) []byte {
	enc, err := licenseRegistry.abi.Pack("setOnSale", modelId, plan, onSale)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSetOnSale is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xad8cd84c.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function setOnSale(bytes32 modelId, uint32 plan, bool onSale) returns()
func (licenseRegistry *LicenseRegistry) TryPackSetOnSale(modelId [32]byte, plan uint32, onSale bool) ([]byte, error) {
	return licenseRegistry.abi.Pack("setOnSale", modelId, plan, onSale)
}

// PackSuspend is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x2a394a3b.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function suspend(bytes32 modelId, bytes32 subject, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) PackSuspend(modelId [32]byte, subject [32]byte, expectedSeq uint64) []byte {
	enc, err := licenseRegistry.abi.Pack("suspend", modelId, subject, expectedSeq)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSuspend is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x2a394a3b.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function suspend(bytes32 modelId, bytes32 subject, uint64 expectedSeq) returns()
func (licenseRegistry *LicenseRegistry) TryPackSuspend(modelId [32]byte, subject [32]byte, expectedSeq uint64) ([]byte, error) {
	return licenseRegistry.abi.Pack("suspend", modelId, subject, expectedSeq)
}

// PackSwitchPlan is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x7e71d8fa.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function switchPlan(bytes32 modelId, uint32 plan, uint128 price, address token, uint64 expectedSeq) payable returns()
func (licenseRegistry *LicenseRegistry) PackSwitchPlan(modelId [32]byte, plan uint32, price *big.Int, token common.Address, expectedSeq uint64) []byte {
	enc, err := licenseRegistry.abi.Pack("switchPlan", modelId, plan, price, token, expectedSeq)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSwitchPlan is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x7e71d8fa.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function switchPlan(bytes32 modelId, uint32 plan, uint128 price, address token, uint64 expectedSeq) payable returns()
func (licenseRegistry *LicenseRegistry) TryPackSwitchPlan(modelId [32]byte, plan uint32, price *big.Int, token common.Address, expectedSeq uint64) ([]byte, error) {
	return licenseRegistry.abi.Pack("switchPlan", modelId, plan, price, token, expectedSeq)
}

// PackTransferModel is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xbdc383fd.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function transferModel(bytes32 modelId, address to) returns()
func (licenseRegistry *LicenseRegistry) PackTransferModel(modelId [32]byte, to common.Address) []byte {
	enc, err := licenseRegistry.abi.Pack("transferModel", modelId, to)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackTransferModel is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xbdc383fd.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function transferModel(bytes32 modelId, address to) returns()
func (licenseRegistry *LicenseRegistry) TryPackTransferModel(modelId [32]byte, to common.Address) ([]byte, error) {
	return licenseRegistry.abi.Pack("transferModel", modelId, to)
}

// PackVersionDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x215d41c0.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function versionDigest(bytes32 modelId, uint32 version) view returns(bytes32)
func (licenseRegistry *LicenseRegistry) PackVersionDigest(modelId [32]byte, version uint32) []byte {
	enc, err := licenseRegistry.abi.Pack("versionDigest", modelId, version)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackVersionDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x215d41c0.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function versionDigest(bytes32 modelId, uint32 version) view returns(bytes32)
func (licenseRegistry *LicenseRegistry) TryPackVersionDigest(modelId [32]byte, version uint32) ([]byte, error) {
	return licenseRegistry.abi.Pack("versionDigest", modelId, version)
}

// UnpackVersionDigest is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x215d41c0.
//
// Solidity: function versionDigest(bytes32 modelId, uint32 version) view returns(bytes32)
func (licenseRegistry *LicenseRegistry) UnpackVersionDigest(data []byte) ([32]byte, error) {
	out, err := licenseRegistry.abi.Unpack("versionDigest", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// LicenseRegistryActiveSet represents a ActiveSet event raised by the LicenseRegistry contract.
type LicenseRegistryActiveSet struct {
	ModelId [32]byte
	Active  bool
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryActiveSetEventName = "ActiveSet"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryActiveSet) ContractEventName() string {
	return LicenseRegistryActiveSetEventName
}

// UnpackActiveSetEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event ActiveSet(bytes32 indexed modelId, bool active)
func (licenseRegistry *LicenseRegistry) UnpackActiveSetEvent(log *types.Log) (*LicenseRegistryActiveSet, error) {
	event := "ActiveSet"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryActiveSet)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryDrawRecorded represents a DrawRecorded event raised by the LicenseRegistry contract.
type LicenseRegistryDrawRecorded struct {
	ModelId    [32]byte
	Index      uint32
	Randomness [32]byte
	Raw        *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryDrawRecordedEventName = "DrawRecorded"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryDrawRecorded) ContractEventName() string {
	return LicenseRegistryDrawRecordedEventName
}

// UnpackDrawRecordedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event DrawRecorded(bytes32 indexed modelId, uint32 index, bytes32 randomness)
func (licenseRegistry *LicenseRegistry) UnpackDrawRecordedEvent(log *types.Log) (*LicenseRegistryDrawRecorded, error) {
	event := "DrawRecorded"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryDrawRecorded)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryEIP712DomainChanged represents a EIP712DomainChanged event raised by the LicenseRegistry contract.
type LicenseRegistryEIP712DomainChanged struct {
	Raw *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryEIP712DomainChangedEventName = "EIP712DomainChanged"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryEIP712DomainChanged) ContractEventName() string {
	return LicenseRegistryEIP712DomainChangedEventName
}

// UnpackEIP712DomainChangedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event EIP712DomainChanged()
func (licenseRegistry *LicenseRegistry) UnpackEIP712DomainChangedEvent(log *types.Log) (*LicenseRegistryEIP712DomainChanged, error) {
	event := "EIP712DomainChanged"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryEIP712DomainChanged)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryGrantChanged represents a GrantChanged event raised by the LicenseRegistry contract.
type LicenseRegistryGrantChanged struct {
	ModelId    [32]byte
	Subject    [32]byte
	Word       *big.Int
	Head       [32]byte
	Controller common.Address
	By         common.Address
	Raw        *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryGrantChangedEventName = "GrantChanged"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryGrantChanged) ContractEventName() string {
	return LicenseRegistryGrantChangedEventName
}

// UnpackGrantChangedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event GrantChanged(bytes32 indexed modelId, bytes32 indexed subject, uint256 word, bytes32 head, address controller, address by)
func (licenseRegistry *LicenseRegistry) UnpackGrantChangedEvent(log *types.Log) (*LicenseRegistryGrantChanged, error) {
	event := "GrantChanged"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryGrantChanged)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryIssuerSet represents a IssuerSet event raised by the LicenseRegistry contract.
type LicenseRegistryIssuerSet struct {
	ModelId [32]byte
	Issuer  common.Address
	Epoch   uint64
	Allowed bool
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryIssuerSetEventName = "IssuerSet"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryIssuerSet) ContractEventName() string {
	return LicenseRegistryIssuerSetEventName
}

// UnpackIssuerSetEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event IssuerSet(bytes32 indexed modelId, address indexed issuer, uint64 epoch, bool allowed)
func (licenseRegistry *LicenseRegistry) UnpackIssuerSetEvent(log *types.Log) (*LicenseRegistryIssuerSet, error) {
	event := "IssuerSet"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryIssuerSet)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryKeysCommitted represents a KeysCommitted event raised by the LicenseRegistry contract.
type LicenseRegistryKeysCommitted struct {
	ModelId   [32]byte
	Index     uint32
	Root      [32]byte
	DrawBlock uint64
	Raw       *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryKeysCommittedEventName = "KeysCommitted"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryKeysCommitted) ContractEventName() string {
	return LicenseRegistryKeysCommittedEventName
}

// UnpackKeysCommittedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event KeysCommitted(bytes32 indexed modelId, uint32 index, bytes32 root, uint64 drawBlock)
func (licenseRegistry *LicenseRegistry) UnpackKeysCommittedEvent(log *types.Log) (*LicenseRegistryKeysCommitted, error) {
	event := "KeysCommitted"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryKeysCommitted)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryModelRegistered represents a ModelRegistered event raised by the LicenseRegistry contract.
type LicenseRegistryModelRegistered struct {
	ModelId [32]byte
	Creator common.Address
	Salt    [32]byte
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryModelRegisteredEventName = "ModelRegistered"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryModelRegistered) ContractEventName() string {
	return LicenseRegistryModelRegisteredEventName
}

// UnpackModelRegisteredEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event ModelRegistered(bytes32 indexed modelId, address indexed creator, bytes32 salt)
func (licenseRegistry *LicenseRegistry) UnpackModelRegisteredEvent(log *types.Log) (*LicenseRegistryModelRegistered, error) {
	event := "ModelRegistered"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryModelRegistered)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryModelTransferStarted represents a ModelTransferStarted event raised by the LicenseRegistry contract.
type LicenseRegistryModelTransferStarted struct {
	ModelId [32]byte
	From    common.Address
	To      common.Address
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryModelTransferStartedEventName = "ModelTransferStarted"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryModelTransferStarted) ContractEventName() string {
	return LicenseRegistryModelTransferStartedEventName
}

// UnpackModelTransferStartedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event ModelTransferStarted(bytes32 indexed modelId, address indexed from, address indexed to)
func (licenseRegistry *LicenseRegistry) UnpackModelTransferStartedEvent(log *types.Log) (*LicenseRegistryModelTransferStarted, error) {
	event := "ModelTransferStarted"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryModelTransferStarted)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryModelTransferred represents a ModelTransferred event raised by the LicenseRegistry contract.
type LicenseRegistryModelTransferred struct {
	ModelId [32]byte
	From    common.Address
	To      common.Address
	Epoch   uint64
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryModelTransferredEventName = "ModelTransferred"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryModelTransferred) ContractEventName() string {
	return LicenseRegistryModelTransferredEventName
}

// UnpackModelTransferredEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event ModelTransferred(bytes32 indexed modelId, address indexed from, address indexed to, uint64 epoch)
func (licenseRegistry *LicenseRegistry) UnpackModelTransferredEvent(log *types.Log) (*LicenseRegistryModelTransferred, error) {
	event := "ModelTransferred"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryModelTransferred)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryPlanAdded represents a PlanAdded event raised by the LicenseRegistry contract.
type LicenseRegistryPlanAdded struct {
	ModelId [32]byte
	Plan    uint32
	Terms   RegistryStatePlan
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryPlanAddedEventName = "PlanAdded"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryPlanAdded) ContractEventName() string {
	return LicenseRegistryPlanAddedEventName
}

// UnpackPlanAddedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event PlanAdded(bytes32 indexed modelId, uint32 plan, (uint128,uint40,uint32,uint32,bool,address,uint64) terms)
func (licenseRegistry *LicenseRegistry) UnpackPlanAddedEvent(log *types.Log) (*LicenseRegistryPlanAdded, error) {
	event := "PlanAdded"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryPlanAdded)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryPlanOnSale represents a PlanOnSale event raised by the LicenseRegistry contract.
type LicenseRegistryPlanOnSale struct {
	ModelId [32]byte
	Plan    uint32
	OnSale  bool
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryPlanOnSaleEventName = "PlanOnSale"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryPlanOnSale) ContractEventName() string {
	return LicenseRegistryPlanOnSaleEventName
}

// UnpackPlanOnSaleEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event PlanOnSale(bytes32 indexed modelId, uint32 plan, bool onSale)
func (licenseRegistry *LicenseRegistry) UnpackPlanOnSaleEvent(log *types.Log) (*LicenseRegistryPlanOnSale, error) {
	event := "PlanOnSale"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryPlanOnSale)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryPurchased represents a Purchased event raised by the LicenseRegistry contract.
type LicenseRegistryPurchased struct {
	ModelId [32]byte
	Subject [32]byte
	Plan    uint32
	Payer   common.Address
	Token   common.Address
	Price   *big.Int
	Raw     *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryPurchasedEventName = "Purchased"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryPurchased) ContractEventName() string {
	return LicenseRegistryPurchasedEventName
}

// UnpackPurchasedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Purchased(bytes32 indexed modelId, bytes32 indexed subject, uint32 plan, address payer, address token, uint128 price)
func (licenseRegistry *LicenseRegistry) UnpackPurchasedEvent(log *types.Log) (*LicenseRegistryPurchased, error) {
	event := "Purchased"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryPurchased)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// LicenseRegistryVersionPublished represents a VersionPublished event raised by the LicenseRegistry contract.
type LicenseRegistryVersionPublished struct {
	ModelId        [32]byte
	Version        uint32
	ManifestDigest [32]byte
	Raw            *types.Log // Blockchain specific contextual infos
}

const LicenseRegistryVersionPublishedEventName = "VersionPublished"

// ContractEventName returns the user-defined event name.
func (LicenseRegistryVersionPublished) ContractEventName() string {
	return LicenseRegistryVersionPublishedEventName
}

// UnpackVersionPublishedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event VersionPublished(bytes32 indexed modelId, uint32 version, bytes32 manifestDigest)
func (licenseRegistry *LicenseRegistry) UnpackVersionPublishedEvent(log *types.Log) (*LicenseRegistryVersionPublished, error) {
	event := "VersionPublished"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != licenseRegistry.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(LicenseRegistryVersionPublished)
	if len(log.Data) > 0 {
		if err := licenseRegistry.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range licenseRegistry.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// UnpackError attempts to decode the provided error data using user-defined
// error definitions.
func (licenseRegistry *LicenseRegistry) UnpackError(raw []byte) (any, error) {
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadController"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadControllerError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadDigest"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadDigestError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadPlan"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadPlanError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadScope"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadScopeError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadSignature"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadSignatureError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadSubject"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadSubjectError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadTransition"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadTransitionError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadVersion"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadVersionError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["BadWindow"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackBadWindowError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["DrawAlreadyRecorded"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackDrawAlreadyRecordedError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["EpochMismatch"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackEpochMismatchError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["FailedCall"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackFailedCallError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["FieldNotPresentInBlockHeader"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackFieldNotPresentInBlockHeaderError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["GrantRevoked"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackGrantRevokedError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["GrantSuspended"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackGrantSuspendedError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["InsufficientBalance"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackInsufficientBalanceError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["InvalidShortString"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackInvalidShortStringError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["ModelExists"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackModelExistsError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["ModelInactive"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackModelInactiveError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["NoCommitment"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackNoCommitmentError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["NoModel"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackNoModelError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["NoPlan"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackNoPlanError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["NotIssuer"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackNotIssuerError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["NotOwner"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackNotOwnerError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["NotPendingOwner"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackNotPendingOwnerError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["PlanMismatch"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackPlanMismatchError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["PlanNotOnSale"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackPlanNotOnSaleError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["RLPInvalidEncoding"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackRLPInvalidEncodingError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["ReentrancyGuardReentrantCall"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackReentrancyGuardReentrantCallError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["SafeERC20FailedOperation"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackSafeERC20FailedOperationError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["SamePlan"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackSamePlanError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["SeqMismatch"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackSeqMismatchError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["SignatureExpired"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackSignatureExpiredError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["StringTooLong"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackStringTooLongError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["TermsChanged"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackTermsChangedError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["WrongHeader"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackWrongHeaderError(raw[4:])
	}
	if bytes.Equal(raw[:4], licenseRegistry.abi.Errors["WrongPayment"].ID.Bytes()[:4]) {
		return licenseRegistry.UnpackWrongPaymentError(raw[4:])
	}
	return nil, errors.New("Unknown error")
}

// LicenseRegistryBadController represents a BadController error raised by the LicenseRegistry contract.
type LicenseRegistryBadController struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadController()
func LicenseRegistryBadControllerErrorID() common.Hash {
	return common.HexToHash("0x5299f12cfca9108ef651ddb08165db6ecf1f24ccfd972ebe338ee26b7efb6f71")
}

// UnpackBadControllerError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadController()
func (licenseRegistry *LicenseRegistry) UnpackBadControllerError(raw []byte) (*LicenseRegistryBadController, error) {
	out := new(LicenseRegistryBadController)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadController", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadDigest represents a BadDigest error raised by the LicenseRegistry contract.
type LicenseRegistryBadDigest struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadDigest()
func LicenseRegistryBadDigestErrorID() common.Hash {
	return common.HexToHash("0x7a2368ace10cecd74e7cea2168fc72b9f247ff95244a3eef09165857aea5bb3f")
}

// UnpackBadDigestError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadDigest()
func (licenseRegistry *LicenseRegistry) UnpackBadDigestError(raw []byte) (*LicenseRegistryBadDigest, error) {
	out := new(LicenseRegistryBadDigest)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadDigest", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadPlan represents a BadPlan error raised by the LicenseRegistry contract.
type LicenseRegistryBadPlan struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadPlan()
func LicenseRegistryBadPlanErrorID() common.Hash {
	return common.HexToHash("0x2171b80b024712c9056e22f06017e0f341ff4e4f365a0d1f3b397e43b926f1f3")
}

// UnpackBadPlanError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadPlan()
func (licenseRegistry *LicenseRegistry) UnpackBadPlanError(raw []byte) (*LicenseRegistryBadPlan, error) {
	out := new(LicenseRegistryBadPlan)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadPlan", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadScope represents a BadScope error raised by the LicenseRegistry contract.
type LicenseRegistryBadScope struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadScope()
func LicenseRegistryBadScopeErrorID() common.Hash {
	return common.HexToHash("0xe5e47d041069fefdc3e34614fb1d28c5512af6dd19eca1895e27bce0aebcb400")
}

// UnpackBadScopeError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadScope()
func (licenseRegistry *LicenseRegistry) UnpackBadScopeError(raw []byte) (*LicenseRegistryBadScope, error) {
	out := new(LicenseRegistryBadScope)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadScope", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadSignature represents a BadSignature error raised by the LicenseRegistry contract.
type LicenseRegistryBadSignature struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadSignature()
func LicenseRegistryBadSignatureErrorID() common.Hash {
	return common.HexToHash("0x5cd5d2335541c4f2ed05fbe44f397e8b79f8e2333157122d2dab06e378ef7685")
}

// UnpackBadSignatureError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadSignature()
func (licenseRegistry *LicenseRegistry) UnpackBadSignatureError(raw []byte) (*LicenseRegistryBadSignature, error) {
	out := new(LicenseRegistryBadSignature)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadSignature", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadSubject represents a BadSubject error raised by the LicenseRegistry contract.
type LicenseRegistryBadSubject struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadSubject()
func LicenseRegistryBadSubjectErrorID() common.Hash {
	return common.HexToHash("0x11261933fa707cce41ba99b73cbaea3de128724210e44dfe7e8b2cc9146a663a")
}

// UnpackBadSubjectError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadSubject()
func (licenseRegistry *LicenseRegistry) UnpackBadSubjectError(raw []byte) (*LicenseRegistryBadSubject, error) {
	out := new(LicenseRegistryBadSubject)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadSubject", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadTransition represents a BadTransition error raised by the LicenseRegistry contract.
type LicenseRegistryBadTransition struct {
	From uint8
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadTransition(uint8 from)
func LicenseRegistryBadTransitionErrorID() common.Hash {
	return common.HexToHash("0x8902980d8bcbc53136217a4689f3799bc94de5946eb4cf73ce6b558328e9fa01")
}

// UnpackBadTransitionError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadTransition(uint8 from)
func (licenseRegistry *LicenseRegistry) UnpackBadTransitionError(raw []byte) (*LicenseRegistryBadTransition, error) {
	out := new(LicenseRegistryBadTransition)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadTransition", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadVersion represents a BadVersion error raised by the LicenseRegistry contract.
type LicenseRegistryBadVersion struct {
	Next uint32
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadVersion(uint32 next)
func LicenseRegistryBadVersionErrorID() common.Hash {
	return common.HexToHash("0x91aefaa7a9be1d3d463e538c926479384ef9eb73d2cb31b77d2118b7f3e906d4")
}

// UnpackBadVersionError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadVersion(uint32 next)
func (licenseRegistry *LicenseRegistry) UnpackBadVersionError(raw []byte) (*LicenseRegistryBadVersion, error) {
	out := new(LicenseRegistryBadVersion)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadVersion", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryBadWindow represents a BadWindow error raised by the LicenseRegistry contract.
type LicenseRegistryBadWindow struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadWindow()
func LicenseRegistryBadWindowErrorID() common.Hash {
	return common.HexToHash("0x5419376ac9c2527386ba5d8758ca08c38e4273d9a9ec4ebd8ba2baada064d709")
}

// UnpackBadWindowError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadWindow()
func (licenseRegistry *LicenseRegistry) UnpackBadWindowError(raw []byte) (*LicenseRegistryBadWindow, error) {
	out := new(LicenseRegistryBadWindow)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "BadWindow", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryDrawAlreadyRecorded represents a DrawAlreadyRecorded error raised by the LicenseRegistry contract.
type LicenseRegistryDrawAlreadyRecorded struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error DrawAlreadyRecorded()
func LicenseRegistryDrawAlreadyRecordedErrorID() common.Hash {
	return common.HexToHash("0xeff7b37beca7d32e2aef35a817d9ff6d99ce72f4baa047e1a60fbb3ed0d614b5")
}

// UnpackDrawAlreadyRecordedError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error DrawAlreadyRecorded()
func (licenseRegistry *LicenseRegistry) UnpackDrawAlreadyRecordedError(raw []byte) (*LicenseRegistryDrawAlreadyRecorded, error) {
	out := new(LicenseRegistryDrawAlreadyRecorded)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "DrawAlreadyRecorded", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryEpochMismatch represents a EpochMismatch error raised by the LicenseRegistry contract.
type LicenseRegistryEpochMismatch struct {
	Current uint64
	Signed  uint64
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error EpochMismatch(uint64 current, uint64 signed)
func LicenseRegistryEpochMismatchErrorID() common.Hash {
	return common.HexToHash("0x75174c0b10ffddbb73255cd067b3d3a12c25b9fb182e7d7d91081a53abc88c60")
}

// UnpackEpochMismatchError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error EpochMismatch(uint64 current, uint64 signed)
func (licenseRegistry *LicenseRegistry) UnpackEpochMismatchError(raw []byte) (*LicenseRegistryEpochMismatch, error) {
	out := new(LicenseRegistryEpochMismatch)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "EpochMismatch", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryFailedCall represents a FailedCall error raised by the LicenseRegistry contract.
type LicenseRegistryFailedCall struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error FailedCall()
func LicenseRegistryFailedCallErrorID() common.Hash {
	return common.HexToHash("0xd6bda27508c0fb6d8a39b4b122878dab26f731a7d4e4abe711dd3731899052a4")
}

// UnpackFailedCallError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error FailedCall()
func (licenseRegistry *LicenseRegistry) UnpackFailedCallError(raw []byte) (*LicenseRegistryFailedCall, error) {
	out := new(LicenseRegistryFailedCall)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "FailedCall", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryFieldNotPresentInBlockHeader represents a FieldNotPresentInBlockHeader error raised by the LicenseRegistry contract.
type LicenseRegistryFieldNotPresentInBlockHeader struct {
	Arg0 uint8
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error FieldNotPresentInBlockHeader(uint8 arg0)
func LicenseRegistryFieldNotPresentInBlockHeaderErrorID() common.Hash {
	return common.HexToHash("0x3dc3cd92127fc4da0e036ff229cb9f0428ae04c76c83ebf90371931e08ba2e96")
}

// UnpackFieldNotPresentInBlockHeaderError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error FieldNotPresentInBlockHeader(uint8 arg0)
func (licenseRegistry *LicenseRegistry) UnpackFieldNotPresentInBlockHeaderError(raw []byte) (*LicenseRegistryFieldNotPresentInBlockHeader, error) {
	out := new(LicenseRegistryFieldNotPresentInBlockHeader)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "FieldNotPresentInBlockHeader", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryGrantRevoked represents a GrantRevoked error raised by the LicenseRegistry contract.
type LicenseRegistryGrantRevoked struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error GrantRevoked()
func LicenseRegistryGrantRevokedErrorID() common.Hash {
	return common.HexToHash("0xaf9adea1d9fbe00d16497adf000972dee556a727dabb52c844fd839137a63cd8")
}

// UnpackGrantRevokedError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error GrantRevoked()
func (licenseRegistry *LicenseRegistry) UnpackGrantRevokedError(raw []byte) (*LicenseRegistryGrantRevoked, error) {
	out := new(LicenseRegistryGrantRevoked)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "GrantRevoked", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryGrantSuspended represents a GrantSuspended error raised by the LicenseRegistry contract.
type LicenseRegistryGrantSuspended struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error GrantSuspended()
func LicenseRegistryGrantSuspendedErrorID() common.Hash {
	return common.HexToHash("0x7b46fb80613061b41d6624a00213135bd132df61da2c5809f293adfc2cf85653")
}

// UnpackGrantSuspendedError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error GrantSuspended()
func (licenseRegistry *LicenseRegistry) UnpackGrantSuspendedError(raw []byte) (*LicenseRegistryGrantSuspended, error) {
	out := new(LicenseRegistryGrantSuspended)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "GrantSuspended", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryInsufficientBalance represents a InsufficientBalance error raised by the LicenseRegistry contract.
type LicenseRegistryInsufficientBalance struct {
	Balance *big.Int
	Needed  *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error InsufficientBalance(uint256 balance, uint256 needed)
func LicenseRegistryInsufficientBalanceErrorID() common.Hash {
	return common.HexToHash("0xcf4791818fba6e019216eb4864093b4947f674afada5d305e57d598b641dad1d")
}

// UnpackInsufficientBalanceError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error InsufficientBalance(uint256 balance, uint256 needed)
func (licenseRegistry *LicenseRegistry) UnpackInsufficientBalanceError(raw []byte) (*LicenseRegistryInsufficientBalance, error) {
	out := new(LicenseRegistryInsufficientBalance)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "InsufficientBalance", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryInvalidShortString represents a InvalidShortString error raised by the LicenseRegistry contract.
type LicenseRegistryInvalidShortString struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error InvalidShortString()
func LicenseRegistryInvalidShortStringErrorID() common.Hash {
	return common.HexToHash("0xb3512b0c6163e5f0bafab72bb631b9d58cd7a731b082f910338aa21c83d5c274")
}

// UnpackInvalidShortStringError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error InvalidShortString()
func (licenseRegistry *LicenseRegistry) UnpackInvalidShortStringError(raw []byte) (*LicenseRegistryInvalidShortString, error) {
	out := new(LicenseRegistryInvalidShortString)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "InvalidShortString", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryModelExists represents a ModelExists error raised by the LicenseRegistry contract.
type LicenseRegistryModelExists struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ModelExists()
func LicenseRegistryModelExistsErrorID() common.Hash {
	return common.HexToHash("0x56dc8093d7598bf11f2772cfffd59f4d6c2078d0bf4d8719434ca6d82291f5cc")
}

// UnpackModelExistsError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ModelExists()
func (licenseRegistry *LicenseRegistry) UnpackModelExistsError(raw []byte) (*LicenseRegistryModelExists, error) {
	out := new(LicenseRegistryModelExists)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "ModelExists", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryModelInactive represents a ModelInactive error raised by the LicenseRegistry contract.
type LicenseRegistryModelInactive struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ModelInactive()
func LicenseRegistryModelInactiveErrorID() common.Hash {
	return common.HexToHash("0x3cc95375b8ed02d827f672cfc47ead55d5cc3bec6bd7ea09151d88333163f1c8")
}

// UnpackModelInactiveError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ModelInactive()
func (licenseRegistry *LicenseRegistry) UnpackModelInactiveError(raw []byte) (*LicenseRegistryModelInactive, error) {
	out := new(LicenseRegistryModelInactive)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "ModelInactive", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryNoCommitment represents a NoCommitment error raised by the LicenseRegistry contract.
type LicenseRegistryNoCommitment struct {
	Index uint32
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NoCommitment(uint32 index)
func LicenseRegistryNoCommitmentErrorID() common.Hash {
	return common.HexToHash("0x06f9de0574df77eee5ed31be1087b71dfd5cfe0725a89482e2cbd33b64bf1c11")
}

// UnpackNoCommitmentError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NoCommitment(uint32 index)
func (licenseRegistry *LicenseRegistry) UnpackNoCommitmentError(raw []byte) (*LicenseRegistryNoCommitment, error) {
	out := new(LicenseRegistryNoCommitment)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "NoCommitment", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryNoModel represents a NoModel error raised by the LicenseRegistry contract.
type LicenseRegistryNoModel struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NoModel()
func LicenseRegistryNoModelErrorID() common.Hash {
	return common.HexToHash("0x8103cb543016f4ed9e36c9ce2eea45c0b439b997eed4c0244d0e63da23de3f21")
}

// UnpackNoModelError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NoModel()
func (licenseRegistry *LicenseRegistry) UnpackNoModelError(raw []byte) (*LicenseRegistryNoModel, error) {
	out := new(LicenseRegistryNoModel)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "NoModel", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryNoPlan represents a NoPlan error raised by the LicenseRegistry contract.
type LicenseRegistryNoPlan struct {
	Plan uint32
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NoPlan(uint32 plan)
func LicenseRegistryNoPlanErrorID() common.Hash {
	return common.HexToHash("0xd6b7f7c46cd803e11996bfd835eb0f3262f4aec65767d402a61b0a888009a377")
}

// UnpackNoPlanError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NoPlan(uint32 plan)
func (licenseRegistry *LicenseRegistry) UnpackNoPlanError(raw []byte) (*LicenseRegistryNoPlan, error) {
	out := new(LicenseRegistryNoPlan)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "NoPlan", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryNotIssuer represents a NotIssuer error raised by the LicenseRegistry contract.
type LicenseRegistryNotIssuer struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NotIssuer()
func LicenseRegistryNotIssuerErrorID() common.Hash {
	return common.HexToHash("0x54ec50639373b9ecf5c1576d5fcbf1e5c4f02c9b67d364a6a3471b351bfc58b7")
}

// UnpackNotIssuerError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NotIssuer()
func (licenseRegistry *LicenseRegistry) UnpackNotIssuerError(raw []byte) (*LicenseRegistryNotIssuer, error) {
	out := new(LicenseRegistryNotIssuer)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "NotIssuer", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryNotOwner represents a NotOwner error raised by the LicenseRegistry contract.
type LicenseRegistryNotOwner struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NotOwner()
func LicenseRegistryNotOwnerErrorID() common.Hash {
	return common.HexToHash("0x30cd74712f59d478562d48e2d35de830db72c60a63dd08ae59199eec990b5bc4")
}

// UnpackNotOwnerError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NotOwner()
func (licenseRegistry *LicenseRegistry) UnpackNotOwnerError(raw []byte) (*LicenseRegistryNotOwner, error) {
	out := new(LicenseRegistryNotOwner)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "NotOwner", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryNotPendingOwner represents a NotPendingOwner error raised by the LicenseRegistry contract.
type LicenseRegistryNotPendingOwner struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NotPendingOwner()
func LicenseRegistryNotPendingOwnerErrorID() common.Hash {
	return common.HexToHash("0x1853971cac2844d8fedc34d0d65cff78483e8a606ad8448df68a3af766d8a29d")
}

// UnpackNotPendingOwnerError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NotPendingOwner()
func (licenseRegistry *LicenseRegistry) UnpackNotPendingOwnerError(raw []byte) (*LicenseRegistryNotPendingOwner, error) {
	out := new(LicenseRegistryNotPendingOwner)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "NotPendingOwner", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryPlanMismatch represents a PlanMismatch error raised by the LicenseRegistry contract.
type LicenseRegistryPlanMismatch struct {
	Current uint32
	Wanted  uint32
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error PlanMismatch(uint32 current, uint32 wanted)
func LicenseRegistryPlanMismatchErrorID() common.Hash {
	return common.HexToHash("0x57e11f895bf852a1014b3095619600ca629058365c6e37fbe2c0604ab21eac1a")
}

// UnpackPlanMismatchError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error PlanMismatch(uint32 current, uint32 wanted)
func (licenseRegistry *LicenseRegistry) UnpackPlanMismatchError(raw []byte) (*LicenseRegistryPlanMismatch, error) {
	out := new(LicenseRegistryPlanMismatch)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "PlanMismatch", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryPlanNotOnSale represents a PlanNotOnSale error raised by the LicenseRegistry contract.
type LicenseRegistryPlanNotOnSale struct {
	Plan uint32
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error PlanNotOnSale(uint32 plan)
func LicenseRegistryPlanNotOnSaleErrorID() common.Hash {
	return common.HexToHash("0xb4a56ae0d32972c588a063569a23eb939eeb97c7f75f80f6300161028857993d")
}

// UnpackPlanNotOnSaleError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error PlanNotOnSale(uint32 plan)
func (licenseRegistry *LicenseRegistry) UnpackPlanNotOnSaleError(raw []byte) (*LicenseRegistryPlanNotOnSale, error) {
	out := new(LicenseRegistryPlanNotOnSale)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "PlanNotOnSale", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryRLPInvalidEncoding represents a RLPInvalidEncoding error raised by the LicenseRegistry contract.
type LicenseRegistryRLPInvalidEncoding struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error RLPInvalidEncoding()
func LicenseRegistryRLPInvalidEncodingErrorID() common.Hash {
	return common.HexToHash("0xf3dd700486d05c537b5facf4c114ba6b400473774588d1ffb11e80a83758e4df")
}

// UnpackRLPInvalidEncodingError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error RLPInvalidEncoding()
func (licenseRegistry *LicenseRegistry) UnpackRLPInvalidEncodingError(raw []byte) (*LicenseRegistryRLPInvalidEncoding, error) {
	out := new(LicenseRegistryRLPInvalidEncoding)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "RLPInvalidEncoding", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryReentrancyGuardReentrantCall represents a ReentrancyGuardReentrantCall error raised by the LicenseRegistry contract.
type LicenseRegistryReentrancyGuardReentrantCall struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ReentrancyGuardReentrantCall()
func LicenseRegistryReentrancyGuardReentrantCallErrorID() common.Hash {
	return common.HexToHash("0x3ee5aeb571de7fc460830b4d0017439a1ca56fb0bc39062227ade4fe4a24c1ca")
}

// UnpackReentrancyGuardReentrantCallError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ReentrancyGuardReentrantCall()
func (licenseRegistry *LicenseRegistry) UnpackReentrancyGuardReentrantCallError(raw []byte) (*LicenseRegistryReentrancyGuardReentrantCall, error) {
	out := new(LicenseRegistryReentrancyGuardReentrantCall)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "ReentrancyGuardReentrantCall", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistrySafeERC20FailedOperation represents a SafeERC20FailedOperation error raised by the LicenseRegistry contract.
type LicenseRegistrySafeERC20FailedOperation struct {
	Token common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error SafeERC20FailedOperation(address token)
func LicenseRegistrySafeERC20FailedOperationErrorID() common.Hash {
	return common.HexToHash("0x5274afe73c98b4749fc91ffae6b7b574e7842cb2144a159e9377a5f20b32edf9")
}

// UnpackSafeERC20FailedOperationError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error SafeERC20FailedOperation(address token)
func (licenseRegistry *LicenseRegistry) UnpackSafeERC20FailedOperationError(raw []byte) (*LicenseRegistrySafeERC20FailedOperation, error) {
	out := new(LicenseRegistrySafeERC20FailedOperation)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "SafeERC20FailedOperation", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistrySamePlan represents a SamePlan error raised by the LicenseRegistry contract.
type LicenseRegistrySamePlan struct {
	Plan uint32
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error SamePlan(uint32 plan)
func LicenseRegistrySamePlanErrorID() common.Hash {
	return common.HexToHash("0x700457e5b33a5199b74f5bdac616b9e43f3239dabe854fa6b2053c9b9c3e16b8")
}

// UnpackSamePlanError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error SamePlan(uint32 plan)
func (licenseRegistry *LicenseRegistry) UnpackSamePlanError(raw []byte) (*LicenseRegistrySamePlan, error) {
	out := new(LicenseRegistrySamePlan)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "SamePlan", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistrySeqMismatch represents a SeqMismatch error raised by the LicenseRegistry contract.
type LicenseRegistrySeqMismatch struct {
	Current  uint64
	Expected uint64
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error SeqMismatch(uint64 current, uint64 expected)
func LicenseRegistrySeqMismatchErrorID() common.Hash {
	return common.HexToHash("0x43a65bc8f3590977d6e17d650ecfc9cffce483e3c15315ceaf1cc3849c9d5931")
}

// UnpackSeqMismatchError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error SeqMismatch(uint64 current, uint64 expected)
func (licenseRegistry *LicenseRegistry) UnpackSeqMismatchError(raw []byte) (*LicenseRegistrySeqMismatch, error) {
	out := new(LicenseRegistrySeqMismatch)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "SeqMismatch", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistrySignatureExpired represents a SignatureExpired error raised by the LicenseRegistry contract.
type LicenseRegistrySignatureExpired struct {
	Deadline *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error SignatureExpired(uint40 deadline)
func LicenseRegistrySignatureExpiredErrorID() common.Hash {
	return common.HexToHash("0x4e1025f6fc80920c5dc360f54cdec3bf63cf186b9fbfa3d221626ab32312429c")
}

// UnpackSignatureExpiredError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error SignatureExpired(uint40 deadline)
func (licenseRegistry *LicenseRegistry) UnpackSignatureExpiredError(raw []byte) (*LicenseRegistrySignatureExpired, error) {
	out := new(LicenseRegistrySignatureExpired)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "SignatureExpired", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryStringTooLong represents a StringTooLong error raised by the LicenseRegistry contract.
type LicenseRegistryStringTooLong struct {
	Str string
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error StringTooLong(string str)
func LicenseRegistryStringTooLongErrorID() common.Hash {
	return common.HexToHash("0x305a27a93f8e33b7392df0a0f91d6fc63847395853c45991eec52dbf24d72381")
}

// UnpackStringTooLongError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error StringTooLong(string str)
func (licenseRegistry *LicenseRegistry) UnpackStringTooLongError(raw []byte) (*LicenseRegistryStringTooLong, error) {
	out := new(LicenseRegistryStringTooLong)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "StringTooLong", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryTermsChanged represents a TermsChanged error raised by the LicenseRegistry contract.
type LicenseRegistryTermsChanged struct {
	Price *big.Int
	Token common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error TermsChanged(uint128 price, address token)
func LicenseRegistryTermsChangedErrorID() common.Hash {
	return common.HexToHash("0x5f7dbc616a81716d7529f74e3f3c59c7bb7abc351a50af7b4e601a8a6e19593a")
}

// UnpackTermsChangedError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error TermsChanged(uint128 price, address token)
func (licenseRegistry *LicenseRegistry) UnpackTermsChangedError(raw []byte) (*LicenseRegistryTermsChanged, error) {
	out := new(LicenseRegistryTermsChanged)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "TermsChanged", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryWrongHeader represents a WrongHeader error raised by the LicenseRegistry contract.
type LicenseRegistryWrongHeader struct {
	DrawBlock uint64
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error WrongHeader(uint64 drawBlock)
func LicenseRegistryWrongHeaderErrorID() common.Hash {
	return common.HexToHash("0x0b1a65eedc9a13d74666c67566a9138368fa97fb812861b3f8ede4e9677d051b")
}

// UnpackWrongHeaderError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error WrongHeader(uint64 drawBlock)
func (licenseRegistry *LicenseRegistry) UnpackWrongHeaderError(raw []byte) (*LicenseRegistryWrongHeader, error) {
	out := new(LicenseRegistryWrongHeader)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "WrongHeader", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// LicenseRegistryWrongPayment represents a WrongPayment error raised by the LicenseRegistry contract.
type LicenseRegistryWrongPayment struct {
	Sent *big.Int
	Due  *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error WrongPayment(uint256 sent, uint256 due)
func LicenseRegistryWrongPaymentErrorID() common.Hash {
	return common.HexToHash("0x0dd32d1c3ef0af2f42e38a7f633c5c154da0aa1d3a58e8dcd04bcd6fb310ac9d")
}

// UnpackWrongPaymentError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error WrongPayment(uint256 sent, uint256 due)
func (licenseRegistry *LicenseRegistry) UnpackWrongPaymentError(raw []byte) (*LicenseRegistryWrongPayment, error) {
	out := new(LicenseRegistryWrongPayment)
	if err := licenseRegistry.abi.UnpackIntoInterface(out, "WrongPayment", raw); err != nil {
		return nil, err
	}
	return out, nil
}
