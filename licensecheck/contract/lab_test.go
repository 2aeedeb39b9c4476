package contract

import (
	"bytes"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"github.com/fealty/fealty/licensecheck/contract/contracttest"
)

// lab is the registry on a bare EVM: no node and no transactions, thousands of calls a
// second, from any account (contracts too), with time and block hashes at will.
type lab struct {
	t        testing.TB
	state    *state.StateDB
	registry common.Address
	block    uint64
	now      uint64 // Unix seconds
	header   func(number uint64) []byte
}

// outcome is what a call did: its events in order, or why it was refused.
type outcome struct {
	events  []string
	refusal string // the error with its arguments; empty: it succeeded
}

func (o outcome) String() string {
	if o.refusal != "" {
		return "refused: " + o.refusal
	}
	return fmt.Sprintf("%q", o.events)
}

// cancun is the oldest chain that the registry promises to run on.
var cancun = func() *params.ChainConfig {
	c := *params.AllDevChainProtocolChanges
	c.PragueTime, c.OsakaTime, c.BogotaTime = nil, nil, nil
	return &c
}()

const labStart = 1_800_000_000 // Unix seconds

func newLab(t testing.TB, rich ...common.Address) *lab {
	t.Helper()
	s, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, state: s, block: 1000, now: labStart, header: header}
	for _, who := range rich {
		s.AddBalance(who, uint256.NewInt(labCoins), tracing.BalanceChangeUnspecified)
	}
	l.registry = l.deploy(LicenseRegistryMetaData.Bin, bindings.PackConstructor(drawDelay))
	return l
}

const labCoins = 1_000_000_000 // wei that each rich account starts with

// header is the block of this number, as far as a draw looks at it.
func header(number uint64) []byte {
	h := types.Header{Number: new(big.Int).SetUint64(number), Difficulty: new(big.Int), BaseFee: new(big.Int)}
	h.MixDigest = crypto.Keccak256Hash(word(h.Number))
	encoded, err := rlp.EncodeToBytes(&h)
	if err != nil {
		panic(err) // a header always encodes
	}
	return encoded
}

func (l *lab) config(who common.Address, value *big.Int) *runtime.Config {
	return &runtime.Config{
		ChainConfig: cancun, Origin: who, Value: value, State: l.state, Time: l.now,
		BlockNumber: new(big.Int).SetUint64(l.block), BaseFee: new(big.Int),
		GetHashFn: func(n uint64) common.Hash { return crypto.Keccak256Hash(l.header(n)) },
	}
}

func (l *lab) deploy(bin string, constructor []byte) common.Address {
	l.t.Helper()
	_, at, _, err := runtime.Create(append(common.FromHex(bin), constructor...), l.config(common.Address{1}, nil))
	if err != nil {
		l.t.Fatal(err)
	}
	return at
}

// call runs a transaction of who to an address.
func (l *lab) call(who, to common.Address, data []byte, value *big.Int) outcome {
	cfg := l.config(who, value)
	before := len(l.state.Logs())
	answer, _, err := runtime.Call(to, data, cfg)
	l.state.Finalise(cancun.Rules(cfg.BlockNumber, true, l.now))
	if err != nil {
		return outcome{refusal: refusalText(answer)}
	}
	covered.function(data)
	return outcome{events: l.events(l.state.Logs()[before:])}
}

// write is a call to the registry.
func (l *lab) write(who common.Address, data []byte, value int64) outcome {
	return l.call(who, l.registry, data, big.NewInt(value))
}

func (l *lab) events(logs []*types.Log) []string {
	var told []string
	for _, log := range logs {
		if log.Address == l.registry {
			told = append(told, eventText(log))
		}
	}
	return told
}

func labAsk[T any](l *lab, data []byte, unpack func([]byte) (T, error)) T {
	l.t.Helper()
	answer, _, err := runtime.Call(l.registry, data, l.config(common.Address{1}, nil))
	if err != nil {
		l.t.Fatal(err)
	}
	covered.function(data)
	value, err := unpack(answer)
	if err != nil {
		l.t.Fatal(err)
	}
	return value
}

// tokenABI knows the errors of the token that plans are paid with.
var tokenABI = func() *abi.ABI {
	parsed, err := contracttest.TestTokenMetaData.ParseABI()
	if err != nil {
		panic(err) // generated
	}
	return parsed
}()

// say is how the lab and the twin write errors and events, so that they compare.
func say(name string, args ...any) string {
	var b bytes.Buffer
	b.WriteString(name + "(")
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		switch v := a.(type) {
		case [32]byte:
			fmt.Fprintf(&b, "%x", v[:])
		default:
			fmt.Fprint(&b, v)
		}
	}
	return b.String() + ")"
}

// panicID is Solidity's Panic(uint256).
var panicID = [4]byte{0x4e, 0x48, 0x7b, 0x71}

func refusalText(data []byte) string {
	if len(data) < 4 {
		return "no reason"
	}
	id := [4]byte(data[:4])
	if id == panicID {
		return say("Panic", new(big.Int).SetBytes(data[4:]))
	}
	parsed := bindings.GetABI()
	e, err := parsed.ErrorByID(id)
	if err == nil {
		covered.failure(e.Name)
	} else if e, err = tokenABI.ErrorByID(id); err != nil {
		return fmt.Sprintf("0x%x", data)
	}
	args, err := e.Inputs.Unpack(data[4:])
	if err != nil {
		return fmt.Sprintf("%s, not decodable: 0x%x", e.Name, data)
	}
	return say(e.Name, args...)
}

func eventText(log *types.Log) string {
	parsed := bindings.GetABI()
	e, err := parsed.EventByID(log.Topics[0])
	if err != nil {
		return fmt.Sprintf("unknown event %x", log.Topics)
	}
	covered.event(e.Name)
	plain, err := e.Inputs.NonIndexed().Unpack(log.Data)
	if err != nil {
		return fmt.Sprintf("%s, not decodable: 0x%x", e.Name, log.Data)
	}
	var args []any
	topics := log.Topics[1:]
	for _, input := range e.Inputs {
		switch {
		case !input.Indexed:
			args, plain = append(args, plain[0]), plain[1:]
		case input.Type.T == abi.AddressTy:
			args, topics = append(args, common.BytesToAddress(topics[0][:])), topics[1:]
		default:
			args, topics = append(args, [32]byte(topics[0])), topics[1:]
		}
	}
	return say(e.Name, args...)
}
