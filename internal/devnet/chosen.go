package devnet

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/log"
)

// chosen makes blocks whose randomness its operator chooses: what "grindable" means, and
// what catalyst's own simulated beacon cannot do.
type chosen struct {
	api        *catalyst.ConsensusAPI
	eth        *eth.Ethereum
	period     time.Duration
	randomness func(number uint64) [32]byte
	stop, done chan struct{}
}

func newChosen(c ChainConfig, backend *eth.Ethereum) *chosen {
	return &chosen{
		api: catalyst.NewConsensusAPI(backend), eth: backend, period: time.Duration(c.Period) * time.Second, randomness: c.Randomness,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// Start implements node.Lifecycle.
func (b *chosen) Start() error {
	go func() {
		defer close(b.done)
		for b.block() {
		}
	}()
	return nil
}

// Stop implements node.Lifecycle.
func (b *chosen) Stop() error {
	close(b.stop)
	<-b.done
	return nil
}

// block lets the node gather transactions for a period and makes a block of them.
func (b *chosen) block() bool {
	ctx := context.Background()
	head := b.eth.BlockChain().CurrentBlock()
	id, err := b.begin(ctx, head)
	select {
	case <-b.stop:
		return false
	case <-time.After(b.period):
	}
	if err == nil {
		err = b.seal(ctx, id)
	}
	if err != nil {
		log.Warn("no block", "err", err)
	}
	return true
}

func (b *chosen) begin(ctx context.Context, head *types.Header) (engine.PayloadID, error) {
	attributes := engine.PayloadAttributes{
		Timestamp: max(head.Time+1, uint64(time.Now().Unix())), Random: b.randomness(head.Number.Uint64() + 1),
		Withdrawals: []*types.Withdrawal{}, BeaconRoot: &common.Hash{},
	}
	answer, err := b.api.ForkchoiceUpdatedV3(ctx, choice(head.Hash()), &attributes)
	if err != nil {
		return engine.PayloadID{}, err
	}
	if answer.PayloadID == nil {
		return engine.PayloadID{}, fmt.Errorf("the node builds nothing on %s: %s", head.Hash(), answer.PayloadStatus.Status)
	}
	return *answer.PayloadID, nil
}

func (b *chosen) seal(ctx context.Context, id engine.PayloadID) error {
	built, err := b.api.GetPayloadV5(id)
	if err != nil {
		return err
	}
	requests := []hexutil.Bytes{}
	for _, r := range built.Requests {
		requests = append(requests, r)
	}
	if _, err := b.api.NewPayloadV4(ctx, *built.ExecutionPayload, []common.Hash{}, &common.Hash{}, requests); err != nil {
		return err
	}
	_, err = b.api.ForkchoiceUpdatedV3(ctx, choice(built.ExecutionPayload.BlockHash), nil)
	return err
}

func choice(head common.Hash) engine.ForkchoiceStateV1 {
	return engine.ForkchoiceStateV1{HeadBlockHash: head, SafeBlockHash: head, FinalizedBlockHash: head}
}
