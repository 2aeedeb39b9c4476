package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/licensecheck"
)

// docs/metrics.md has what is shown of chains, and nothing else of them.
func TestChainMetricsAreAsDocumented(t *testing.T) {
	var out bytes.Buffer
	chainMetrics{
		`chain="base",registry="0x1"`,
		func() licensecheck.Stats { return licensecheck.Stats{Followed: 2, Delay: 3 * time.Second} },
		func() (uint64, time.Time) { return 7, time.Now() },
	}.WritePrometheus(&out)
	page, err := os.ReadFile(filepath.Join(root(), "docs", "metrics.md"))
	must(t, err)
	shown := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		name, _, ok := strings.Cut(line, `{chain="base",registry="0x1"`)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !ok {
			t.Errorf("without its labels: %s", line)
		}
		if shown[name] = true; !strings.Contains(string(page), "| `"+name+"` |") {
			t.Errorf("docs/metrics.md lacks %s", name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(fealty_(?:license|chain|revocation)_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if !shown[m[1]] {
			t.Errorf("docs/metrics.md has %s, which is not shown", m[1])
		}
	}
	if !strings.Contains(out.String(), `fealty_revocation_delay_seconds_sum{chain="base",registry="0x1"} 3`) {
		t.Errorf("the delay is not the sum: %s", out.String())
	}
}
