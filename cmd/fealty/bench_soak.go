package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
)

// benchSoak loads a gateway for minutes and asks whether its memory grows.
type benchSoak struct {
	benchGateway
	length time.Duration
	every  time.Duration // between samples
}

func newBenchSoak() *cobra.Command {
	var b benchSoak
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Load a gateway for minutes and see whether its memory grows",
		Long: `Soak starts what 'bench gateway' starts and sends requests, streams and streams whose clients
leave, of 50 licensees, and samples the live heap after a collection. The slope is Theil and Sen's
estimate with its 95 % interval, after the first fifth of the time, in which caches fill. It holds
if the interval does not lie above zero; otherwise the command ends with 3.`,
		Example: "  fealty bench soak --for 10m --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.DurationVar(&b.length, "for", 10*time.Minute, "how long")
	f.DurationVar(&b.every, "every", 5*time.Second, "between two samples")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object")
	return cmd
}

func (b *benchSoak) run(cmd *cobra.Command) (err error) {
	if b.every < 100*time.Millisecond || b.length < 25*b.every {
		return usagef("--for %s with --every %s: need 25 samples or more, 100ms apart or more", b.length, b.every)
	}
	b.p = newProgress(cmd.ErrOrStderr())
	defer func() { err = errors.Join(err, b.close()) }()
	b.p.say("starting a chain, a Redis, a mock upstream and a gateway")
	if err := b.startOne(cmd.Context()); err != nil {
		return err
	}
	heap, answers, err := b.soak(cmd.Context())
	if err != nil {
		return err
	}
	if len(heap) < 10 {
		return fmt.Errorf("only %d samples were taken: the machine is too busy to say anything", len(heap))
	}
	heap = heap[len(heap)/5:]
	slope, low, high := theilSen(heap)
	perMinute := float64(time.Minute) / float64(b.every) / 1024
	held := low <= 0
	b.add(
		plain("answers", float64(answers), ""),
		plain("live heap at the end of warming up", heap[0]/1024, "KiB"),
		plain("live heap at the end", heap[len(heap)-1]/1024, "KiB"),
		figure{Name: "slope of the live heap", Value: slope * perMinute, Unit: "KiB/min", Target: "not above zero (95 %)", Held: &held},
		plain("  its 95 % interval, from", low*perMinute, "KiB/min"),
		plain("  to", high*perMinute, "KiB/min"),
	)
	if err := (report{b.machine, commit, b.figures}).print(cmd, b.asJSON); err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("%w: the live heap grows by %.3g KiB per minute", errNotHeld, slope*perMinute)
	}
	return nil
}

func (b *benchSoak) startOne(ctx context.Context) (err error) {
	if err := b.open(ctx); err != nil {
		return err
	}
	if err := b.license(ctx, 50); err != nil {
		return err
	}
	if b.mock, err = b.self(ctx, "mock", "mock"); err != nil {
		return err
	}
	b.governed, err = b.benchGateway.gateway(ctx, "gateway", func(*gateway.Config) {})
	return err
}

// soak loads the gateway and samples its heap.
func (b *benchSoak) soak(ctx context.Context) (heap []float64, answers int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := b.governed
	var requests [][]byte
	for _, key := range b.keys {
		requests = append(requests, c.request(modeInstant, key))
	}
	end := time.Now().Add(b.length)
	work := []func() error{
		func() error {
			out, err := load{address: c.address, requests: requests, lines: 8, each: time.Until(end), rate: 200}.run(ctx)
			answers = out.answered
			return err
		},
		func() error {
			_, err := streams(ctx, c.address, c.request(modeStream, b.keys[1]), 16, 1)
			return err
		},
		func() error { // clients that leave
			closer, err := holdStreams(ctx, c.address, c.request(modeIdle, b.keys[2]), 64)
			time.Sleep(500 * time.Millisecond)
			closer()
			return err
		},
	}
	problems := make([]error, len(work))
	var all sync.WaitGroup
	for i, do := range work {
		all.Go(func() {
			for problems[i] == nil && time.Now().Before(end) && ctx.Err() == nil {
				if problems[i] = do(); problems[i] != nil {
					cancel() // one is enough
				}
			}
		})
	}
	heap, err = b.sample(ctx, end)
	all.Wait()
	return heap, answers, errors.Join(append(problems, err)...)
}

func (b *benchSoak) sample(ctx context.Context, end time.Time) (heap []float64, err error) {
	total := int(b.length / b.every)
	b.p.step("soaking")
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for time.Now().Before(end) {
		select {
		case <-ctx.Done():
			return heap, ctx.Err()
		case <-tick.C:
		}
		bytes, err := b.liveHeap(ctx)
		if err != nil {
			return heap, err
		}
		heap = append(heap, bytes)
		b.p.update(len(heap), total)
	}
	return heap, nil
}

// liveHeap collects garbage in the gateway and returns what is left.
func (b *benchSoak) liveHeap(ctx context.Context) (float64, error) {
	profile, err := b.governed.see(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(profile, "# HeapAlloc = ")
	number, _, _ := strings.Cut(rest, "\n")
	bytes, err := strconv.ParseFloat(number, 64)
	if !found || err != nil {
		return 0, errors.New("the heap profile names no HeapAlloc")
	}
	return bytes, nil
}

// theilSen estimates the slope of values per step as the median of the slopes of all
// pairs (Theil 1950, Sen 1968), with Sen's 95 % interval. It needs no normal noise and
// bears outliers. With fewer than two values it is zero.
func theilSen(values []float64) (slope, low, high float64) {
	var slopes []float64
	for i := range values {
		for j := i + 1; j < len(values); j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
		}
	}
	if len(slopes) == 0 {
		return 0, 0, 0
	}
	slices.Sort(slopes)
	n, pairs := float64(len(values)), float64(len(slopes))
	c := 1.96 * math.Sqrt(n*(n-1)*(2*n+5)/18) // of Kendall's statistic, without ties
	at := func(x float64) float64 { return slopes[min(max(int(x), 0), len(slopes)-1)] }
	return median(slopes), at((pairs - c) / 2), at((pairs+c)/2 + 1)
}
