package ws

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
)

// percentiles reports the median and 99th percentile of what each b.Loop took.
type percentiles struct {
	b    *testing.B
	took []time.Duration
	last time.Time
}

func measure(b *testing.B) *percentiles {
	return &percentiles{b: b, took: make([]time.Duration, 0, 1<<20)}
}

func (p *percentiles) start() { p.last = time.Now() }

func (p *percentiles) lap() {
	now := time.Now()
	p.took = append(p.took, now.Sub(p.last))
	p.last = now
}

func (p *percentiles) report(rows int) {
	slices.Sort(p.took)
	p.b.ReportMetric(float64(p.took[len(p.took)/2].Nanoseconds())/1e3, "p50-µs")
	p.b.ReportMetric(float64(p.took[len(p.took)*99/100].Nanoseconds())/1e3, "p99-µs")
	p.b.ReportMetric(float64(rows*p.b.N)/p.b.Elapsed().Seconds(), "steps/s")
}

// BenchmarkStep is a lock-step step over loopback.
func BenchmarkStep(b *testing.B) {
	_, url := serve(b, Options{})
	for _, n := range []int{1, 256, 1024} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			c := dial(b, url, DialOptions{NumEnvs: n})
			var out env.Batch
			actions := make([]int32, n)
			if err := c.Reset(background, nil, nil, &out); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			p := measure(b)
			for p.start(); b.Loop(); p.lap() {
				if err := c.Step(background, nil, actions, &out); err != nil {
					b.Fatal(err)
				}
			}
			p.report(n)
		})
	}
}

// BenchmarkTCP is what BenchmarkStep is compared with: the same bytes there
// and back over a bare TCP connection on loopback.
func BenchmarkTCP(b *testing.B) {
	for _, n := range []int{1, 256, 1024} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			up, down := headerBytes+8+4*n+8, int(resultBytes(false, n, 4, 0, false, false))+4
			client, server := tcpPair(b)
			go func() {
				in, out := make([]byte, up), make([]byte, down)
				for {
					if _, err := io.ReadFull(server, in); err != nil {
						return
					}
					if _, err := server.Write(out); err != nil {
						return
					}
				}
			}()
			in, out := make([]byte, down), make([]byte, up)
			p := measure(b)
			for p.start(); b.Loop(); p.lap() {
				if _, err := client.Write(out); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(client, in); err != nil {
					b.Fatal(err)
				}
			}
			p.report(n)
		})
	}
}

func tcpPair(t testing.TB) (client, server net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// BenchmarkPipeline keeps 64 steps under way.
func BenchmarkPipeline(b *testing.B) {
	_, url := serve(b, Options{})
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			c := dial(b, url, DialOptions{NumEnvs: n})
			var out env.Batch
			actions := make([]int32, n)
			if err := c.Reset(background, nil, nil, &out); err != nil {
				b.Fatal(err)
			}
			send := func() {
				if _, err := c.Send(nil, actions); err != nil {
					b.Fatal(err)
				}
			}
			recv := func() {
				if _, err := c.Recv(background, &out); err != nil {
					b.Fatal(err)
				}
			}
			for range inFlight - 1 {
				send()
			}
			b.ReportAllocs()
			for b.Loop() {
				send()
				recv()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "steps/s")
			for range inFlight - 1 {
				recv()
			}
		})
	}
}

// BenchmarkStepMany is 64 steps of one environment in one round trip.
func BenchmarkStepMany(b *testing.B) {
	_, url := serve(b, Options{})
	c := dial(b, url, DialOptions{})
	var out env.Batch
	actions := make([]int32, 64)
	if err := c.Reset(background, nil, nil, &out); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.StepMany(background, nil, 64, actions, &out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "steps/s")
}
