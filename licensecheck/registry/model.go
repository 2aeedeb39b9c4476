package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// Model is what the registry says of a model.
type Model struct {
	Owner        [20]byte // zero: no such model
	Active       bool     // false: sales are stopped; licenses go on
	Epoch        uint64   // how often it changed hands
	PendingOwner [20]byte
	Plans        uint32 // plans are numbered from 1 to this
	Versions     uint32 // published versions are numbered from 1 to this
	Commits      uint32 // commitments are numbered from 0 to one below this
}

// Register makes a model of the wallet's. Its id depends on the wallet, so that
// nobody can take the name first.
func (r *Registry) Register(ctx context.Context, salt [32]byte) ([32]byte, Receipt, error) {
	event, receipt, err := write(ctx, r, "the registration", bindings.PackRegisterModel(salt), nil, bindings.UnpackModelRegisteredEvent)
	if err != nil {
		return [32]byte{}, Receipt{}, err
	}
	return event.ModelId, receipt, nil
}

// Model reads a model.
func (r *Registry) Model(ctx context.Context, model [32]byte) (Model, error) {
	m, err := read(ctx, r, "the model", bindings.PackModelOf(model), bindings.UnpackModelOf)
	if err != nil {
		return Model{}, err
	}
	if m.Owner == [20]byte{} {
		return Model{}, fmt.Errorf("registry: no model 0x%x is registered here; check the id and the registry", model)
	}
	return Model{m.Owner, m.Active, m.Epoch, m.PendingOwner, m.Plans, m.Versions, m.Commits}, nil
}

// Publish appends a version: the digest of its manifest (SHA-256 of fealty.json). It
// returns the version's number.
func (r *Registry) Publish(ctx context.Context, model, manifest [32]byte) (uint32, Receipt, error) {
	m, err := r.Model(ctx, model)
	if err != nil {
		return 0, Receipt{}, err
	}
	data := bindings.PackPublishVersion(model, m.Versions+1, manifest)
	event, receipt, err := write(ctx, r, "the version", data, nil, bindings.UnpackVersionPublishedEvent)
	if err != nil {
		return 0, Receipt{}, err
	}
	return event.Version, receipt, nil
}

// SetActive stops or resumes the sale of all plans of a model.
func (r *Registry) SetActive(ctx context.Context, model [32]byte, active bool) (Receipt, error) {
	_, receipt, err := write(ctx, r, "the change of sales", bindings.PackSetActive(model, active), nil, bindings.UnpackActiveSetEvent)
	return receipt, err
}

// SetIssuer lets another wallet write grants, or no longer.
func (r *Registry) SetIssuer(ctx context.Context, model [32]byte, issuer [20]byte, allowed bool) (Receipt, error) {
	_, receipt, err := write(ctx, r, "the change of issuers", bindings.PackSetIssuer(model, issuer, allowed), nil, bindings.UnpackIssuerSetEvent)
	return receipt, err
}

// Transfer offers the model to another wallet, which must accept it. The zero address
// takes the offer back.
func (r *Registry) Transfer(ctx context.Context, model [32]byte, to [20]byte) (Receipt, error) {
	_, receipt, err := write(ctx, r, "the offer of the model", bindings.PackTransferModel(model, to), nil, bindings.UnpackModelTransferStartedEvent)
	return receipt, err
}

// Accept takes over a model that was offered to the wallet. Issuers and vouchers of the
// owner before are void from then on; licenses go on.
func (r *Registry) Accept(ctx context.Context, model [32]byte) (Receipt, error) {
	_, receipt, err := write(ctx, r, "the takeover of the model", bindings.PackAcceptModel(model), nil, bindings.UnpackModelTransferredEvent)
	return receipt, err
}

// Commitment is a committed fingerprint root and the block that draws its responses.
type Commitment struct {
	Index       uint32
	Root        [32]byte
	CommitBlock uint64
	DrawBlock   uint64
}

// CommitKeys commits to a fingerprint root.
func (r *Registry) CommitKeys(ctx context.Context, model, root [32]byte) (Commitment, Receipt, error) {
	event, receipt, err := write(ctx, r, "the commitment", bindings.PackCommitKeys(model, root), nil, bindings.UnpackKeysCommittedEvent)
	if err != nil {
		return Commitment{}, Receipt{}, err
	}
	return Commitment{Index: event.Index, Root: root, CommitBlock: receipt.Block, DrawBlock: event.DrawBlock}, receipt, nil
}

// Commitment reads one.
func (r *Registry) Commitment(ctx context.Context, model [32]byte, index uint32) (Commitment, error) {
	c, err := read(ctx, r, "the commitment", bindings.PackCommitment(model, index), bindings.UnpackCommitment)
	if err != nil {
		return Commitment{}, err
	}
	if c.Root == [32]byte{} {
		return Commitment{}, fmt.Errorf("registry: the model has no commitment %d", index)
	}
	return Commitment{index, c.Root, c.CommitBlock, c.DrawBlock}, nil
}

// Draw is what the draw block says: its prevrandao, with the header that proves it
// to whoever knows the block's hash.
type Draw struct {
	Randomness [32]byte
	Block      uint64
	BlockHash  [32]byte
	Header     []byte // RLP, whose keccak256 is BlockHash; nil on chains with headers unlike Ethereum's
}

// DrawRandomness waits for the draw block of a commitment and reads it. On a chain
// that can reorganise, call it again once the block is final: only then is it fixed.
func (r *Registry) DrawRandomness(ctx context.Context, model [32]byte, index uint32) (Draw, error) {
	c, err := r.Commitment(ctx, model, index)
	if err != nil {
		return Draw{}, err
	}
	r.progress(fmt.Sprintf("waiting for block %d, which draws the responses", c.DrawBlock))
	if err := r.reach(ctx, c.DrawBlock); err != nil {
		return Draw{}, err
	}
	return r.draw(ctx, c.DrawBlock)
}

// reach waits until the chain is at this block or above.
func (r *Registry) reach(ctx context.Context, number uint64) error {
	var head uint64
	var last error
	said := time.Now()
	err := poll(ctx, func() bool {
		head, last = r.client.BlockNumber(ctx)
		if time.Since(said) > reminder {
			said = time.Now()
			r.progress(fmt.Sprintf("the chain is at block %d of %d", head, number))
		}
		return last == nil && head >= number
	})
	if err != nil {
		return fmt.Errorf("registry: waiting for block %d: %w", number, errors.Join(err, node.Clean(last)))
	}
	return nil
}

func (r *Registry) draw(ctx context.Context, number uint64) (Draw, error) {
	block, err := node.ByNumber(ctx, r.client, number)
	if err != nil {
		return Draw{}, fmt.Errorf("registry: %w", err)
	}
	d := Draw{Randomness: block.Randao, Block: number, BlockHash: block.Hash}
	if header, err := r.client.HeaderByHash(ctx, block.Hash); err == nil && header.Hash() == block.Hash {
		d.Header, err = rlp.EncodeToBytes(header)
		return d, err
	}
	return d, nil // a chain whose headers have fields of their own
}

// RecordDraw stores a draw in the registry, so that a proof of storage shows it. The
// chain must still remember the block's hash. Any wallet may do it.
func (r *Registry) RecordDraw(ctx context.Context, model [32]byte, index uint32, d Draw) (Receipt, error) {
	if d.Header == nil {
		return Receipt{}, errors.New("registry: the draw cannot be recorded: this chain's headers are unlike Ethereum's")
	}
	if err := r.reach(ctx, d.Block+1); err != nil { // a block does not know its own hash
		return Receipt{}, err
	}
	_, receipt, err := write(ctx, r, "the record of the draw", bindings.PackRecordDraw(model, index, d.Header), nil, bindings.UnpackDrawRecordedEvent)
	return receipt, err
}

// Plan is what is for sale. It is immutable once added; only OnSale changes.
type Plan struct {
	Price        *big.Int // in the token's smallest unit, per duration; nil: free
	Token        [20]byte // an ERC-20's address; zero: the chain's coin
	Duration     time.Duration
	Scope        policy.Scope
	RPM          uint32 // zero: no limit
	TokensPerDay uint64 // zero: no limit
	OnSale       bool
}
