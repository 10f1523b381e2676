package replay_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/replay"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/telemetry"
)

// Two recordings, one per queue limit, become an environment: the action
// picks the limit, the limit the recording that the next 4 s come from.
func Example() {
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
	plant, err := replay.New(replay.Config{Start: "first"}, recordings)
	if err != nil {
		panic(err)
	}
	v, err := queues.New(queues.Config{Observation: queues.Observation{Normalise: "none"}}, plant, 1, nil)
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
