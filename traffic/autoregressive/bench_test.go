package autoregressive

import (
	"context"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/traffic"
)

// wide is sessions of 10 steps with about 1,800 sizes, as MIRAGE's.
func wide(n int) *traffic.Set {
	s := &traffic.Set{Of: toy(1, 1).Of}
	for i := range n {
		key := rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2, Meta: []float64{0, 443}}
		for t := range 10 {
			x.Steps = append(x.Steps, float64(t%2), float64(key.Intn(uint32(2*t), 900)), 0, .001*key.Float64(uint32(2*t+1)))
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

// BenchmarkSample is sessions of 10 steps and a vocabulary of 1,800 sizes.
func BenchmarkSample(b *testing.B) {
	m, err := Fit(context.Background(), wide(2000), Config{Updates: 2}, traffic.FitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	const n = 512
	seconds := testkit.PerOp(b, func() {
		for _, err := range m.Sample(context.Background(), traffic.Request{N: n, Seed: uint64(b.N)}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(n/seconds, "sessions/cpu-s")
}

// BenchmarkUpdate is an update on 128 sessions of 10 steps.
func BenchmarkUpdate(b *testing.B) {
	s := wide(2000)
	const updates = 20
	seconds := testkit.PerOp(b, func() {
		if _, err := Fit(context.Background(), s, Config{Updates: updates}, traffic.FitOptions{Threads: 1}); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportMetric(seconds/updates*1e3, "cpu-ms/update")
}
