package contract

import (
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/fealty/fealty/licensecheck/contract/contracttest"
	"github.com/fealty/fealty/policy"
)

const month = 30 * 24 * time.Hour

func TestModels(t *testing.T) {
	w := newWorld(t)
	want := crypto.Keccak256Hash(word(chainID), common.LeftPadBytes(w.registry[:], 32), common.LeftPadBytes(addressOf(w.creator), 32), word(big.NewInt(1).Lsh(big.NewInt(1), 248)))
	if w.model != want {
		t.Errorf("model id %x, want keccak(chain, registry, creator, salt) = %x", w.model, want)
	}
	w.refused(w.creator, bindings.PackRegisterModel([32]byte{1}), "ModelExists")
	if other := w.register(w.stranger, [32]byte{1}); other == w.model {
		t.Error("a stranger's salt took the creator's model id")
	}
	w.must(w.creator, bindings.PackPublishVersion(w.model, 1, [32]byte{7}))
	w.refused(w.creator, bindings.PackPublishVersion(w.model, 1, [32]byte{8}), "BadVersion")
	w.refused(w.creator, bindings.PackPublishVersion(w.model, 3, [32]byte{8}), "BadVersion")
	w.refused(w.creator, bindings.PackPublishVersion(w.model, 2, [32]byte{}), "BadDigest")
	w.refused(w.stranger, bindings.PackPublishVersion(w.model, 2, [32]byte{8}), "NotOwner")
	published := event(w, w.must(w.creator, bindings.PackPublishVersion(w.model, 2, [32]byte{8})), bindings.UnpackVersionPublishedEvent)
	latest := ask(w, bindings.PackLatestVersion(w.model), bindings.UnpackLatestVersion)
	if latest.Version != 2 || latest.ManifestDigest != [32]byte{8} || published.ManifestDigest != latest.ManifestDigest {
		t.Errorf("latest version %+v, event %+v", latest, published)
	}
	if first := ask(w, bindings.PackVersionDigest(w.model, 1), bindings.UnpackVersionDigest); first != [32]byte{7} {
		t.Errorf("version 1 became %x", first)
	}
}

func TestTransferVoidsIssuersAndVouchers(t *testing.T) {
	w := newWorld(t)
	w.must(w.creator, bindings.PackSetIssuer(w.model, w.issuer.Address(), true))
	voucher := w.voucher(w.issuer.Address(), subject(w.buyer))
	signed := w.sign(w.issuer, voucherType, voucherMessage(voucher))
	w.refused(w.stranger, bindings.PackTransferModel(w.model, w.stranger.Address()), "NotOwner")
	w.must(w.creator, bindings.PackTransferModel(w.model, w.stranger.Address()))
	w.refused(w.buyer, bindings.PackAcceptModel(w.model), "NotPendingOwner")
	w.must(w.stranger, bindings.PackAcceptModel(w.model))

	m := ask(w, bindings.PackModelOf(w.model), bindings.UnpackModelOf)
	if m.Owner != w.stranger.Address() || m.Epoch != 1 || m.PendingOwner != noToken {
		t.Errorf("after the transfer the model is %+v", m)
	}
	w.refused(w.issuer, bindings.PackGrant(w.model, subject(w.buyer), w.terms(month), 0), "NotIssuer")
	w.refused(w.creator, bindings.PackSetActive(w.model, false), "NotOwner")
	w.refused(w.buyer, bindings.PackRedeem(voucher, signed), "EpochMismatch")
	w.refused(w.stranger, bindings.PackAcceptModel(w.model), "NotPendingOwner")
}

func TestCommitmentAndDraw(t *testing.T) {
	w := newWorld(t)
	w.refused(w.stranger, bindings.PackCommitKeys(w.model, [32]byte{5}), "NotOwner")
	w.refused(w.creator, bindings.PackCommitKeys(w.model, [32]byte{}), "BadDigest")
	receipt := w.must(w.creator, bindings.PackCommitKeys(w.model, [32]byte{5}))
	e := event(w, receipt, bindings.UnpackKeysCommittedEvent)
	if want := receipt.BlockNumber.Uint64() + drawDelay; e.DrawBlock != want || e.Index != 0 {
		t.Errorf("commitment %d draws at %d, want 0 at %d", e.Index, e.DrawBlock, want)
	}
	w.refused(w.buyer, bindings.PackRecordDraw(w.model, 0, []byte{0xc0}), "WrongHeader")
	w.refused(w.buyer, bindings.PackRecordDraw(w.model, 1, []byte{0xc0}), "NoCommitment")
	for range drawDelay + 1 { // the draw block, and one that can see its hash
		w.chain.Commit()
	}
	header, err := w.client.HeaderByNumber(t.Context(), new(big.Int).SetUint64(e.DrawBlock))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := rlp.EncodeToBytes(header)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), encoded...)
	forged[len(forged)-1] ^= 1
	w.refused(w.buyer, bindings.PackRecordDraw(w.model, 0, forged), "WrongHeader")
	w.must(w.buyer, bindings.PackRecordDraw(w.model, 0, encoded)) // anyone may
	c := ask(w, bindings.PackCommitment(w.model, 0), bindings.UnpackCommitment)
	if c.Randomness != header.MixDigest || c.Randomness == [32]byte{} || c.CommitBlock != receipt.BlockNumber.Uint64() {
		t.Errorf("commitment %+v, header says %x", c, header.MixDigest)
	}
	w.refused(w.buyer, bindings.PackRecordDraw(w.model, 0, encoded), "DrawAlreadyRecorded")
	if again := event(w, w.must(w.creator, bindings.PackCommitKeys(w.model, [32]byte{6})), bindings.UnpackKeysCommittedEvent); again.Index != 1 {
		t.Errorf("the second commitment has index %d", again.Index)
	}
}

func TestPlans(t *testing.T) {
	w := newWorld(t)
	w.refused(w.stranger, bindings.PackAddPlan(w.model, plan(month)), "NotOwner")
	empty, forHosts := plan(0), plan(month)
	forHosts.Scope |= host
	w.refused(w.creator, bindings.PackAddPlan(w.model, empty), "BadPlan")
	w.refused(w.creator, bindings.PackAddPlan(w.model, forHosts), "BadScope")
	if n := w.addPlan(plan(month)); n != 1 {
		t.Errorf("the first plan is %d", n)
	}
	w.refused(w.creator, bindings.PackSetOnSale(w.model, 2, true), "NoPlan")
	w.refused(w.creator, bindings.PackSetOnSale(w.model, 0, true), "NoPlan")
	w.must(w.creator, bindings.PackSetOnSale(w.model, 1, false))
	got := ask(w, bindings.PackPlanOf(w.model, 1), bindings.UnpackPlanOf)
	if got.OnSale || got.Price.Cmp(price) != 0 || got.Rpm != 60 || got.TokensPerDay != 1_000_000 || got.Duration.Int64() != int64(month/time.Second) {
		t.Errorf("the plan became %+v", got)
	}
}

func TestPurchase(t *testing.T) {
	w := newWorld(t)
	w.addPlan(plan(month))
	buy := bindings.PackPurchase(w.model, 1, price, noToken)
	w.refusedPaying(w.buyer, buy, big.NewInt(999), "WrongPayment")
	w.refusedPaying(w.buyer, buy, big.NewInt(1001), "WrongPayment")
	w.refusedPaying(w.buyer, bindings.PackPurchase(w.model, 1, big.NewInt(999), noToken), big.NewInt(999), "TermsChanged")
	w.refusedPaying(w.buyer, bindings.PackPurchase(w.model, 1, price, common.Address{9}), nil, "TermsChanged")
	w.refusedPaying(w.buyer, bindings.PackPurchase(w.model, 2, price, noToken), price, "NoPlan")
	w.refusedPaying(w.buyer, bindings.PackPurchase([32]byte{9}, 1, price, noToken), price, "NoModel")

	before, _ := w.client.BalanceAt(t.Context(), w.creator.Address(), nil)
	receipt := w.pay(w.buyer, buy, price)
	after, _ := w.client.BalanceAt(t.Context(), w.creator.Address(), nil)
	if paid := new(big.Int).Sub(after, before); paid.Cmp(price) != 0 {
		t.Errorf("the owner got %v, want %v", paid, price)
	}
	sold := event(w, receipt, bindings.UnpackPurchasedEvent)
	if sold.Payer != w.buyer.Address() || sold.Price.Cmp(price) != 0 || sold.Plan != 1 || sold.Subject != subject(w.buyer) {
		t.Errorf("sale %+v", sold)
	}
	first := w.wants(subject(w.buyer), policy.Active, 1)
	if first.NotBefore != w.now() || first.NotAfter != w.now()+int64(month/time.Second) || uint32(first.Scope) != scope || first.PlanVersion != 1 {
		t.Errorf("license %+v at %d", first, w.now())
	}
	w.pay(w.buyer, buy, price)
	extended := w.wants(subject(w.buyer), policy.Active, 2)
	if extended.NotAfter != first.NotAfter+int64(month/time.Second) || extended.NotBefore != first.NotBefore {
		t.Errorf("extended from %+v to %+v", first, extended)
	}
	w.wait(3 * month) // it runs out, and a new one starts anew
	w.pay(w.buyer, buy, price)
	if again := w.wants(subject(w.buyer), policy.Active, 3); again.NotBefore != w.now() {
		t.Errorf("after the end a purchase starts at %d, want now (%d)", again.NotBefore, w.now())
	}
}

func TestSalesStop(t *testing.T) {
	w := newWorld(t)
	w.addPlan(plan(month))
	buy := bindings.PackPurchase(w.model, 1, price, noToken)
	w.must(w.creator, bindings.PackSetActive(w.model, false))
	w.refusedPaying(w.buyer, buy, price, "ModelInactive")
	w.must(w.creator, bindings.PackGrant(w.model, subject(w.buyer), w.terms(month), 0)) // sales only
	w.must(w.creator, bindings.PackSetActive(w.model, true))
	w.must(w.creator, bindings.PackSetOnSale(w.model, 1, false))
	w.refusedPaying(w.stranger, buy, price, "PlanNotOnSale")
}

func TestPaidTermsStay(t *testing.T) {
	w := newWorld(t)
	wider := plan(month)
	wider.Scope |= uint32(policy.ScopeCompletions)
	w.addPlan(plan(month))
	w.addPlan(wider)
	w.pay(w.buyer, bindings.PackPurchase(w.model, 1, price, noToken), price)
	w.refusedPaying(w.buyer, bindings.PackPurchase(w.model, 2, price, noToken), price, "PlanMismatch")
	w.refusedPaying(w.buyer, bindings.PackSwitchPlan(w.model, 1, price, noToken, 1), price, "SamePlan")
	w.refusedPaying(w.buyer, bindings.PackSwitchPlan(w.model, 2, price, noToken, 0), price, "SeqMismatch")
	w.refusedPaying(w.stranger, bindings.PackSwitchPlan(w.model, 2, price, noToken, 0), price, "BadTransition")
	w.wait(time.Hour)
	w.pay(w.buyer, bindings.PackSwitchPlan(w.model, 2, price, noToken, 1), price)
	l := w.wants(subject(w.buyer), policy.Active, 2)
	if l.PlanVersion != 2 || l.NotBefore != w.now() || uint32(l.Scope) != wider.Scope {
		t.Errorf("switched to %+v at %d", l, w.now())
	}
}

func TestTokenPayment(t *testing.T) {
	w := newWorld(t)
	token := contracttest.NewTestToken()
	at := w.deploy(contracttest.TestTokenMetaData.Bin, nil)
	priced := plan(month)
	priced.Token = at
	w.addPlan(priced)
	buy := bindings.PackPurchase(w.model, 1, price, at)
	w.refusedPaying(w.buyer, buy, price, "WrongPayment") // coins sent with a token purchase would be lost
	w.sendTo(w.buyer, &at, token.PackMint(w.buyer.Address(), price), nil)
	w.sendTo(w.buyer, &at, token.PackApprove(w.registry, price), nil)
	w.must(w.buyer, buy)
	w.wants(subject(w.buyer), policy.Active, 1)
	moved := token.PackBalanceOf(w.creator.Address())
	answer, err := w.client.CallContract(t.Context(), callTo(at, moved), nil)
	if err != nil || new(big.Int).SetBytes(answer).Cmp(price) != 0 {
		t.Errorf("the owner holds %x tokens (%v), want %v", answer, err, price)
	}
}

func TestPermit(t *testing.T) {
	w := newWorld(t)
	w.addPlan(plan(month))
	p := LicenseRegistryPermit{ModelId: w.model, Subject: w.buyer.Address(), Plan: 1, Price: price, Token: noToken, Deadline: big.NewInt(w.now() + 600)}
	signed := w.sign(w.buyer, permitType, permitMessage(p))
	other := p
	other.Subject = w.issuer.Address()
	w.refusedPaying(w.stranger, bindings.PackPurchaseFor(other, signed), price, "BadSignature") // nobody buys for a wallet that did not ask
	changed := p
	changed.Plan = 2
	w.refusedPaying(w.stranger, bindings.PackPurchaseFor(changed, signed), price, "BadSignature")
	w.pay(w.stranger, bindings.PackPurchaseFor(p, signed), price)
	w.wants(subject(w.buyer), policy.Active, 1)
	w.refusedPaying(w.stranger, bindings.PackPurchaseFor(p, signed), price, "SeqMismatch")
	p.ExpectedSeq = 1
	signed = w.sign(w.buyer, permitType, permitMessage(p))
	w.wait(time.Hour)
	w.refusedPaying(w.stranger, bindings.PackPurchaseFor(p, signed), price, "SignatureExpired")
}

func TestGrantRules(t *testing.T) {
	w := newWorld(t)
	good := w.terms(month)
	backwards, empty, planned, controlled := good, good, good, good
	backwards.NotBefore = backwards.NotAfter
	empty.Scope = 0
	planned.Plan = 1
	controlled.Controller = w.stranger.Address()
	hosting := good
	hosting.Scope = host
	who := subject(w.buyer)
	pack := func(s [32]byte, terms LicenseRegistryTerms) []byte { return bindings.PackGrant(w.model, s, terms, 0) }
	w.refused(w.stranger, pack(who, good), "NotIssuer")
	w.refused(w.creator, bindings.PackGrant([32]byte{9}, who, good, 0), "NotIssuer")
	w.refused(w.creator, bindings.PackGrant(w.model, who, good, 1), "SeqMismatch")
	w.refused(w.creator, pack([32]byte{}, good), "BadSubject")
	w.refused(w.creator, pack(who, backwards), "BadWindow")
	w.refused(w.creator, pack(who, empty), "BadScope")
	w.refused(w.creator, pack(who, planned), "NoPlan")
	w.refused(w.creator, pack(who, controlled), "BadController")
	w.refused(w.creator, pack(hostSubject(t), hosting), "BadController")
	hosting.Controller = w.stranger.Address()
	w.refused(w.creator, pack(who, hosting), "BadSubject") // a wallet is no host
	w.must(w.creator, pack(hostSubject(t), hosting))
	v, l := w.view(hostSubject(t))
	if v.Controller != w.stranger.Address() || uint32(l.Scope) != host {
		t.Errorf("host grant %+v, controller %x", l, v.Controller)
	}
}

func TestVoucher(t *testing.T) {
	w := newWorld(t)
	contractWallet := w.deploy(contracttest.TestWalletMetaData.Bin, contracttest.NewTestWallet().PackConstructor(w.issuer.Address()))
	for _, signer := range []common.Address{w.issuer.Address(), contractWallet} { // EOA, ERC-1271
		v := w.voucher(signer, subject(w.buyer))
		v.ExpectedSeq = w.license(v.Subject).Seq
		signed := w.sign(w.issuer, voucherType, voucherMessage(v))
		w.refused(w.buyer, bindings.PackRedeem(v, signed), "NotIssuer")
		w.must(w.creator, bindings.PackSetIssuer(w.model, signer, true))
		w.refused(w.buyer, bindings.PackRedeem(v, w.sign(w.stranger, voucherType, voucherMessage(v))), "BadSignature")
		tampered := v
		tampered.Terms.Scope = ^uint32(0) &^ host
		w.refused(w.buyer, bindings.PackRedeem(tampered, signed), "BadSignature")
		w.must(w.stranger, bindings.PackRedeem(v, signed)) // anyone may hand it in
		w.wants(v.Subject, policy.Active, v.ExpectedSeq+1)
		w.refused(w.buyer, bindings.PackRedeem(v, signed), "SeqMismatch")
	}
	late := w.voucher(w.issuer.Address(), subject(w.stranger))
	signed := w.sign(w.issuer, voucherType, voucherMessage(late))
	w.wait(time.Hour)
	w.refused(w.buyer, bindings.PackRedeem(late, signed), "SignatureExpired")
}

// An old voucher must not bring back what was revoked.
func TestVoucherDiesWithRevocation(t *testing.T) {
	w := newWorld(t)
	who := subject(w.buyer)
	w.must(w.creator, bindings.PackGrant(w.model, who, w.terms(month), 0))
	v := w.voucher(w.creator.Address(), who)
	v.ExpectedSeq = 1
	signed := w.sign(w.creator, voucherType, voucherMessage(v))
	w.must(w.creator, bindings.PackRevoke(w.model, who, 1))
	w.refused(w.buyer, bindings.PackRedeem(v, signed), "SeqMismatch")
	v.ExpectedSeq = 2 // even one for the right moment
	w.refused(w.buyer, bindings.PackRedeem(v, w.sign(w.creator, voucherType, voucherMessage(v))), "GrantRevoked")
}

func TestTransitions(t *testing.T) {
	w := newWorld(t)
	w.addPlan(plan(month))
	w.must(w.creator, bindings.PackSetIssuer(w.model, w.issuer.Address(), true))
	who := subject(w.buyer)
	buy := bindings.PackPurchase(w.model, 1, price, noToken)

	for _, data := range [][]byte{bindings.PackSuspend(w.model, who, 0), bindings.PackRevoke(w.model, who, 0), bindings.PackReinstate(w.model, who, 0)} {
		w.refused(w.creator, data, "BadTransition") // there is no grant
		w.refused(w.stranger, data, "NotIssuer")
	}
	w.must(w.issuer, bindings.PackGrant(w.model, who, w.terms(month), 0))
	w.refused(w.creator, bindings.PackReinstate(w.model, who, 1), "BadTransition")
	w.refused(w.creator, bindings.PackSuspend(w.model, who, 0), "SeqMismatch")
	w.must(w.issuer, bindings.PackSuspend(w.model, who, 1))
	w.wants(who, policy.Suspended, 2)
	w.refused(w.creator, bindings.PackSuspend(w.model, who, 2), "BadTransition")
	w.refusedPaying(w.buyer, buy, price, "GrantSuspended")
	w.refused(w.creator, bindings.PackGrant(w.model, who, w.terms(month), 2), "GrantSuspended")
	w.must(w.issuer, bindings.PackReinstate(w.model, who, 2))
	w.must(w.issuer, bindings.PackRevoke(w.model, who, 3))
	w.wants(who, policy.Revoked, 4)
	w.refused(w.issuer, bindings.PackReinstate(w.model, who, 4), "NotOwner")
	w.refused(w.creator, bindings.PackRevoke(w.model, who, 4), "BadTransition")
	w.refused(w.creator, bindings.PackGrant(w.model, who, w.terms(month), 4), "GrantRevoked")
	w.refusedPaying(w.buyer, buy, price, "GrantRevoked")
	w.wait(2 * month)
	w.refusedPaying(w.buyer, buy, price, "GrantRevoked") // time does not heal it
	w.must(w.creator, bindings.PackReinstate(w.model, who, 4))
	w.must(w.creator, bindings.PackSuspend(w.model, who, 5))
	w.pay(w.buyer, buy, price) // the suspended term ran out long ago
	w.wants(who, policy.Active, 7)
}

// The head commits to every write: it can be computed from the events alone.
func TestHistory(t *testing.T) {
	w := newWorld(t)
	s := hostSubject(t)
	terms := w.terms(month)
	terms.Scope, terms.Controller = scope|host, w.stranger.Address()
	var head [32]byte
	for i, data := range [][]byte{
		bindings.PackGrant(w.model, s, terms, 0), bindings.PackSuspend(w.model, s, 1),
		bindings.PackReinstate(w.model, s, 2), bindings.PackRevoke(w.model, s, 3),
	} {
		e := event(w, w.must(w.creator, data), bindings.UnpackGrantChangedEvent)
		head = NextHead(head, WordOf(e.Word), e.Controller)
		v, l := w.view(s)
		if v.Head != head || e.Head != head {
			t.Fatalf("write %d: head %x, event %x, computed %x", i+1, v.Head, e.Head, head)
		}
		if v.Word.Cmp(e.Word) != 0 || l.Seq != uint64(i+1) || e.By != w.creator.Address() {
			t.Fatalf("write %d: word %x, event %x by %x", i+1, v.Word, e.Word, e.By)
		}
	}
}

func TestBatchedView(t *testing.T) {
	w := newWorld(t)
	w.addPlan(plan(month))
	w.pay(w.buyer, bindings.PackPurchase(w.model, 1, price, noToken), price)
	out := ask(w, bindings.PackGrants([]LicenseRegistryQuery{{w.model, subject(w.stranger)}, {w.model, subject(w.buyer)}, {[32]byte{9}, subject(w.buyer)}}), bindings.UnpackGrants)
	head, err := w.client.HeaderByNumber(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Number.Cmp(head.Number) != 0 || out.Timestamp.Uint64() != head.Time || out.ParentHash != head.ParentHash {
		t.Errorf("view at %v, %v, %x; head %v, %v, %x", out.Number, out.Timestamp, out.ParentHash, head.Number, head.Time, head.ParentHash)
	}
	if out.Views[0].Word.Sign() != 0 || out.Views[2].Word.Sign() != 0 {
		t.Error("who never had a license has a word")
	}
	if p := PlanOf(out.Views[1].Plan); p != (policy.Plan{RPM: 60, TokensPerDay: 1_000_000}) {
		t.Errorf("plan %+v", p)
	}
}
