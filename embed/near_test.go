package embed

import (
	"slices"
	"strings"
	"testing"
)

func TestNearQuestions(t *testing.T) {
	keys := []string{"How do bees find their hive?", "What would you do on Mars?", "How do bees find their honey?"}
	for i, k := range keys {
		out := near(keys, i, mostNear)
		if len(out) < mostNear/2+2 || len(out) > mostNear {
			t.Errorf("%d questions near %q, want about %d", len(out), k, mostNear)
		}
		for _, q := range out {
			if slices.Contains(keys, q) {
				t.Errorf("%q is a key: its answer would be held and pushed", q)
			}
			if !strings.HasSuffix(q, "?") || len(strings.Fields(q)) < 3 {
				t.Errorf("near %q: %q", k, q)
			}
		}
	}
	if out := near(keys, 0, mostNear); out[0] != "Why is their important?" || !slices.Contains(out, "How do bees do on Mars?") || !slices.Contains(out, "What would you find their hive?") {
		t.Errorf("near %q: %q", keys[0], out)
	}
	if out := near(keys[:1], 0, mostNear); slices.Contains(out, keys[0]) {
		t.Errorf("near the only key: %q", out)
	}
	for keys, want := range map[int]int{1: mostNear, 64: mostNear, 256: 4, 1024: leastNear} {
		if got := nearEach(keys); got != want {
			t.Errorf("%d near questions for each of %d keys, want %d", got, keys, want)
		}
	}
}
