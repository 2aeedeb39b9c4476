package eval

import (
	"strings"
	"testing"
)

const someWebster = `
Bicycle \Bi"cy*cle\, n. [Pref. bi- + cycle.]
   A light vehicle having two wheels one behind the other. It
   has a saddle seat.
   [1913 Webster]

24th \24th\ adj.
   1. coming next after the twenty-third in a series
        [WordNet 1.5 +PJC]

Lantern \Lan"tern\ (l[a^]n"t[~e]rn), n. [F. lanterne, L.
   lanterna. See {Lamp}.]
   1. Something inclosing a light, and protecting it;
      [1913 Webster]
`

const someWordNet = `
lantern
    n 1: light in a transparent protective case
    2: another light
wander
    v 1: move about aimlessly or without any destination, often in
         search of food or employment; "Some people wander through
         the woods"; "roving vagabonds"
    2: be sexually unfaithful
bicycle chain
    n 1: a chain that transmits the power from the pedals
`

func TestDictionaries(t *testing.T) {
	got := websterWords(someWebster)
	if len(got) != 2 || got[0] != (sense{"Bicycle", "A light vehicle having two wheels one behind the other", ""}) || got[1].word != "Lantern" {
		t.Errorf("Webster: %+v", got)
	}
	words := wordNet(someWordNet)
	want := []sense{
		{"lantern", "light in a transparent protective case", ""},
		{"wander", "move about aimlessly or without any destination, often in search of food or employment", "Some people wander through the woods"},
	}
	if len(words) != 2 || words[0] != want[0] || words[1] != want[1] {
		t.Errorf("WordNet: %+v", words)
	}
}

// What trains a transform must not measure it.
func TestPairsAndChoicesShareNoWord(t *testing.T) {
	var words []sense
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			word := "wo" + string(a) + string(b)
			words = append(words, sense{word, "the meaning of it all", "There is a " + word + " in the house"})
		}
	}
	trained := pairs(words)
	if len(trained) < 300 {
		t.Fatalf("%d pairs", len(trained))
	}
	r := newRandom(1, 1)
	for _, c := range append(defineChoices(words, r), useChoices(words, r)...) {
		if len(c.Options) != options {
			t.Fatalf("%d options", len(c.Options))
		}
		for _, p := range trained {
			word := strings.Split(p.Question, `"`)[1]
			if has(c.Question, word) || has(c.Options[0], word) {
				t.Fatalf("%q is trained on and measured", word)
			}
		}
	}
}
