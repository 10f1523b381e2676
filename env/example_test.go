package env_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// An agent that pushes where the pole leans, until the pole falls: 51 steps, as
// in Gymnasium 1.4.0 with the same seed.
func ExampleOne() {
	ctx := context.Background()
	v, err := cartpole.New(1, env.Disabled)
	if err != nil {
		panic(err)
	}
	e, err := env.One(v)
	if err != nil {
		panic(err)
	}
	defer e.Close()

	seed := uint64(1)
	obs, err := e.Reset(ctx, &seed)
	if err != nil {
		panic(err)
	}
	for steps, over := 0, false; !over; steps++ {
		var push int32
		if obs[2] > 0 { // the pole's angle
			push = 1
		}
		var terminated, truncated bool
		if obs, _, terminated, truncated, err = e.Step(ctx, push); err != nil {
			panic(err)
		}
		if over = terminated || truncated; over {
			fmt.Println("steps:", steps+1, "fell:", terminated)
		}
	}
	// Output: steps: 51 fell: true
}
