package masked

import (
	"context"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/traffic"
)

// BenchmarkSample is sessions of 64 packets with about 600 sizes, in 16 passes.
func BenchmarkSample(b *testing.B) {
	s := &traffic.Set{Of: toy(1, 1).Of}
	for i := range 500 {
		key := rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2, Meta: []float64{0}}
		for t := range 64 {
			x.Steps = append(x.Steps, float64(t%2), float64(key.Intn(uint32(2*t), 300)), 0, .001*key.Float64(uint32(2*t+1)))
		}
		s.Sessions = append(s.Sessions, x)
	}
	m, err := Fit(context.Background(), s, Config{Updates: 2}, traffic.FitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	const n = 128
	seconds := testkit.PerOp(b, func() {
		for _, err := range m.Sample(context.Background(), traffic.Request{N: n, Seed: uint64(b.N)}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(n*64/seconds, "packets/cpu-s")
}
