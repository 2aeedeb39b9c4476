package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// Block is what a watcher needs of a block's header. The hash is the node's word:
// computing it would fail on chains whose headers have fields of their own.
type Block struct {
	Number uint64
	Hash   common.Hash
	Parent common.Hash
	Time   uint64 // Unix seconds
	Randao common.Hash
}

// UnmarshalJSON reads a header as nodes send it, refusing one with a field missing.
func (b *Block) UnmarshalJSON(data []byte) error {
	var h struct {
		Number    *hexutil.Uint64 `json:"number"`
		Hash      *common.Hash    `json:"hash"`
		Parent    *common.Hash    `json:"parentHash"`
		Timestamp *hexutil.Uint64 `json:"timestamp"`
		Mix       common.Hash     `json:"mixHash"`
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return err
	}
	if h.Number == nil || h.Hash == nil || h.Parent == nil || h.Timestamp == nil {
		return fmt.Errorf("a block header without number, hash, parentHash or timestamp")
	}
	*b = Block{uint64(*h.Number), *h.Hash, *h.Parent, uint64(*h.Timestamp), h.Mix}
	return nil
}

// ByTag is the block of a tag: latest, safe or finalized.
func ByTag(ctx context.Context, c *ethclient.Client, tag string) (Block, error) {
	return block(ctx, c, "eth_getBlockByNumber", tag)
}

// ByNumber is the block of a number on the node's canonical chain.
func ByNumber(ctx context.Context, c *ethclient.Client, number uint64) (Block, error) {
	return block(ctx, c, "eth_getBlockByNumber", hexutil.EncodeUint64(number))
}

func block(ctx context.Context, c *ethclient.Client, method, which string) (Block, error) {
	var b *Block
	if err := c.Client().CallContext(ctx, &b, method, which, false); err != nil {
		return Block{}, fmt.Errorf("reading block %s: %w", which, Clean(err))
	}
	if b == nil {
		return Block{}, fmt.Errorf("reading block %s: %w", which, ethereum.NotFound)
	}
	return *b, nil
}

// Range is the canonical blocks from lo to hi.
func Range(ctx context.Context, c *ethclient.Client, lo, hi uint64) ([]Block, error) {
	blocks := make([]*Block, hi-lo+1)
	calls := make([]rpc.BatchElem, len(blocks))
	for i := range calls {
		calls[i] = rpc.BatchElem{Method: "eth_getBlockByNumber", Args: []any{hexutil.EncodeUint64(lo + uint64(i)), false}, Result: &blocks[i]}
	}
	if err := Batch(ctx, c, calls); err != nil {
		return nil, fmt.Errorf("reading blocks %d to %d: %w", lo, hi, err)
	}
	out := make([]Block, len(blocks))
	for i, b := range blocks {
		if b == nil {
			return nil, fmt.Errorf("reading block %d: %w", lo+uint64(i), ethereum.NotFound)
		}
		out[i] = *b
	}
	return out, nil
}

const most = 64 // calls in a request: nodes refuse long ones

// Batch sends the calls in a few requests. The first that fails fails them all.
func Batch(ctx context.Context, c *ethclient.Client, calls []rpc.BatchElem) error {
	for some := range slices.Chunk(calls, most) {
		if err := c.Client().BatchCallContext(ctx, some); err != nil {
			return Clean(err)
		}
		for i, call := range some {
			if call.Error != nil {
				return fmt.Errorf("call %d of %d: %w", i+1, len(some), call.Error)
			}
		}
	}
	return nil
}
