package licensecheck

import (
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/licensecheck/internal/node"
	"github.com/fealty/fealty/policy"
)

type key struct{ model, subject [32]byte }

// mark is a block at which a view was true.
type mark struct {
	number uint64
	hash   common.Hash
}

func markOf(b node.Block) mark { return mark{b.Number, b.Hash} }

// record is what is known of one grant: two views of it, and how fresh they are.
type record struct {
	grant    policy.Grant
	final    mark // where grant.Final was true
	latest   mark // where grant.Latest was true
	read     time.Time
	coverage uint64 // the run of coverage that keeps it current; 0: none does
}

// allows reports whether the record may be used although nobody confirms it: it
// allows something, now.
func (r *record) allows(now time.Time) bool {
	return policy.Standing(now, r.grant, r.grant.Final.Scope).Allowed()
}

// stranger reports whether the subject never had a grant.
func (r *record) stranger() bool { return r.grant.Latest.Seq == 0 && r.grant.Final.Seq == 0 }

// older reports whether another reading of the grant supersedes this one. Blocks
// decide; within one block the number of writes does.
func (r *record) older(than *record) bool {
	if r.latest.number != than.latest.number {
		return r.latest.number < than.latest.number
	}
	return r.grant.Latest.Seq < than.grant.Latest.Seq
}

// change is one write to a grant, as its event tells it.
type change struct {
	key     key
	license policy.License
	plan    policy.Plan
	at      mark
}

// applyLatest takes over a change that is newer than the newest view.
func (r *record) applyLatest(c change) {
	if c.at.number < r.latest.number || c.license.Seq <= r.grant.Latest.Seq && c.at.number == r.latest.number {
		return
	}
	r.grant.Latest, r.latest = c.license, c.at
}

// applyFinal takes over a change whose block is final now.
func (r *record) applyFinal(c change) {
	if c.at.number < r.final.number || c.license.Seq <= r.grant.Final.Seq && c.at.number == r.final.number {
		return
	}
	r.grant.Final, r.grant.Plan, r.final = c.license, c.plan, c.at
}

func licenseOf(v contract.LicenseRegistryGrantView) policy.License {
	return contract.UnpackWord(contract.WordOf(v.Word))
}
