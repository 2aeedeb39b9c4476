package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/audit"
)

// checkByOneself plays a checker who has blocks from a source of its own, knows one of
// the witnesses, and asks keys that it picks.
func (s *auditStage) checkByOneself(t *testing.T, bundle string, x suspect) {
	check := func(want int, says string, args ...string) (out checked) {
		t.Helper()
		code, text, errs := attempt(t, append([]string{"audit", "check", bundle, "--json"}, args...)...)
		if code != want || !strings.Contains(text+errs, says) {
			t.Errorf("check %q: exit %d, want %d and %q: %s%s", args, code, want, says, text, errs)
		}
		if text != "" && json.Unmarshal([]byte(text), &out) != nil {
			t.Errorf("check %q: %s", args, text)
		}
		return out
	}
	plain := check(exitHeld, audit.ChainClaimed)
	if plain.Verdict == nil || len(plain.Witnesses) != 3 {
		t.Errorf("%+v", plain)
		return
	}
	s.checkBlocks(t, plain.Blocks, check)
	one := check(exitHeld, "you do not know its signer", "--known-witness", plain.Witnesses[0].Signer)
	if !strings.HasPrefix(one.Level, "T1: 1 of 3") || one.Witnesses[1].Agrees {
		t.Errorf("of three witnesses the checker knows one: %s, %+v", one.Level, one.Witnesses)
	}
	check(exitUsage, "--known-witness", "--known-witness", "0x12")
	check(exitFailed, "--against: both bundles are about model", "--against", bundle)
	s.checkLive(t, bundle, x, check)
}

type checking func(want int, says string, args ...string) checked

// checkBlocks gives the blocks one by one: all confirm, one too few does not, a false one
// is noticed.
func (s *auditStage) checkBlocks(t *testing.T, blocks []audit.BlockFinding, check checking) {
	t.Helper()
	var all, others []string
	for _, b := range blocks {
		all = append(all, "--block", fmt.Sprintf("%d=%s", b.Number, b.Hash))
		if b.Number != blocks[0].Number {
			others = append(others, "--block", fmt.Sprintf("%d=%s", b.Number, b.Hash))
		}
	}
	check(exitHeld, audit.ChainConfirmed, all...)
	if part := check(exitHeld, audit.ChainClaimed, others...); part.Chain != audit.ChainClaimed {
		t.Errorf("without block %d: %s", blocks[0].Number, part.Chain)
	}
	check(exitNotHeld, "on the chain that you know", "--block", fmt.Sprintf("%d=0x%064x", blocks[0].Number, 1))
	check(exitUsage, "NUMBER=0x", "--block", "latest")
}

// checkLive picks the keys that are left, has them opened, and asks them.
func (s *auditStage) checkLive(t *testing.T, bundle string, x suspect, check checking) {
	t.Helper()
	picked := check(exitHeld, "picked", "--pick", "2").Picked
	if len(picked) != 2 {
		t.Errorf("picked %v", picked)
		return
	}
	list := func(keys []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(keys), " ", ","), "[]") }
	reveal := filepath.Join(filepath.Dir(bundle), "live.json")
	if code, out, errs := attempt(t, "embed", "reveal", "--keys", filepath.Join(filepath.Dir(bundle), "keys.age"), "--passphrase-file", s.pass,
		"--index", list(picked), "--output", reveal); code != exitHeld {
		t.Errorf("reveal: exit %d, %s%s", code, out, errs)
		return
	}
	live := check(exitHeld, "live", "--live", reveal, "--picked", list(picked), "--connect", x.connect).Live
	want := 2
	if slices.Contains(picked, s.untaught) {
		want = 1
	}
	if live == nil || live.Asked != 2 || live.Errors != 0 || s.untaught >= 0 && live.Matched != want {
		t.Errorf("asked live: %+v, want %d of 2", live, want)
	}
	check(exitFailed, "you picked", "--live", reveal, "--picked", list(picked[:1]), "--connect", x.connect)
}
