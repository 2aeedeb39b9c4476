package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/wallet"
)

// Plan is all that is fixed, signed and published by its digest before the first query.
type Plan struct {
	Format   string   `json:"format"` // PlanFormat
	Endpoint string   `json:"endpoint"`
	Connect  string   `json:"connect"` // host:port that was dialled instead of what DNS says; "" for DNS
	Names    []string `json:"names"`   // the endpoint's host name and its parent domains
	Served   string   `json:"served"`  // the model's name at the endpoint

	ChainID    uint64         `json:"chain_id"`
	Registry   common.Address `json:"registry"`
	Model      common.Hash    `json:"model"`      // id in the registry
	Commitment uint32         `json:"commitment"` // number of the commitment
	Root       Digest         `json:"root"`
	Keys       int            `json:"keys"` // under the root
	K          int            `json:"k"`    // candidates of each key

	Asking   Asking   `json:"asking"`
	Stopping Stopping `json:"stopping"`
	Sign     bool     `json:"sign,omitempty"` // the host is asked to sign its answers
	Excluded []int    `json:"excluded"`       // keys that were burnt before, and are not asked

	Known      Block     `json:"known"`       // newest block when the plan was made
	OrderBlock uint64    `json:"order_block"` // a later one, whose hash gives the order
	Made       time.Time `json:"made"`
}

// Asking is how each question is put.
type Asking struct {
	System      string  `json:"system"` // "": none
	Temperature float64 `json:"temperature"`
	Seed        int64   `json:"seed"` // sent if the temperature is above 0
	MaxTokens   int     `json:"max_tokens"`
	Pace        float64 `json:"pace"`     // mean seconds between questions
	Timeout     float64 `json:"timeout"`  // seconds for one attempt
	Attempts    int     `json:"attempts"` // per question; only those that got no answer are repeated
}

// Stopping is the rule that ends the audit and the claim that it tests.
type Stopping struct {
	Sequential  bool    `json:"sequential"`
	Queries     int     `json:"queries"` // at most
	Alpha       float64 `json:"alpha"`   // chance of a false claim, over all attempts
	Suspects    int     `json:"suspects"`
	Commitments int     `json:"commitments"` // sets of keys that the creator committed for the model
}

// Attempts is by how many chances the test is corrected.
func (s Stopping) Attempts() int { return s.Suspects * s.Commitments }

// Block names a block.
type Block struct {
	Number uint64      `json:"number"`
	Hash   common.Hash `json:"hash"`
}

// Validate says what is wrong with a plan.
func (p *Plan) Validate() error {
	s, a := p.Stopping, p.Asking
	free := p.Keys - len(p.Excluded)
	switch {
	case p.Format != PlanFormat:
		return fmt.Errorf("its format is %.60q, not %q", p.Format, PlanFormat)
	case p.K < 2 || p.Keys < 1:
		return fmt.Errorf("%d keys of %d candidates; need at least one key and two candidates", p.Keys, p.K)
	case !slices.IsSorted(p.Excluded) || len(slices.Compact(slices.Clone(p.Excluded))) != len(p.Excluded):
		return errors.New("the excluded keys are not in ascending order, each once")
	case len(p.Excluded) > 0 && (p.Excluded[0] < 0 || p.Excluded[len(p.Excluded)-1] >= p.Keys):
		return errors.New("it excludes a key that does not exist")
	case s.Queries < 1 || s.Queries > free:
		return fmt.Errorf("%d queries of %d keys that may be asked", s.Queries, free)
	case !(s.Alpha > 0 && s.Alpha < 1) || s.Suspects < 1 || s.Commitments < 1:
		return fmt.Errorf("alpha %v, %d suspects, %d commitments; need a probability and at least one of each", s.Alpha, s.Suspects, s.Commitments)
	case !(a.Temperature >= 0 && a.Temperature <= 2) || a.MaxTokens < 1 || !(a.Pace >= 0) || !(a.Timeout > 0) || a.Attempts < 1:
		return errors.New("asking: temperature is 0 to 2, max_tokens, timeout and attempts are above 0, pace is not negative")
	case p.OrderBlock <= p.Known.Number:
		return fmt.Errorf("the order block %d is not later than block %d, which was known", p.OrderBlock, p.Known.Number)
	}
	names, err := HostNames(p.Endpoint)
	if err != nil {
		return err
	}
	if !slices.Equal(names, p.Names) {
		return fmt.Errorf("its names %v are not those of its endpoint, %v", p.Names, names)
	}
	return nil
}

// HostNames are the host name of an endpoint and all its parent domains; of an IP
// address, that alone.
func HostNames(endpoint string) ([]string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("the endpoint is no http(s) URL without credentials, such as https://api.example.com/v1")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return []string{ip.String()}, nil
	}
	name, err := wallet.HostName(u.Hostname())
	if err != nil {
		return nil, err
	}
	var names []string
	for more := true; more; _, name, more = strings.Cut(name, ".") {
		names = append(names, name)
	}
	return names, nil
}

// subjects are the registry's names for those of the plan, and of others, that can hold a
// host grant.
func (p *Plan) subjects(others ...string) (names []string, out [][32]byte) {
	for _, name := range slices.Concat(p.Names, others) {
		if s, err := wallet.HostSubject(name); err == nil {
			names, out = append(names, name), append(out, s)
		}
	}
	return names, out
}

// Order is which keys are asked, first to last: those that are not excluded, sorted by
//
//	SHA-256("fealty audit order 1" || plan digest || hash of the order block || key in 8 bytes)
//
// and cut to the number of queries. Nobody who signs a plan before that block is made
// can choose it, unless they make the block.
func (p *Plan) Order(plan Digest, block common.Hash) []int {
	type ticket struct {
		at  Digest
		key int
	}
	var all []ticket
	for key := range p.Keys {
		if _, out := slices.BinarySearch(p.Excluded, key); out {
			continue
		}
		text := append([]byte("fealty audit order 1"), plan[:]...)
		text = binary.BigEndian.AppendUint64(append(text, block[:]...), uint64(key))
		all = append(all, ticket{sha256.Sum256(text), key})
	}
	slices.SortFunc(all, func(a, b ticket) int { return slices.Compare(a.at[:], b.at[:]) })
	order := make([]int, min(p.Stopping.Queries, len(all)))
	for i := range order {
		order[i] = all[i].key
	}
	return order
}

// design is the plan's test, as package embed runs it.
func (s Stopping) design() fingerprint.Design {
	return fingerprint.Design{Sequential: s.Sequential, Alpha: s.Alpha, Suspects: s.Attempts()}
}
