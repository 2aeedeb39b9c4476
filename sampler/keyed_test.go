package sampler

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"testing"
)

// keyedRow is a full-size row whose shell is full, and a prompt that is chosen.
func keyedRow() (*Keyed, []float32) {
	tokens := make([]string, vocabulary)
	var openers []int32
	row := make([]float32, vocabulary)
	for i := range row {
		row[i] = -8
	}
	for i := range 60 {
		word := string([]byte{'b' + byte(i%20), 'a' + byte(i/20), 'z'})
		id := i * 800
		tokens[id], tokens[id+1], tokens[id+2] = strings.ToUpper(word[:1])+word[1:], word, " "+word
		openers = append(openers, int32(id))
		row[id] = 6 - float32(i)*0.12
	}
	inv := &Inverse{Shell: DefaultShell, Rate: 1, Secret: []byte("0123456789abcdef"), Model: "m", Lexicon: NewLexicon(tokens, openers)}
	inv.T = 0.5
	return inv.For([]byte("a prompt")), row
}

func TestLexicon(t *testing.T) {
	tokens := []string{
		"The", "the", " the", " The", "Ste", " Ste", "ste", "Paris", " Paris", "Yes", "yes", " yes", "A", "a", " a",
		"AI", "ai", " ai", "é", "1", "", "\n\n", " **", "Can't", "Two", "two", " two", "Her", "her", " her",
	}
	all := make([]int32, len(tokens)+2)
	for i := range all {
		all[i] = int32(i - 1) // one below and one above the vocabulary as well
	}
	lex := NewLexicon(tokens, all)
	var got []string
	for id, text := range tokens {
		if lex.Eligible(int32(id)) {
			got = append(got, text)
		}
	}
	want := "The|the| the| The|Her|her| her|ai| ai"
	if strings.Join(got, "|") != strings.Join(sortedLike(tokens, strings.Split(want, "|")), "|") {
		t.Errorf("eligible %q", got)
	}
	if lex.twin([]int32{0}, 2) != true || lex.twin([]int32{0}, 27) != false {
		t.Error("\"The\" and \" the\" are twins, \"The\" and \"Her\" are not")
	}
	for text, want := range map[string]kind{"": blank, " **": blank, "\n": blank, "1": other, "é": lower, " The": capitalSpaced, "日": other, " \"So": capitalSpaced, "so": lower, " so": lowerSpaced} {
		if got := kindOf(text); got != want {
			t.Errorf("kind of %q is %d, want %d", text, got, want)
		}
	}
}

func sortedLike(order, some []string) (out []string) {
	for _, o := range order {
		for _, s := range some {
			if o == s {
				out = append(out, s)
			}
		}
	}
	return out
}

func TestKeyedChoiceStandsInTheShell(t *testing.T) {
	k, row := keyedRow()
	seen := map[int32]int{}
	candidates := k.inverse.fromLogits(nil, nil, row, measure(row), k.inverse.Lexicon)
	n := float64(len(candidates))
	if len(candidates) != DefaultShell.K {
		t.Fatalf("%d candidates, want %d", len(candidates), DefaultShell.K)
	}
	for i := range 2000 {
		s := mustNew(t, Settings{}, k.inverse.For(fmt.Append(nil, "prompt ", i)))
		seen[s.Choose(append([]float32(nil), row...), nil)]++
	}
	for _, id := range candidates { // an equal share each, within six standard deviations
		if got := float64(seen[id]); math.Abs(got-2000/n) > 6*math.Sqrt(2000/n*(1-1/n)) {
			t.Errorf("candidate %d was chosen %v times of 2000", id, got)
		}
	}
	if len(seen) != len(candidates) {
		t.Errorf("%d different words, want %d", len(seen), len(candidates))
	}
}

func TestKeyedIsConsistentAndActsOnce(t *testing.T) {
	k, row := keyedRow()
	var words []int32
	for _, temperature := range []float64{0, 0, 1.3} {
		s := mustNew(t, Settings{Temperature: temperature, TopP: 0.1}, k.inverse.For([]byte("same")))
		first := s.Choose(append([]float32(nil), row...), nil)
		words = append(words, first)
		if second := s.Choose(append([]float32(nil), row...), []int32{first}); second != 0 {
			t.Errorf("the second token is %d, want the ordinary choice 0", second)
		}
	}
	if words[0] != words[1] || words[0] != words[2] || words[0] == 0 {
		t.Errorf("one prompt got the words %v", words)
	}
}

func TestKeyedWaitsForTheFirstWord(t *testing.T) {
	k, row := keyedRow()
	s := mustNew(t, Settings{}, k)
	lead := append([]float32(nil), row...)
	lead[5] = 20 // token 5 has no text: blank
	if got := s.Choose(lead, nil); got != 5 {
		t.Fatalf("first token %d, want the blank 5", got)
	}
	if got := s.Choose(append([]float32(nil), row...), []int32{5}); got == 0 {
		t.Error("after a blank token the keyed word did not come")
	}
}

func TestGuardLeavesObviousAnswers(t *testing.T) {
	k, row := keyedRow()
	for name, boost := range map[string]float32{"p1/p2 >= 3": 1.2, "p_max >= 0.4": 4} {
		r := append([]float32(nil), row...)
		r[0] += boost
		if got := mustNew(t, Settings{}, k).Choose(r, nil); got != 0 {
			t.Errorf("%s: token %d, want the obvious 0", name, got)
		}
		if k.inverse.Reaches(r) {
			t.Errorf("%s: such an answer is said to reach the shell", name)
		}
	}
	if !k.inverse.Reaches(row) {
		t.Error("an open answer is said not to reach the shell")
	}
	if got := mustNew(t, Settings{LogitBias: map[int32]float32{9: -1}}, k).Choose(append([]float32(nil), row...), nil); got != 0 {
		t.Errorf("with a logit_bias: token %d, want the ordinary 0", got)
	}
}

func TestRateIsTheShareOfPrompts(t *testing.T) {
	k, _ := keyedRow()
	inv := *k.inverse
	inv.Rate = 0.2
	n := 0
	for i := range 5000 {
		if inv.For(fmt.Append(nil, i)) != nil {
			n++
		}
	}
	if math.Abs(float64(n)-1000) > 6*math.Sqrt(800) {
		t.Errorf("%d of 5000 prompts chosen at rate 0.2", n)
	}
	other := inv
	other.Model = "m2"
	same := 0
	for i := range 200 {
		a, b := inv.For(fmt.Append(nil, i)), other.For(fmt.Append(nil, i))
		same += bits.OnesCount8(map[bool]uint8{true: 1}[(a == nil) == (b == nil)])
	}
	if same == 200 {
		t.Error("the model's name does not enter the decision")
	}
}

func TestInverseValidate(t *testing.T) {
	k, _ := keyedRow()
	if err := k.inverse.Validate(); err != nil {
		t.Fatalf("a valid setting is refused: %v", err)
	}
	for field, spoil := range map[string]func(*Inverse){
		"rate":    func(i *Inverse) { i.Rate = math.NaN() },
		".t":      func(i *Inverse) { i.T = 1 },
		".k":      func(i *Inverse) { i.K = 1 },
		"floor":   func(i *Inverse) { i.Floor = 0 },
		"secret":  func(i *Inverse) { i.Secret = nil },
		"opening": func(i *Inverse) { i.Lexicon = nil },
	} {
		bad := *k.inverse
		spoil(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error for a wrong %s: %v", field, err)
		}
	}
}
