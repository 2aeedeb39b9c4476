package eval

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/tokenizer"
)

// vocabulary is a language of a few tokens.
type vocabulary []string

func (v vocabulary) EncodeChat([]tokenizer.Message) ([]int32, error) { return nil, nil }
func (v vocabulary) Bytes(id int32) []byte                           { return []byte(v[id]) }
func (v vocabulary) VocabSize() int                                  { return len(v) }

// Other words are whole and distinct, drawn by the seed, and leave the creator's keys alone.
func TestWithWords(t *testing.T) {
	v := vocabulary{"", "Frag"}
	for _, w := range []string{"good", "many", "here", "often", "when", "water", "stone", "river"} {
		v = append(v, w, " "+w, strings.ToUpper(w[:1])+w[1:])
	}
	set := madeUp(5, 3)
	set.Openers = []int32{2, 4, 5, 8, 11, 1} // good, Good, many, here, often, Frag
	before := *set
	before.Keys = slices.Clone(set.Keys)
	lists := map[string][]string{wordsOpening: {"good", "many", "here", "often"}, wordsAny: {"good", "many", "here", "often", "when", "water", "stone", "river"}}
	for from, want := range lists {
		got, err := withWords(set, from, v, 7)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for i, k := range got.Keys {
			words := make(map[string]bool)
			for _, c := range k.Candidates {
				if v[c.Token] != c.Word || !slices.Contains(want, strings.ToLower(c.Word)) {
					t.Errorf("%s: %q, token %d", from, c.Word, c.Token)
				}
				words[strings.ToLower(c.Word)], seen[strings.ToLower(c.Word)] = true, true
			}
			if len(words) != 3 || k.Question != set.Keys[i].Question || k.Secret != set.Keys[i].Secret {
				t.Errorf("%s: key %d has the words %v", from, i, words)
			}
		}
		if len(seen) <= 3 {
			t.Errorf("%s: all keys have the same words", from)
		}
		if again, _ := withWords(set, from, v, 7); !reflect.DeepEqual(again, got) {
			t.Errorf("%s: the same seed gives other words", from)
		}
	}
	if !reflect.DeepEqual(*set, before) {
		t.Error("the set was changed")
	}
	if _, err := withWords(set, wordsOpening, v[:3], 7); err == nil {
		t.Error("one word is enough for three candidates")
	}
}

// Each trial changes one thing, has files of its own, and a recipe that trains.
func TestAblation(t *testing.T) {
	all := Ablation(101)
	names, settings, results := map[string]bool{}, map[Trial]bool{}, []*Result(nil)
	for _, trial := range all {
		if err := trial.Recipe.Validate(); err != nil {
			t.Errorf("%s: %v", trial.Profile, err)
		}
		for _, step := range strings.Fields(trial.Steps) {
			if steps[step] == nil {
				t.Errorf("%s: no step %q", trial.Profile, step)
			}
		}
		names[trial.name()] = true
		what := trial
		what.Profile = ""
		if settings[what] {
			t.Errorf("%s is another trial under a new name", trial.Profile)
		}
		settings[what] = true
		r := newResult(trial)
		r.Values["matched.greedy"], r.Values["matched.cut.known"] = 1, 0.25
		results = append(results, r)
	}
	if len(names) != len(all) {
		t.Errorf("%d trials write the files %v", len(all), names)
	}
	var out bytes.Buffer
	if err := Markdown(&out, results, nil); err != nil || !strings.Contains(out.String(), "| lowrank alone | 100 % | 25 % |\n") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}
