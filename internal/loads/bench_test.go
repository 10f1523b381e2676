//go:build unix

package loads_test

import (
	"syscall"
	"testing"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/scenarios"
)

// user is the seconds that this process spent computing: a shared machine
// inflates what the clock says.
func user(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()) / 1e9
}

// An emulated hour of the video under a load of sessions, an iteration.
func BenchmarkHour(b *testing.B) {
	for _, name := range []string{"crossing", "crossing-attack"} {
		b.Run(name, func(b *testing.B) {
			s, err := scenarios.Load(name)
			if err != nil {
				b.Fatal(err)
			}
			s.Env.Observation = queues.Observation{Normalise: "none"}
			v, err := new(planegym.Gym).Open(b.Context(), s, 1, env.NextStep)
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			var out env.Batch
			spent, action := 0., []int32{1}
			for i := 0; b.Loop(); i++ {
				if err := v.Reset(b.Context(), []int{0}, []uint64{uint64(i)}, &out); err != nil {
					b.Fatal(err)
				}
				from := user(b)
				for range 900 {
					if err := v.Step(b.Context(), []int{0}, action, &out); err != nil {
						b.Fatal(err)
					}
				}
				spent += user(b) - from
			}
			b.ReportMetric(spent/float64(b.N), "user-s/hour")
		})
	}
}
