package licensecheck

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

var bindings = contract.NewLicenseRegistry()

// grantChanged is the event that a watcher follows.
var grantChanged = func() common.Hash {
	abi := bindings.GetABI()
	return abi.Events[contract.LicenseRegistryGrantChangedEventName].ID
}()

// chain reads one registry and the blocks that it is in.
type chain struct {
	*pool
	finality   finality
	maxHeadAge time.Duration

	memory sync.Mutex
	newest common.Hash                        // of the block that a node called the newest last
	since  time.Time                          // since when
	plans  lru.BasicLRU[planKey, policy.Plan] // plans never change
}

type planKey struct {
	model   [32]byte
	version uint32
}

func dialChain(ctx context.Context, o Options) (*chain, error) {
	final, err := parseFinality(o.Finality)
	if err != nil {
		return nil, err
	}
	nodes, err := dialPool(ctx, o)
	if err != nil {
		return nil, err
	}
	return &chain{pool: nodes, finality: final, maxHeadAge: o.MaxHeadAge, plans: lru.NewBasicLRU[planKey, policy.Plan](10_000)}, nil
}

// head is the newest block. A node whose newest block is old is stuck: it does not count as an answer.
func (c *chain) head(ctx context.Context) (head node.Block, err error) {
	err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
		if head, err = node.ByTag(ctx, client, "latest"); err != nil {
			return err
		}
		return c.fresh(head)
	})
	return head, err
}

// fresh refuses a head that is not the chain's newest block: by its own time against the
// wall clock, either way, and by how long it has been the newest, which no clock that is
// set anew can hide.
func (c *chain) fresh(head node.Block) error {
	now := c.now()
	c.memory.Lock()
	if head.Hash != c.newest {
		c.newest, c.since = head.Hash, now
	}
	same := now.Sub(c.since)
	c.memory.Unlock()
	age := now.Sub(time.Unix(int64(head.Time), 0))
	switch {
	case age > c.maxHeadAge:
		return fmt.Errorf("its newest block (%d) is %v old, more than max head age (%v)", head.Number, age.Round(time.Second), c.maxHeadAge)
	case same > c.maxHeadAge:
		return fmt.Errorf("its newest block (%d) has been the same for %v, more than max head age (%v)", head.Number, same.Round(time.Second), c.maxHeadAge)
	case age < -c.maxHeadAge:
		return fmt.Errorf("its newest block (%d) is %v in the future; set this machine's clock", head.Number, -age.Round(time.Second))
	}
	return nil
}

// numbered is the block of this number.
func (c *chain) numbered(ctx context.Context, number uint64) (b node.Block, err error) {
	err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
		b, err = node.ByNumber(ctx, client, number)
		return err
	})
	return b, err
}

// codeNoBlock is what nodes answer when a chain has no safe or final block yet.
const codeNoBlock = -39001

// finalBelow is the final block as of this head.
func (c *chain) finalBelow(ctx context.Context, head node.Block) (final node.Block, err error) {
	if c.finality == (finality{}) {
		return head, nil
	}
	err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
		if c.finality.tag == "" {
			final, err = node.ByNumber(ctx, client, head.Number-min(c.finality.depth, head.Number))
			return err
		}
		final, err = node.ByTag(ctx, client, c.finality.tag)
		var refused rpc.Error
		if errors.Is(err, ethereum.NotFound) || errors.As(err, &refused) && refused.ErrorCode() == codeNoBlock {
			final, err = node.ByNumber(ctx, client, 0)
		}
		return err
	})
	if err == nil && final.Number > head.Number {
		return node.Block{}, fmt.Errorf("the %s block (%d) is above the newest (%d)", c.finality.tag, final.Number, head.Number)
	}
	return final, err
}

// errMoved: the block that was to be read at is not one of the chain any more.
var errMoved = errors.New("the chain reorganised while it was read")

// attempts bounds the readings of a grant when the chain reorganises under each.
const attempts = 3

// grants reads many grants at the newest and the final block, one call each.
func (c *chain) grants(ctx context.Context, keys []key) (records []record, err error) {
	for range attempts {
		if records, err = c.readGrants(ctx, keys); !errors.Is(err, errMoved) {
			break
		}
	}
	return records, err
}

func (c *chain) readGrants(ctx context.Context, keys []key) ([]record, error) {
	head, err := c.head(ctx)
	if err != nil {
		return nil, err
	}
	final, err := c.finalBelow(ctx, head)
	if err != nil {
		return nil, err
	}
	read := c.now() // before the answers: a record is at least as old as this
	latestViews, err := c.view(ctx, keys, head)
	if err != nil {
		return nil, err
	}
	finalViews := latestViews
	if final.Hash != head.Hash {
		if finalViews, err = c.view(ctx, keys, final); err != nil {
			return nil, err
		}
	}
	out := make([]record, len(keys))
	for i := range keys {
		g := policy.Grant{Final: licenseOf(finalViews[i]), Latest: licenseOf(latestViews[i]), Plan: contract.PlanOf(finalViews[i].Plan)}
		out[i] = record{grant: g, final: markOf(final), latest: markOf(head), read: read}
	}
	return out, nil
}

// view calls the registry's batched view at exactly this block. An empty
// answer is an error: a node that lost the state must not look like one that says no.
func (c *chain) view(ctx context.Context, keys []key, at node.Block) (views []contract.LicenseRegistryGrantView, err error) {
	if id, _ := c.who(); at.Number < id.Block {
		return slices.Repeat([]contract.LicenseRegistryGrantView{{Word: new(big.Int)}}, len(keys)), nil // before the registry there were no grants
	}
	queries := make([]contract.LicenseRegistryQuery, len(keys))
	for i, k := range keys {
		queries[i] = contract.LicenseRegistryQuery{ModelId: k.model, Subject: k.subject}
	}
	call := ethereum.CallMsg{To: &c.registry, Data: bindings.PackGrants(queries)}
	err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
		answer, err := callAt(ctx, client, call, at)
		if err != nil {
			return err
		}
		out, err := bindings.UnpackGrants(answer)
		if err != nil || len(out.Views) != len(keys) {
			return fmt.Errorf("its answer for block %d cannot be decoded (%d bytes for %d grants): %w", at.Number, len(answer), len(keys), err)
		}
		views = out.Views
		return nil
	})
	return views, err
}

// callAt calls at the block with this hash (EIP-1898). Not every node knows blocks by
// hash, nor yet the newest: it is asked by number then, and whether that was this block.
func callAt(ctx context.Context, client *ethclient.Client, call ethereum.CallMsg, at node.Block) ([]byte, error) {
	answer, err := client.CallContractAtHash(ctx, call, at.Hash)
	var refused rpc.Error
	if err == nil || !errors.As(err, &refused) {
		return answer, err
	}
	answer, errNumber := client.CallContract(ctx, call, new(big.Int).SetUint64(at.Number))
	there, errBlock := node.ByNumber(ctx, client, at.Number)
	switch {
	case errors.Is(errBlock, ethereum.NotFound), errBlock == nil && there.Hash != at.Hash:
		return nil, fmt.Errorf("%w: %w", errMoved, err)
	case errNumber != nil || errBlock != nil:
		return nil, err
	}
	return answer, nil
}

// link finds the blocks that lead from one of ours to the new head: all of them, each the parent
// of the next. errGap says that none of ours leads there.
func (c *chain) link(ctx context.Context, ours *book, head node.Block) (path []node.Block, ancestor uint64, err error) {
	top, first, _ := ours.newest()
	if head.Parent == top.Hash {
		return []node.Block{head}, top.Number, nil
	}
	if head.Number <= first {
		return nil, 0, errGap
	}
	from := min(top.Number, head.Number-1)
	for back := uint64(0); ; back = back*4 + 4 {
		lo := max(first, from-min(back, from))
		if path, err = c.path(ctx, lo, head); err != nil {
			return nil, 0, err
		}
		for i := len(path) - 2; i >= 0; i-- {
			if ours.knows(markOf(path[i])) {
				return path[i+1:], path[i].Number, nil
			}
		}
		if lo == first {
			return nil, 0, errGap
		}
	}
}

var errGap = errors.New("the new blocks do not connect to the known ones")

// path is the blocks from number lo up to the head, verified to be one chain.
func (c *chain) path(ctx context.Context, lo uint64, head node.Block) (path []node.Block, err error) {
	if lo < head.Number {
		err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
			path, err = node.Range(ctx, client, lo, head.Number-1)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	path = append(path, head)
	for i := 1; i < len(path); i++ {
		if path[i].Parent != path[i-1].Hash || path[i].Number != path[i-1].Number+1 {
			return nil, fmt.Errorf("blocks %d and %d do not connect: the chain changed while it was read", path[i-1].Number, path[i].Number)
		}
	}
	return path, nil
}

// changesIn is every write to a grant in these blocks, in order. Each block is asked for by its
// hash, so that the answer cannot be another block's.
func (c *chain) changesIn(ctx context.Context, blocks []node.Block) (changes []change, err error) {
	logs := make([][]types.Log, len(blocks))
	err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
		calls := make([]rpc.BatchElem, len(blocks))
		for i, b := range blocks {
			filter := map[string]any{"blockHash": b.Hash, "address": c.registry, "topics": []any{grantChanged}}
			calls[i] = rpc.BatchElem{Method: "eth_getLogs", Args: []any{filter}, Result: &logs[i]}
		}
		if err := node.Batch(ctx, client, calls); err != nil {
			return fmt.Errorf("reading the logs of blocks %d to %d: %w", blocks[0].Number, blocks[len(blocks)-1].Number, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, b := range blocks {
		for _, log := range logs[i] {
			one, err := c.change(ctx, &log, b)
			if err != nil {
				return nil, err
			}
			changes = append(changes, one)
		}
	}
	return changes, nil
}

func (c *chain) change(ctx context.Context, log *types.Log, b node.Block) (change, error) {
	if log.BlockHash != b.Hash || log.Address != c.registry || log.Removed {
		return change{}, fmt.Errorf("the logs of block %d hold one of another block or contract", b.Number)
	}
	event, err := bindings.UnpackGrantChangedEvent(log)
	if err != nil {
		return change{}, fmt.Errorf("an event in block %d cannot be decoded: %w", b.Number, err)
	}
	license := contract.UnpackWord(contract.WordOf(event.Word))
	plan, err := c.plan(ctx, event.ModelId, license.PlanVersion)
	if err != nil {
		return change{}, err
	}
	return change{key{event.ModelId, event.Subject}, license, plan, markOf(b)}, nil
}

func (c *chain) plan(ctx context.Context, model [32]byte, version uint32) (policy.Plan, error) {
	if version == 0 {
		return policy.Plan{}, nil
	}
	at := planKey{model, version}
	c.memory.Lock()
	plan, ok := c.plans.Get(at)
	c.memory.Unlock()
	if ok {
		return plan, nil
	}
	p, err := read(ctx, c, bindings.PackPlanOf(model, version), bindings.UnpackPlanOf)
	if err != nil {
		return policy.Plan{}, fmt.Errorf("plan %d: %w", version, err)
	}
	if p.Duration.Sign() == 0 { // every plan has one: this node does not have the block yet
		return policy.Plan{}, fmt.Errorf("plan %d: the node does not know it", version)
	}
	plan = contract.PlanOf(p)
	c.memory.Lock()
	c.plans.Add(at, plan)
	c.memory.Unlock()
	return plan, nil
}

// read calls a view at the newest block.
func read[T any](ctx context.Context, c *chain, data []byte, unpack func([]byte) (T, error)) (value T, err error) {
	err = c.ask(ctx, func(ctx context.Context, client *ethclient.Client) error {
		answer, err := client.CallContract(ctx, ethereum.CallMsg{To: &c.registry, Data: data}, nil)
		if err != nil {
			return err
		}
		if value, err = unpack(answer); err != nil {
			return fmt.Errorf("its answer cannot be decoded: %w", err)
		}
		return nil
	})
	return value, err
}

// subscribe forwards new heads to out until the connection fails, says nothing for as long
// as a head may be old, or the context ends.
func (c *chain) subscribe(ctx context.Context, url string, out chan sighting) error {
	dialling, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	client, err := node.Dial(dialling, url)
	if err != nil {
		return err
	}
	defer client.Close() // which ends the subscription; to unsubscribe would wait for a node that may be silent
	_, chainID := c.who()
	if _, err := node.CheckChain(dialling, client, chainID); err != nil {
		return err
	}
	heads := make(chan node.Block, 16)
	sub, err := client.Client().EthSubscribe(dialling, heads, "newHeads")
	if err != nil {
		return node.Clean(err)
	}
	silence := time.NewTimer(c.maxHeadAge)
	defer silence.Stop()
	for {
		select {
		case head := <-heads:
			silence.Reset(c.maxHeadAge)
			replaceWaiting(out, sighting{head, c.now()})
		case <-silence.C:
			return fmt.Errorf("no new head in %v", c.maxHeadAge)
		case err := <-sub.Err():
			return errors.Join(errors.New("the subscription ended"), node.Clean(err))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
