package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fealty/fealty/gateway"
)

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// spent measures a load and what the server's process used meanwhile, in
// microseconds per answer.
func spent(ctx context.Context, c *contender, l load) (micros float64, out outcome, err error) {
	before, err := c.cpu()
	if err != nil {
		return 0, out, err
	}
	if out, err = l.run(ctx); err != nil {
		return 0, out, fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := c.cpu()
	return float64((after - before).Microseconds()) / float64(max(out.answered, 1)), out, err
}

// ratio is the median over rounds of one server's figures over another's.
func ratio(of, over []float64) float64 {
	all := make([]float64, len(of))
	for i := range of {
		all[i] = of[i] / over[i]
	}
	return median(all)
}

func difference(of, over []float64) float64 {
	all := make([]float64, len(of))
	for i := range of {
		all[i] = of[i] - over[i]
	}
	return median(all)
}

// perRequest asks the instant mock through each server over 16 connections.
func (b *benchGateway) perRequest(ctx context.Context) error {
	micros, rates := map[*contender][]float64{}, map[*contender][]float64{}
	for range b.size.rounds {
		for _, c := range b.servers() {
			us, out, err := spent(ctx, c, load{
				address: c.address, requests: [][]byte{c.request(modeInstant, b.keys[0])}, lines: 16, each: b.size.each,
			})
			if err != nil {
				return err
			}
			micros[c], rates[c] = append(micros[c], us), append(rates[c], out.perSecond())
		}
	}
	for _, c := range b.servers() {
		b.add(
			plain("CPU per request: "+c.name, median(micros[c]), "us"),
			plain("  requests per second, for information", median(rates[c]), "1/s"),
		)
	}
	b.add(atMost("gateway's CPU per request over the bare proxy's", ratio(micros[b.governed], micros[b.proxy]), "x", 1.6).stretch(1.25))
	b.overNginx("gateway's CPU per request over nginx's", micros, 3, 2)
	return nil
}

// overNginx is a row that keeps its place where nginx cannot be had.
func (b *benchGateway) overNginx(name string, figures map[*contender][]float64, target, stretch float64) {
	if b.web == nil {
		b.add(unmeasured(name, b.noWeb.Error()))
		return
	}
	b.add(atMost(name, ratio(figures[b.governed], figures[b.web]), "x", target).stretch(stretch))
}

// latency is that of one client alone, over the direct way in the same round.
func (b *benchGateway) latency(ctx context.Context) error {
	p50, p99 := map[*contender][]float64{}, map[*contender][]float64{}
	for range b.size.rounds {
		for _, c := range b.servers() {
			l := line{address: c.address}
			request := c.request(modeInstant, b.keys[0])
			var times []time.Duration
			for range b.size.singles {
				took, err := timed(func() error { _, _, err := l.ask(ctx, request); return err })
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				times = append(times, took)
			}
			l.close()
			p50[c] = append(p50[c], percentile(times, 0.5, time.Microsecond))
			p99[c] = append(p99[c], percentile(times, 0.99, time.Microsecond))
		}
	}
	b.add(
		plain("latency of one client, direct, p50", median(p50[b.mock]), "us"),
		plain("  added by the bare proxy, p50", difference(p50[b.proxy], p50[b.mock]), "us"),
		plain("  added by the bare proxy, p99", difference(p99[b.proxy], p99[b.mock]), "us"),
		atMost("  added by the gateway, p50", difference(p50[b.governed], p50[b.mock]), "us", 100).stretch(75),
		atMost("  added by the gateway, p99", difference(p99[b.governed], p99[b.mock]), "us", 400).stretch(200),
	)
	return nil
}

// perFrame reads streams of 64 events, 20 ms apart.
func (b *benchGateway) perFrame(ctx context.Context) error {
	micros, first, gaps := map[*contender][]float64{}, map[*contender][]float64{}, map[*contender][]float64{}
	for range b.size.rounds {
		for _, c := range b.servers() {
			before, err := c.cpu()
			if err != nil {
				return err
			}
			seen, err := streams(ctx, c.address, c.request(modeStream, b.keys[0]), b.size.streams, b.size.after)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			after, err := c.cpu()
			if err != nil {
				return err
			}
			frames := len(seen.first) + len(seen.gaps)
			micros[c] = append(micros[c], float64((after-before).Microseconds())/float64(frames))
			first[c] = append(first[c], percentile(seen.first, 0.99, time.Microsecond))
			gaps[c] = append(gaps[c], percentile(seen.gaps, 0.99, time.Microsecond))
		}
	}
	b.add(
		plain("time to first token, direct, p99 (the mock waits 20 ms)", median(first[b.mock])/1000, "ms"),
		plain("  added by the bare proxy", difference(first[b.proxy], first[b.mock])/1000, "ms"),
		atMost("  added by the gateway, p99", difference(first[b.governed], first[b.mock])/1000, "ms", 0.5).stretch(0.25),
		plain("gap between tokens, direct, p99 (the mock waits 20 ms)", median(gaps[b.mock])/1000, "ms"),
		plain("  added by the bare proxy", difference(gaps[b.proxy], gaps[b.mock]), "us"),
		atMost("  added by the gateway, p99", difference(gaps[b.governed], gaps[b.mock]), "us", 100).stretch(20),
	)
	for _, c := range b.servers() {
		b.add(plain("CPU per streamed frame: "+c.name, median(micros[c]), "us"))
	}
	b.add(atMost("gateway's CPU per streamed frame over the bare proxy's", ratio(micros[b.governed], micros[b.proxy]), "x", 1.3).stretch(1))
	return nil
}

// profile writes what the gateway does while it is loaded as it was measured.
func (b *benchGateway) profile(ctx context.Context) error {
	c := b.governed
	return errors.Join(
		b.record(ctx, c, "requests", c.request(modeInstant, b.keys[0])),
		b.during(ctx, c, "streams", func() error {
			_, err := streams(ctx, c.address, c.request(modeStream, b.keys[0]), b.size.streams, 4)
			return err
		}),
	)
}

// profiled is how long a server is loaded for its profile, in seconds.
const profiled = 6

// record writes what a server does while it is asked these requests in turns.
func (b *benchGateway) record(ctx context.Context, c *contender, name string, requests ...[]byte) error {
	return b.during(ctx, c, name, func() error {
		_, err := load{address: c.address, requests: requests, lines: 16, each: profiled * time.Second}.run(ctx)
		return err
	})
}

// during writes what a server does while there is work.
func (b *benchGateway) during(ctx context.Context, c *contender, name string, work func() error) error {
	if b.profiles == "" {
		return nil
	}
	working := make(chan error, 1)
	go func() { working <- work() }()
	err := b.keep(ctx, c, fmt.Sprintf("profile?seconds=%d", profiled-1), name)
	return errors.Join(err, <-working)
}

// keep writes one profile of a server to a file.
func (b *benchGateway) keep(ctx context.Context, c *contender, profile, name string) error {
	text, err := c.see(ctx, "/debug/pprof/"+profile)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.profiles, name+".pprof"), []byte(text), 0o600)
}

// idle opens streams that say nothing, on servers that did nothing before.
func (b *benchGateway) idle(ctx context.Context) error {
	proxy, err := b.bare(ctx, "bare proxy with idle streams")
	if err != nil {
		return err
	}
	governed, err := b.gateway(ctx, "gateway with idle streams", func(*gateway.Config) {})
	if err != nil {
		return err
	}
	var size []float64
	for _, c := range []*contender{proxy, governed} {
		bytes, err := b.perIdleStream(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		size = append(size, bytes/1024)
	}
	name := fmt.Sprintf("%d idle streams, resident memory per stream: ", idleStreams)
	b.add(
		plain(name+"bare proxy", size[0], "KiB"), plain(name+"gateway", size[1], "KiB"),
		atMost("  gateway's over the bare proxy's", size[1]/size[0], "x", 1.3).stretch(1),
	)
	return nil
}

func (b *benchGateway) perIdleStream(ctx context.Context, c *contender) (float64, error) {
	request := c.request(modeIdle, b.keys[0])
	warm, err := holdStreams(ctx, c.address, request, 16)
	if err != nil {
		return 0, err
	}
	defer warm()
	before, err := c.resident()
	if err != nil {
		return 0, err
	}
	closer, err := holdStreams(ctx, c.address, request, idleStreams)
	defer closer()
	if err != nil {
		return 0, err
	}
	time.Sleep(2 * time.Second) // what was needed to open them can go
	after, err := c.resident()
	if err == nil && b.profiles != "" && c.admin != "" {
		err = b.keep(ctx, c, "heap?gc=1", "idle")
	}
	return float64(after-before) / idleStreams, err
}

// overload asks a gateway that may answer 16 requests at once, of an upstream that
// takes 20 ms for each, three times as often as it can answer.
func (b *benchGateway) overload(ctx context.Context) error {
	const slots = 16
	c, err := b.gateway(ctx, "gateway under overload", func(cfg *gateway.Config) { cfg.Limits.Concurrent = slots })
	if err != nil {
		return err
	}
	requests := [][]byte{c.request(modeSlow, b.keys[0])}
	var peaks, shares, refused []float64
	for range b.size.rounds {
		peak, err := load{address: c.address, requests: requests, lines: slots, each: b.size.each}.run(ctx)
		if err != nil {
			return err
		}
		over, err := load{address: c.address, requests: requests, lines: 16 * slots, each: b.size.each, rate: 3 * peak.perSecond()}.run(ctx)
		if err != nil {
			return err
		}
		peaks = append(peaks, peak.perSecond())
		shares = append(shares, over.perSecond()/peak.perSecond())
		refused = append(refused, float64(over.refused)/float64(over.refused+over.answered))
	}
	b.add(
		plain("answers per second at most, 16 at once over 20 ms", median(peaks), "1/s"),
		atLeast("  at three times that load, share of it", median(shares), "", 0.9),
		plain("  share refused", median(refused), ""),
	)
	return nil
}

// crowd compares a gateway that knows one licensee with one that holds the licenses of
// all, and is asked by a hundred of them in turns.
func (b *benchGateway) crowd(ctx context.Context) error {
	const active, many = 100, 1000                                    // a lease that is unused for a second is given back
	if err := b.license(ctx, b.licensees-1-len(b.keys)); err != nil { // the host's own license is cached too
		return err
	}
	full, err := b.gateway(ctx, "gateway with many licensees", func(*gateway.Config) {})
	if err != nil {
		return err
	}
	everybody := make([][]byte, len(b.keys))
	for i, key := range b.keys {
		everybody[i] = full.request(modeInstant, key)
	}
	rand.Shuffle(len(everybody), func(i, j int) { everybody[i], everybody[j] = everybody[j], everybody[i] })
	if err := (load{address: full.address, requests: everybody, lines: 64}).once(ctx); err != nil {
		return err
	}
	loads := []struct {
		c        *contender
		requests [][]byte
	}{
		{b.governed, [][]byte{b.governed.request(modeInstant, b.keys[0])}}, {full, everybody[:active]}, {full, everybody[:many]},
		{full, everybody},
	}
	micros := make([][]float64, len(loads))
	for range b.size.rounds {
		for i, l := range loads {
			us, _, err := spent(ctx, l.c, load{address: l.c.address, requests: l.requests, lines: 16, each: b.size.each})
			if err != nil {
				return err
			}
			micros[i] = append(micros[i], us)
		}
	}
	if err := b.record(ctx, full, "licensees", everybody[:active]...); err != nil {
		return err
	}
	b.add(
		plain("CPU per request, 1 licensee cached", median(micros[0]), "us"),
		plain(fmt.Sprintf("CPU per request, %d licensees cached, %d asking", b.licensees, active), median(micros[1]), "us"),
		atMost("  over that of 1", ratio(micros[1], micros[0]), "x", 1.1).stretch(1),
		plain(fmt.Sprintf("  if %d ask in turns", many), ratio(micros[2], micros[0]), "x"),
		plain("  if all ask in turns, their keys read from Redis again", ratio(micros[3], micros[0]), "x"),
	)
	return nil
}
