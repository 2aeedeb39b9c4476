package contract

import (
	"bytes"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/licensecheck/contract/contracttest"
)

var seed = flag.Uint64("seed", 0, "play only the random sequence of this seed")

const (
	fixedSeeds = 25
	opsPerSeed = 400
)

// The registry does what its plain twin does: the same events, the same reasons, the
// same state, whoever calls what in whatever order.
func TestAgainstTwin(t *testing.T) {
	var seeds []uint64
	for s := range uint64(fixedSeeds) {
		seeds = append(seeds, s+1)
	}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	t.Logf("%d seeds from %d on", len(seeds), seeds[0])
	count := map[bool]int{}
	for _, s := range seeds {
		play(t, s, count)
	}
	t.Logf("%d operations succeeded, %d were refused", count[true], count[false])
	if count[true] < count[false]/4 {
		t.Error("nearly everything is refused: the operations make no sense any more")
	}
}

func play(t *testing.T, seed uint64, count map[bool]int) {
	t.Helper()
	p := newPair(t)
	m := newMaker(rand.New(rand.NewPCG(seed, 0)), p.lab, p.twin, p.actors)
	var ops []op
	for len(ops) < opsPerSeed {
		o := opening(m, len(ops))
		ops = append(ops, o)
		refused, err := p.both(o)
		if err != nil {
			explain(t, seed, ops, err)
		}
		count[!refused]++
	}
	if err := p.same(); err != nil {
		explain(t, seed, ops, err)
	}
}

// opening is a few steps that every sequence begins with, so that there is something to fight over.
func opening(m *maker, n int) op {
	creator := m.actors[0]
	switch {
	case n == 0:
		return op{text: "registerModel", blocks: 1, who: creator, data: bindings.PackRegisterModel([32]byte{1}),
			twin: func(t *twin) outcome { return t.register(creator, [32]byte{1}) }}
	case n <= 3:
		p := RegistryStatePlan{Price: big.NewInt(1000), Duration: big.NewInt(600), Scope: scope, OnSale: true}
		if n == 2 {
			p.Token, p.Scope = m.t.token, 3
		}
		return op{text: say("addPlan", p), blocks: 1, who: creator, data: bindings.PackAddPlan(m.ids[0], p),
			twin: func(t *twin) outcome { return t.addPlan(creator, m.ids[0], p) }}
	}
	return m.next()
}

// explain drops operations as long as a mismatch remains, and prints what is left.
func explain(t *testing.T, seed uint64, ops []op, err error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for size := len(ops) / 2; size > 0; size /= 2 {
		for at := 0; at+size < len(ops) && time.Now().Before(deadline); {
			fewer := without(ops, at, size)
			if shorter, e := replay(t, fewer); e != nil {
				ops, err = shorter, e
			} else {
				at += size
			}
		}
	}
	var told strings.Builder
	for _, o := range ops {
		fmt.Fprintln(&told, " ", o)
	}
	t.Fatalf("%v\nreplay with -run TestAgainstTwin -seed %d; the %d operations that matter:\n%s", err, seed, len(ops), told.String())
}

// without leaves operations out and keeps the time that passed with them.
func without(ops []op, at, size int) []op {
	fewer := slices.Concat(ops[:at], ops[at+size:])
	for _, o := range ops[at : at+size] {
		fewer[at].seconds += o.seconds
		fewer[at].blocks += o.blocks
	}
	return fewer
}

// replay plays until the first mismatch.
func replay(t *testing.T, ops []op) ([]op, error) {
	p := newPair(t)
	for i, o := range ops {
		if _, err := p.both(o); err != nil {
			return ops[:i+1], err
		}
	}
	return nil, nil
}

// pair is a lab and its twin.
type pair struct {
	lab    *lab
	twin   *twin
	actors []common.Address
	writes int
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{twin: &twin{
		block: 1000, now: labStart, models: map[[32]byte]*twinModel{}, contracts: map[common.Address]bool{},
		coins: map[common.Address]int64{}, tokens: map[common.Address]int64{}, allowance: map[common.Address]int64{}, keyOf: map[common.Address]common.Address{},
	}}
	for _, key := range people {
		who := common.Address(key.Address())
		p.actors = append(p.actors, who)
		p.twin.keyOf[who] = who
	}
	wallet := common.HexToAddress("0xc0de")
	p.actors = append(p.actors, wallet)
	p.lab = newLab(t, p.actors...)
	p.twin.registry = p.lab.registry
	p.twin.token = p.lab.deploy(contracttest.TestTokenMetaData.Bin, nil)
	licensee := p.actors[3]
	made := p.lab.deploy(contracttest.TestWalletMetaData.Bin, contracttest.NewTestWallet().PackConstructor(licensee))
	p.lab.state.SetCode(wallet, p.lab.state.GetCode(made), 0)
	p.twin.keyOf[wallet], p.twin.contracts[wallet] = licensee, true
	for _, who := range p.actors {
		p.twin.coins[who] = labCoins
	}
	p.fund(p.actors[3], 20_000, 8_000)
	p.fund(p.actors[4], 5_000, 50_000)
	return p
}

// fund gives tokens and lets the registry take some.
func (p *pair) fund(who common.Address, tokens, allowed int64) {
	token := contracttest.NewTestToken()
	p.lab.call(who, p.twin.token, token.PackMint(who, big.NewInt(tokens)), nil)
	p.lab.call(who, p.twin.token, token.PackApprove(p.twin.registry, big.NewInt(allowed)), nil)
	p.twin.tokens[who], p.twin.allowance[who] = tokens, allowed
}

// both runs the operation here and there; an error tells how they differ.
func (p *pair) both(o op) (refused bool, err error) {
	p.twin.now, p.twin.block = p.twin.now+o.seconds, p.twin.block+o.blocks
	p.lab.now, p.lab.block = p.twin.now, p.twin.block
	predicted := o.twin(p.twin)
	got := p.lab.write(o.who, o.data, o.sent)
	if got.String() != predicted.String() {
		return false, fmt.Errorf("%v\n  the registry: %v\n  the twin:     %v", o, got, predicted)
	}
	if got.refusal != "" {
		return true, nil // a refused transaction leaves nothing behind
	}
	if p.writes++; p.writes%4 != 0 { // the events told it already; this finds what they do not
		return false, nil
	}
	if err := p.same(); err != nil {
		return false, fmt.Errorf("at the latest after %v:\n  %w", o, err)
	}
	return false, nil
}

// same compares everything that anybody can read.
func (p *pair) same() error {
	for id, m := range p.twin.models {
		if err := p.sameModel(id, m); err != nil {
			return fmt.Errorf("model %x: %w", id[:4], err)
		}
		if err := p.sameGrants(id, m); err != nil {
			return fmt.Errorf("model %x: %w", id[:4], err)
		}
	}
	for _, who := range p.actors {
		if got := p.lab.state.GetBalance(who); !got.IsUint64() || int64(got.Uint64()) != p.twin.coins[who] {
			return fmt.Errorf("%x has %v wei, want %d", who, got, p.twin.coins[who])
		}
	}
	if left := p.lab.state.GetBalance(p.lab.registry); !left.IsZero() {
		return fmt.Errorf("the registry kept %v wei", left)
	}
	return nil
}

func (p *pair) sameModel(id [32]byte, m *twinModel) error {
	got := labAsk(p.lab, bindings.PackModelOf(id), bindings.UnpackModelOf)
	want := RegistryStateModel{
		Owner: m.owner, Active: m.active, Epoch: m.epoch, PendingOwner: m.pending,
		Plans: uint32(len(m.plans)), Versions: uint32(len(m.versions)), Commits: uint32(len(m.commits)),
	}
	if got != want {
		return fmt.Errorf("it is %+v, want %+v", got, want)
	}
	for _, who := range p.actors {
		if issues := labAsk(p.lab, bindings.PackIsIssuer(id, who), bindings.UnpackIsIssuer); issues != m.issues(who) {
			return fmt.Errorf("%x is issuer: %v, want %v", who, issues, m.issues(who))
		}
	}
	for i, plan := range m.plans {
		if got := labAsk(p.lab, bindings.PackPlanOf(id, uint32(i+1)), bindings.UnpackPlanOf); fmt.Sprint(got) != fmt.Sprint(plan) {
			return fmt.Errorf("plan %d is %v, want %v", i+1, got, plan)
		}
	}
	for i, c := range m.commits {
		got := labAsk(p.lab, bindings.PackCommitment(id, uint32(i)), bindings.UnpackCommitment)
		if want := (RegistryStateCommitment{c.root, c.at, c.draw, c.randomness}); got != want {
			return fmt.Errorf("commitment %d is %+v, want %+v", i, got, want)
		}
	}
	return nil
}

func (p *pair) sameGrants(id [32]byte, m *twinModel) error {
	subjects := slices.SortedFunc(maps.Keys(m.grants), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	queries := make([]LicenseRegistryQuery, len(subjects))
	for i, s := range subjects {
		queries[i] = LicenseRegistryQuery{ModelId: id, Subject: s}
	}
	views := labAsk(p.lab, bindings.PackGrants(queries), bindings.UnpackGrants).Views
	for i, s := range subjects {
		g, v := m.grants[s], views[i]
		if WordOf(v.Word) != g.word() || v.Head != g.head || v.Controller != g.controller {
			return fmt.Errorf("grant of %x: it is %+v, want %+v", s, UnpackWord(WordOf(v.Word)), *g)
		}
		if g.plan != 0 && PlanOf(v.Plan) != PlanOf(m.plans[g.plan-1]) {
			return fmt.Errorf("grant of %x: its plan is %+v, want %+v", s, v.Plan, m.plans[g.plan-1])
		}
	}
	return nil
}

// sortedIssuers makes a walk over them repeat.
func sortedIssuers(issuers map[common.Address]bool) iter.Seq2[common.Address, bool] {
	return func(yield func(common.Address, bool) bool) {
		for _, who := range slices.SortedFunc(maps.Keys(issuers), common.Address.Cmp) {
			if !yield(who, issuers[who]) {
				return
			}
		}
	}
}
