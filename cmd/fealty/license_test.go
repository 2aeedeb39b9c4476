package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/servertest"
	"github.com/fealty/fealty/internal/testmodel"
)

// attempt runs one command line of the real program and says how it ended.
func attempt(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// anvilShop is a registry on anvil with a model, made with the commands alone.
type anvilShop struct {
	t                    *testing.T
	rpc, registry, model string
}

// The wallets of anvil, and the environment variables that hold their keys.
const (
	creatorKey, buyerKey, thirdKey = "FEALTY_TEST_CREATOR", "FEALTY_TEST_BUYER", "FEALTY_TEST_THIRD"

	creatorWallet = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
	buyerWallet   = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
	thirdWallet   = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
)

func openShop(t *testing.T) *anvilShop {
	t.Helper()
	s := &anvilShop{t: t, rpc: "http://" + servertest.Anvil(t, "0").Addr}
	for i, name := range []string{creatorKey, buyerKey, thirdKey} {
		t.Setenv(name, servertest.AnvilKeys[i])
	}
	s.registry = field(t, cli(t, "license", "deploy", "--draw-delay", "1", "--json", "--rpc", s.rpc, "--key-env", creatorKey), "registry")
	s.model = field(t, cli(t, "license", "register", "--json", "--rpc", s.rpc, "--registry", s.registry, "--key-env", creatorKey), "model")
	return s
}

// args are a command about the model.
func (s *anvilShop) args(command string, more ...string) []string {
	return slices.Concat([]string{"license"}, strings.Fields(command), []string{"--rpc", s.rpc, "--registry", s.registry, "--model", s.model}, more)
}

// as runs a command that succeeds, with a wallet.
func (s *anvilShop) as(key, command string) string {
	s.t.Helper()
	return cli(s.t, s.args(command, "--key-env", key)...)
}

// wants runs a command that ends in some other way, and says something.
func (s *anvilShop) wants(key, command string, code int, says string) {
	s.t.Helper()
	got, out, errs := attempt(s.t, s.args(command, "--key-env", key)...)
	if got != code || !strings.Contains(out+errs, says) {
		s.t.Errorf("%s: exit %d, want %d and %q\n%s%s", command, got, code, says, out, errs)
	}
}

// shows is what license show says of the buyer: its exit code and its text.
func (s *anvilShop) shows(code int, says ...string) {
	s.t.Helper()
	got, out, errs := attempt(s.t, s.args("show --finality latest --host host.example --subject "+buyerWallet)...)
	for _, text := range says {
		if got != code || !strings.Contains(out, text) {
			s.t.Errorf("show: exit %d, want %d and %q\n%s%s", got, code, text, out, errs)
		}
	}
}

// What creators and licensees do, from the first command to the books.
func TestLicenseCommands(t *testing.T) {
	s := openShop(t)
	s.commits()
	s.shows(exitNotHeld, "refused, host_unlicensed", "license grant --subject host:host.example", creatorWallet)
	s.as(creatorKey, "grant --subject host:host.example --controller "+creatorWallet)
	s.sells()
	s.signs()
	s.moves()
	s.counts()
	s.changesHands()
}

func (s *anvilShop) commits() {
	s.t.Helper()
	root := "0x" + strings.Repeat("5a", 32)
	var made struct {
		Index            uint32
		Root, Randomness string
		DrawBlock        uint64 `json:"draw_block"`
	}
	if err := json.Unmarshal([]byte(s.as(creatorKey, "commit --draw --json --root "+root)), &made); err != nil {
		s.t.Fatal(err)
	}
	if made.Root != root || made.DrawBlock == 0 || len(made.Randomness) != 66 {
		s.t.Errorf("commitment %+v", made)
	}
	s.wants(thirdKey, "commit --draw --index 0", exitFailed, "on record already")
	s.wants(creatorKey, "commit --draw", exitUsage, "name what to commit to")
	s.wants(creatorKey, "commit --root "+root+" --keys x", exitUsage, "name what to commit to")
}

func (s *anvilShop) sells() {
	s.t.Helper()
	s.shows(exitNotHeld, "refused, no_license", "no plan on sale allows this")
	s.as(creatorKey, "plan --price 1000 --duration 1h --rpm 60 --tokens-per-day 5000")
	s.as(creatorKey, "plan --price 2000 --duration 2h")
	s.as(creatorKey, "plan --stop 2")
	s.wants(buyerKey, "buy --plan 2", exitFailed, "plan 2 is not on sale")
	s.wants(buyerKey, "buy --plan 2 --dry-run", exitNotHeld, "would fail: the purchase: the registry refused: plan 2 is not on sale")
	s.as(creatorKey, "plan --resume 2")
	s.shows(exitNotHeld, "refused, no_license", "buy plan 1 or 2 with 'fealty license buy'")

	var dry previewed
	if err := json.Unmarshal([]byte(s.as(buyerKey, "buy --plan 1 --dry-run --json")), &dry); err != nil {
		s.t.Fatal(err)
	}
	if !dry.DryRun || !dry.Succeeds || dry.Gas < 90_000 || dry.ValueWei != "1000" || dry.From != buyerWallet || dry.FeeWei == "0" {
		s.t.Errorf("dry run %+v", dry)
	}
	s.shows(exitNotHeld, "refused, no_license") // nothing was sent
	s.as(buyerKey, "buy --plan 1")
	s.shows(exitHeld, ": allowed", "active, written once", "60 requests per minute, 5000 tokens per day", "asked: chat", "host.example: allowed", "not asked: give --gateway")
	s.wants(buyerKey, "buy --plan 2", exitFailed, "switch plans")
	s.as(buyerKey, "buy --plan 2 --switch")
}

// signs: permits and vouchers, made by one and handed in by another.
func (s *anvilShop) signs() {
	s.t.Helper()
	permit, voucher := filepath.Join(s.t.TempDir(), "permit.json"), filepath.Join(s.t.TempDir(), "voucher.json")
	s.keep(permit, s.as(buyerKey, "permit --plan 2"))
	if said := s.as(thirdKey, "buy --permit "+permit); !strings.Contains(said, "bought plan 2 for "+buyerWallet) {
		s.t.Errorf("buy --permit: %s", said)
	}
	s.wants(thirdKey, "buy --permit "+permit, exitFailed, "somebody changed it in the meantime")
	s.wants(thirdKey, "buy --permit "+permit+"x", exitFailed, "no such file")

	offline := cli(s.t, "license", "voucher", "--subject", thirdWallet, "--duration", "1h", "--chain-id", "31337",
		"--registry", s.registry, "--model", s.model, "--key-env", creatorKey)
	s.keep(voucher, offline)
	redeem := []string{"license", "redeem", voucher, "--rpc", s.rpc, "--registry", s.registry, "--key-env", buyerKey}
	if said := cli(s.t, redeem...); !strings.Contains(said, thirdWallet+" is licensed until") {
		s.t.Errorf("redeem: %s", said)
	}
	if code, _, errs := attempt(s.t, redeem...); code != exitFailed || !strings.Contains(errs, "somebody changed it in the meantime") {
		s.t.Errorf("redeemed again: exit %d %s", code, errs)
	}
	s.keep(voucher, s.as(creatorKey, "voucher --subject "+thirdWallet)) // the chain says that it is the second write
	cli(s.t, redeem...)
	unsigned := cli(s.t, s.args("voucher --subject "+thirdWallet+" --signer "+creatorWallet)...)
	s.keep(voucher, unsigned)
	if code, _, errs := attempt(s.t, redeem...); code != exitFailed || !strings.Contains(errs, "it is not signed") {
		s.t.Errorf("an unsigned voucher: exit %d %s", code, errs)
	}
	s.keep(voucher, `{"primaryType": "Mail"}`)
	if code, _, errs := attempt(s.t, redeem...); code != exitFailed || !strings.Contains(errs, "not for a license registry") {
		s.t.Errorf("another's typed data: exit %d %s", code, errs)
	}
}

func (s *anvilShop) keep(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *anvilShop) moves() {
	s.t.Helper()
	s.wants(thirdKey, "suspend --subject "+buyerWallet, exitFailed, "is the right key in use?")
	s.as(creatorKey, "issuer "+thirdWallet)
	s.as(thirdKey, "suspend --subject "+buyerWallet)
	s.shows(exitNotHeld, "refused, license_suspended", "'fealty license reinstate'")
	s.as(thirdKey, "reinstate --subject "+buyerWallet)
	s.as(thirdKey, "revoke --subject "+buyerWallet)
	s.shows(exitNotHeld, "refused, license_revoked", "only the model's owner ("+creatorWallet+") can undo it")
	s.wants(thirdKey, "reinstate --subject "+buyerWallet, exitFailed, "only the model's owner")
	s.as(creatorKey, "reinstate --subject "+buyerWallet)
	code, out, _ := attempt(s.t, s.args("show --scope embeddings --finality latest --json --subject "+buyerWallet)...)
	var e explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != exitNotHeld || e.Decision != "scope_missing" || e.Chain.Latest.Seq != 7 {
		s.t.Errorf("show --scope embeddings: exit %d, %v\n%s", code, err, out)
	}
	// Blocks of this chain are final a minute after they come: so far only the newest knows this grant.
	const fresh = "0x0000000000000000000000000000000000000055"
	s.as(creatorKey, "grant --subject "+fresh)
	code, out, _ = attempt(s.t, s.args("show --subject "+fresh)...)
	if code != exitNotHeld || !strings.Contains(out, "not final yet") {
		s.t.Errorf("show at finalized: exit %d\n%s", code, out)
	}
}

// counts: three sales of 1000, 2000 and 2000 wei.
func (s *anvilShop) counts() {
	s.t.Helper()
	var in income
	out := cli(s.t, s.args("revenue --json")...)
	if err := json.Unmarshal([]byte(out), &in); err != nil {
		s.t.Fatal(err)
	}
	if got := fmt.Sprint(in.Rows); got != "[{1  1 1000} {2  2 4000}]" {
		s.t.Errorf("revenue %s", out)
	}
	table := cli(s.t, s.args("revenue --csv --since 2020-01-01")...)
	if want := fmt.Sprintf("1,,1,1000,%d,", in.FromBlock); !strings.HasPrefix(table, "plan,token,purchases,total,from_block,to_block\n"+want) {
		s.t.Errorf("revenue --csv:\n%s", table)
	}
	if out := cli(s.t, s.args("revenue --before 2020-01-01")...); !strings.Contains(out, "no purchases") {
		s.t.Errorf("before the chain began: %s", out)
	}
	s.wantsPlain("revenue --since yesterday", exitUsage, "write 2026-11-22 or")
	s.wantsPlain("revenue --to-block 999999", exitUsage, "above the newest block")
}

func (s *anvilShop) wantsPlain(command string, code int, says string) {
	s.t.Helper()
	got, out, errs := attempt(s.t, s.args(command)...)
	if got != code || !strings.Contains(out+errs, says) {
		s.t.Errorf("%s: exit %d, want %d and %q\n%s%s", command, got, code, says, out, errs)
	}
}

func (s *anvilShop) changesHands() {
	s.t.Helper()
	s.as(creatorKey, "transfer "+buyerWallet)
	s.wants(thirdKey, "accept", exitFailed, "not offered to this wallet")
	s.as(buyerKey, "accept")
	s.wants(creatorKey, "plan", exitFailed, "only the model's owner")
	s.wants(thirdKey, "suspend --subject "+buyerWallet, exitFailed, "owner or an issuer") // issuers went with the owner
}

// A key file is committed for its own model, and before its responses are drawn.
func TestLicenseCommitKeyFile(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the model")
	}
	s := openShop(t)
	dir := t.TempDir()
	pass := filepath.Join(dir, "pass")
	s.keep(pass, "correct horse\n")
	recipient, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10) // for tests
	set := *testmodel.Get(t).Set
	save := func(name string) string {
		path := filepath.Join(dir, name)
		if err := fingerprint.SaveSet(path, &set, recipient); err != nil {
			t.Fatal(err)
		}
		return "commit --keys " + path + " --keys-passphrase-file " + pass
	}
	s.wants(creatorKey, save("other.age"), exitFailed, "not for --model")
	id, err := parse32("model", s.model)
	if err != nil {
		t.Fatal(err)
	}
	set.Model = id
	s.wants(creatorKey, save("drawn.age"), exitFailed, "drawn already")
	set.Randomness, set.Recipe = nil, nil
	root := set.Root()
	if got := field(t, s.as(creatorKey, save("fresh.age")+" --json"), "root"); got != hex0x(root[:]) {
		t.Errorf("committed %s, want %x", got, root)
	}
	s.keep(pass, "wrong horse")
	s.wants(creatorKey, save("fresh.age"), exitFailed, "does not open it")
}
