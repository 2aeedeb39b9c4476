package licensecheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

// Reading is what one layer says of a grant, for a person to read.
type Reading struct {
	Found  bool
	Err    error // why the layer could not be asked
	Grant  policy.Grant
	Final  uint64 // block at which Grant.Final was true
	Latest uint64 // block at which Grant.Latest was true
}

func readingOf(r record) Reading {
	return Reading{Found: true, Grant: r.grant, Final: r.final.number, Latest: r.latest.number}
}

// Explain asks the chain and Redis for one grant, as a Checker with these options would,
// and changes nothing. The error is about the options, or wraps ErrWrong.
func Explain(ctx context.Context, o Options, model, subject [32]byte) (chain, cache Reading, err error) {
	if o, err = o.withDefaults(); err != nil {
		return chain, cache, err
	}
	nodes, err := dialChain(ctx, o)
	if err != nil {
		return chain, cache, err
	}
	defer nodes.close()
	id, _, err := nodes.identify(ctx)
	if errors.Is(err, node.ErrWrong) {
		return chain, cache, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if err != nil {
		return Reading{Err: err}, Reading{Err: errors.New("its keys hold the registry's deployment, which only the chain knows")}, nil
	}
	k := key{model, subject}
	if records, err := nodes.grants(ctx, []key{k}); err != nil {
		chain.Err = err
	} else {
		chain = readingOf(records[0])
	}
	if o.Cache != "" {
		cache, err = readCache(ctx, o, id, k)
	}
	return chain, cache, err
}

func readCache(ctx context.Context, o Options, id node.Identity, k key) (Reading, error) {
	var stats counters
	c, err := openCache(o.Cache, o, id, &stats)
	if err != nil {
		return Reading{}, err
	}
	r, found := c.get(ctx, k)
	err = c.close()
	switch {
	case found:
		return readingOf(r), err
	case stats.cacheErrors.Load() > 0:
		return Reading{Err: errors.New("the Redis does not answer; gateways go on without it")}, err
	case stats.cacheBad.Load() > 0:
		return Reading{Err: errors.New("the record cannot be read, or was not written with this deployment's secret (give the --config of a gateway); gateways count such a record as none")}, err
	}
	return Reading{}, err
}

// Peek is what memory holds of a grant and how long ago the chain last confirmed it. It
// asks nobody and changes nothing.
func (c *Checker) Peek(model, subject [32]byte) (grant policy.Grant, age time.Duration, found bool) {
	r, confirmed, found := c.book.find(key{model, subject})
	return r.grant, c.options.Now().Sub(confirmed), found
}
