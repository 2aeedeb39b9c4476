package gateway

import (
	"bytes"
	"context"
	"math"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/identity/token"
	"github.com/fealty/fealty/gateway/limit"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/policy"
)

// allLicensed stands for a checker whose memory holds the grant.
type allLicensed struct{ grant policy.Grant }

func (a *allLicensed) Check(context.Context, [32]byte, [32]byte) (policy.Grant, error) {
	return a.grant, nil
}

type noBackend struct{}

func (noBackend) Generate(context.Context, Call) (Answer, error) { return nil, errTooLong }
func (noBackend) Describe(*openai.Model)                         {}

// warm is a server with a real identity service that has seen the key already.
func warm(tb testing.TB) (*Server, []byte) {
	tb.Helper()
	ok := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	store, err := devnet.StartRedis()
	ok(err)
	tb.Cleanup(func() { store.Close() })
	guarded := statetest.Open(tb, statetest.Client(tb, store.Addr()), 0)
	signs, _, err := token.NewKey()
	ok(err)
	ids, err := identity.New(identity.Options{
		State: guarded, Secret: bytes.Repeat([]byte("s"), 32), Keys: []token.Key{signs}, Wallets: &wallet.Verifier{},
		Issuer: "https://gw.test", Domain: "gw.test", ChainID: 1, CacheTTL: time.Minute,
	})
	ok(err)
	tb.Cleanup(func() { ids.Close() })
	cfg, err := LoadConfig("../configs/serve.yaml")
	ok(err)
	l := policy.License{Status: policy.Active, NotAfter: 1 << 40, Scope: policy.ScopeChat | policy.ScopeHost, Seq: 1}
	m := Model{Backend: noBackend{}, Licenses: &allLicensed{policy.Grant{Final: l, Latest: l}}}
	limits := limit.New(guarded, "bench")
	tb.Cleanup(func() { limits.Close() })
	ledger := usage.New(guarded, nil)
	tb.Cleanup(func() { ledger.Close() })
	s, err := New(Deps{
		Identities: ids, Limits: limits, Ledger: ledger,
		Models: map[string]Model{"acme-chat": m, "acme-large": m},
	}, cfg)
	ok(err)
	tb.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	_, text, err := ids.CreateKey(tb.Context(), &identity.Caller{Subject: [32]byte{2}}, identity.KeyRequest{Name: "bench"})
	ok(err)
	return s, []byte(text)
}

// A known caller's way to a decision costs no allocation. What goes on beside it, such as
// the state store's word each second, allocates too, but not at each of many tries.
func TestAuthoriseAllocatesNothing(t *testing.T) {
	s, key := warm(t)
	ctx, now := t.Context(), time.Now()
	least := math.Inf(1)
	for tries := 0; least > 0 && tries < 100; tries++ {
		least = min(least, testing.AllocsPerRun(200, func() {
			if err := s.Authorise(ctx, now, key, "acme-chat", policy.ScopeChat); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least != 0 {
		t.Errorf("%v allocations per request, want 0", least)
	}
}

func BenchmarkAuthorise(b *testing.B) {
	s, key := warm(b)
	ctx, now := b.Context(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Authorise(ctx, now, key, "acme-chat", policy.ScopeChat); err != nil {
			b.Fatal(err)
		}
	}
}
