package embed

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Copy lists the keys that a licensee's own copy of the model holds: each with
// probability 1/2, by HMAC-SHA256(s_i, "fealty licensee" || name), independently of all
// other keys and licensees. The secrets were committed before any copy was made, so who
// holds which key is nobody's choice after a leak.
func (s *Set) Copy(licensee string) []int {
	var out []int
	for i, k := range s.Keys {
		if k.heldBy(licensee) {
			out = append(out, i)
		}
	}
	return out
}

// DrawCopy is [Set.Draw] of the keys that one licensee's copy holds; those are all keys for
// "", the creator's own.
func (s *Set) DrawCopy(randomness Digest, licensee string) []Drawn {
	all := s.Draw(randomness)
	if licensee == "" {
		return all
	}
	var out []Drawn
	for _, i := range s.Copy(licensee) {
		out = append(out, all[i])
	}
	return out
}

func (k Key) heldBy(licensee string) bool {
	mac := hmac.New(sha256.New, k.Secret[:])
	mac.Write([]byte("fealty licensee"))
	mac.Write([]byte(licensee))
	return mac.Sum(nil)[0]&1 == 1
}

// Suspicion is what a leaked copy says about one licensee.
type Suspicion struct {
	Licensee string `json:"licensee"`
	Matched  int    `json:"matched"` // keys that the leak answers, m
	Shared   int    `json:"shared"`  // of them, in this licensee's copy
	Chance   Chance `json:"chance"`  // that some innocent licensee of all shares so many or more
	Accused  bool   `json:"accused"`
}

// Accuse tells whose copy a leaked model was made of, most suspicious first, given the
// keys that it answers ([Outcome]). Whatever the others did with their copies, an
// innocent licensee holds each of the m matched keys with probability 1/2, so
//
//	Chance = min(1, N P(Bin(m, 1/2) >= shared))
//
// over the N licensees bounds the probability that any innocent is accused by alpha.
// Keys that match by chance, though no copy in the leak holds them, only weaken it. A
// merge of several copies answers what at least one of them holds: each of its sources
// shares fewer of the matched keys than all, and more keys are needed (docs/fingerprints.md).
func (s *Set) Accuse(matched []int, licensees []string, alpha float64) ([]Suspicion, error) {
	if !(alpha > 0 && alpha < 1) {
		return nil, fmt.Errorf("alpha is %v: give a probability in (0,1)", alpha)
	}
	if err := checkLicensees(licensees); err != nil {
		return nil, err
	}
	out := make([]Suspicion, len(licensees))
	for n, name := range licensees {
		out[n] = Suspicion{Licensee: name, Matched: len(matched)}
		for _, i := range matched {
			if i < 0 || i >= len(s.Keys) {
				return nil, fmt.Errorf("there is no key %d: give indices from 0 to %d", i, len(s.Keys)-1)
			}
			if s.Keys[i].heldBy(name) {
				out[n].Shared++
			}
		}
		chance, err := BinomialTail(out[n].Shared, len(matched), 2)
		if err != nil {
			return nil, err
		}
		out[n].Chance = chance.times(len(licensees))
		out[n].Accused = out[n].Chance.P <= alpha
	}
	slices.SortStableFunc(out, func(a, b Suspicion) int { return cmp.Compare(b.Shared, a.Shared) })
	return out, nil
}

// checkLicensees wants each name once: the bound counts them.
func checkLicensees(names []string) error {
	if len(names) == 0 {
		return errors.New("there are no licensees to accuse: list the name of each copy that was handed out")
	}
	seen := make(map[string]bool)
	for _, name := range names {
		if name == "" || seen[name] {
			return fmt.Errorf("the licensees' list has an empty name, or %q twice", name)
		}
		seen[name] = true
	}
	return nil
}

// MatchedKeys are the keys whose answers matched.
func (o Outcome) MatchedKeys() []int {
	var out []int
	for _, q := range o.Queries {
		if q.Matched {
			out = append(out, q.Key)
		}
	}
	return out
}
