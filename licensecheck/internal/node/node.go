// Package node connects to an Ethereum node and makes sure that it is the right
// one: the chain and the registry that were asked for.
//
// RPC URLs often hold a key, so no error from here shows one. Start with [Dial].
package node

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
)

// ErrWrong: the node answered, and it is not what was asked for. Retrying does not help.
var ErrWrong = errors.New("not the chain or registry asked for")

// Dial connects to the node at rawURL.
func Dial(ctx context.Context, rawURL string, options ...rpc.ClientOption) (*ethclient.Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("the RPC URL cannot be read; it needs http(s)://host or ws(s)://host")
	}
	client, err := rpc.DialOptions(ctx, rawURL, options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the node at %s: %w", u.Hostname(), Clean(err))
	}
	return ethclient.NewClient(client), nil
}

// Clean takes the URL out of an error.
func Clean(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return fmt.Errorf("%s: %w", withURL.Op, withURL.Err)
	}
	return err
}

// Identity tells one deployment of a registry from every other, on restarted
// chains that repeat its address too.
type Identity struct {
	ChainID   uint64
	Registry  [20]byte
	Block     uint64   // of the deployment
	BlockHash [32]byte // of the deployment
	DrawDelay uint64   // blocks
}

// Identify asks the node for the registry's identity. chainID 0 takes any chain.
func Identify(ctx context.Context, c *ethclient.Client, chainID uint64, registry [20]byte) (Identity, error) {
	id, err := CheckChain(ctx, c, chainID)
	if err != nil {
		return Identity{}, err
	}
	code, err := c.CodeAt(ctx, registry, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the registry's code: %w", Clean(err))
	}
	if len(code) == 0 {
		return Identity{}, fmt.Errorf("%w: no contract at %s on chain %d; check the address and the RPC URL, or deploy one with `fealty license deploy`", ErrWrong, wallet.AddressText(registry), id)
	}
	return identify(ctx, c, Identity{ChainID: id, Registry: registry})
}

// CheckChain is the node's chain id, which must be the one asked for; 0 asks for any.
func CheckChain(ctx context.Context, c *ethclient.Client, chainID uint64) (uint64, error) {
	id, err := c.ChainID(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking the node for its chain: %w", Clean(err))
	}
	if chainID != 0 && id.Uint64() != chainID {
		return 0, fmt.Errorf("%w: the node is on chain %d, not %d; check the RPC URL and the chain id", ErrWrong, id, chainID)
	}
	return id.Uint64(), nil
}

var bindings = contract.NewLicenseRegistry()

func identify(ctx context.Context, c *ethclient.Client, id Identity) (Identity, error) {
	var err error
	if id.Block, err = callUint(ctx, c, id.Registry, bindings.PackDeployedAt(), bindings.UnpackDeployedAt); err != nil {
		return Identity{}, err
	}
	if id.DrawDelay, err = callUint(ctx, c, id.Registry, bindings.PackDrawDelay(), bindings.UnpackDrawDelay); err != nil {
		return Identity{}, err
	}
	deployed, err := ByNumber(ctx, c, id.Block)
	if err != nil {
		return Identity{}, fmt.Errorf("the registry's deployment: %w", err)
	}
	id.BlockHash = deployed.Hash
	return id, nil
}

func callUint(ctx context.Context, c *ethclient.Client, registry common.Address, data []byte, unpack func([]byte) (uint64, error)) (uint64, error) {
	answer, err := c.CallContract(ctx, ethereum.CallMsg{To: &registry, Data: data}, nil)
	var refused rpc.Error
	if err != nil && !errors.As(err, &refused) {
		return 0, fmt.Errorf("calling the registry: %w", Clean(err))
	}
	value, unpackErr := unpack(answer)
	if err != nil || unpackErr != nil {
		return 0, fmt.Errorf("%w: the contract at %s is no license registry; check the address", ErrWrong, wallet.AddressText(registry))
	}
	return value, nil
}
