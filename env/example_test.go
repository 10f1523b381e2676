package env_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// An agent that pushes where the pole leans, until the pole falls: 51 steps, as
// in Gymnasium 1.4.0 with the same seed.
func ExampleOne() {
	ctx := context.Background()
	v, err := env.NewCartPole(1, env.Disabled)
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

// Two recordings, one per queue limit, become an environment: the action
// picks the limit, the limit the recording that the next 4 s come from.
func ExampleNewReplay() {
	fields := []telemetry.Field{
		{Name: "enq_qdepth1"}, {Name: "deq_timedelta1"}, {Name: "deq_qdepth1"}, {Name: "lbo_s"}, {Name: "fps"}, {Name: "rep_kbps"},
	}
	var recordings []*telemetry.Dataset
	for _, limit := range []int{32, 64} {
		var values []float32
		for t := range 40 {
			values = append(values, float32(limit)/2, 800, 3, float32(t), 24, 1867)
		}
		valid := slices.Repeat([]bool{true}, len(values))
		r, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, valid)
		if err != nil {
			panic(err)
		}
		recordings = append(recordings, r)
	}
	plant, err := env.NewReplay(env.ReplayConfig{Start: "first"}, recordings)
	if err != nil {
		panic(err)
	}
	v, err := env.New(env.Config{Observation: env.Observation{Normalise: "none"}}, plant, 1, nil)
	if err != nil {
		panic(err)
	}
	defer v.Close()

	ctx := context.Background()
	var b env.Batch
	if err := v.Reset(ctx, nil, nil, &b); err != nil {
		panic(err)
	}
	for _, action := range []int32{0, 1} {
		if err := v.Step(ctx, nil, []int32{action}, &b); err != nil {
			panic(err)
		}
		fmt.Printf("limit %v: depth %v, LBO %v s, reward %v\n", v.Spec().Limits[action], b.Obs[0], b.Obs[6], b.Reward[0])
	}
	// Output:
	// limit 32: depth 16, LBO 7 s, reward 0.5
	// limit 64: depth 32, LBO 11 s, reward 0.5
}
