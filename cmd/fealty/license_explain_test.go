package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/policy"
)

// Each state of the layers ends in the gateway's own code, with what helps.
func TestExplanation(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good := policy.License{Status: policy.Active, NotBefore: now.Unix() - 60, NotAfter: now.Unix() + 60, Scope: policy.ScopeChat, PlanVersion: 1, Seq: 1}
	with := func(change func(*policy.License)) policy.License {
		l := good
		change(&l)
		return l
	}
	none := policy.License{}
	ended := with(func(l *policy.License) { l.NotAfter = now.Unix() })
	both := func(l policy.License) policy.Grant { return policy.Grant{Final: l, Latest: l} }
	memory := func(seconds float64) memoryLayer { return memoryLayer{Decision: "allowed", AgeSeconds: seconds} }
	for _, c := range []struct {
		name  string
		e     explanation
		caps  policy.Plan
		code  string
		helps string
	}{
		{"allowed", explanation{found: true, grant: both(good)}, policy.Plan{}, "allowed", "nothing"},
		{"never granted, for sale", explanation{found: true, OnSale: []uint32{1, 4}}, policy.Plan{}, "no_license", "buy plan 1 or 4"},
		{"never granted, nothing for sale", explanation{found: true, Owner: "0xA"}, policy.Plan{}, "no_license", "owner (0xA)"},
		{"granted just now", explanation{found: true, grant: policy.Grant{Final: none, Latest: good}}, policy.Plan{}, "no_license", "not final yet"},
		{"ended", explanation{found: true, grant: both(ended), OnSale: []uint32{1}}, policy.Plan{}, "license_expired", "buy plan 1"},
		{"extended just now", explanation{found: true, grant: policy.Grant{Final: ended, Latest: good}}, policy.Plan{}, "license_expired", "not final yet"},
		{"begins later", explanation{found: true, grant: both(with(func(l *policy.License) { l.NotBefore = now.Unix() + 30 }))}, policy.Plan{}, "license_not_yet_valid", "wait until 2027-01-15T08:00:30Z"},
		{"suspended", explanation{found: true, grant: both(with(func(l *policy.License) { l.Status = policy.Suspended }))}, policy.Plan{}, "license_suspended", "reinstate"},
		{"revoked in the newest block", explanation{found: true, grant: policy.Grant{Final: good, Latest: with(func(l *policy.License) { l.Status = policy.Revoked })}}, policy.Plan{}, "license_revoked", "only the model's owner"},
		{"another scope", explanation{found: true, grant: both(with(func(l *policy.License) { l.Scope = policy.ScopeEmbeddings })), OnSale: []uint32{2}}, policy.Plan{}, "scope_missing", "plan 2 with 'fealty license buy --switch'"},
		{"used up", explanation{found: true, grant: both(good), Used: usedLayer{Asked: true, Tokens: 100}}, policy.Plan{TokensPerDay: 100}, "insufficient_quota", "wait for the next window"},
		{"host not granted", explanation{found: true, grant: both(good), Host: &hostLayer{"a.example", "no_license"}}, policy.Plan{}, "host_unlicensed", "--subject host:a.example"},
		{"chain silent", explanation{}, policy.Plan{}, "license_unavailable", "look at the node"},
		{"chain silent for the host", explanation{found: true, grant: both(good), Host: &hostLayer{"a.example", unavailable}}, policy.Plan{}, "license_unavailable", "look at the node"},
		{"chain silent, remembered", explanation{Memory: memory(299)}, policy.Plan{}, "allowed", "serves from memory until 5m0s"},
		{"chain silent, remembered too long ago", explanation{Memory: memory(301)}, policy.Plan{}, "license_unavailable", "look at the node"},
	} {
		c.e.conclude(now, question{want: policy.ScopeChat, caps: c.caps})
		if c.e.Decision != c.code || !strings.Contains(c.e.Advice, c.helps) {
			t.Errorf("%s: %s, %q; want %s and %q", c.name, c.e.Decision, c.e.Advice, c.code, c.helps)
		}
		if text := c.e.text(); !strings.Contains(text, c.code) || strings.Count(text, "\n") > 24 {
			t.Errorf("%s: no screen:\n%s", c.name, text)
		}
	}
}
