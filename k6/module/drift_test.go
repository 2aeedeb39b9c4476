package module

import "testing"

// The first values of a name make its baseline, whichever virtual user brings them; what
// follows is told relative to their median, and other names have baselines of their own.
func TestDrift(t *testing.T) {
	shared := &baselines{byName: map[string]*baseline{}}
	one, other := &instance{baselines: shared}, &instance{baselines: shared}
	for i, step := range []struct {
		from  *instance
		name  string
		value float64
		want  float64
	}{
		{one, "ttft", 10, 0}, {other, "ttft", 900, 0}, {one, "ttft", 20, 0}, // their median is 20, their mean 310
		{other, "ttft", 30, 1.5}, {one, "ttft", 10, 0.5},
		{one, "gap", 4, 0}, {one, "ttft", 20, 1}, // values behind the baseline do not move it
	} {
		if got := step.from.drift(step.name, step.value, 3); got != step.want {
			t.Errorf("step %d: %s of %v drifts by %v, want %v", i, step.name, step.value, got, step.want)
		}
	}
}
