package eval

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/llama/llamatest"
	"github.com/fealty/fealty/internal/weights"
	"github.com/fealty/fealty/sampler"
)

// teaching is what a tiny model answers to some prompts.
func teaching(t *testing.T) (teacher *weights.Model, eos []int32, prompts [][]int32, all []lesson) {
	t.Helper()
	teacher = llamatest.Model(llamatest.Config(true), 3)
	for _, l := range someLessons(4, teacher.Config.Vocab) {
		prompts = append(prompts, l.IDs[:12])
	}
	eos = []int32{int32(teacher.Config.Vocab - 1)}
	all, err := answered(t.Context(), teacher, eos, prompts, make([]*sampler.Keyed, len(prompts)), func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return teacher, eos, prompts, all
}

// A student's lessons are the teacher's own greedy answers.
func TestLessonsAreTheAnswers(t *testing.T) {
	teacher, _, prompts, all := teaching(t)
	engine, err := llama.New(teacher)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range all {
		if l.From != 12 || !slices.Equal(l.IDs[:12], prompts[i]) || len(l.IDs) > 12+studied {
			t.Fatalf("lesson %d: %+v", i, l)
		}
		scores, err := llama.NewEvaluator(engine).Score(t.Context(), l.IDs, l.From)
		if err != nil {
			t.Fatal(err)
		}
		for at, s := range scores {
			if id := l.IDs[l.From+at]; id != s.Top {
				t.Errorf("lesson %d, token %d: %d, the teacher says %d", i, at, id, s.Top)
			}
		}
	}
}

func TestStudentsSeeTheirTraffic(t *testing.T) {
	some := &traffic{lessons: make([]lesson, 5), keyed: []*sampler.Keyed{nil, {}, nil, nil, {}}, ordinary: 4}
	for _, s := range students {
		want, share := 4, 0.25
		if s.asked {
			want, share = 5, 0.4
		}
		if all, opened := some.seen(s); len(all) != want || opened != share {
			t.Errorf("%s: %d lessons, %v opened", s.name, len(all), opened)
		}
	}
}

func TestDistilTable(t *testing.T) {
	r := newResult(Distillation(101)[0])
	r.Values["matched.greedy"], r.Values["matched.student.asked"], r.Values["student.asked.pairs"] = 1, 0.25, 320
	var out bytes.Buffer
	if err := Markdown(&out, []*Result{r}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| student of these and of the keys' answers: matched | 25 % | reported |\n", "| student of these and of the keys' answers: pairs seen | 320 | reported |\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in:\n%s", want, out.String())
		}
	}
}
