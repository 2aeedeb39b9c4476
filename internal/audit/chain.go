package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/licensecheck/contract"
)

// Snapshot is the registry's state at one block, as eth_getProof gave it. All values
// follow from the proofs and none is written beside them.
type Snapshot struct {
	Header  hexutil.Bytes   `json:"header"`  // RLP; its keccak256 is the block's hash
	Account []hexutil.Bytes `json:"account"` // path from the state root to the registry
	Slots   []SlotProof     `json:"slots"`
}

// SlotProof is the path from the registry's storage root to a slot.
type SlotProof struct {
	Slot  common.Hash     `json:"slot"`
	Proof []hexutil.Bytes `json:"proof"`
}

// slots are what a snapshot of the plan's subject matter proves: the grants of each host
// name and of others, the commitment and the model.
func (p *Plan) slots(others []string) []common.Hash {
	var out []common.Hash
	_, subjects := p.subjects(others...)
	for _, s := range subjects {
		g := contract.GrantSlots(p.Model, s)
		out = append(out, g.Word, g.Head, g.Controller)
	}
	c, m := contract.CommitmentAt(p.Model, p.Commitment), contract.ModelAt(p.Model)
	return append(out, c.Root, c.Blocks, c.Randomness, m.Owner, m.Counters)
}

// Chain reads what evidence is made of from an Ethereum node.
type Chain struct{ Client *rpc.Client }

// Dial connects to a node. Its errors may quote the URL, which may hold a key.
func Dial(ctx context.Context, url string) (Chain, error) {
	client, err := rpc.DialOptions(ctx, url, rpc.WithHTTPClient(&http.Client{Timeout: 30 * time.Second}))
	return Chain{client}, err
}

// Close frees the connection.
func (c Chain) Close() { c.Client.Close() }

// Snapshot captures the state at the newest block: of the plan's names, and of other
// hosts. Nodes forget state within minutes, so it is taken while the audit runs.
func (c Chain) Snapshot(ctx context.Context, p *Plan, others ...string) (*Snapshot, error) {
	header, err := c.header(ctx, "latest")
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	if s.Header, err = encodeHeader(header); err != nil {
		return nil, err
	}
	var proof struct {
		AccountProof []hexutil.Bytes `json:"accountProof"`
		StorageProof []struct {
			Proof []hexutil.Bytes `json:"proof"`
		} `json:"storageProof"`
	}
	slots := p.slots(others)
	if err := c.Client.CallContext(ctx, &proof, "eth_getProof", p.Registry, slots, hexutil.EncodeBig(header.Number)); err != nil {
		return nil, fmt.Errorf("the node gives no proof of block %d (eth_getProof): %w", header.Number, err)
	}
	if len(proof.StorageProof) != len(slots) {
		return nil, fmt.Errorf("the node proves %d slots of %d", len(proof.StorageProof), len(slots))
	}
	s.Account = proof.AccountProof
	for i, slot := range slots {
		s.Slots = append(s.Slots, SlotProof{slot, proof.StorageProof[i].Proof})
	}
	if _, err := s.Verify(p, others...); err != nil { // a reorganisation between the two calls, or a node that lies
		return nil, fmt.Errorf("the node's proof does not hold: %w", err)
	}
	return s, nil
}

// Newest is the newest block.
func (c Chain) Newest(ctx context.Context) (Block, error) {
	h, err := c.header(ctx, "latest")
	if err != nil {
		return Block{}, err
	}
	return Block{h.Number.Uint64(), h.Hash()}, nil
}

// Header waits for the block of a number and returns its header as RLP.
func (c Chain) Header(ctx context.Context, number uint64) (hexutil.Bytes, error) {
	for {
		var head hexutil.Uint64
		if err := c.Client.CallContext(ctx, &head, "eth_blockNumber"); err != nil {
			return nil, fmt.Errorf("asking the node for its newest block: %w", err)
		}
		if uint64(head) >= number {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, fmt.Errorf("waiting for block %d: %w", number, err)
		}
	}
	h, err := c.header(ctx, hexutil.EncodeUint64(number))
	if err != nil {
		return nil, err
	}
	return encodeHeader(h)
}

// Confirm reads the hashes of all blocks that a bundle rests on from a node of the
// checker's own, for [Trust]. A node on another chain is an error.
func (c Chain) Confirm(ctx context.Context, bundle *Sealed) (map[uint64][32]byte, error) {
	e, p, err := openEvidence(bundle)
	if err != nil {
		return nil, err
	}
	if id, err := c.ID(ctx); err != nil || id != p.ChainID {
		return nil, errors.Join(fmt.Errorf("the node is on chain %d; the bundle is about chain %d", id, p.ChainID), err)
	}
	numbers := []uint64{p.Known.Number}
	for _, raw := range [][]byte{e.Order, e.Commit, e.Draw, e.Before.Header, e.After.Header} {
		h, err := decodeHeader(raw)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, h.Number.Uint64())
	}
	known := map[uint64][32]byte{}
	for _, n := range numbers {
		h, err := c.header(ctx, hexutil.EncodeUint64(n))
		if err != nil {
			return nil, err
		}
		known[n] = h.Hash()
	}
	return known, nil
}

// ID is the chain's id.
func (c Chain) ID(ctx context.Context) (uint64, error) {
	var id hexutil.Uint64
	err := c.Client.CallContext(ctx, &id, "eth_chainId")
	return uint64(id), err
}

func (c Chain) header(ctx context.Context, which string) (*types.Header, error) {
	var raw struct {
		Hash *common.Hash `json:"hash"`
	}
	var text rawJSON
	if err := c.Client.CallContext(ctx, &text, "eth_getBlockByNumber", which, false); err != nil {
		return nil, fmt.Errorf("reading block %s: %w", which, err)
	}
	h := new(types.Header)
	if err := errors.Join(text.into(&raw), text.into(h)); err != nil || raw.Hash == nil {
		return nil, fmt.Errorf("reading block %s: the node has none, or it is not like Ethereum's: %w", which, err)
	}
	if h.Hash() != *raw.Hash {
		return nil, fmt.Errorf("block %s: its header has fields that Ethereum's do not have, so nobody could check it offline", which)
	}
	return h, nil
}

func encodeHeader(h *types.Header) (hexutil.Bytes, error) { return rlp.EncodeToBytes(h) }

// decodeHeader accepts the one encoding that a header has.
func decodeHeader(raw []byte) (*types.Header, error) {
	var h types.Header
	if err := rlp.DecodeBytes(raw, &h); err != nil {
		return nil, fmt.Errorf("a block's header cannot be read: %w", err)
	}
	if again, err := rlp.EncodeToBytes(&h); err != nil || !bytes.Equal(again, raw) {
		return nil, errors.New("a block's header is not in its one encoding")
	}
	return &h, nil
}
