package contract

import (
	"fmt"
	"math/big"
	"math/rand/v2"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/internal/wallet"
)

// op is one transaction, with what the twin makes of it.
type op struct {
	text    string // for the reader of a failure
	seconds uint64 // that pass before it
	blocks  uint64
	who     common.Address
	data    []byte
	sent    int64 // wei
	twin    func(*twin) outcome
}

func (o op) String() string {
	return fmt.Sprintf("+%ds +%d blocks, %x: %s", o.seconds, o.blocks, o.who[:3], o.text)
}

// maker draws operations that mostly nearly make sense: it looks at the twin for the
// right sequence number or price, and then takes another one now and then.
type maker struct {
	*rand.Rand
	l *lab
	t *twin

	actors   []common.Address // the last one is a contract wallet
	keys     map[common.Address]*wallet.Key
	ids      [][32]byte // of models, registered or not
	subjects [][32]byte
	vouchers []signedVoucher // made so far, to be handed in late, twice or changed
	permits  []signedPermit
}

type signedVoucher struct {
	LicenseRegistryVoucher
	bytes []byte
	signature
}

type signedPermit struct {
	LicenseRegistryPermit
	bytes []byte
	signature
}

func newMaker(r *rand.Rand, l *lab, t *twin, actors []common.Address) *maker {
	m := &maker{Rand: r, l: l, t: t, actors: actors, keys: map[common.Address]*wallet.Key{}}
	for _, key := range people {
		m.keys[key.Address()] = key
	}
	for _, who := range actors[:2] { // the creator's names, and who takes the same salts
		m.ids = append(m.ids, t.id(who, [32]byte{1}), t.id(who, [32]byte{2}))
	}
	for _, who := range actors[1:] {
		m.subjects = append(m.subjects, asSubject(who))
	}
	for _, domain := range []string{"one.example", "two.example"} {
		s, err := wallet.HostSubject(domain)
		if err != nil {
			panic(err)
		}
		m.subjects = append(m.subjects, s)
	}
	return m
}

func pick[T any](m *maker, of []T) T { return of[m.IntN(len(of))] }

// rarely is one time in n.
func (m *maker) rarely(n int) bool { return m.IntN(n) == 0 }

func (m *maker) actor() common.Address { return pick(m, m.actors) }

// model is mostly one that exists.
func (m *maker) model() [32]byte {
	id := pick(m, m.ids)
	if !m.rarely(3) || m.t.models[id] == nil && !m.rarely(8) {
		return m.ids[0]
	}
	return id
}

// owner is mostly the model's, else anybody.
func (m *maker) owner(id [32]byte) common.Address {
	if model := m.t.models[id]; model != nil && !m.rarely(4) {
		return model.owner
	}
	return m.actor()
}

// issuer is often the owner or who was named.
func (m *maker) issuer(id [32]byte) common.Address {
	if !m.rarely(3) {
		for who, allowed := range sortedIssuers(m.t.model(id).issuers) {
			if allowed && m.rarely(2) {
				return who
			}
		}
	}
	return m.owner(id)
}

func (m *maker) seq(id, subject [32]byte) uint64 {
	seq := m.t.model(id).grant(subject).seq
	switch {
	case m.rarely(12) && seq > 0:
		return seq - 1
	case m.rarely(12):
		return seq + 1
	}
	return seq
}

// plan is mostly one that the model has.
func (m *maker) plan(id [32]byte) uint32 {
	if n := len(m.t.model(id).plans); n > 0 && !m.rarely(12) {
		return uint32(1 + m.IntN(min(n, 4)))
	}
	return uint32(m.IntN(8))
}

// buyer is mostly one of those who have something to pay with.
func (m *maker) buyer() common.Address {
	if m.rarely(4) {
		return m.actor()
	}
	return pick(m, m.actors[3:])
}

// quote is mostly what the plan asks for.
func (m *maker) quote(id [32]byte) quote {
	plans := m.t.model(id).plans
	q := quote{plan: m.plan(id), price: 1000}
	if q.plan >= 1 && int(q.plan) <= len(plans) {
		p := plans[q.plan-1]
		q.price, q.token = p.Price.Int64(), p.Token
	}
	if m.rarely(12) { // as it was, or seemed to be, when they looked
		q.price++
	}
	if m.rarely(20) {
		q.token = m.t.token
	}
	q.sent = q.price
	if q.token != noToken {
		q.sent = 0
	}
	if m.rarely(12) {
		q.sent += int64(m.IntN(3)) - 1
	}
	q.sent = max(q.sent, 0)
	return q
}

func (m *maker) terms(id, subject [32]byte) LicenseRegistryTerms {
	from := int64(m.t.now) + pick(m, []int64{-100, 0, 0, 0, 500})
	t := LicenseRegistryTerms{NotBefore: big.NewInt(from), NotAfter: big.NewInt(from + pick(m, []int64{0, 1, 600, 600, 3600, 3600, 3600, 90000, 90000})), Scope: scope}
	if m.rarely(2) {
		t.Plan = m.plan(id)
	}
	forHost := subject[0] != 0
	if forHost != m.rarely(8) {
		t.Scope = host
	}
	if forHost != m.rarely(8) {
		t.Controller = m.actor()
	}
	if m.rarely(20) {
		t.Scope = 0
	}
	return t
}

func (m *maker) deadline() *big.Int {
	return big.NewInt(int64(m.t.now) + pick(m, []int64{-1, 0, 300, 5000, 20_000, 20_000}))
}

// passes lets time go by: mostly a little, sometimes to the very end of a license.
func (m *maker) passes() (seconds, blocks uint64) {
	blocks = 1
	if m.rarely(40) {
		blocks = pick(m, []uint64{250, 260, 400})
	}
	if m.rarely(3) {
		seconds = pick(m, []uint64{1, 12, 12, 300, 700})
	}
	if m.rarely(8) {
		g := m.t.model(m.model()).grant(pick(m, m.subjects))
		if end := g.until - uint64(m.IntN(2)); end > m.t.now && end < m.t.now+100_000 {
			seconds = end - m.t.now
		}
	}
	return seconds, blocks
}

// kinds of operations, each as often as it is listed.
var kinds = []func(*maker) op{
	(*maker).register, (*maker).transfer, (*maker).accept, (*maker).setActive, (*maker).setIssuer,
	(*maker).publish, (*maker).commit, (*maker).draw, (*maker).addPlan, (*maker).setOnSale,
	(*maker).purchase, (*maker).purchase, (*maker).purchase, (*maker).purchase, (*maker).purchaseFor, (*maker).purchaseFor, (*maker).switchPlan, (*maker).switchPlan,
	(*maker).grant, (*maker).grant, (*maker).grant, (*maker).redeem, (*maker).redeem, (*maker).redeem,
	(*maker).suspend, (*maker).suspend, (*maker).revoke, (*maker).reinstate, (*maker).reinstate,
}

func (m *maker) next() op {
	seconds, blocks := m.passes()
	m.t.now, m.t.block = m.t.now+seconds, m.t.block+blocks
	o := pick(m, kinds)(m)
	m.t.now, m.t.block = m.t.now-seconds, m.t.block-blocks
	o.seconds, o.blocks = seconds, blocks
	return o
}

func (m *maker) register() op {
	who, salt := pick(m, m.actors[:2]), [32]byte{byte(1 + m.IntN(2))}
	return op{text: say("registerModel", salt), who: who, data: bindings.PackRegisterModel(salt),
		twin: func(t *twin) outcome { return t.register(who, salt) }}
}

func (m *maker) transfer() op {
	id, to := m.model(), m.actor()
	who := m.owner(id)
	return op{text: say("transferModel", id, to), who: who, data: bindings.PackTransferModel(id, to),
		twin: func(t *twin) outcome { return t.transfer(who, id, to) }}
}

func (m *maker) accept() op {
	id, who := m.model(), m.actor()
	if pending := m.t.model(id).pending; pending != noToken && !m.rarely(3) {
		who = pending
	}
	return op{text: say("acceptModel", id), who: who, data: bindings.PackAcceptModel(id),
		twin: func(t *twin) outcome { return t.accept(who, id) }}
}

func (m *maker) setActive() op {
	id, active := m.model(), !m.rarely(6)
	who := m.owner(id)
	return op{text: say("setActive", id, active), who: who, data: bindings.PackSetActive(id, active),
		twin: func(t *twin) outcome { return t.setActive(who, id, active) }}
}

func (m *maker) setIssuer() op {
	id, issuer, allowed := m.model(), m.actor(), !m.rarely(3)
	who := m.owner(id)
	return op{text: say("setIssuer", id, issuer, allowed), who: who, data: bindings.PackSetIssuer(id, issuer, allowed),
		twin: func(t *twin) outcome { return t.setIssuer(who, id, issuer, allowed) }}
}

func (m *maker) publish() op {
	id := m.model()
	who, version, digest := m.owner(id), uint32(len(m.t.model(id).versions)+m.IntN(2)), [32]byte{byte(m.IntN(4))}
	return op{text: say("publishVersion", id, version, digest), who: who, data: bindings.PackPublishVersion(id, version, digest),
		twin: func(t *twin) outcome { return t.publish(who, id, version, digest) }}
}

func (m *maker) commit() op {
	id, root := m.model(), [32]byte{byte(m.IntN(4))}
	who := m.owner(id)
	return op{text: say("commitKeys", id, root), who: who, data: bindings.PackCommitKeys(id, root),
		twin: func(t *twin) outcome { return t.commit(who, id, root) }}
}

// draw hands in the right header, another block's or none.
func (m *maker) draw() op {
	id, who := m.model(), m.actor()
	commits := m.t.model(id).commits
	index, of := uint32(m.IntN(len(commits)+1)), uint64(0)
	if int(index) < len(commits) {
		of = commits[index].draw + uint64(m.IntN(8)/7)
	}
	encoded := header(of)
	if m.rarely(10) {
		of, encoded = 0, []byte{0xc0}
	}
	return op{text: say("recordDraw", id, index, "header of", of), who: who, data: bindings.PackRecordDraw(id, index, encoded),
		twin: func(t *twin) outcome { return t.draw(id, index, of) }}
}

func (m *maker) addPlan() op {
	id := m.model()
	who := m.owner(id)
	p := RegistryStatePlan{
		Price: big.NewInt(pick(m, []int64{0, 1000, 700})), Duration: big.NewInt(pick(m, []int64{0, 600, 600, 3600, 1 << 39})),
		Scope: pick(m, []uint32{0, scope, scope, 3, 3, 7, host | scope}), Rpm: 60, OnSale: !m.rarely(4), Token: noToken, TokensPerDay: 1 << 40,
	}
	if m.rarely(3) {
		p.Token = m.t.token
	}
	return op{text: say("addPlan", id, p), who: who, data: bindings.PackAddPlan(id, p),
		twin: func(t *twin) outcome { return t.addPlan(who, id, p) }}
}

func (m *maker) setOnSale() op {
	id, on := m.model(), !m.rarely(3)
	who, plan := m.owner(id), uint32(m.IntN(len(m.t.model(id).plans)+2))
	return op{text: say("setOnSale", id, plan, on), who: who, data: bindings.PackSetOnSale(id, plan, on),
		twin: func(t *twin) outcome { return t.setOnSale(who, id, plan, on) }}
}

func (m *maker) purchase() op {
	id, who := m.model(), m.buyer()
	q := m.quote(id)
	return op{text: say("purchase", id, q), who: who, sent: q.sent, data: bindings.PackPurchase(id, q.plan, big.NewInt(q.price), q.token),
		twin: func(t *twin) outcome { return t.purchase(who, id, q) }}
}

func (m *maker) switchPlan() op {
	id, who := m.model(), m.buyer()
	q, seq := m.quote(id), m.seq(id, asSubject(who))
	return op{text: say("switchPlan", id, q, seq), who: who, sent: q.sent, data: bindings.PackSwitchPlan(id, q.plan, big.NewInt(q.price), q.token, seq),
		twin: func(t *twin) outcome { return t.switchPlan(who, id, q, seq) }}
}

func (m *maker) grant() op {
	id, subject := m.model(), m.subject()
	who, terms, seq := m.issuer(id), m.terms(id, subject), m.seq(id, subject)
	return op{text: say("grant", id, subject, terms, seq), who: who, data: bindings.PackGrant(id, subject, terms, seq),
		twin: func(t *twin) outcome { return t.issue(who, id, subject, terms, seq) }}
}

func (m *maker) subject() [32]byte {
	if m.rarely(30) {
		return [32]byte{}
	}
	return pick(m, m.subjects)
}

func (m *maker) suspend() op {
	return m.move("suspend", bindings.PackSuspend, (*twin).suspend)
}

func (m *maker) revoke() op {
	return m.move("revoke", bindings.PackRevoke, (*twin).revoke)
}

func (m *maker) reinstate() op {
	return m.move("reinstate", bindings.PackReinstate, (*twin).reinstate)
}

func (m *maker) move(name string, pack func(id, subject [32]byte, seq uint64) []byte, twice func(*twin, common.Address, [32]byte, [32]byte, uint64) outcome) op {
	id, subject := m.model(), m.subject()
	if m.t.model(id).grant(subject).seq == 0 { // once more
		subject = m.subject()
	}
	who, seq := m.issuer(id), m.seq(id, subject)
	return op{text: say(name, id, subject, seq), who: who, data: pack(id, subject, seq),
		twin: func(t *twin) outcome { return twice(t, who, id, subject, seq) }}
}

// redeem hands in a new voucher, an old one, or one that somebody changed.
func (m *maker) redeem() op {
	v := m.voucher()
	if len(m.vouchers) > 0 && m.rarely(2) {
		v = pick(m, m.vouchers)
	}
	m.vouchers = append(m.vouchers, v)
	if m.rarely(10) {
		v.Terms.Scope |= 4
	}
	if m.rarely(20) {
		v.ExpectedSeq++
	}
	who := m.actor()
	return op{text: say("redeem", v.LicenseRegistryVoucher, "signed by", v.by), who: who, data: bindings.PackRedeem(v.LicenseRegistryVoucher, v.bytes),
		twin: func(t *twin) outcome { return t.redeem(who, v.LicenseRegistryVoucher, v.signature) }}
}

func (m *maker) voucher() signedVoucher {
	id, subject := m.model(), m.subject()
	v := LicenseRegistryVoucher{
		ModelId: id, Subject: subject, Terms: m.terms(id, subject), ExpectedSeq: m.seq(id, subject),
		Epoch: m.t.model(id).epoch, Deadline: m.deadline(), Signer: m.issuer(id),
	}
	by := m.signer(v.Signer)
	return signedVoucher{v, signTyped(m.l.t, m.l.registry, m.keys[by], voucherType, voucherMessage(v)), signature{by, fmt.Sprint(v)}}
}

// signer is mostly who signs for the account.
func (m *maker) signer(account common.Address) common.Address {
	if by := m.t.keyOf[account]; by != noToken && !m.rarely(10) {
		return by
	}
	return pick(m, m.actors[:len(m.actors)-1])
}

// purchaseFor buys with a new permit, an old one, or one for somebody else.
func (m *maker) purchaseFor() op {
	p, sent := m.permit()
	if len(m.permits) > 0 && m.rarely(2) {
		p = pick(m, m.permits)
		if sent = p.Price.Int64(); p.Token != noToken {
			sent = 0
		}
	}
	m.permits = append(m.permits, p)
	if m.rarely(10) {
		p.Subject = m.actor()
	}
	if m.rarely(20) {
		p.Plan++
	}
	who := m.actor()
	return op{text: say("purchaseFor", p.LicenseRegistryPermit, "signed by", p.by), who: who, sent: sent, data: bindings.PackPurchaseFor(p.LicenseRegistryPermit, p.bytes),
		twin: func(t *twin) outcome { return t.purchaseFor(who, p.LicenseRegistryPermit, p.signature, sent) }}
}

func (m *maker) permit() (signedPermit, int64) {
	id, subject := m.model(), m.buyer()
	q := m.quote(id)
	p := LicenseRegistryPermit{
		ModelId: id, Subject: subject, Plan: q.plan, Price: big.NewInt(q.price), Token: q.token,
		ExpectedSeq: m.seq(id, asSubject(subject)), Deadline: m.deadline(),
	}
	by := m.signer(subject)
	return signedPermit{p, signTyped(m.l.t, m.l.registry, m.keys[by], permitType, permitMessage(p)), signature{by, fmt.Sprint(p)}}, q.sent
}
