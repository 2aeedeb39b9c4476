// Package registry writes to a license registry: what creators and licensees do
// with a wallet.
//
// Each call sends one real transaction (two where a token must be approved first)
// and returns when it is in a block. What the contract refuses comes back in words,
// as a *contract.RevertError. The gateway does not use this package; it reads
// through licensecheck. Start with [Deploy] or [Open].
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/licensecheck/internal/node"
)

// Options says which registry, through which node, as whom.
type Options struct {
	RPC      string      // http(s):// or ws(s):// URL of any Ethereum node; may hold a key and is never shown
	ChainID  uint64      // zero: whatever chain the node is on
	Registry [20]byte    // ignored by Deploy
	Key      *wallet.Key // nil: reading only
	// Progress, if set, is told what is being waited for.
	Progress func(string)
	// Wait bounds the wait for each transaction's block. Zero: as long as the context lasts.
	Wait time.Duration
	// Answer bounds each question to the node. Zero: 30 s.
	Answer time.Duration
	// DryRun sends nothing: whatever writes comes back with a [*Preview] as its error.
	DryRun bool
}

// Registry is an open connection to a license registry.
type Registry struct {
	options  Options
	client   *ethclient.Client
	identity node.Identity
}

var bindings = contract.NewLicenseRegistry()

// Deploy puts a new registry on the chain. drawDelay is the number of blocks from a
// commitment of fingerprints to the block that draws their responses: 128 or more on
// Ethereum; small ones suit chains that prove nothing anyway, such as the demo's.
func Deploy(ctx context.Context, o Options, drawDelay uint64) (*Registry, Receipt, error) {
	if drawDelay == 0 {
		return nil, Receipt{}, errors.New("registry: the draw delay is 0 blocks; it must be at least 1, and 128 on Ethereum")
	}
	client, err := dial(ctx, o)
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("registry: %w", err)
	}
	r, receipt, err := deploy(ctx, client, o, drawDelay)
	if err != nil {
		client.Close()
		return nil, Receipt{}, fmt.Errorf("registry: %w", err)
	}
	return r, receipt, nil
}

func deploy(ctx context.Context, client *ethclient.Client, o Options, drawDelay uint64) (*Registry, Receipt, error) {
	id, err := node.CheckChain(ctx, client, o.ChainID)
	if err != nil {
		return nil, Receipt{}, err
	}
	r := &Registry{options: o, client: client, identity: node.Identity{ChainID: id}}
	code := append(common.FromHex(contract.LicenseRegistryMetaData.Bin), bindings.PackConstructor(drawDelay)...)
	mined, err := r.send(ctx, "the registry's deployment", nil, code, nil)
	if err != nil {
		return nil, Receipt{}, err
	}
	r.identity, err = node.Identify(ctx, client, id, mined.ContractAddress)
	return r, receiptOf(mined), err
}

// Open connects to a registry, making sure that it is one.
func Open(ctx context.Context, o Options) (*Registry, error) {
	client, err := dial(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	identity, err := node.Identify(ctx, client, o.ChainID, o.Registry)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("registry: %w", err)
	}
	return &Registry{options: o, client: client, identity: identity}, nil
}

// dial bounds the wait for a connection and, over HTTP, for each answer. Over WebSocket the
// client's own pings find out within a minute that nobody is there any more.
func dial(ctx context.Context, o Options) (*ethclient.Client, error) {
	wait := cmp.Or(o.Answer, 30*time.Second)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return node.Dial(ctx, o.RPC, rpc.WithHTTPClient(&http.Client{Timeout: wait}))
}

// Close frees the connection.
func (r *Registry) Close() { r.client.Close() }

// Address is where the registry is.
func (r *Registry) Address() [20]byte { return r.identity.Registry }

// ChainID is the chain it is on.
func (r *Registry) ChainID() uint64 { return r.identity.ChainID }

// DrawDelay is the number of blocks from a commitment to its draw.
func (r *Registry) DrawDelay() uint64 { return r.identity.DrawDelay }

// As is the same registry for another wallet, over the same connection. Close only one of them.
func (r *Registry) As(key *wallet.Key) *Registry {
	as := *r
	as.options.Key = key
	return &as
}

// DeployedAt is the block that it was deployed in.
func (r *Registry) DeployedAt() uint64 { return r.identity.Block }

// Block is the number and the hash of the newest block.
func (r *Registry) Block(ctx context.Context) (uint64, [32]byte, error) {
	head, err := node.ByTag(ctx, r.client, "latest")
	if err != nil {
		return 0, [32]byte{}, fmt.Errorf("registry: %w", err)
	}
	return head.Number, head.Hash, nil
}

// Receipt says what a transaction became.
type Receipt struct {
	Tx        [32]byte
	Block     uint64
	BlockHash [32]byte
	GasUsed   uint64
	Fee       *big.Int // wei
}

func receiptOf(m *types.Receipt) Receipt {
	r := Receipt{Tx: m.TxHash, Block: m.BlockNumber.Uint64(), BlockHash: m.BlockHash, GasUsed: m.GasUsed, Fee: new(big.Int)}
	if m.EffectiveGasPrice != nil {
		r.Fee.Mul(m.EffectiveGasPrice, new(big.Int).SetUint64(m.GasUsed))
	}
	return r
}

// write sends a call to the registry and finds the one event that answers it.
func write[E bind.ContractEvent](ctx context.Context, r *Registry, what string, data []byte, value *big.Int, unpack func(*types.Log) (*E, error)) (*E, Receipt, error) {
	to := common.Address(r.identity.Registry)
	mined, err := r.send(ctx, what, &to, data, value)
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("registry: %w", err)
	}
	for _, log := range mined.Logs {
		if event, err := unpack(log); err == nil && log.Address == to {
			return event, receiptOf(mined), nil
		}
	}
	return nil, Receipt{}, fmt.Errorf("registry: %s is in block %d but left no event; is this contract another version?", what, mined.BlockNumber)
}

// read calls a view at the newest block.
func read[T any](ctx context.Context, r *Registry, what string, data []byte, unpack func([]byte) (T, error)) (T, error) {
	to := common.Address(r.identity.Registry)
	answer, err := r.client.CallContract(ctx, ethereum.CallMsg{To: &to, Data: data}, nil)
	if err != nil {
		var zero T
		return zero, fmt.Errorf("registry: reading %s: %w", what, node.Clean(err))
	}
	value, err := unpack(answer)
	if err != nil {
		return value, fmt.Errorf("registry: reading %s: the node's answer cannot be decoded: %w", what, err)
	}
	return value, nil
}
