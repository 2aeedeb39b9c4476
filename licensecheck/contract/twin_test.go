package contract

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/fealty/fealty/policy"
)

// twin is the registry again, as a plain program that reads like docs/contract.md. It
// shares no code with the contract or with the package's own reading of its storage.
type twin struct {
	registry, token common.Address
	block, now      uint64

	models    map[[32]byte]*twinModel
	coins     map[common.Address]int64
	tokens    map[common.Address]int64
	allowance map[common.Address]int64          // what the registry may take
	keyOf     map[common.Address]common.Address // whose signature an account accepts
	contracts map[common.Address]bool           // accounts that take no coins
}

type twinModel struct {
	owner, pending common.Address
	active         bool
	epoch          uint64
	issuers        map[common.Address]bool // of this epoch
	plans          []RegistryStatePlan
	versions       [][32]byte
	commits        []twinCommit
	grants         map[[32]byte]*twinGrant
}

type twinCommit struct {
	root, randomness [32]byte
	at, draw         uint64
}

type twinGrant struct {
	from, until uint64
	scope, plan uint32
	status      policy.Status
	seq         uint64
	head        [32]byte
	controller  common.Address
}

// signature is who signed what, without the arithmetic.
type signature struct {
	by   common.Address
	over string
}

func (t *twin) model(id [32]byte) *twinModel {
	if m := t.models[id]; m != nil {
		return m
	}
	return &twinModel{}
}

// grant is what the subject holds; what a refused call wrote to a new one is lost.
func (m *twinModel) grant(subject [32]byte) twinGrant {
	if g := m.grants[subject]; g != nil {
		return *g
	}
	return twinGrant{}
}

func refuse(name string, args ...any) outcome { return outcome{refusal: say(name, args...)} }
func done(events ...string) outcome           { return outcome{events: events} }

// ok lets checks stand in the order in which the first that fails is told.
var ok outcome

func first(checks ...func() outcome) outcome {
	for _, check := range checks {
		if o := check(); o.refusal != "" {
			return o
		}
	}
	return ok
}

func want(holds bool, name string, args ...any) func() outcome {
	return func() outcome {
		if holds {
			return ok
		}
		return refuse(name, args...)
	}
}

// Models

func (t *twin) id(who common.Address, salt [32]byte) [32]byte {
	var chain [32]byte
	chain[30], chain[31] = 1337>>8, 1337&0xff
	pad := make([]byte, 12)
	return crypto.Keccak256Hash(chain[:], pad, t.registry[:], pad, who[:], salt[:])
}

func (t *twin) register(who common.Address, salt [32]byte) outcome {
	id := t.id(who, salt)
	if t.models[id] != nil {
		return refuse("ModelExists")
	}
	t.models[id] = &twinModel{owner: who, active: true, issuers: map[common.Address]bool{}, grants: map[[32]byte]*twinGrant{}}
	return done(say("ModelRegistered", id, who, salt))
}

func (t *twin) transfer(who common.Address, id [32]byte, to common.Address) outcome {
	m := t.model(id)
	if who != m.owner {
		return refuse("NotOwner")
	}
	m.pending = to
	return done(say("ModelTransferStarted", id, who, to))
}

func (t *twin) accept(who common.Address, id [32]byte) outcome {
	m := t.model(id)
	if who != m.pending {
		return refuse("NotPendingOwner")
	}
	from := m.owner
	m.owner, m.pending = who, common.Address{}
	m.epoch++
	m.issuers = map[common.Address]bool{}
	return done(say("ModelTransferred", id, from, who, m.epoch))
}

func (t *twin) setActive(who common.Address, id [32]byte, active bool) outcome {
	m := t.model(id)
	if who != m.owner {
		return refuse("NotOwner")
	}
	m.active = active
	return done(say("ActiveSet", id, active))
}

func (t *twin) setIssuer(who common.Address, id [32]byte, issuer common.Address, allowed bool) outcome {
	m := t.model(id)
	if who != m.owner {
		return refuse("NotOwner")
	}
	m.issuers[issuer] = allowed
	return done(say("IssuerSet", id, issuer, m.epoch, allowed))
}

func (t *twin) publish(who common.Address, id [32]byte, version uint32, digest [32]byte) outcome {
	m := t.model(id)
	next := uint32(len(m.versions) + 1)
	o := first(want(who == m.owner, "NotOwner"), want(version == next, "BadVersion", next), want(digest != [32]byte{}, "BadDigest"))
	if o.refusal != "" {
		return o
	}
	m.versions = append(m.versions, digest)
	return done(say("VersionPublished", id, version, digest))
}

func (t *twin) commit(who common.Address, id, root [32]byte) outcome {
	m := t.model(id)
	if o := first(want(who == m.owner, "NotOwner"), want(root != [32]byte{}, "BadDigest")); o.refusal != "" {
		return o
	}
	m.commits = append(m.commits, twinCommit{root: root, at: t.block, draw: t.block + drawDelay})
	return done(say("KeysCommitted", id, len(m.commits)-1, root, t.block+drawDelay))
}

// draw is told which block's header it gets; 0 is none at all.
func (t *twin) draw(id [32]byte, index uint32, headerOf uint64) outcome {
	m := t.model(id)
	if int(index) >= len(m.commits) {
		return refuse("NoCommitment", index)
	}
	c := &m.commits[index]
	remembered := c.draw < t.block && t.block-c.draw <= 256
	o := first(want(c.randomness == [32]byte{}, "DrawAlreadyRecorded"), want(remembered && headerOf == c.draw, "WrongHeader", c.draw))
	if o.refusal != "" {
		return o
	}
	c.randomness = crypto.Keccak256Hash(common.LeftPadBytes(new(big.Int).SetUint64(c.draw).Bytes(), 32))
	return done(say("DrawRecorded", id, index, c.randomness))
}

// Plans

func (t *twin) addPlan(who common.Address, id [32]byte, p RegistryStatePlan) outcome {
	m := t.model(id)
	o := first(want(who == m.owner, "NotOwner"), want(p.Duration.Sign() != 0 && p.Scope != 0, "BadPlan"), want(p.Scope&host == 0, "BadScope"))
	if o.refusal != "" {
		return o
	}
	m.plans = append(m.plans, p)
	return done(say("PlanAdded", id, len(m.plans), p))
}

func (t *twin) setOnSale(who common.Address, id [32]byte, plan uint32, on bool) outcome {
	m := t.model(id)
	if o := first(want(who == m.owner, "NotOwner"), want(m.hasPlan(plan), "NoPlan", plan)); o.refusal != "" {
		return o
	}
	m.plans[plan-1].OnSale = on
	return done(say("PlanOnSale", id, plan, on))
}

func (m *twinModel) hasPlan(plan uint32) bool { return plan >= 1 && int(plan) <= len(m.plans) }

// Buying

// quote is what a buyer expects and sends.
type quote struct {
	plan  uint32
	price int64
	token common.Address
	sent  int64
}

func (t *twin) purchase(who common.Address, id [32]byte, q quote) outcome {
	return t.buy(who, who, id, q)
}

func (t *twin) purchaseFor(who common.Address, p LicenseRegistryPermit, s signature, sent int64) outcome {
	g := t.model(p.ModelId).grant(asSubject(p.Subject))
	o := first(t.signed(p.Subject, p.Deadline, fmt.Sprint(p), s), want(g.seq == p.ExpectedSeq, "SeqMismatch", g.seq, p.ExpectedSeq))
	if o.refusal != "" {
		return o
	}
	return t.buy(who, p.Subject, p.ModelId, quote{p.Plan, p.Price.Int64(), p.Token, sent})
}

func (t *twin) buy(payer, buyer common.Address, id [32]byte, q quote) outcome {
	m, subject := t.model(id), asSubject(buyer)
	g := m.grant(subject)
	if o := first(t.open(g), t.forSale(m, q)); o.refusal != "" {
		return o
	}
	p := m.plans[q.plan-1]
	length := p.Duration.Uint64()
	if t.now < g.until { // it runs: the same terms for longer
		if g.plan != q.plan || g.scope != p.Scope {
			return refuse("PlanMismatch", g.plan, q.plan)
		}
		g.until += length
	} else {
		g.from, g.until, g.scope, g.plan, g.controller = t.now, t.now+length, p.Scope, q.plan, common.Address{}
	}
	return t.sell(payer, id, subject, g, q)
}

func (t *twin) switchPlan(who common.Address, id [32]byte, q quote, seq uint64) outcome {
	m, subject := t.model(id), asSubject(who)
	g := m.grant(subject)
	o := first(want(g.seq == seq, "SeqMismatch", g.seq, seq), want(g.status == policy.Active, "BadTransition", uint8(g.status)),
		want(g.plan != q.plan, "SamePlan", q.plan), t.forSale(m, q))
	if o.refusal != "" {
		return o
	}
	p := m.plans[q.plan-1]
	g.from, g.until, g.scope, g.plan, g.controller = t.now, t.now+p.Duration.Uint64(), p.Scope, q.plan, common.Address{}
	return t.sell(who, id, subject, g, q)
}

// sell writes the grant if it can be paid for.
func (t *twin) sell(payer common.Address, id, subject [32]byte, g twinGrant, q quote) outcome {
	if g.until >= 1<<40 {
		return refuse("Panic", 0x11)
	}
	g.status = policy.Active
	owner := t.model(id).owner
	due := q.price
	if q.token != noToken {
		due = 0
	}
	o := first(want(q.sent == due, "WrongPayment", q.sent, due), func() outcome { return t.pay(payer, owner, q) })
	if o.refusal != "" {
		return o
	}
	return done(t.write(id, subject, g, payer), say("Purchased", id, subject, q.plan, payer, q.token, q.price))
}

func (t *twin) pay(payer, owner common.Address, q quote) outcome {
	if q.token == noToken {
		if q.price != 0 && t.contracts[owner] {
			return refuse("FailedCall")
		}
		t.coins[payer] -= q.price
		t.coins[owner] += q.price
		return ok
	}
	o := first(want(t.allowance[payer] >= q.price, "ERC20InsufficientAllowance", t.registry, t.allowance[payer], q.price),
		want(t.tokens[payer] >= q.price, "ERC20InsufficientBalance", payer, t.tokens[payer], q.price))
	if o.refusal == "" {
		t.allowance[payer] -= q.price
		t.tokens[payer] -= q.price
		t.tokens[owner] += q.price
	}
	return o
}

// Issuing

func (t *twin) issue(who common.Address, id, subject [32]byte, terms LicenseRegistryTerms, seq uint64) outcome {
	if !t.model(id).issues(who) {
		return refuse("NotIssuer")
	}
	return t.place(who, id, subject, terms, seq)
}

func (t *twin) redeem(who common.Address, v LicenseRegistryVoucher, s signature) outcome {
	m := t.model(v.ModelId)
	o := first(want(v.Epoch == m.epoch, "EpochMismatch", m.epoch, v.Epoch), want(m.issues(v.Signer), "NotIssuer"), t.signed(v.Signer, v.Deadline, fmt.Sprint(v), s))
	if o.refusal != "" {
		return o
	}
	return t.place(who, v.ModelId, v.Subject, v.Terms, v.ExpectedSeq)
}

func (t *twin) place(who common.Address, id, subject [32]byte, terms LicenseRegistryTerms, seq uint64) outcome {
	m := t.model(id)
	g := m.grant(subject)
	asHost := terms.Scope&host != 0
	wallet := bytes.Equal(subject[:12], make([]byte, 12))
	o := first(
		want(g.seq == seq, "SeqMismatch", g.seq, seq), t.open(g),
		want(subject != [32]byte{}, "BadSubject"),
		want(terms.NotBefore.Cmp(terms.NotAfter) < 0, "BadWindow"),
		want(terms.Scope != 0, "BadScope"),
		want(terms.Plan == 0 || m.hasPlan(terms.Plan), "NoPlan", terms.Plan),
		want(!asHost || !wallet, "BadSubject"),
		want(asHost == (terms.Controller != common.Address{}), "BadController"),
	)
	if o.refusal != "" {
		return o
	}
	g.from, g.until, g.scope, g.plan = terms.NotBefore.Uint64(), terms.NotAfter.Uint64(), terms.Scope, terms.Plan
	g.controller, g.status = terms.Controller, policy.Active
	return done(t.write(id, subject, g, who))
}

func (t *twin) suspend(who common.Address, id, subject [32]byte, seq uint64) outcome {
	return t.move(who, id, subject, seq, policy.Suspended, policy.Active)
}

func (t *twin) revoke(who common.Address, id, subject [32]byte, seq uint64) outcome {
	return t.move(who, id, subject, seq, policy.Revoked, policy.Active, policy.Suspended)
}

func (t *twin) reinstate(who common.Address, id, subject [32]byte, seq uint64) outcome {
	m := t.model(id)
	if g := m.grant(subject); m.issues(who) && g.seq == seq && g.status == policy.Revoked && who != m.owner {
		return refuse("NotOwner")
	}
	return t.move(who, id, subject, seq, policy.Active, policy.Suspended, policy.Revoked)
}

func (t *twin) move(who common.Address, id, subject [32]byte, seq uint64, to policy.Status, from ...policy.Status) outcome {
	m := t.model(id)
	g := m.grant(subject)
	from = append(from, from[0])
	o := first(want(m.issues(who), "NotIssuer"), want(g.seq == seq, "SeqMismatch", g.seq, seq),
		want(g.status == from[0] || g.status == from[1], "BadTransition", uint8(g.status)))
	if o.refusal != "" {
		return o
	}
	g.status = to
	return done(t.write(id, subject, g, who))
}

// Rules

func (m *twinModel) issues(who common.Address) bool {
	return m.owner != common.Address{} && (who == m.owner || m.issuers[who])
}

func (t *twin) open(g twinGrant) func() outcome {
	return func() outcome {
		return first(want(g.status != policy.Revoked, "GrantRevoked"), want(g.status != policy.Suspended || t.now >= g.until, "GrantSuspended"))
	}
}

func (t *twin) forSale(m *twinModel, q quote) func() outcome {
	return func() outcome {
		o := first(want(m.owner != common.Address{}, "NoModel"), want(m.active, "ModelInactive"), want(m.hasPlan(q.plan), "NoPlan", q.plan))
		if o.refusal != "" {
			return o
		}
		p := m.plans[q.plan-1]
		return first(want(p.OnSale, "PlanNotOnSale", q.plan), want(p.Price.Int64() == q.price && p.Token == q.token, "TermsChanged", p.Price, p.Token))
	}
}

func (t *twin) signed(by common.Address, deadline *big.Int, what string, s signature) func() outcome {
	return func() outcome {
		return first(want(t.now <= deadline.Uint64(), "SignatureExpired", deadline),
			want(t.keyOf[by] == s.by && s.over == what, "BadSignature"))
	}
}

// write is what every change of a grant does.
func (t *twin) write(id, subject [32]byte, g twinGrant, by common.Address) string {
	g.seq++
	held := g.word()
	g.head = crypto.Keccak256Hash(g.head[:], held[:], make([]byte, 12), g.controller[:])
	t.models[id].grants[subject] = &g
	return say("GrantChanged", id, subject, new(big.Int).SetBytes(held[:]), g.head, g.controller, by)
}

// word is slot 1 of the grant.
func (g twinGrant) word() [32]byte {
	return pack(policy.License{
		Status: g.status, NotBefore: int64(g.from), NotAfter: int64(g.until), Scope: policy.Scope(g.scope), PlanVersion: g.plan, Seq: g.seq,
	})
}

func asSubject(a common.Address) (s [32]byte) {
	copy(s[12:], a[:])
	return s
}
