package policy_test

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	_ "github.com/fealty/fealty/internal/sameseed"
	"github.com/fealty/fealty/policy"
)

// scenarios reads a file of testdata: lines of cells separated by '|'.
func scenarios(t *testing.T, name string, cells int, each func(t *testing.T, cell []string)) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ran := 0
	for in := bufio.NewScanner(f); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cell := strings.Split(line, "|")
		if len(cell) != cells {
			t.Fatalf("%s: %d cells, want %d: %s", name, len(cell), cells, line)
		}
		for i := range cell {
			cell[i] = strings.TrimSpace(cell[i])
		}
		ran++
		t.Run(cell[0], func(t *testing.T) { each(t, cell) })
	}
	if ran < 10 {
		t.Fatalf("%s: only %d scenarios", name, ran)
	}
}

var uses = map[string]policy.Scope{
	"": 0, "-": 0, "chat": policy.ScopeChat, "completions": policy.ScopeCompletions,
	"embeddings": policy.ScopeEmbeddings, "host": policy.ScopeHost,
}

func scope(t *testing.T, text string) (s policy.Scope) {
	t.Helper()
	for _, name := range strings.Split(text, ",") {
		use, ok := uses[name]
		if !ok {
			t.Fatalf("unknown use %q", name)
		}
		s |= use
	}
	return s
}

// at is a time of day on 31 January 2026, UTC.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	layout := "2006-01-02 15:04"
	if strings.Count(text, ":") == 2 {
		layout += ":05"
	}
	out, err := time.Parse(layout, "2026-01-31 "+text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var statuses = map[string]policy.Status{
	"none": policy.None, "active": policy.Active, "suspended": policy.Suspended, "revoked": policy.Revoked, "9": 9,
}

func licenseOf(t *testing.T, text string) (l policy.License) {
	t.Helper()
	words := strings.Fields(text)
	status, ok := statuses[words[0]]
	if !ok {
		t.Fatalf("unknown status %q", words[0])
	}
	l.Status = status
	for _, word := range words[1:] {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "from":
			l.NotBefore = at(t, value).Unix()
		case "until":
			if value != "never" {
				l.NotAfter = at(t, value).Unix()
			}
		case "for":
			l.Scope = scope(t, value)
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return l
}

func TestStanding(t *testing.T) {
	scenarios(t, "standing.txt", 4, func(t *testing.T, cell []string) {
		final, latest, _ := strings.Cut(cell[1], "/")
		g := policy.Grant{Final: licenseOf(t, final)}
		if g.Latest = g.Final; strings.TrimSpace(latest) != "same" {
			g.Latest = licenseOf(t, latest)
		}
		when, use, _ := strings.Cut(cell[2], " ")
		want := scope(t, strings.TrimSpace(use))
		now := at(t, when)
		for how, got := range map[string]policy.Decision{
			"Standing": policy.Standing(now, g, want),
			"Decide":   policy.Decide(now, g, policy.Usage{}, policy.Request{Scope: want}),
		} {
			if got.Reason.String() != cell[3] || got.RetryAfter != 0 || got.Allowed() != (cell[3] == "allowed") {
				t.Errorf("%s answers %s, retry after %s; want %s", how, got.Reason, got.RetryAfter, cell[3])
			}
		}
	})
}

// bounds reads "60 1000 used=5,100".
func bounds(t *testing.T, text string) (p policy.Plan, u policy.Usage) {
	t.Helper()
	words := strings.Fields(strings.Replace(text, "used=", "", 1))
	used := strings.Split(words[2], ",")
	number := func(s string) uint64 {
		if s == "-" {
			return 0
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p = policy.Plan{RPM: uint32(number(words[0])), TokensPerDay: number(words[1])}
	return p, policy.Usage{Requests: uint32(number(used[0])), Tokens: number(used[1])}
}

func TestLimits(t *testing.T) {
	scenarios(t, "limits.txt", 5, func(t *testing.T, cell []string) {
		plan, usage := bounds(t, cell[1])
		own, ownUsage := bounds(t, cell[2])
		when, asked, _ := strings.Cut(cell[3], " ")
		tokens, err := strconv.ParseUint(strings.TrimSpace(asked), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		l := policy.License{Status: policy.Active, NotAfter: 1 << 40, Scope: policy.ScopeChat}
		got := policy.Decide(at(t, when), policy.Grant{Final: l, Latest: l, Plan: plan}, usage, policy.Request{
			Scope: policy.ScopeChat, Tokens: tokens,
			Key: policy.Key{RPM: own.RPM, TokensPerDay: own.TokensPerDay, Usage: ownUsage},
		})
		answer := got.Reason.String()
		if got.RetryAfter != 0 {
			answer += " " + got.RetryAfter.String()
		}
		if answer != cell[4] {
			t.Errorf("got %q, want %q", answer, cell[4])
		}
	})
}

// drawLicense draws what could stand on a chain, and what could not.
func drawLicense(t *rapid.T, name string, now int64) policy.License {
	return policy.License{
		Status:    policy.Status(rapid.SampledFrom([]int{0, 1, 1, 1, 2, 3, 4, 255}).Draw(t, name+" status")),
		NotBefore: rapid.OneOf(rapid.Int64Range(now-10, now+10), rapid.Int64Range(0, 1<<40-1)).Draw(t, name+" from"),
		NotAfter:  rapid.OneOf(rapid.Int64Range(now-10, now+10), rapid.Int64Range(0, 1<<40-1)).Draw(t, name+" until"),
		Scope:     policy.Scope(rapid.Uint32Range(0, 0x1ff).Draw(t, name+" scope")),
	}
}

type drawn struct {
	now     time.Time
	grant   policy.Grant
	usage   policy.Usage
	request policy.Request
}

func draw(t *rapid.T) drawn {
	now := rapid.Int64Range(1, 1<<33).Draw(t, "now")
	small := rapid.OneOf(rapid.Uint64Range(0, 5), rapid.Uint64())
	few := func(name string) uint32 { return rapid.Uint32Range(0, 4).Draw(t, name) }
	return drawn{
		now: time.Unix(now, 0),
		grant: policy.Grant{
			Final: drawLicense(t, "final", now), Latest: drawLicense(t, "latest", now),
			Plan: policy.Plan{RPM: few("rpm"), TokensPerDay: small.Draw(t, "tokens per day")},
		},
		usage: policy.Usage{Requests: few("requests"), Tokens: small.Draw(t, "tokens used")},
		request: policy.Request{
			Scope: policy.Scope(rapid.Uint32Range(0, 0x1ff).Draw(t, "want")), Tokens: small.Draw(t, "tokens"),
			Key: policy.Key{
				RPM: few("key rpm"), TokensPerDay: small.Draw(t, "key tokens per day"),
				Usage: policy.Usage{Requests: few("key requests"), Tokens: small.Draw(t, "key tokens used")},
			},
		},
	}
}

func (d drawn) decide() policy.Decision {
	return policy.Decide(d.now, d.grant, d.usage, d.request)
}

// mayRun is the whole policy, said once more as one sentence with exact sums.
func (d drawn) mayRun() bool {
	l, n := d.grant.Final, d.now.Unix()
	fits := func(limit, used, want uint64) bool {
		sum := used + want
		return limit == 0 || sum >= used && sum <= limit
	}
	return d.grant.Latest.Status != policy.Revoked && d.grant.Latest.Status != policy.Suspended &&
		l.Status == policy.Active && n >= l.NotBefore-5 && n < l.NotAfter &&
		d.request.Scope != 0 && d.request.Scope&^l.Scope == 0 &&
		fits(uint64(d.grant.Plan.RPM), uint64(d.usage.Requests), 1) && fits(d.grant.Plan.TokensPerDay, d.usage.Tokens, d.request.Tokens) &&
		fits(uint64(d.request.Key.RPM), uint64(d.request.Key.Usage.Requests), 1) && fits(d.request.Key.TokensPerDay, d.request.Key.Usage.Tokens, d.request.Tokens)
}

func TestDecideEqualsItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		got := d.decide()
		if got.Allowed() != d.mayRun() {
			t.Fatalf("%+v: %s, want allowed: %v", d, got.Reason, d.mayRun())
		}
		if got != d.decide() {
			t.Fatalf("%+v: two answers", d)
		}
		if retry := got.Reason == policy.RateLimited || got.Reason == policy.QuotaExceeded; (got.RetryAfter > 0) != retry {
			t.Fatalf("%+v: %s with retry after %s", d, got.Reason, got.RetryAfter)
		}
		if strings.HasPrefix(got.Reason.String(), "unknown") {
			t.Fatalf("reason %d has no code", got.Reason)
		}
	})
}

// Whatever takes something away never turns a refusal into an allowance.
func TestLessNeverAllowsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := draw(t)
		after := before
		lower := func(limit uint64) uint64 { // a limit of 0 is none
			if limit == 0 {
				return rapid.Uint64Min(1).Draw(t, "limit")
			}
			return rapid.Uint64Range(1, limit).Draw(t, "lower")
		}
		switch rapid.IntRange(0, 6).Draw(t, "what") {
		case 0:
			after.grant.Latest.Status = policy.Revoked
		case 1:
			after.grant.Final.Scope &= policy.Scope(rapid.Uint32().Draw(t, "mask"))
		case 2:
			after.grant.Final.NotAfter -= rapid.Int64Range(0, 1<<20).Draw(t, "sooner")
		case 3:
			after.usage.Requests += rapid.Uint32Range(0, 9).Draw(t, "more requests")
		case 4:
			after.usage.Tokens += rapid.Uint64Range(0, ^uint64(0)-after.usage.Tokens).Draw(t, "more tokens")
		case 5:
			after.request.Key.TokensPerDay = lower(after.request.Key.TokensPerDay)
		case 6:
			after.grant.Plan.TokensPerDay = lower(after.grant.Plan.TokensPerDay)
		}
		if !before.decide().Allowed() && after.decide().Allowed() {
			t.Fatalf("refused (%s):\n%+v\nallowed:\n%+v", before.decide().Reason, before, after)
		}
	})
}

// The time to wait ends exactly where the next window begins.
func TestRetryAfterIsTheNextWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		l := policy.License{Status: policy.Active, NotAfter: 1 << 40, Scope: policy.ScopeChat}
		g := policy.Grant{Final: l, Latest: l, Plan: policy.Plan{RPM: 1}}
		d := policy.Decide(now, g, policy.Usage{Requests: 1}, policy.Request{Scope: policy.ScopeChat})
		if next := now.Add(d.RetryAfter); next.UnixNano()%int64(time.Minute) != 0 || d.RetryAfter <= 0 || d.RetryAfter > time.Minute {
			t.Fatalf("at %s wait %s", now, d.RetryAfter)
		}
	})
}

func TestZeroValuesRefuse(t *testing.T) {
	if d := (policy.Decision{}); d.Allowed() {
		t.Error("a Decision that nobody made allows")
	}
	if d := policy.Decide(time.Unix(0, 0), policy.Grant{}, policy.Usage{}, policy.Request{}); d.Allowed() {
		t.Error("no grant and no request is allowed")
	}
	if got := fmt.Sprint(policy.Reason(200)); got != "unknown_reason" {
		t.Errorf("a reason without a code is called %q", got)
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	d := drawn{now: time.Unix(1_800_000_000, 0)}
	l := policy.License{Status: policy.Active, NotAfter: 1 << 40, Scope: policy.ScopeChat}
	d.grant = policy.Grant{Final: l, Latest: l, Plan: policy.Plan{RPM: 10, TokensPerDay: 1000}}
	d.request = policy.Request{Scope: policy.ScopeChat, Tokens: 10}
	if got := testing.AllocsPerRun(1000, func() {
		if !d.decide().Allowed() {
			t.Fatal("refused")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func BenchmarkDecide(b *testing.B) {
	l := policy.License{Status: policy.Active, NotAfter: 1 << 40, Scope: policy.ScopeChat}
	g := policy.Grant{Final: l, Latest: l, Plan: policy.Plan{RPM: 10, TokensPerDay: 1000}}
	now, r := time.Unix(1_800_000_000, 0), policy.Request{Scope: policy.ScopeChat, Tokens: 10}
	b.ReportAllocs()
	for b.Loop() {
		policy.Decide(now, g, policy.Usage{}, r)
	}
}

func TestWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := func(name string) policy.Plan {
			return policy.Plan{RPM: rapid.Uint32Range(0, 9).Draw(t, name+" rpm"), TokensPerDay: rapid.Uint64Range(0, 9).Draw(t, name+" tokens")}
		}
		plan, most := limits("plan"), limits("cap")
		both := plan.Within(most)
		allows := func(p policy.Plan, n int) bool {
			return (p.RPM == 0 || uint32(n) <= p.RPM) && (p.TokensPerDay == 0 || uint64(n) <= p.TokensPerDay)
		}
		for n := 1; n < 11; n++ {
			if allows(both, n) != (allows(plan, n) && allows(most, n)) {
				t.Fatalf("%+v within %+v is %+v, which is wrong about %d", plan, most, both, n)
			}
		}
	})
}

func TestScopeNames(t *testing.T) {
	for s, want := range map[policy.Scope]string{
		0: "none", policy.ScopeChat: "chat", policy.ScopeHost: "host",
		policy.ScopeChat | policy.ScopeEmbeddings | 1<<4: "chat,embeddings,0x10",
	} {
		if got := s.String(); got != want {
			t.Errorf("%x: got %q, want %q", uint32(s), got, want)
		}
	}
	if s, ok := policy.ScopeNamed("host"); !ok || s != policy.ScopeHost {
		t.Errorf("host is %v, %v", s, ok)
	}
	if _, ok := policy.ScopeNamed("none"); ok {
		t.Error("there is a use named none")
	}
}
