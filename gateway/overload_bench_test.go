package gateway_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
)

// BenchmarkOverload answers how much is served by 8 places in front of a backend that
// takes 20 ms, to as many clients as there are places, and to three times as many as
// find room in places and queue:
//
//	go test -run '^$' -bench Overload -benchtime 10s ./gateway
func BenchmarkOverload(b *testing.B) {
	slow := backendFunc(func(context.Context, gateway.Call) (gateway.Answer, error) {
		time.Sleep(20 * time.Millisecond)
		return &whole{}, nil
	})
	for name, clients := range map[string]int{"peak": 16, "3x": 48} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, withBackend(slow), admission(gateway.AdmissionConfig{Concurrent: 8, Queue: 8}))
			var served, refused atomic.Int64
			began := time.Now()
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for served.Load() < int64(b.N) {
						if got := r.post("/v1/chat/completions", r.key, chatBody("")); got.status == 200 {
							served.Add(1)
							continue
						}
						refused.Add(1)
						time.Sleep(50 * time.Millisecond) // a client that was told to wait a second is patient
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(served.Load())/time.Since(began).Seconds(), "served/s")
			b.ReportMetric(float64(refused.Load())/time.Since(began).Seconds(), "refused/s")
		})
	}
}
