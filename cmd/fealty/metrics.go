package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/licensecheck"
)

// chainMetrics shows how a gateway follows one registry. docs/metrics.md explains each.
type chainMetrics struct {
	label string // chain="...",registry="..."
	stats func() licensecheck.Stats
	head  func() (number uint64, confirmed time.Time)
}

// collectors are the metrics of the parts that the wiring under way holds.
func (n *node) collectors() (out []gateway.Collector) {
	for _, p := range n.opening {
		if c, ok := p.value.(*licensecheck.Checker); ok {
			_, name, _ := strings.Cut(p.name, " ")
			chain, registry, _ := strings.Cut(name, " ")
			out = append(out, chainMetrics{fmt.Sprintf("chain=%q,registry=%q", chain, registry), c.Stats, c.Head})
		}
	}
	return out
}

// WritePrometheus implements gateway.Collector.
func (c chainMetrics) WritePrometheus(w io.Writer) {
	s := c.stats()
	number, confirmed := c.head()
	count := func(name, more string, n uint64) {
		metrics.WriteCounterUint64(w, name+"{"+c.label+more+"}", n)
	}
	count("fealty_license_lookups_total", `,layer="memory"`, s.Hits)
	count("fealty_license_lookups_total", `,layer="redis"`, s.CacheHits)
	count("fealty_license_lookups_total", `,layer="chain"`, s.ChainReads)
	count("fealty_license_stale_total", "", s.Stale)
	count("fealty_license_unavailable_total", "", s.Unavailable)
	count("fealty_license_cache_errors_total", `,what="redis"`, s.CacheErrors)
	count("fealty_license_cache_errors_total", `,what="record"`, s.CacheBad)
	count("fealty_license_cache_errors_total", `,what="dropped"`, s.CacheDropped)
	count("fealty_chain_errors_total", `,what="read"`, s.ChainErrors)
	count("fealty_chain_errors_total", `,what="watch"`, s.WatchErrors)
	count("fealty_chain_changes_total", "", s.Events)
	count("fealty_chain_reorgs_total", "", s.Reorgs)
	count("fealty_chain_gaps_total", "", s.Gaps)
	count("fealty_revocation_delay_seconds_count", "", s.Followed)
	metrics.WriteCounterFloat64(w, "fealty_revocation_delay_seconds_sum{"+c.label+"}", s.Delay.Seconds())
	metrics.WriteGaugeUint64(w, "fealty_license_records{"+c.label+"}", uint64(max(0, s.Records)))
	metrics.WriteGaugeUint64(w, "fealty_chain_head{"+c.label+"}", number)
	if !confirmed.IsZero() {
		metrics.WriteGaugeFloat64(w, "fealty_chain_lag_seconds{"+c.label+"}", time.Since(confirmed).Seconds())
	}
}
