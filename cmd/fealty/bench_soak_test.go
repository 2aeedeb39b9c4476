package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestTheilSen: over many series of noise, the interval covers the true slope about 95
// times in 100, and a slope beyond the noise is seen.
func TestTheilSen(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const series, length = 400, 60
	for _, slope := range []float64{0, 5, -3} {
		covered, above := 0, 0
		for range series {
			values := make([]float64, length)
			for i := range values {
				values[i] = 1000 + slope*float64(i) + 40*r.NormFloat64()
				if i%17 == 0 {
					values[i] += 5000 // an outlier
				}
			}
			estimate, low, high := theilSen(values)
			if low > estimate || estimate > high {
				t.Fatalf("estimate %v outside of its interval, %v to %v", estimate, low, high)
			}
			if low <= slope && slope <= high {
				covered++
			}
			if low > 0 {
				above++
			}
		}
		if covered < series*90/100 {
			t.Errorf("slope %v: covered by %d of %d intervals", slope, covered, series)
		}
		if slope > 0 && above < series*95/100 || slope <= 0 && above > series*6/100 {
			t.Errorf("slope %v: said to be above zero in %d of %d series", slope, above, series)
		}
	}
	if s, low, high := theilSen([]float64{7}); s != 0 || low != 0 || high != 0 || math.IsNaN(s) {
		t.Errorf("one value has the slope %v, %v to %v", s, low, high)
	}
}

// TestSoakRuns is the command for some seconds: its rows are there, and loads end well.
func TestSoakRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Setenv(beProgram, "1")
	var out, errs strings.Builder
	code := run(t.Context(), []string{"bench", "soak", "--for", "15s", "--every", "100ms", "--json"}, strings.NewReader(""), &out, &errs)
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil || code != exitHeld && code != exitNotHeld {
		t.Fatalf("exit %d, %v\n%s\n%s", code, err, out.String(), errs.String())
	}
	if len(r.Rows) != 6 || r.Rows[0].Value == 0 || r.Rows[1].Value == 0 {
		t.Errorf("rows: %+v", r.Rows)
	}
}
