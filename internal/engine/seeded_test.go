package engine

import (
	"slices"
	"sync"
	"testing"

	"github.com/fealty/fealty/sampler"
)

// seeded are requests with a seed of their own each, whose prompts begin alike by threes.
func seeded(t *testing.T) (all []Request) {
	t.Helper()
	for i := range 12 {
		s := sampler.Defaults()
		s.Seed = uint64(1000 + i)
		switch i % 4 {
		case 1:
			s.Temperature, s.TopP = 0.8, 0.9
		case 2:
			s.Temperature, s.TopK = 1.5, 20
		case 3:
			s.MinP, s.FrequencyPenalty, s.PresencePenalty = 0.02, 0.7, 0.3
		}
		choose, err := sampler.New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := slices.Concat(prompt(uint64(i/3), 40), prompt(uint64(100+i), 3+i))
		all = append(all, Request{Prompt: p, MaxTokens: 24, Choose: choose})
	}
	return all
}

// TestSeededAtOnceEqualsAlone: what a seed draws does not depend on what else the engine
// computes, nor on what it has kept of earlier prompts.
func TestSeededAtOnceEqualsAlone(t *testing.T) {
	m := tiny(t)
	lone := open(t, m, Options{Slots: 1, Context: 200, Chunk: 8})
	var alone [][]int32
	for _, r := range seeded(t) {
		alone = append(alone, mustCollect(t, generate(t, lone, r)))
	}
	distinct := map[int32]bool{}
	for _, ids := range alone {
		for _, id := range ids {
			distinct[id] = true
		}
	}
	if len(distinct) < 50 {
		t.Fatalf("%d different tokens in %d answers: nothing is drawn", len(distinct), len(alone))
	}
	for name, kept := range map[string]int{"nothing kept": 0, "prefixes kept": 400} {
		t.Run(name, func(t *testing.T) {
			e := open(t, m, Options{Slots: 5, Context: 200, Chunk: 8, PrefixTokens: kept})
			started := make(chan struct{}) // until all wait, the first token of the first is not chosen
			var all []*Generation
			for i, r := range seeded(t) {
				if i == 0 {
					choose, wait := r.Choose, sync.OnceFunc(func() { <-started })
					r.Choose = chooserFunc(func(logits []float32, made []int32) int32 { wait(); return choose.Choose(logits, made) })
				}
				all = append(all, generate(t, e, r))
			}
			close(started)
			for i, g := range all {
				if got := mustCollect(t, g); !slices.Equal(got, alone[i]) {
					t.Errorf("request %d: %v, and alone %v", i, got, alone[i])
				}
			}
			// The count is told at the next tick: another request makes one.
			mustCollect(t, generate(t, e, Request{Prompt: prompt(9, 2), MaxTokens: 2, Choose: chooserFunc(greedy)}))
			if got := e.Stats().Reused; (got > 0) != (kept > 0) {
				t.Errorf("%d positions reused", got)
			}
		})
	}
}
