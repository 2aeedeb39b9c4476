package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/llama"
)

func newBench() *cobra.Command {
	return group("bench", "Measure this build on this machine", newBenchAuth(), newBenchGateway(), newBenchEngine(), newBenchSoak(), newBenchMock(), newBenchProxy())
}

// machine is where figures come from; without it they say little.
type machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	SIMD  bool   `json:"simd"`
	Redis string `json:"redis,omitempty"`
}

func thisMachine() machine {
	return machine{CPU: cpuName(), Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), SIMD: llama.SIMD}
}

// cpuName is empty where the system does not say.
func cpuName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// figure is one measured number beside its target.
type figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target string  `json:"target,omitempty"`
	Held   *bool   `json:"held,omitempty"` // nil: there is no target, or nothing was measured
	// Stretch is what would be better than the target; nothing is missed by not reaching it.
	Stretch string `json:"stretch,omitempty"`
	Reason  string `json:"reason,omitempty"` // why nothing was measured
	// Low and High bound the value's 95 % confidence interval, where one is known.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// report is the answer of a command that measures.
type report struct {
	Machine machine  `json:"machine"`
	Commit  string   `json:"commit"`
	Rows    []figure `json:"rows"`
}

func (r report) print(cmd *cobra.Command, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, r)
	}
	m := r.Machine
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d cores, %s, %s, simd %v, commit %s", m.CPU, m.Cores, m.OS, m.Go, m.SIMD, r.Commit)
	if m.Redis != "" {
		fmt.Fprintf(cmd.OutOrStdout(), ", %s", m.Redis)
	}
	fmt.Fprintln(cmd.OutOrStdout())
	printFigures(cmd, r.Rows)
	return nil
}

func plain(name string, value float64, unit string) figure {
	return figure{Name: name, Value: value, Unit: unit}
}

// atMost has a target that the value must not pass.
func atMost(name string, value float64, unit string, target float64) figure {
	held := value <= target
	return figure{Name: name, Value: value, Unit: unit, Target: bound(target, unit), Held: &held}
}

func bound(most float64, unit string) string {
	return strings.TrimSpace(fmt.Sprintf("<= %g %s", most, unit))
}

// stretch gives a row of atMost a second bound, below its target.
func (f figure) stretch(most float64) figure {
	f.Stretch = bound(most, f.Unit)
	return f
}

// atLeast has a target that the value must reach.
func atLeast(name string, value float64, unit string, target float64) figure {
	held := value >= target
	return figure{Name: name, Value: value, Unit: unit, Target: strings.TrimSpace(fmt.Sprintf(">= %g %s", target, unit)), Held: &held}
}

// unmeasured keeps a row's place and says why it is empty.
func unmeasured(name, reason string) figure { return figure{Name: name, Reason: reason} }

func printFigures(cmd *cobra.Command, figures []figure) {
	out := cmd.OutOrStdout()
	for _, f := range figures {
		held := ""
		if f.Held != nil {
			held = map[bool]string{true: "held", false: "missed"}[*f.Held]
		}
		if f.Stretch != "" {
			held += ", stretch " + f.Stretch
		}
		if f.Reason != "" {
			fmt.Fprintf(out, "%-60s not measured: %s\n", f.Name, f.Reason)
			continue
		}
		unit := f.Unit
		if f.Low != nil && f.High != nil {
			unit = strings.TrimSpace(fmt.Sprintf("%s [%.4g, %.4g]", unit, *f.Low, *f.High))
		}
		fmt.Fprintf(out, "%-60s %12.5g %-14s %-22s %s\n", f.Name, f.Value, unit, f.Target, held)
	}
}

// cost is what one call of something takes.
type cost struct {
	nanoseconds float64
	allocations float64
}

// interleaved measures several things in turns, so that a busy moment hits all of
// them, and returns each one's median round. Each must take microseconds or less.
func interleaved(rounds int, each time.Duration, things ...func()) []cost {
	all := make([][]cost, len(things))
	for range rounds {
		for i, thing := range things {
			all[i] = append(all[i], repeated(each, thing))
		}
	}
	out := make([]cost, len(things))
	for i, costs := range all {
		slices.SortFunc(costs, func(a, b cost) int { return cmp.Compare(a.nanoseconds, b.nanoseconds) })
		out[i] = costs[len(costs)/2]
	}
	return out
}

// repeated calls f for about the given time.
func repeated(most time.Duration, f func()) cost {
	const group = 100 // calls between two looks at the clock
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	calls, began := 0, time.Now()
	for time.Since(began) < most {
		for range group {
			f()
		}
		calls += group
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return cost{float64(took) / float64(calls), float64(after.Mallocs-before.Mallocs) / float64(calls)}
}

// percentile of measured times, in the unit.
func percentile(times []time.Duration, p float64, unit time.Duration) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[int(p*float64(len(sorted)-1)+0.5)]) / float64(unit)
}
