package licensecheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/internal/redact"
	"github.com/fealty/fealty/licensecheck/internal/node"
)

// pool is the nodes of one chain. One is used until it fails, and then the next: answers
// of two nodes mixed would be two chains. A node that failed, or was not used yet, first
// shows that it knows the same deployment of the registry as the others did.
type pool struct {
	members  []*member
	registry common.Address
	timeout  time.Duration // for each question to one node
	now      func() time.Time
	log      *slog.Logger

	mu       sync.Mutex
	current  int
	chainID  uint64 // 0: whatever the first that answers is on
	identity node.Identity
}

type member struct {
	client *ethclient.Client
	url    string                    // for its secrets to be kept out of errors
	vetted atomic.Bool               // knows the registry, and has not failed since it said so
	rests  atomic.Pointer[time.Time] // asked to be left alone until then
}

// errRenewed: the node knows another deployment of the registry than the one in use.
var errRenewed = errors.New("it knows another deployment of the registry")

var errResting = errors.New("it asked to be left alone for a while")

func dialPool(ctx context.Context, o Options) (*pool, error) {
	p := &pool{registry: o.Registry, timeout: o.ReadTimeout, now: o.Now, log: o.Log, chainID: o.ChainID}
	for i, url := range o.RPC {
		m := &member{url: url}
		waits := &patience{member: m, most: min(maxRest, o.Soft/4), now: o.Now}
		client, err := node.Dial(ctx, url, rpc.WithHTTPClient(&http.Client{Transport: waits}))
		if err != nil {
			p.close()
			return nil, fmt.Errorf("licensecheck: RPC URL %d: %w", i+1, err)
		}
		m.client = client
		p.members = append(p.members, m)
	}
	return p, nil
}

func (p *pool) close() {
	for _, m := range p.members {
		m.client.Close()
	}
}

// ask puts a question to the nodes, starting with the one in use, until one answers.
func (p *pool) ask(ctx context.Context, question func(context.Context, *ethclient.Client) error) error {
	p.mu.Lock()
	first := p.current
	p.mu.Unlock()
	var failures []error
	for i := range p.members {
		at := (first + i) % len(p.members)
		err := p.askOne(ctx, p.members[at], question)
		if err == nil {
			p.use(first, at, errors.Join(failures...))
			return nil
		}
		if ctx.Err() != nil {
			return redact.Error(err, p.members[at].url)
		}
		failures = append(failures, fmt.Errorf("node %d: %w", at+1, redact.Error(err, p.members[at].url)))
	}
	return errors.Join(failures...)
}

// use makes the node that answered the first to be asked.
func (p *pool) use(before, at int, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at != before && p.current == before {
		p.current = at
		p.log.Warn("another node of the chain is used now", "node", at+1, "of", len(p.members), "err", why)
	}
}

func (p *pool) askOne(ctx context.Context, m *member, question func(context.Context, *ethclient.Client) error) error {
	if until := m.rests.Load(); until != nil && p.now().Before(*until) {
		return errResting
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if !m.vetted.Load() {
		if err := p.vet(ctx, m); err != nil {
			return err
		}
	}
	if err := question(ctx, m.client); err != nil {
		m.vetted.Store(false)
		return node.Clean(err)
	}
	return nil
}

func (p *pool) vet(ctx context.Context, m *member) error {
	known, chainID := p.who()
	id, err := node.Identify(ctx, m.client, chainID, p.registry)
	if err != nil {
		return node.Clean(err)
	}
	if id != known {
		return errRenewed
	}
	m.vetted.Store(true)
	return nil
}

func (p *pool) who() (id node.Identity, chainID uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.identity, p.chainID
}

// identify asks which deployment of the registry the nodes know. While one of them knows
// the one in use, that stays. Another one takes its place only if every node shows it:
// the chain began anew.
func (p *pool) identify(ctx context.Context) (id node.Identity, changed bool, err error) {
	known, chainID := p.who()
	var failures []error
	var found node.Identity
	for i, m := range p.members {
		id, err := p.identifyOne(ctx, m, chainID)
		switch {
		case err != nil:
			failures = append(failures, fmt.Errorf("node %d: %w", i+1, redact.Error(err, m.url)))
			continue
		case found != node.Identity{} && id != found:
			failures = append(failures, fmt.Errorf("node %d: %w", i+1, errRenewed))
		}
		found = id
		if known == (node.Identity{}) || id == known {
			failures = nil
			break
		}
	}
	if len(failures) > 0 {
		return node.Identity{}, false, errors.Join(failures...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = known != node.Identity{} && known != found
	p.identity, p.chainID = found, found.ChainID
	return found, changed, nil
}

func (p *pool) identifyOne(ctx context.Context, m *member, chainID uint64) (node.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return node.Identify(ctx, m.client, chainID, p.registry)
}

// maxRest is the most that a node's Retry-After counts: longer, and records would age.
const maxRest = 5 * time.Second

// patience notes when a node that says "too many requests" wants the next one.
type patience struct {
	member *member
	most   time.Duration
	now    func() time.Time
}

func (p *patience) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusTooManyRequests {
		seconds, _ := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31) // a date, or nothing, is no time
		until := p.now().Add(min(time.Duration(seconds)*time.Second, p.most))
		p.member.rests.Store(&until)
	}
	return res, err
}
