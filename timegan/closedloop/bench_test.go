package closedloop

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
)

// BenchmarkSteps is environment steps of 4 s, 1,024 rows at a time, a second of
// processor time each: wall time on a busy machine says little.
func BenchmarkSteps(b *testing.B) {
	data, err := sessions.Decode(scenarios.Sessions())
	if err != nil {
		b.Fatal(err)
	}
	for _, hidden := range []int{32, 64, 96} {
		for _, k := range compute.Available()[2:] {
			b.Run(fmt.Sprintf("hidden=%d/%v", hidden, k), func(b *testing.B) {
				be := compute.NewBackend(k, 1)
				defer be.Close()
				m, err := Fit(context.Background(), Config{Hidden: hidden, Updates: 1, Batch: 2, Regimes: 2}, be, data[:1], FitOptions{})
				if err != nil {
					b.Fatal(err)
				}
				const n = 1024
				s, err := NewSimulator(n, m, be)
				if err != nil {
					b.Fatal(err)
				}
				rows, seeds, limits := make([]int, n), make([]uint64, n), make([]int32, n)
				for i := range rows {
					rows[i], seeds[i], limits[i] = i, uint64(i), []int32{32, 64, 128}[i%3]
				}
				if err := s.Reset(rows, seeds); err != nil {
					b.Fatal(err)
				}
				var w telemetry.Window
				w.Size(n, 4, len(m.Fields()))
				b.ReportAllocs()
				b.ResetTimer()
				before := cpuTime(b)
				for range b.N {
					if err := s.Step(context.Background(), rows, limits, &w); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*n/(cpuTime(b)-before), "steps/cpu-s")
			})
		}
	}
}

// cpuTime is the process's, seconds.
func cpuTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
