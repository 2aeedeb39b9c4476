// Package policy decides whether one request may run under one license.
//
// It does no I/O and never reads the clock: facts and time go in, a [Decision]
// comes out. It refuses to guess: whoever could not find the facts must say so
// before coming here. Start with [Decide].
package policy

import (
	"strconv"
	"strings"
	"time"
)

// Status is a grant's state as the registry contract stores it.
type Status uint8

// The numbers are the contract's; None is an empty slot: never licensed.
const (
	None Status = iota
	Active
	Suspended
	Revoked
)

// Scope is a set of uses, one bit each, as the registry contract stores it.
type Scope uint32

const (
	ScopeChat        Scope = 1 << 0 // /v1/chat/completions
	ScopeCompletions Scope = 1 << 1 // /v1/completions
	ScopeEmbeddings  Scope = 1 << 2 // /v1/embeddings
	ScopeHost        Scope = 1 << 8 // serving the model to others
)

// String names the uses, separated by commas; "none" is the empty set.
func (s Scope) String() string {
	var names []string
	for _, use := range uses {
		if s&use.bit != 0 {
			names = append(names, use.name)
			s &^= use.bit
		}
	}
	if s != 0 { // uses of a later contract
		names = append(names, "0x"+strconv.FormatUint(uint64(s), 16))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// ScopeNamed is the use of one name, as String prints it.
func ScopeNamed(name string) (Scope, bool) {
	for _, use := range uses {
		if use.name == name {
			return use.bit, true
		}
	}
	return 0, false
}

var uses = []struct {
	name string
	bit  Scope
}{
	{"chat", ScopeChat}, {"completions", ScopeCompletions}, {"embeddings", ScopeEmbeddings}, {"host", ScopeHost},
}

// License is one view of a grant: who may use a model, when, and for what.
type License struct {
	Status      Status
	NotBefore   int64 // Unix seconds, inclusive
	NotAfter    int64 // Unix seconds, exclusive; 0 never allows
	Scope       Scope
	PlanVersion uint32
	Seq         uint64 // counts the writes to this grant; 0 for an empty slot
}

// Plan is what a license may consume. It is immutable once it is on-chain.
type Plan struct {
	RPM          uint32 // requests per minute; 0: no limit
	TokensPerDay uint64 // prompt and completion tokens per UTC day; 0: no limit
}

// Within is the plan, with no limit above the cap's.
func (p Plan) Within(cap Plan) Plan {
	return Plan{RPM: lower(p.RPM, cap.RPM), TokensPerDay: lower(p.TokensPerDay, cap.TokensPerDay)}
}

// lower is the lower of two limits, of which 0 is none.
func lower[T uint32 | uint64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Grant is what the chain says of one subject and one model, seen twice: at the
// finality that the operator configured, and at the newest block. A grant counts
// once it is final; a revocation counts as soon as it is seen.
type Grant struct {
	Final  License
	Latest License
	Plan   Plan
	// Stale: the chain could not confirm this within the soft limit and still
	// may not be older than the hard one. Answers are marked, not refused.
	Stale bool
}

// Usage is what the subject consumed so far in the running windows.
type Usage struct {
	Requests uint32 // in the running minute, this one not included
	Tokens   uint64 // in the running UTC day, reservations included, this one not
}

// Request is what the caller asks for now.
type Request struct {
	Scope  Scope
	Tokens uint64 // reserved: prompt estimate plus the most it may generate
	Key    Key
}

// Key narrows a license for the holder of one API key. It never widens one.
type Key struct {
	RPM          uint32 // 0: as the plan says
	TokensPerDay uint64 // 0: as the plan says
	Usage        Usage  // what was consumed through this key
}

// Decision is the answer to one request.
type Decision struct {
	Reason Reason
	// RetryAfter is when asking again can help; zero: it cannot, or nobody knows.
	RetryAfter time.Duration
}

// Allowed reports whether the request may run.
func (d Decision) Allowed() bool { return d.Reason == Allowed }

// NotBeforeTolerance forgives a gateway whose clock runs slightly behind the
// chain's. The end of a license has no tolerance: what was not paid is not served.
const NotBeforeTolerance = 5 * time.Second

// Decide answers whether the request may run under the grant at time now. It is
// total and deterministic, and allocates nothing.
func Decide(now time.Time, g Grant, u Usage, r Request) Decision {
	if reason := standing(now, g, r.Scope); reason != Allowed {
		return Decision{Reason: reason}
	}
	if over(u.Requests, g.Plan.RPM) || over(r.Key.Usage.Requests, r.Key.RPM) {
		return Decision{Reason: RateLimited, RetryAfter: untilNext(now, time.Minute)}
	}
	if beyond(u.Tokens, r.Tokens, g.Plan.TokensPerDay) || beyond(r.Key.Usage.Tokens, r.Tokens, r.Key.TokensPerDay) {
		return Decision{Reason: QuotaExceeded, RetryAfter: untilNext(now, 24*time.Hour)}
	}
	return Decision{Reason: Allowed}
}

// Standing answers for the license alone, leaving out what was consumed. Long
// streams ask it again while they run, and a host asks it for itself.
func Standing(now time.Time, g Grant, want Scope) Decision {
	return Decision{Reason: standing(now, g, want)}
}

func standing(now time.Time, g Grant, want Scope) Reason {
	// The newest block may only take away: it is not final yet.
	switch g.Latest.Status {
	case Revoked:
		return LicenseRevoked
	case Suspended:
		return LicenseSuspended
	}
	return view(now.Unix(), g.Final, want)
}

func view(now int64, l License, want Scope) Reason {
	switch l.Status {
	case Active:
	case None:
		return NoLicense
	case Suspended:
		return LicenseSuspended
	default: // Revoked, and any status that a later contract may add
		return LicenseRevoked
	}
	switch {
	case now >= l.NotAfter:
		return LicenseExpired
	case now < l.NotBefore-int64(NotBeforeTolerance/time.Second):
		return LicenseNotYetValid
	case want == 0 || l.Scope&want != want:
		return ScopeMissing
	}
	return Allowed
}

func over(used, limit uint32) bool { return limit != 0 && used >= limit }

// beyond is written without used+want, which could wrap around.
func beyond(used, want, limit uint64) bool {
	return limit != 0 && (used > limit || want > limit-used)
}

// untilNext is the time to the next window; windows are aligned to the Unix epoch.
func untilNext(now time.Time, window time.Duration) time.Duration {
	into := time.Duration(now.UnixNano()) % window
	if into < 0 {
		into += window
	}
	return window - into
}
