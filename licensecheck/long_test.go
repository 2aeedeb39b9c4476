package licensecheck

import (
	"errors"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/policy"
)

// The seed gives the same writes, reorganisations, faults and questions in the same order; how
// they meet is up to the machine.
var (
	longFor  = flag.Duration("long.for", 12*time.Second, "how long TestLongRun runs at least")
	longSeed = flag.Uint64("long.seed", 1, "of TestLongRun; 0: a new one")
)

const (
	longSoft = 4 * time.Second
	longHard = 8 * time.Second
	longPoll = 200 * time.Millisecond
	// slack is what is added to each of the promised times; they are measured by the pulse.
	slack = 2 * time.Second
	// hiccup is how long the machine stood still if a good node may have missed longTimeout.
	longTimeout = 2 * longPoll
	hiccup      = longTimeout / 4
	// lag is by how many blocks a node may be behind, and still believed.
	lag = 3
)

// moment is what the chain said over some time: from before it began to say so until after it ended.
type moment struct {
	from, to time.Time
	latest   map[[32]byte]policy.License
	finals   map[uint64][]map[[32]byte]policy.License // by depth of finality: what may count as final
}

// oracle knows what the chain said, and when. The driver of the run alone writes it.
type oracle struct {
	states  []map[[32]byte]policy.License // state after each block since the run began
	was     map[uint64]int                // by depth: the highest of states that was final and still stands
	moments []moment
	moved   [][2]time.Time // reorganisations
	pulse   *pulse
}

// reorganised reports whether the chain did in this span.
func (o *oracle) reorganised(from, to time.Time) bool {
	return slices.ContainsFunc(o.moved, func(m [2]time.Time) bool { return m[0].Before(to) && m[1].After(from) })
}

// note records the state of the chain that was being brought about since the given time.
func (o *oracle) note(since time.Time) {
	now := time.Now()
	if n := len(o.moments); n > 0 {
		o.moments[n-1].to = now
	}
	top := len(o.states) - 1
	m := moment{from: since, latest: o.states[top], finals: map[uint64][]map[[32]byte]policy.License{}}
	for depth, was := range o.was {
		final := max(0, top-int(depth))
		o.was[depth] = max(min(was, top), final)
		m.finals[depth] = slices.Clone(o.states[final : o.was[depth]+1])
	}
	o.moments = append(o.moments, m)
}

// since is so long before a time by the pulse, and before the blocks that a node may lack.
func (o *oracle) since(at time.Time, d time.Duration) time.Time {
	at = o.pulse.before(at, d)
	n, _ := slices.BinarySearchFunc(o.moments, at, func(m moment, at time.Time) int { return m.from.Compare(at) })
	if n = max(0, n-1-lag); o.moments[n].from.Before(at) {
		return o.moments[n].from
	}
	return at
}

// calmly reports whether the machine, and the chain on it, went on without a stop in this span.
func (o *oracle) calmly(from, to time.Time) bool {
	last := from
	for _, m := range o.moments {
		if m.from.Before(from) {
			continue
		}
		if m.from.Sub(last) > longSoft/2 { // blocks so far apart may be refused as old
			return false
		}
		if last = m.from; m.from.After(to) {
			break
		}
	}
	return o.pulse.steady(from, to, hiccup)
}

// might reports whether the reason was right at some moment of the span.
func (o *oracle) might(from, to time.Time, a answer) bool {
	for i := len(o.moments) - 1; i >= 0; i-- {
		m := o.moments[i]
		if m.from.After(to) {
			continue
		}
		if !m.to.IsZero() && m.to.Before(from) {
			return false
		}
		for _, final := range m.finals[a.depth] {
			g := policy.Grant{Final: final[a.who], Latest: m.latest[a.who]}
			if policy.Standing(a.from, g, policy.ScopeChat).Reason == a.reason {
				return true
			}
		}
	}
	return false
}

// answer is one decision of one checker.
type answer struct {
	who      [32]byte
	gateway  *longGateway
	depth    uint64
	from, to time.Time
	reason   policy.Reason
	stale    bool
	err      error
}

// longGateway is a checker with two lines to the chain.
type longGateway struct {
	name    string
	checker *Checker
	depth   uint64 // of finality
	lines   [2]*longLine
}

// longLine remembers when it was faulty.
type longLine struct {
	*faulty
	mu   sync.Mutex
	bad  [][2]time.Time // the last may have no end yet
	ends time.Time      // of the fault that is on
}

// healthy reports whether one line was well for all of the span.
func (g *longGateway) healthy(from, to time.Time) bool {
	for _, l := range g.lines {
		l.mu.Lock()
		well := !slices.ContainsFunc(l.bad, func(b [2]time.Time) bool {
			return b[0].Before(to) && (b[1].IsZero() || b[1].After(from))
		})
		l.mu.Unlock()
		if well {
			return true
		}
	}
	return false
}

// judge compares an answer with the promise, and says what is wrong with it.
func (o *oracle) judge(a answer) string {
	// Right within the poll interval: so all promises are judged, the soft limit too, while the chain can be reached.
	settle := longPoll + slack
	since := o.since(a.from, settle+cooldown)
	healthy := a.gateway.healthy(since, a.to)
	prompt := healthy && o.calmly(since, a.to) // else the good node may have been too slow for one question
	switch {
	case a.err != nil && !errors.Is(a.err, ErrUnavailable):
		return "an error that is not ErrUnavailable"
	case errors.Is(a.err, errMoved) && o.reorganised(since, a.to):
		return ""
	case a.err != nil && prompt:
		return "no answer, although the chain could be reached"
	case a.err != nil:
		return ""
	case healthy && !o.might(o.since(a.from, settle), a.to, a):
		return fmt.Sprintf("not what the chain said in the %v before", settle)
	case a.stale && prompt:
		return "stale, although the chain could be reached"
	case a.reason == policy.Allowed && !o.might(o.since(a.from, longHard+slack), a.to, a):
		return fmt.Sprintf("allowed, and the chain did not in the %v before", longHard+slack)
	case a.reason != policy.Allowed && !o.might(o.since(a.from, negativeAge+slack), a.to, a):
		return fmt.Sprintf("refused, and the chain did not in the %v before", negativeAge+slack)
	}
	return ""
}

// Several gateways that share a Redis are asked at random while grants change, the chain
// reorganises, and nodes and Redis fail. Every answer must be one that the promise permits.
func TestLongRun(t *testing.T) {
	seed := *longSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./licensecheck -run TestLongRun -long.seed=%d -long.for=%v", seed, *longFor)
	r := newLongRun(t, seed)
	over := time.Now().Add(*longFor)
	var all sync.WaitGroup
	var stop atomic.Bool
	answers := make([][]answer, 2*len(r.gateways))
	for i := range answers {
		all.Go(func() { answers[i] = r.askAround(uint64(i), r.gateways[i/2], &stop) })
	}
	for time.Now().Before(over) || !r.sawAll() && time.Now().Before(over.Add(4*generous)) {
		r.step()
	}
	r.calm()
	stop.Store(true)
	all.Wait()
	r.settled()
	r.judgeAll(slices.Concat(answers...))
}

type longRun struct {
	*stage
	oracle
	rand     *rand.Rand
	seed     uint64
	people   [][32]byte
	gateways []*longGateway
	wire     *wire // of the subscription
	server   servertest.Server
	client   *redis.Client
	redisBad time.Time         // until when; zero: it is well
	kept     map[string]string // records that were in Redis once
	steps    int
	faults   int
	reasons  [policy.QuotaExceeded + 1]atomic.Int64 // how often each was answered
	errs     atomic.Int64
}

// sawAll reports whether there was something of all that the run is to show.
func (r *longRun) sawAll() bool {
	for _, want := range longReasons {
		if r.reasons[want].Load() == 0 {
			return false
		}
	}
	return r.errs.Load() > 0 && len(r.moved) > 0 && r.faults > 0
}

var longReasons = []policy.Reason{policy.Allowed, policy.NoLicense, policy.LicenseRevoked, policy.LicenseSuspended, policy.LicenseExpired}

func newLongRun(t *testing.T, seed uint64) *longRun {
	server := servertest.Redis(t, "0")
	shared := &testRedis{url: "redis://" + server.Addr, kill: server.Kill}
	s := &stage{t: t, chain: startAnvil(t), redis: shared}
	s.deploy()
	r := &longRun{stage: s, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), server: server, client: shared.client(t), kept: map[string]string{}}
	r.was = map[uint64]int{0: 0, 3: 0}
	for range 8 {
		r.people = append(r.people, s.somebody())
	}
	s.mine(8) // deeper than any reorganisation
	s.byHand()
	r.states = append(r.states, r.state())
	r.note(time.Now().Add(-time.Hour))
	node, err := rpc.Dial(s.chain.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	r.pulse = startPulse(t, func() error { return node.CallContext(t.Context(), nil, "eth_getBlockByNumber", "latest", false) })
	u, _ := url.Parse(s.chain.ws)
	r.wire = startWire(t, u.Host)
	for i, name := range []string{"subscribed", "polling, final after 3 blocks", "polling, memory for 4"} {
		g := &longGateway{name: name}
		for n := range g.lines {
			g.lines[n] = &longLine{faulty: startFaulty(t, s.chain.http)}
		}
		options := func(o *Options) {
			o.RPC, o.WS = []string{g.lines[0].URL, g.lines[1].URL}, ""
			o.Soft, o.Hard, o.MaxHeadAge, o.PollHeads, o.ReadTimeout = longSoft, longHard, longSoft, longPoll, longTimeout
			o.redisWait = cacheWait
			o.Now = time.Now
			switch i {
			case 0:
				o.WS = "ws://" + r.wire.addr
			case 1:
				g.depth, o.Finality = 3, "3 blocks"
			case 2:
				o.Records = 4
			}
		}
		eventually(t, generous, "a gateway starts", func() bool { // its time for a question is short
			if g.checker, err = s.tryOpen(options); err != nil && !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
		r.gateways = append(r.gateways, g)
	}
	return r
}

// state asks the registry, past all checkers and faults, what it grants at the newest block.
func (r *longRun) state() map[[32]byte]policy.License {
	r.t.Helper()
	queries := make([]contract.LicenseRegistryQuery, len(r.people))
	for i, who := range r.people {
		queries[i] = contract.LicenseRegistryQuery{ModelId: r.model, Subject: who}
	}
	var raw hexutil.Bytes
	call := map[string]any{"to": common.Address(r.owner.Address()), "data": hexutil.Encode(bindings.PackGrants(queries))}
	r.rpc(&raw, "eth_call", call, "latest")
	out, err := bindings.UnpackGrants(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	state := map[[32]byte]policy.License{}
	for i, who := range r.people {
		state[who] = licenseOf(out.Views[i])
	}
	return state
}

// step changes something, and takes note of what the chain says then.
func (r *longRun) step() {
	r.steps++
	r.fault()
	since := time.Now()
	if (r.steps%25 == 0 || r.rand.IntN(30) == 0) && len(r.states) > 8 {
		depth := 1 + r.rand.IntN(4)
		r.rpc(nil, "anvil_reorg", depth, []any{}) // by as many empty blocks
		ancestor := len(r.states) - depth - 1
		for d := range r.was {
			r.was[d] = min(r.was[d], ancestor)
		}
		r.states = r.states[:ancestor+1]
		for range depth {
			r.states = append(r.states, r.states[ancestor])
		}
		r.moved = append(r.moved, [2]time.Time{since, time.Now()})
	}
	for _, who := range r.people {
		if r.rand.IntN(12) == 0 {
			r.change(who)
		}
	}
	r.block()
	r.states = append(r.states, r.state())
	r.note(since)
	time.Sleep(time.Duration(r.rand.IntN(120)) * time.Millisecond) // the pace of the chain
}

// change writes to a grant what its state permits.
func (r *longRun) change(who [32]byte) {
	l := r.states[len(r.states)-1][who]
	switch {
	case l.Status == policy.None || l.Status == policy.Active && r.rand.IntN(3) == 0:
		from, to := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
		if r.rand.IntN(2) == 0 {
			to = time.Now().Add(time.Duration(1+r.rand.IntN(5)) * time.Second)
		}
		r.write(bindings.PackGrant(r.model, who, contract.LicenseRegistryTerms{
			NotBefore: big.NewInt(from.Unix()), NotAfter: big.NewInt(to.Unix()), Scope: uint32(policy.ScopeChat),
		}, l.Seq))
	case l.Status == policy.Active && r.rand.IntN(2) == 0:
		r.write(bindings.PackSuspend(r.model, who, l.Seq))
	case l.Status == policy.Active:
		r.write(bindings.PackRevoke(r.model, who, l.Seq))
	default:
		r.write(bindings.PackReinstate(r.model, who, l.Seq))
	}
}

// fault begins and ends faults, of nodes, of the subscription and of Redis.
func (r *longRun) fault() {
	for i, g := range r.gateways {
		outage := i == 0 && r.steps == 30 || r.rand.IntN(100) == 0 // both lines, long enough for stale answers, or none
		for _, l := range g.lines {
			on := !l.ends.IsZero()
			switch {
			case outage && on:
				l.well()
				fallthrough
			case outage:
				r.faults++
				l.ill(r.rand, true, longSoft+time.Duration(1000+r.rand.IntN(5000))*time.Millisecond)
			case on && time.Now().After(l.ends):
				l.well()
			case !on && r.rand.IntN(60) == 0:
				r.faults++
				l.ill(r.rand, false, time.Duration(300+r.rand.IntN(3000))*time.Millisecond)
			}
		}
	}
	switch r.rand.IntN(40) {
	case 0:
		r.wire.cut()
	case 1:
		r.wire.silent.Store(!r.wire.silent.Load())
	}
	r.faultRedis()
}

// ill begins a fault; if it is an outage, one that lets no answer pass.
func (l *longLine) ill(rand *rand.Rand, outage bool, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = append(l.bad, [2]time.Time{time.Now()})
	l.ends = time.Now().Add(d)
	var behind meddler = lagging(func() string {
		var head hexutil.Uint64
		_ = l.node.Call(&head, "eth_blockNumber")
		return hexutil.EncodeUint64(uint64(head) - lag)
	})
	faults := []http.HandlerFunc{
		badGateway, hangs, every(`"result":null`), every(`"result":"0x"`), every(`"error":{"code":-32000,"message":"missing trie node"}`),
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
	}
	if n := rand.IntN(len(faults) + 2); outage || n < len(faults) {
		l.fail(faults[n%len(faults)])
	} else {
		l.meddle.Store(&behind)
	}
}

func (l *longLine) well() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mend()
	l.bad[len(l.bad)-1][1] = time.Now()
	l.ends = time.Time{}
}

func (r *longRun) faultRedis() {
	ctx := r.t.Context()
	if !r.redisBad.IsZero() {
		if time.Now().After(r.redisBad) {
			r.redisBad = time.Time{}
			r.server.Thaw()
		}
		return
	}
	switch r.rand.IntN(30) {
	case 0:
		r.faults++
		r.server.Freeze()
		r.redisBad = time.Now().Add(time.Duration(200+r.rand.IntN(2000)) * time.Millisecond)
	case 1:
		r.faults++
		_, port, _ := net.SplitHostPort(r.server.Addr)
		r.server.Kill()
		r.server = servertest.Redis(r.t, port)
	case 2:
		r.faults++
		r.client.FlushAll(ctx)
	case 3, 4: // keep what is there, and later put it back as if it were new
		names, _ := r.client.Keys(ctx, "*").Result()
		for _, name := range names {
			if text, err := r.client.Get(ctx, name).Result(); err == nil {
				r.kept[name] = text
			}
		}
	case 5, 6:
		for name, text := range r.kept {
			r.client.Set(ctx, name, text, longHard)
		}
	}
}

// calm ends all faults and lets the chain stand.
func (r *longRun) calm() {
	for _, g := range r.gateways {
		for _, l := range g.lines {
			if !l.ends.IsZero() {
				l.well()
			}
		}
	}
	if !r.redisBad.IsZero() {
		r.server.Thaw()
	}
	for end := time.Now().Add(2 * slack); time.Now().Before(end); {
		r.rest()
	}
}

// rest makes a block that changes nothing.
func (r *longRun) rest() {
	since := time.Now()
	r.block()
	r.states = append(r.states, r.state())
	r.note(since)
	time.Sleep(50 * time.Millisecond) // the pace of the chain
}

// settled wants every gateway to say what the chain says, now that nothing is wrong: the
// chain goes on until they do.
func (r *longRun) settled() {
	for end := time.Now().Add(generous); ; r.rest() {
		var wrong []string
		for _, g := range r.gateways {
			for _, who := range r.people {
				if a := g.ask(r.stage, who); a.err != nil || !r.might(a.to, a.to, a) {
					wrong = append(wrong, fmt.Sprintf("%s, in the end: %v, %v; the chain says %+v", g.name, a.reason, a.err, r.states[len(r.states)-1][who]))
				}
			}
		}
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Error(strings.Join(wrong, "\n"))
			return
		}
	}
}

func (g *longGateway) ask(s *stage, who [32]byte) answer {
	a := answer{who: who, gateway: g, depth: g.depth, from: time.Now()}
	var grant policy.Grant
	grant, a.err = g.checker.Check(s.t.Context(), s.model, who)
	a.to = time.Now()
	// At the time of the question: a license that ends while it is answered is Allowed for certain.
	a.reason, a.stale = policy.Standing(a.from, grant, policy.ScopeChat).Reason, grant.Stale
	return a
}

// askAround asks one gateway about everybody, and some wallets that nobody knows.
func (r *longRun) askAround(n uint64, g *longGateway, stop *atomic.Bool) (all []answer) {
	rand := rand.New(rand.NewPCG(r.seed, n+1))
	for !stop.Load() {
		who := [32]byte{9, byte(n), byte(rand.Uint32()), byte(rand.Uint32())}
		if rand.IntN(10) > 0 {
			who = r.people[rand.IntN(len(r.people))]
		}
		a := g.ask(r.stage, who)
		if a.err != nil {
			r.errs.Add(1)
		} else {
			r.reasons[a.reason].Add(1)
		}
		all = append(all, a)
		time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond) // the pace of the callers
	}
	return all
}

func (r *longRun) judgeAll(answers []answer) {
	wrong, stale := 0, 0
	reasons := map[policy.Reason]int64{}
	for _, a := range answers {
		if a.stale {
			stale++
		}
		if what := r.judge(a); what != "" {
			if wrong++; wrong <= 10 {
				r.t.Errorf("%s, %v before the end, after %v: %v, stale %v, %v: %s", a.gateway.name, time.Since(a.from).Round(time.Millisecond), a.to.Sub(a.from).Round(time.Microsecond), a.reason, a.stale, a.err, what)
			}
		}
	}
	for _, want := range longReasons {
		reasons[want] = r.reasons[want].Load()
	}
	r.t.Logf("%d answers, %d wrong; %v; %d stale, %d unavailable; %d blocks, %d reorganisations, %d faults", len(answers), wrong, reasons, stale, r.errs.Load(), len(r.states), len(r.moved), r.faults)
	for _, g := range r.gateways {
		r.t.Logf("%s: %+v", g.name, g.checker.Stats())
	}
	if !r.sawAll() {
		r.t.Errorf("%v, %d errors, %d reorganisations, %d faults: the run shows nothing of one of them", reasons, r.errs.Load(), len(r.moved), r.faults)
	}
}
