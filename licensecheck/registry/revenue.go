package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/licensecheck/internal/node"
)

// Revenue is what one plan brought in one token.
type Revenue struct {
	Plan      uint32
	Token     [20]byte // zero: the chain's coin
	Purchases uint64
	Total     *big.Int // in the token's smallest unit
}

// Revenue adds up the purchases of a model in the blocks from..to, both included. The
// payments went straight to whoever owned the model at that time.
func (r *Registry) Revenue(ctx context.Context, model [32]byte, from, to uint64) ([]Revenue, error) {
	type kind struct {
		plan  uint32
		token common.Address
	}
	sums := map[kind]*Revenue{}
	err := r.logs(ctx, "Purchased", model, max(from, r.identity.Block), to, func(log *types.Log) error {
		sale, err := bindings.UnpackPurchasedEvent(log)
		if err != nil {
			return fmt.Errorf("an event in block %d cannot be decoded: %w", log.BlockNumber, err)
		}
		k := kind{sale.Plan, sale.Token}
		if sums[k] == nil {
			sums[k] = &Revenue{Plan: sale.Plan, Token: sale.Token, Total: new(big.Int)}
		}
		sums[k].Purchases++
		sums[k].Total.Add(sums[k].Total, sale.Price)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	rows := make([]Revenue, 0, len(sums))
	for _, row := range sums {
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b Revenue) int {
		return cmp.Or(cmp.Compare(a.Plan, b.Plan), common.Address(a.Token).Cmp(b.Token))
	})
	return rows, nil
}

const (
	firstPage = 10_000           // blocks asked for at once, to begin with
	pageWait  = 30 * time.Second // for one answer
)

// logs walks the events of a model. Nodes limit how many blocks or logs one question may
// cover, each in words of its own: whatever they refuse is asked for in halves.
func (r *Registry) logs(ctx context.Context, event string, model [32]byte, from, to uint64, each func(*types.Log) error) error {
	parsed := bindings.GetABI()
	query := ethereum.FilterQuery{
		Addresses: []common.Address{r.identity.Registry}, Topics: [][]common.Hash{{parsed.Events[event].ID}, {model}},
	}
	for page := uint64(firstPage); from <= to; {
		last := min(to, from+page-1)
		found, err := r.page(ctx, query, from, last)
		if err != nil {
			if page = (last - from + 1) / 2; page == 0 || ctx.Err() != nil || !mayHalve(err) {
				return fmt.Errorf("reading the events of blocks %d to %d: %w", from, last, node.Clean(err))
			}
			continue
		}
		for i := range found {
			if err := each(&found[i]); err != nil {
				return err
			}
		}
		r.progress(fmt.Sprintf("read the events up to block %d of %d", last, to))
		from, page = last+1, min(page*2, firstPage)
	}
	return nil
}

func (r *Registry) page(ctx context.Context, q ethereum.FilterQuery, from, to uint64) ([]types.Log, error) {
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	q.FromBlock, q.ToBlock = new(big.Int).SetUint64(from), new(big.Int).SetUint64(to)
	return r.client.FilterLogs(ctx, q)
}

// mayHalve reports whether a smaller question could be answered: the node refused this one,
// or did not answer it in time.
func mayHalve(err error) bool {
	var refused rpc.Error
	var http rpc.HTTPError
	return errors.As(err, &refused) || errors.As(err, &http) || errors.Is(err, context.DeadlineExceeded)
}

// BlockAt is the first block at or after a time; one above the newest if there is none yet.
func (r *Registry) BlockAt(ctx context.Context, t time.Time) (uint64, error) {
	head, err := node.ByTag(ctx, r.client, "latest")
	if err != nil {
		return 0, fmt.Errorf("registry: %w", err)
	}
	first := r.identity.Block
	n := sort.Search(int(head.Number-first)+1, func(i int) bool {
		var b node.Block
		if err == nil {
			b, err = node.ByNumber(ctx, r.client, first+uint64(i))
		}
		return err != nil || int64(b.Time) >= t.Unix() // an error ends the search
	})
	if err != nil {
		return 0, fmt.Errorf("registry: %w", err)
	}
	return first + uint64(n), nil
}
