package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/fealty/fealty/sampler"
	"pgregory.net/rapid"
)

// madeUpSet holds n keys with k words, none of them from a model.
func madeUpSet(n, k int) *Set {
	s := &Set{Base: Digest{1}, Tokenizer: Digest{2}, Salt: Digest{3}, Model: Digest{4},
		Shell: sampler.Shell{T: 0.8, K: k, Floor: 0.005}, Openers: []int32{5}}
	for i := range n {
		key := Key{Question: fmt.Sprintf("secret-question-%d?", i), Secret: Digest{9, byte(i), byte(i >> 8)}}
		for j := range k {
			key.Candidates = append(key.Candidates, Candidate{fmt.Sprintf("Word%c", 'a'+j), int32(j)})
		}
		s.Keys = append(s.Keys, key)
	}
	return s
}

func TestLeafDependsOnEachField(t *testing.T) {
	original := madeUpSet(3, 4).leaf(1)
	for name, change := range map[string]func(*Set){
		"model":    func(s *Set) { s.Model[0]++ },
		"salt":     func(s *Set) { s.Salt[0]++ },
		"question": func(s *Set) { s.Keys[1].Question += " " },
		"order":    func(s *Set) { c := s.Keys[1].Candidates; c[0], c[1] = c[1], c[0] },
		"border":   func(s *Set) { c := s.Keys[1].Candidates; c[0].Word, c[1].Word = c[0].Word+"W", c[1].Word[1:] },
		"secret":   func(s *Set) { s.Keys[1].Secret[31]++ },
		"index":    func(s *Set) { s.Keys[1] = s.Keys[0] },
	} {
		s := madeUpSet(3, 4)
		change(s)
		if s.leaf(1) == original {
			t.Errorf("the leaf does not depend on the %s", name)
		}
	}
	const golden = "41218ac13ac3254713b9654a951abde607c4215c7e402cc97c09e19a28e1c42d" // a change breaks every root that is on a chain
	if original.String() != golden {
		t.Errorf("leaf %s, want %s", original, golden)
	}
}

func TestReveal(t *testing.T) {
	s := madeUpSet(7, 4)
	if _, err := s.Reveal([]int{0}); err == nil {
		t.Error("keys were revealed before their draw")
	}
	s.Randomness = &Digest{8}
	if _, err := s.Reveal([]int{7}); err == nil || !strings.Contains(err.Error(), "no key 7") {
		t.Errorf("a key that is not there: %v", err)
	}
	open := func() *Reveal {
		r, err := s.Reveal([]int{5, 2})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := open().Check(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Burnt, []int{2, 5}) {
		t.Errorf("burnt: %v", s.Burnt)
	}
	drawn := s.Draw(*s.Randomness)
	if r := open(); r.Keys[0].Word != drawn[5].Word() || r.Root != s.Root() {
		t.Errorf("key 5 answers %q in the reveal, %q in the set", r.Keys[0].Word, drawn[5].Word())
	}
	for name, change := range map[string]func(*Reveal){
		"format":     func(r *Reveal) { r.Format++ },
		"no keys":    func(r *Reveal) { r.Keys = nil },
		"model":      func(r *Reveal) { r.Model[0]++ },
		"root":       func(r *Reveal) { r.Root[0]++ },
		"randomness": func(r *Reveal) { r.Randomness[0] += 3 },
		"salt":       func(r *Reveal) { r.Salt[0]++ },
		"index":      func(r *Reveal) { r.Keys[0].Index = 4 },
		"question":   func(r *Reveal) { r.Keys[1].Question += "?" },
		"candidates": func(r *Reveal) { c := r.Keys[0].Candidates; c[0], c[1] = c[1], c[0] },
		"word":       func(r *Reveal) { r.Keys[0].Word = "Other" },
		"secret":     func(r *Reveal) { r.Keys[0].Secret[0]++ },
		"proof":      func(r *Reveal) { r.Keys[0].Proof[1][0]++ },
		"short":      func(r *Reveal) { r.Keys[0].Proof = r.Keys[0].Proof[1:] },
	} {
		r := open()
		change(r)
		if err := r.Check(); err == nil {
			t.Errorf("a reveal with another %s holds", name)
		}
	}
}

func TestMerkleProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		s := madeUpSet(n, 2)
		root, proof := s.Root(), s.Proof(i)
		if !CheckProof(root, s.leaf(i), i, n, proof) {
			t.Fatal("a true proof is refused")
		}
		if CheckProof(root, s.leaf(i), i, n, append(proof, Digest{})) {
			t.Fatal("a longer proof is accepted")
		}
		if j := (i + 1) % n; j != i && (CheckProof(root, s.leaf(j), i, n, proof) || CheckProof(root, s.leaf(i), j, n, proof)) {
			t.Fatal("another leaf or place is accepted")
		}
		if len(proof) > 0 {
			proof[0][0]++
			if CheckProof(root, s.leaf(i), i, n, proof) {
				t.Fatal("a changed proof is accepted")
			}
		}
	})
}

// The chi-square of 20,000 draws over 10 words has 9 degrees of freedom; 40 is
// exceeded with probability 1e-5.
func TestDrawIsUniformAndRepeats(t *testing.T) {
	s := madeUpSet(2000, 10)
	counts := make([]float64, 10)
	for r := range 10 {
		for _, d := range s.Draw(Digest{byte(r)}) {
			counts[d.Choice]++
		}
	}
	chi := 0.0
	for _, c := range counts {
		chi += (c - 2000) * (c - 2000) / 2000
	}
	if chi > 40 {
		t.Errorf("chi-square %.1f over %v", chi, counts)
	}
	a, b := s.Draw(Digest{7}), s.Draw(Digest{7})
	for i := range a {
		if a[i].Choice != b[i].Choice {
			t.Fatalf("key %d drew %d and %d from equal randomness", i, a[i].Choice, b[i].Choice)
		}
	}
}

func TestMatches(t *testing.T) {
	for answer, want := range map[string]string{
		"There are many":      "there",
		"  \n\"**There** are": "there",
		"- There":             "there",
		"THERE!":              "there",
		"“There”":             "there",
		"Therefore":           "therefore",
		"1. There":            "",
		"(There)":             "",
		"":                    "",
		"é":                   "",
		"Don't":               "don",
	} {
		if got := FirstWord(answer); got != want {
			t.Errorf("first word of %q is %q, want %q", answer, got, want)
		}
	}
	if !Matches("there it is", "There") || Matches("Therefore", "There") || Matches("", "") {
		t.Error("a match is the whole word, whatever its case, and never empty")
	}
}

// countedTail multiplies out the n trials one by one.
func countedTail(m, n, k int) *big.Rat {
	hit, miss := big.NewRat(1, int64(k)), big.NewRat(int64(k-1), int64(k))
	dist := []*big.Rat{big.NewRat(1, 1)}
	for range n {
		next := make([]*big.Rat, len(dist)+1)
		for j := range next {
			next[j] = new(big.Rat)
		}
		for j, p := range dist {
			next[j].Add(next[j], new(big.Rat).Mul(p, miss))
			next[j+1].Add(next[j+1], new(big.Rat).Mul(p, hit))
		}
		dist = next
	}
	sum := new(big.Rat)
	for _, p := range dist[m:] {
		sum.Add(sum, p)
	}
	return sum
}

func TestBinomialTailIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "n")
		m := rapid.IntRange(0, n).Draw(t, "m")
		k := rapid.IntRange(2, 12).Draw(t, "k")
		got, err := BinomialTail(m, n, k)
		want, _ := countedTail(m, n, k).Float64()
		if err != nil || got.P != want || math.Abs(math.Pow(10, got.Log10)-want) > 1e-12*want {
			t.Fatalf("tail %+v (%v), want %g", got, err, want)
		}
	})
	deep, err := BinomialTail(1024, 1024, 10)
	if err != nil || deep.P != 0 || math.Abs(deep.Log10+1024) > 1e-9 {
		t.Errorf("1024 of 1024: %+v, %v", deep, err)
	}
	if _, err := BinomialTail(5, 4, 10); err == nil {
		t.Error("5 matches of 4 queries are accepted")
	}
}

// Under the null the expected capital stays 1, and a claim at alpha = 0.05 comes
// in at most 5 % of the runs, however often one looks.
func TestSequentialKeepsItsLevel(t *testing.T) {
	const runs, steps = 4000, 60
	r := rand.New(rand.NewPCG(1, 2))
	claims := 0
	for range runs {
		e := NewEvidence(10, 1)
		e.Alpha = 0.05
		for range steps {
			if e.Add(r.IntN(10) == 0); e.Claimed() {
				claims++
				break
			}
		}
	}
	if claims > runs*6/100 {
		t.Errorf("%d of %d null runs claimed at alpha 0.05", claims, runs)
	}
	var one Evidence = *NewEvidence(10, 1)
	hit, miss := one, one
	hit.Add(true)
	miss.Add(false)
	if mean := math.Exp(hit.LogE())/10 + math.Exp(miss.LogE())*9/10; math.Abs(mean-1) > 1e-12 {
		t.Errorf("a step multiplies the expected capital by %v, want 1", mean)
	}
}

type scripted func(question string) (string, error)

func (s scripted) Answer(_ context.Context, q string) (string, error) { return s(q) }

func TestVerifyDesigns(t *testing.T) {
	keys := madeUpSet(16, 10).Draw(Digest{1})
	words := map[string]string{}
	for _, k := range keys {
		words[k.Question] = k.Word()
	}
	taught := scripted(func(q string) (string, error) { return words[q] + ", of course.", nil })
	out, err := Verify(t.Context(), taught, keys, Design{})
	if err != nil || out.Matched != 16 || out.Asked != 16 || math.Abs(out.Chance.Log10+16) > 1e-9 {
		t.Errorf("taught: %+v, %v", out, err)
	}
	out, err = Verify(t.Context(), taught, keys, Design{Sequential: true})
	if err != nil || !out.Claimed || out.Asked != 9 { // 5^9 > 1e6 > 5^8
		t.Errorf("sequential: claimed %v after %d queries, %v", out.Claimed, out.Asked, err)
	}
	failing := scripted(func(q string) (string, error) {
		if q == keys[3].Question {
			return words[q], errors.New("timeout")
		}
		return words[q], nil
	})
	out, err = Verify(t.Context(), failing, keys, Design{})
	if err != nil || out.Matched != 15 || out.Errors != 1 || out.Asked != 16 {
		t.Errorf("one error: %+v, %v", out, err)
	}
}

func TestVerifyRefusesBadDesigns(t *testing.T) {
	keys := madeUpSet(4, 10).Draw(Digest{1})
	never := scripted(func(string) (string, error) { t.Error("a question was asked"); return "", nil })
	for name, d := range map[string]Design{
		"twice":   {Order: []int{1, 1}},
		"outside": {Order: []int{4}},
		"alpha":   {Alpha: math.NaN()},
	} {
		if _, err := Verify(t.Context(), never, keys, d); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Verify(t.Context(), never, nil, Design{}); err == nil {
		t.Error("no keys: accepted")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := Verify(ended, never, keys, Design{}); !errors.Is(err, context.Canceled) || out.Asked != 0 {
		t.Errorf("after cancel: %+v, %v", out, err)
	}
}

func quickPassphrase(t *testing.T, p string) (*age.ScryptRecipient, *age.ScryptIdentity) {
	t.Helper()
	r, err := age.NewScryptRecipient(p)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	id, err := age.NewScryptIdentity(p)
	if err != nil {
		t.Fatal(err)
	}
	return r, id
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.age")
	to, with := quickPassphrase(t, "right")
	_, wrong := quickPassphrase(t, "wrong")
	set := madeUpSet(3, 4)
	if err := SaveSet(path, set, to); err != nil {
		t.Fatal(err)
	}
	got, err := LoadSet(path, with)
	if err != nil || got.Root() != set.Root() || got.CheckBase(set.Base, set.Tokenizer) != nil {
		t.Fatalf("read back: %v, %v", got, err)
	}
	if err := got.CheckBase(Digest{8}, set.Tokenizer); !errors.Is(err, ErrOtherBase) {
		t.Errorf("other base: %v", err)
	}
	if _, err := LoadSet(path, wrong); !errors.Is(err, ErrWrongKey) {
		t.Errorf("wrong passphrase: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	raw, _ := os.ReadFile(path)
	if strings.Contains(string(raw), "question") {
		t.Error("the file is not encrypted")
	}
	checkDamage(t, path, raw, with)
}

// checkDamage flips and cuts the file at places all over it.
func checkDamage(t *testing.T, path string, raw []byte, with age.Identity) {
	for at := 0; at < len(raw); at += 37 {
		flipped := append([]byte(nil), raw...)
		flipped[at] ^= 0x20
		for _, content := range [][]byte{flipped, raw[:at]} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadSet(path, with)
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), path) {
				t.Fatalf("damage at byte %d: %v", at, err)
			}
		}
	}
}

func TestKeyFileNewerAndBroken(t *testing.T) {
	if _, err := parseSet([]byte(`{"format":2,"other":[1]}`)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("newer: %v", err)
	}
	for _, plain := range []string{``, `{}`, `{"format":1}`, `{"format":1,"keys":[{"question":"hidden-text"}]}`, `{"format":1,"hidden-text":2}`} {
		if _, err := parseSet([]byte(plain)); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "hidden-text") {
			t.Errorf("%s: %v", plain, err)
		}
	}
}

func TestFailedSaveKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.age")
	to, with := quickPassphrase(t, "p")
	if err := SaveSet(path, madeUpSet(2, 2), to); err != nil {
		t.Fatal(err)
	}
	if err := SaveSet(path, &Set{}, to); err == nil {
		t.Error("an empty set was saved")
	}
	if _, err := LoadSet(path, with); err != nil {
		t.Errorf("the old file is gone: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files left behind", len(left))
	}
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	set := madeUpSet(2, 2)
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	drawn := set.Draw(Digest{1})
	logger.Info("x", "set", set, "key", set.Keys[0], "drawn", drawn[0])
	fmt.Fprintf(&log, "%v %+v %#v %s %v %+v %#v", set, set, set.Keys[0], set.Keys[0], drawn, drawn, drawn[0])
	for _, secret := range []string{"secret-question", "Worda", "Wordb", set.Keys[0].Secret.String()} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log: %s", secret, log.String())
		}
	}
}
