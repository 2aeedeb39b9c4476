package sampler

import (
	"math"
	"strings"
	"testing"
)

// A small vocabulary: forty words in four forms, a full stop, digits, a line break.
const (
	stop    = 0
	digits  = 1
	newline = 2
	words   = 10 // the first word's forms: "Baz", "baz", " baz", " Baz"
)

func sentencesInverse(where string) *Inverse {
	tokens := make([]string, words+4*40)
	tokens[stop], tokens[digits], tokens[newline] = ".", "12", "\n\n"
	var openers []int32
	for i := range 40 {
		word := string([]byte{'b' + byte(i%20), 'a' + byte(i/20), 'z'})
		id, capital := words+4*i, strings.ToUpper(word[:1])+word[1:]
		tokens[id], tokens[id+1], tokens[id+2], tokens[id+3] = capital, word, " "+word, " "+capital
		openers = append(openers, int32(id))
	}
	return &Inverse{
		Shell: Shell{T: 0.5, K: 6, Floor: 0.001}, Rate: 1, Where: where, Secret: []byte("0123456789abcdef"), Model: "m", Lexicon: NewLexicon(tokens, openers),
	}
}

// sentenceRow makes the forms of a sentence's first word likely, falling by step each.
func sentenceRow(step float32) []float32 {
	row := make([]float32, words+4*40)
	for i := range row {
		row[i] = -20
	}
	for i := range 40 {
		row[words+4*i+3] = 6 - float32(i)*step
	}
	return row
}

func TestSentences(t *testing.T) {
	inv := sentencesInverse(Sentences)
	if err := inv.Validate(); err != nil {
		t.Fatal(err)
	}
	long := make([]int32, 100)
	for i := range long {
		long[i] = words + 1
	}
	after := func(last ...int32) []int32 { return append(append([]int32{}, long...), last...) }
	fresh := func(where string) *Sampler {
		i := sentencesInverse(where)
		s := mustNew(t, Settings{}, i.For([]byte("a prompt")))
		first := sentenceRow(0.12)
		first[words] = 12 // an obvious first word
		if got := s.Choose(first, nil); got != words {
			t.Fatalf("the first token is %d, want the obvious %d", got, words)
		}
		return s
	}
	const top = words + 3
	for name, c := range map[string]struct {
		where     string
		generated []int32
		step      float32
		keyed     bool
	}{
		"a sentence begins":             {Sentences, after(words+1, stop), 0.1, true},
		"after a blank too":             {Sentences, after(words+1, stop, newline), 0.1, true},
		"in a sentence":                 {Sentences, after(words + 1), 0.1, false},
		"after a numbered list's point": {Sentences, after(digits, stop), 0.1, false},
		"where little is open":          {Sentences, after(words+1, stop), 0.5, false},
		"where it is not asked for":     {First, after(words+1, stop), 0.1, false},
	} {
		got := fresh(c.where).Choose(sentenceRow(c.step), c.generated)
		if (got != top) != c.keyed {
			t.Errorf("%s: token %d, want a keyed one: %v", name, got, c.keyed)
		}
		if c.keyed && !inv.Lexicon.spaced.Eligible(got) {
			t.Errorf("%s: token %d is no opening word after a space", name, got)
		}
	}
	if inv.Where = "everywhere"; inv.Validate() == nil {
		t.Error("where: everywhere is accepted")
	}
}

// At most one word in 80 tokens is chosen, and each anew.
func TestSentencesAreFarApart(t *testing.T) {
	s := mustNew(t, Settings{}, sentencesInverse(Sentences).For([]byte("a prompt")))
	var generated, at []int32
	seen := map[int32]bool{}
	for i := range 2000 {
		id := s.Choose(sentenceRow(0.1), generated)
		if id != words+3 {
			at, seen[id] = append(at, int32(i)), true
		}
		generated = append(generated, id, words+1, stop) // every third position begins a sentence
	}
	if len(at) < 40 || len(seen) < 4 {
		t.Fatalf("%d words were chosen, %d different ones", len(at), len(seen))
	}
	for i := 1; i < len(at); i++ {
		if 3*(at[i]-at[i-1]) < sentenceGap {
			t.Fatalf("the sentences at %v are nearer than %d tokens", at, sentenceGap)
		}
	}
}

func TestEntropy(t *testing.T) {
	row := sentenceRow(0.1)
	d := measure(row)
	var want float64
	for _, l := range row {
		if p := d.probability(l); p > 0 {
			want -= p * math.Log(p)
		}
	}
	if got := d.entropy(row); math.Abs(got-want) > 1e-5 {
		t.Errorf("entropy %v, want %v", got, want)
	}
}
