package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/fealty/fealty/licensecheck"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/policy"
)

// explanation is what license show found, layer by layer.
type explanation struct {
	Subject  string      `json:"subject"`
	Model    string      `json:"model"`
	Asked    string      `json:"asked_scope"`
	Decision string      `json:"decision"` // as the gateway's error code; "allowed"
	Advice   string      `json:"advice"`
	Memory   memoryLayer `json:"memory"`
	Redis    layer       `json:"redis"`
	Chain    layer       `json:"chain"`
	Window   string      `json:"window,omitempty"`
	Scope    string      `json:"scope,omitempty"`
	Plan     *planLayer  `json:"plan,omitempty"`
	Used     usedLayer   `json:"used_today"`
	Host     *hostLayer  `json:"host,omitempty"`
	Rules    string      `json:"operator_rules,omitempty"` // their file: they come after the license and are not asked here
	Owner    string      `json:"owner,omitempty"`
	OnSale   []uint32    `json:"plans_on_sale,omitempty"` // that would allow this

	grant    policy.Grant
	found    bool // the chain answered
	chainErr error
}

// layer is what Redis or the chain says.
type layer struct {
	Note   string `json:"note,omitempty"` // why there is nothing
	Final  *view  `json:"final,omitempty"`
	Latest *view  `json:"latest,omitempty"`
}

// view is a grant at one block.
type view struct {
	Block     uint64 `json:"block"`
	Status    string `json:"status"`
	Seq       uint64 `json:"seq"`
	NotBefore int64  `json:"not_before"`
	NotAfter  int64  `json:"not_after"`
	Scope     string `json:"scope"`
	Plan      uint32 `json:"plan"`
}

// memoryLayer is what a running gateway holds.
type memoryLayer struct {
	Note       string  `json:"note,omitempty"`
	Decision   string  `json:"decision,omitempty"`
	Seq        uint64  `json:"seq,omitempty"`
	AgeSeconds float64 `json:"age_seconds,omitempty"` // since the chain last confirmed it
}

type planLayer struct {
	Number       uint32 `json:"number"` // 0: outside any plan
	RPM          uint32 `json:"rpm"`    // 0: no limit
	TokensPerDay uint64 `json:"tokens_per_day"`
	Capped       bool   `json:"capped"` // the operator's own caps lower it
}

// usedLayer is what the ledger has; a running gateway writes what it knows some milliseconds later.
type usedLayer struct {
	Note     string `json:"note,omitempty"`
	Asked    bool   `json:"asked"`
	Requests int64  `json:"requests"`
	Tokens   uint64 `json:"tokens"`
}

type hostLayer struct {
	Domain   string `json:"domain"`
	Decision string `json:"decision"`
}

// The codes that a gateway answers with beside package policy's.
const (
	unavailable    = "license_unavailable"
	hostUnlicensed = "host_unlicensed"
)

func layerOf(r licensecheck.Reading) layer {
	switch {
	case r.Err != nil:
		return layer{Note: "not known: " + r.Err.Error()}
	case !r.Found:
		return layer{Note: "no record"}
	}
	return layer{Final: viewOf(r.Grant.Final, r.Final), Latest: viewOf(r.Grant.Latest, r.Latest)}
}

func viewOf(l policy.License, block uint64) *view {
	return &view{
		Block: block, Status: contract.StatusName(l.Status), Seq: l.Seq, NotBefore: l.NotBefore, NotAfter: l.NotAfter,
		Scope: l.Scope.String(), Plan: l.PlanVersion,
	}
}

// conclude takes the decision that a gateway would take now, in its order, and says what helps.
func (e *explanation) conclude(now time.Time, q question) {
	if !e.found || e.Host != nil && e.Host.Decision == unavailable {
		e.concludeWithoutChain(q)
		return
	}
	l, plan := e.grant.Final, e.grant.Plan.Within(q.caps)
	if l.Seq != 0 {
		e.Window = windowText(now, l)
		e.Scope = l.Scope.String()
		e.Plan = &planLayer{l.PlanVersion, plan.RPM, plan.TokensPerDay, plan != e.grant.Plan}
	}
	if e.Host != nil && e.Host.Decision != policy.Allowed.String() {
		e.Decision = hostUnlicensed
		e.Advice = fmt.Sprintf("the gateway itself may not serve (%s): %s can grant it with 'fealty license grant --subject host:%s --controller 0x...'", e.Host.Decision, e.owner(), e.Host.Domain)
		return
	}
	grant := e.grant
	grant.Plan = plan
	reason := policy.Decide(now, grant, policy.Usage{Tokens: e.Used.Tokens}, policy.Request{Scope: q.want, Tokens: 1}).Reason
	e.Decision, e.Advice = reason.String(), e.advice(reason, grant)
}

// concludeWithoutChain: a gateway that was told yes a while ago still says so.
func (e *explanation) concludeWithoutChain(q question) {
	hard := cmp.Or(q.options.Hard, 5*time.Minute) // licensecheck's default
	if e.Memory.Decision == policy.Allowed.String() && e.Memory.AgeSeconds < hard.Seconds() {
		e.Decision = e.Memory.Decision
		e.Advice = fmt.Sprintf("look at the node: the chain cannot be asked, and this gateway serves from memory until %v after its last word", hard)
		return
	}
	e.Decision = unavailable
	e.Advice = "look at the node: the chain cannot be asked as a gateway needs it. Gateways serve from memory up to their hard limit, then answer 503"
}

func windowText(now time.Time, l policy.License) string {
	text := unix(l.NotBefore) + " until " + unix(l.NotAfter)
	switch left := time.Unix(l.NotAfter, 0).Sub(now).Round(time.Second); {
	case now.Unix() < l.NotBefore:
		return text + ", begins in " + time.Unix(l.NotBefore, 0).Sub(now).Round(time.Second).String()
	case left <= 0:
		return text + ", ended " + (-left).String() + " ago"
	default:
		return text + ", " + left.String() + " left"
	}
}

func (e *explanation) owner() string { return "the model's owner (" + e.Owner + ")" }

// advice is what to do about a reason.
func (e *explanation) advice(reason policy.Reason, g policy.Grant) string {
	buy := "no plan on sale allows this; ask " + e.owner() + " for a grant"
	if len(e.OnSale) > 0 {
		buy = fmt.Sprintf("buy plan %v with 'fealty license buy', or ask %s for a grant", join(e.OnSale, " or "), e.owner())
	}
	switch reason {
	case policy.Allowed:
		return "nothing: requests within the limits are served"
	case policy.NoLicense:
		if g.Latest.Status == policy.Active {
			return "wait: the grant is in a block that is not final yet"
		}
		return buy
	case policy.LicenseExpired:
		if g.Latest.NotAfter > g.Final.NotAfter {
			return "wait: the extension is in a block that is not final yet"
		}
		return buy
	case policy.LicenseNotYetValid:
		return "wait until " + unix(g.Final.NotBefore) + "; if that is past, set this machine's clock"
	case policy.LicenseSuspended:
		return "the owner or an issuer can lift it with 'fealty license reinstate', once the cause is settled; it counts when its block is final"
	case policy.LicenseRevoked:
		return "only " + e.owner() + " can undo it, with 'fealty license reinstate'; it counts when its block is final"
	case policy.ScopeMissing:
		if len(e.OnSale) > 0 {
			return fmt.Sprintf("move to plan %v with 'fealty license buy --switch', or ask %s for a wider grant", join(e.OnSale, " or "), e.owner())
		}
		return "ask " + e.owner() + " for a grant with this scope"
	}
	return "wait for the next window, or move to a larger plan"
}

func join(numbers []uint32, between string) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", between)
}

// text is the one screen.
func (e *explanation) text() string {
	var b strings.Builder
	verdict := "refused, " + e.Decision
	if e.Decision == policy.Allowed.String() {
		verdict = e.Decision
	}
	fmt.Fprintf(&b, "%s for %s on model %s: %s\n  to do    %s\n\n", e.Subject, e.Asked, e.Model, verdict, e.Advice)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-8s %s\n", name, text)
		}
	}
	row("memory", e.Memory.text())
	for _, l := range []struct {
		name string
		layer
	}{{"redis", e.Redis}, {"chain", e.Chain}} {
		row(l.name, l.Note)
		if l.Latest != nil {
			row(l.name, "final  "+l.Final.text())
			row("", "latest "+l.Latest.text())
		}
	}
	row("window", e.Window)
	if e.Scope != "" {
		row("scope", e.Scope+"; asked: "+e.Asked)
	}
	if e.Plan != nil {
		row("plan", e.Plan.text())
	}
	row("used", e.Used.text(e.Plan))
	if e.Host != nil {
		row("host", e.Host.Domain+": "+e.Host.Decision)
	}
	if e.Rules != "" {
		row("rules", e.Rules+": may still refuse a request; they are not asked here")
	}
	return b.String()
}

func (v *view) text() string {
	if v.Seq == 0 {
		return fmt.Sprintf("block %d: never granted", v.Block)
	}
	return fmt.Sprintf("block %d: %s, written %s, until %s", v.Block, v.Status, times(v.Seq), unix(v.NotAfter))
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (m memoryLayer) text() string {
	if m.Note != "" {
		return m.Note
	}
	return fmt.Sprintf("%s, written %s, confirmed %.1f s ago", m.Decision, times(m.Seq), m.AgeSeconds)
}

func (p *planLayer) text() string {
	text := fmt.Sprintf("%d: ", p.Number)
	if p.Number == 0 {
		text = "none: "
	}
	text += limitText(uint64(p.RPM), "requests per minute") + ", " + limitText(p.TokensPerDay, "tokens per day")
	if p.Capped {
		text += " (lowered by the operator's caps)"
	}
	return text
}

func limitText(n uint64, of string) string {
	if n == 0 {
		return "no limit of " + of
	}
	return fmt.Sprintf("%d %s", n, of)
}

func (u usedLayer) text(p *planLayer) string {
	if !u.Asked {
		return u.Note
	}
	of := ""
	if p != nil && p.TokensPerDay != 0 {
		of = fmt.Sprintf(" of %d", p.TokensPerDay)
	}
	return fmt.Sprintf("%d requests, %d%s tokens today (UTC), as far as the ledger has them", u.Requests, u.Tokens, of)
}
