package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fealty/fealty/gateway"
)

const (
	tolerated = 3                // failures in a row before a server is left alone
	firstRest = time.Second      // for how long; doubled each time it fails again
	longRest  = 30 * time.Second // at most
)

// health is what requests and checks have shown of one server.
type health struct {
	inFlight int       // answers until the end of their bodies
	failures int       // of requests, in a row
	rests    int       // in a row
	until    time.Time // it is left alone until then
	trial    bool      // one request is finding out whether it is back
	check    string    // what is wrong by the last check; "": nothing

	asked, failed, rested uint64
}

// usable: it may be asked now. After a rest one request at a time tries it, so that
// a server that is still broken breaks one answer and not all.
func (h *health) usable(now time.Time) bool {
	return h.check == "" && !now.Before(h.until) && (h.rests == 0 || !h.trial)
}

func (h *health) take() {
	h.asked++
	h.inFlight++
	h.trial = h.rests > 0
}

// untake is called when what take was called for is not sent after all.
func (h *health) untake() {
	h.asked--
	h.inFlight--
	h.trial = false
}

// begun is called when an answer's first bytes have come: others may be sent too.
func (h *health) begun() { h.trial, h.until = false, time.Time{} }

// well is called when an answer came to its end.
func (h *health) well() {
	h.begun()
	h.failures, h.rests = 0, 0
}

// fail counts a failure. No connection is proof at once.
func (h *health) fail(now time.Time, f fault) {
	h.trial = false
	if f < servers {
		return
	}
	h.failed++
	if h.failures++; h.failures < tolerated && f != gone && h.rests == 0 {
		return
	}
	if now.Before(h.until) {
		return // the answers of one crash are one rest
	}
	h.until = now.Add(min(firstRest<<min(h.rests, 10), longRest))
	h.rests++
	h.rested++
}

// settle frees what pick took, and learns from how it ended: with a failure, or
// whole, or neither, when the client left.
func (p *Pool) settle(s *server, f *failure, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.health.inFlight--
	switch {
	case f != nil:
		s.health.fail(time.Now(), f.fault)
	case whole:
		s.health.well()
	}
}

func (p *Pool) begun(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.health.begun()
}

// watch asks the server every now and then whether it is there: what no request
// would find out, since nobody sends one to a server that is left alone.
func (p *Pool) watch(ctx context.Context, s *server) {
	tick := time.NewTicker(p.o.Check)
	defer tick.Stop()
	for {
		said := p.check(ctx, s)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		if s.health.check != "" && said == "" {
			s.health.well() // it is back
		}
		s.health.check = said
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// check says what is wrong; "" is nothing. A refusal is an answer too: what some
// server has at the path, and who may see it, is its own affair.
func (p *Pool) check(ctx context.Context, s *server) string {
	ctx, cancel := context.WithTimeout(ctx, max(p.o.Check, p.o.Connect))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+p.o.CheckPath, nil)
	if err != nil {
		return "the health check's path makes no URL"
	}
	resp, err := p.client.RoundTrip(s.sign(req))
	if err != nil {
		return "no answer to the health check"
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is reused
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Sprintf("the health check answers %d", resp.StatusCode)
	}
	return ""
}

// Stats says how each server does, in the order of the options.
func (p *Pool) Stats() []gateway.UpstreamStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var out []gateway.UpstreamStats
	for tier, list := range p.tiers {
		for _, s := range list {
			h := &s.health
			one := gateway.UpstreamStats{
				URL: s.URL, Fallback: tier > 0, Healthy: h.check == "" && !now.Before(h.until), Problem: h.check,
				InFlight: h.inFlight, Requests: h.asked, Failures: h.failed, Rests: h.rested,
			}
			if now.Before(h.until) && h.check == "" {
				one.Problem = fmt.Sprintf("%d requests in a row failed", h.failures)
			}
			out = append(out, one)
		}
	}
	return out
}
