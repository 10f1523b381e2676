package closedloop_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
	"github.com/planegym/planegym/timegan/closedloop"
)

// Fit a small model to two of the bundled recordings and change the limit while
// it simulates. Five updates show the calls; the default is 1000.
func Example() {
	recordings, err := sessions.Decode(scenarios.Sessions())
	if err != nil {
		panic(err)
	}
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	ctx := context.Background()
	c := closedloop.Config{Hidden: 8, Updates: 5, Window: 16, Batch: 4, Regimes: 1, Seed: 1}
	m, err := closedloop.Fit(ctx, c, be, recordings[:2], closedloop.FitOptions{})
	if err != nil {
		panic(err)
	}
	s, err := closedloop.NewSimulator(1, m, be)
	if err != nil {
		panic(err)
	}
	if err := s.Reset([]int{0}, []uint64{7}); err != nil {
		panic(err)
	}
	var w telemetry.Window
	for _, limit := range m.Limits() {
		w.Size(1, 4, len(s.Columns()))
		if err := s.Step(ctx, []int{0}, []int32{limit}, &w); err != nil {
			panic(err)
		}
		fmt.Println("simulated", w.Seconds, "s under a limit of", limit, "packets")
	}
	// Output:
	// simulated 4 s under a limit of 32 packets
	// simulated 4 s under a limit of 64 packets
	// simulated 4 s under a limit of 128 packets
}
