package devnet

import (
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/params"
)

// An operator who chooses the randomness gets it, in blocks that hold transactions.
func TestChosenRandomness(t *testing.T) {
	chain, err := StartChain(ChainConfig{Randomness: func(number uint64) [32]byte { return [32]byte{7, byte(number)} }})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	client, err := ethclient.DialContext(t.Context(), chain.HTTP())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	to := common.Address(chain.Accounts()[1].Address())
	tx, err := chain.Accounts()[0].SignTx(types.NewTx(&types.LegacyTx{To: &to, Gas: 21_000, GasPrice: big.NewInt(10 * params.GWei)}), new(big.Int).SetUint64(chain.ID()))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // the chain makes a block a second
		receipt, err := client.TransactionReceipt(t.Context(), tx.Hash())
		if err != nil && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		block, err := client.HeaderByHash(t.Context(), receipt.BlockHash)
		if err != nil || block.MixDigest != (common.Hash{7, byte(block.Number.Uint64())}) {
			t.Errorf("block %v carries %v, %v", receipt.BlockNumber, block, err)
		}
		return
	}
}
