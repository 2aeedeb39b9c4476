// Package devnet runs an Ethereum chain and a Redis inside this process, for the
// demo and for tests.
//
// The chain is a real go-ethereum node with a simulated beacon: real blocks, gas,
// logs and RPC, but its one operator is this process, so nothing on it is beyond
// dispute. Both listen on free loopback ports and keep everything in memory. Start
// with [StartChain] and [StartRedis].
package devnet

import (
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/internal/wallet"
)

// ChainConfig shapes an embedded chain.
type ChainConfig struct {
	ChainID  uint64 // zero: 1337
	Period   uint64 // seconds between blocks; zero: 1
	Accounts int    // how many fresh accounts hold 10,000 ether each; zero: 3
	HTTPPort int    // on loopback; zero: a free one
	// Randomness, if set, is what each block's prevrandao is: the operator's choice.
	Randomness func(number uint64) [32]byte
}

// Chain is a running embedded chain.
type Chain struct {
	stack    *node.Node
	chain    *core.BlockChain
	accounts []*wallet.Key
	id       uint64
	close    sync.Once
	closeErr error
}

const (
	gasLimit = 60_000_000 // of a block, as on mainnet
	megabyte = 16         // of database cache: this chain is small
)

// StartChain starts a chain that makes a block per period. Close it.
func StartChain(c ChainConfig) (*Chain, error) {
	c = c.withDefaults()
	accounts, err := newAccounts(c.Accounts)
	if err != nil {
		return nil, err
	}
	stack, err := node.New(nodeConfig(c))
	if err != nil {
		return nil, fmt.Errorf("devnet: node: %w", err)
	}
	chain, err := assemble(stack, c, accounts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("devnet: chain: %w", err), stack.Close())
	}
	if err := stack.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("devnet: start: %w", err), stack.Close())
	}
	return &Chain{stack: stack, chain: chain, accounts: accounts, id: c.ChainID}, nil
}

func (c ChainConfig) withDefaults() ChainConfig {
	if c.ChainID == 0 {
		c.ChainID = 1337
	}
	if c.Period == 0 {
		c.Period = 1
	}
	if c.Accounts == 0 {
		c.Accounts = 3
	}
	return c
}

func newAccounts(n int) ([]*wallet.Key, error) {
	accounts := make([]*wallet.Key, n)
	for i := range accounts {
		key, err := wallet.Generate()
		if err != nil {
			return nil, err
		}
		accounts[i] = key
	}
	return accounts, nil
}

func nodeConfig(c ChainConfig) *node.Config {
	modules := []string{"eth", "net", "web3"}
	n := node.DefaultConfig
	n.Name = "fealty-devnet"
	n.DataDir = "" // in memory
	n.P2P = p2p.Config{NoDiscovery: true, NoDial: true}
	n.HTTPHost, n.HTTPPort, n.HTTPModules = "127.0.0.1", c.HTTPPort, modules
	n.WSHost, n.WSPort, n.WSModules = "127.0.0.1", 0, modules
	n.HTTPVirtualHosts = []string{"localhost", "127.0.0.1"}
	return &n
}

func assemble(stack *node.Node, c ChainConfig, accounts []*wallet.Key) (*core.BlockChain, error) {
	conf := ethconfig.Defaults
	conf.Genesis = genesis(c, accounts)
	conf.NetworkId = c.ChainID
	conf.SyncMode = ethconfig.FullSync
	conf.DatabaseCache, conf.DatabaseHandles = megabyte, 64
	conf.TrieCleanCache, conf.TrieDirtyCache, conf.SnapshotCache = megabyte, megabyte, megabyte
	conf.TxPool.NoLocals = true
	conf.Miner.GasPrice = big.NewInt(1)
	conf.LogNoHistory = true // search logs in the blocks: an index of a chain this short gains nothing
	backend, err := eth.New(stack, &conf)
	if err != nil {
		return nil, err
	}
	logs := filters.NewFilterSystem(backend.APIBackend, filters.Config{LogCacheSize: conf.FilterLogCacheSize})
	stack.RegisterAPIs([]rpc.API{{Namespace: "eth", Service: filters.NewFilterAPI(logs)}})
	if c.Randomness != nil {
		stack.RegisterLifecycle(newChosen(c, backend))
		return backend.BlockChain(), nil
	}
	beacon, err := catalyst.NewSimulatedBeacon(c.Period, common.Address{}, backend)
	if err != nil {
		return nil, err
	}
	stack.RegisterLifecycle(beacon)
	return backend.BlockChain(), nil
}

func genesis(c ChainConfig, accounts []*wallet.Key) *core.Genesis {
	g := core.DeveloperGenesisBlock(gasLimit, nil)
	g.Config.ChainID = new(big.Int).SetUint64(c.ChainID)
	g.Config.BogotaTime = nil // stay at the forks that mainnet has
	balance := new(big.Int).Mul(big.NewInt(10_000), big.NewInt(1e18))
	for _, key := range accounts {
		g.Alloc[key.Address()] = types.Account{Balance: balance}
	}
	return g
}

// HTTP is the URL of the node's JSON-RPC over HTTP.
func (c *Chain) HTTP() string { return c.stack.HTTPEndpoint() }

// WS is the URL of the node's JSON-RPC over WebSocket, which can subscribe.
func (c *Chain) WS() string { return c.stack.WSEndpoint() }

// ID is the chain id.
func (c *Chain) ID() uint64 { return c.id }

// Blocks tells each of the number of a new block, at the moment that the node has it,
// until stop is called.
func (c *Chain) Blocks(each func(number uint64)) (stop func()) {
	heads := make(chan core.ChainHeadEvent, 16)
	subscription := c.chain.SubscribeChainHeadEvent(heads)
	ended := subscription.Err() // closed by Unsubscribe
	go func() {
		for {
			select {
			case head := <-heads:
				each(head.Header.Number.Uint64())
			case _, open := <-ended:
				if !open {
					return
				}
			}
		}
	}()
	return subscription.Unsubscribe
}

// Accounts are the keys that hold money from the start.
func (c *Chain) Accounts() []*wallet.Key { return c.accounts }

// Close stops the chain and frees its ports. It may be called again.
func (c *Chain) Close() error {
	c.close.Do(func() { c.closeErr = c.stack.Close() })
	return c.closeErr
}
