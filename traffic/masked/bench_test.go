package masked

import (
	"context"
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/traffic"
)

// BenchmarkSample is sessions with about 600 sizes, in 16 passes: all of 64
// packets, or most of them short and few long, as in captures.
func BenchmarkSample(b *testing.B) {
	for name, length := range map[string]func(u float64) int{
		"equal": func(float64) int { return 64 },
		"long":  func(u float64) int { return int(2 * math.Exp(6*u*u*u)) }, // 2 to 800, mean 47
	} {
		b.Run(name, func(b *testing.B) {
			s := &traffic.Set{Of: toy(1, 1).Of}
			for i := range 500 {
				key := rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Start}
				x := traffic.Session{Label: i % 2, Meta: []float64{0}}
				for t := range length(key.Float64(1 << 20)) {
					x.Steps = append(x.Steps, float64(t%2), float64(key.Intn(uint32(2*t), 300)), 0, .001*key.Float64(uint32(2*t+1)))
				}
				s.Sessions = append(s.Sessions, x)
			}
			m, err := Fit(context.Background(), s, Config{Updates: 2}, traffic.FitOptions{})
			if err != nil {
				b.Fatal(err)
			}
			packets := 0
			seconds := testkit.PerOp(b, func() {
				packets = 0
				for x, err := range m.Sample(context.Background(), traffic.Request{N: 500, Seed: 1}) {
					if err != nil {
						b.Fatal(err)
					}
					packets += m.Schema().Len(&x)
				}
			})
			b.ReportMetric(float64(packets)/seconds, "packets/cpu-s")
		})
	}
}
