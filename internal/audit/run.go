package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"

	fingerprint "github.com/fealty/fealty/embed"
)

// Items are the questions of some keys, in this order.
func Items(set *fingerprint.Set, order []int) []Item {
	out := make([]Item, len(order))
	for i, key := range order {
		out[i] = Item{key, set.Keys[key].Question}
	}
	return out
}

// Run asks the planned questions until the stopping rule ends it. The set's words are
// drawn. When ctx ends, or the journal cannot be written, the error says so, and a later
// Run with the same journal goes on.
func Run(ctx context.Context, a *Asker, set *fingerprint.Set) (fingerprint.Outcome, error) {
	if set.Randomness == nil {
		return fingerprint.Outcome{}, errors.New("the key file's responses are not drawn yet: commit the keys, wait for the draw block, train")
	}
	all := set.Draw(*set.Randomness)
	keys := make([]fingerprint.Drawn, len(a.Items))
	for i, item := range a.Items {
		keys[i] = all[item.Key]
	}
	ctx, stop := a.bounded(ctx)
	defer stop(nil)
	outcome, err := fingerprint.Verify(ctx, a, keys, a.Plan.Stopping.design())
	return outcome, errors.Join(err, cause(ctx, err))
}

// Witness asks all questions. It knows no word, so it cannot tell which answers match.
func Witness(ctx context.Context, a *Asker) error {
	ctx, stop := a.bounded(ctx)
	defer stop(nil)
	for _, item := range a.Items {
		_, _ = a.Answer(ctx, item.Question) // what went wrong is in the journal
		if ctx.Err() != nil {
			return cause(ctx, ctx.Err())
		}
	}
	return nil
}

// bounded ends with the journal: a question that cannot be noted must not be asked.
func (a *Asker) bounded(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	a.fail = stop
	return ctx, stop
}

// Confirm makes sure that the assignment's order block is the chain's.
func (a *Assignment) Confirm(ctx context.Context, c Chain) error {
	want, err := decodeHeader(a.Order)
	if err != nil {
		return err
	}
	got, err := c.header(ctx, hexutil.EncodeBig(want.Number))
	if err != nil {
		return err
	}
	if got.Hash() != want.Hash() {
		return fmt.Errorf("block %d is another on this chain than in the assignment: its order was not drawn", want.Number)
	}
	return nil
}

func cause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return context.Cause(ctx)
}

// Check makes sure that an assignment is what its plan says, as far as can be told from
// itself: signature, order and form.
func (a *Assignment) Check() (*Plan, error) {
	var p Plan
	if err := a.Plan.Open(PlanFormat, &p); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	block, err := decodeHeader(a.Order)
	if err != nil {
		return nil, err
	}
	digest, err := a.Plan.Digest()
	if err != nil {
		return nil, err
	}
	if block.Number.Uint64() != p.OrderBlock {
		return nil, errors.New("the assignment's order block is not the plan's")
	}
	order := p.Order(digest, block.Hash())
	if len(order) != len(a.Items) {
		return nil, errors.New("the assignment has more or fewer questions than the plan")
	}
	for i, item := range a.Items {
		if item.Key != order[i] || item.Question == "" {
			return nil, errors.New("the assignment's questions are not in the order that the order block draws")
		}
	}
	return &p, nil
}
