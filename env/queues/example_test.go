package queues_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
)

// The emulated testbed becomes an environment of three actions, a queue limit
// each, that runs for ten steps of 4 s.
func Example() {
	warmup := 5
	plant, err := testbed.New(testbed.Config{WarmupS: &warmup})
	if err != nil {
		panic(err)
	}
	v, err := queues.New(queues.Config{
		Limits:      []p4.Limit{16, 32, 64},
		MaxSteps:    10,
		Autoreset:   env.Disabled,
		Observation: queues.Observation{Normalise: "none"},
	}, plant, 1, nil)
	if err != nil {
		panic(err)
	}
	defer v.Close()

	ctx := context.Background()
	var b env.Batch
	if err := v.Reset(ctx, nil, []uint64{1}, &b); err != nil {
		panic(err)
	}
	fmt.Println("actions:", v.Spec().Limits, "observation:", len(b.Obs), "numbers")
	steps := 0
	for over := false; !over; steps++ {
		if err := v.Step(ctx, nil, []int32{int32(steps % 3)}, &b); err != nil {
			panic(err)
		}
		over = b.Terminated[0] || b.Truncated[0]
	}
	fmt.Println("steps:", steps)
	// Output:
	// actions: [16 32 64] observation: 22 numbers
	// steps: 10
}
