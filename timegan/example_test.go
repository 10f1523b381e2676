package timegan_test

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Train on two recordings, one per queue limit, then generate 20 s under a
// limit. Six updates show the calls; a useful model takes thousands.
func Example() {
	fields := []telemetry.Field{{Name: "enq_qdepth1", Unit: "packets"}, {Name: "lbo_s", Unit: "s"}}
	var recordings []telemetry.Recording
	for _, limit := range []int{32, 64} {
		var values []float32
		var valid []bool
		for t := range 400 {
			values = append(values, float32(limit)/2+5*float32(math.Sin(float64(t)/9)), float32(t%30))
			valid = append(valid, true, true)
		}
		d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, valid)
		if err != nil {
			panic(err)
		}
		recordings = append(recordings, telemetry.Recording{Limit: limit, Data: d})
	}

	c := timegan.Config{Window: 8, Hidden: 4, Batch: 4, Embed: 2, Super: 2, Joint: 2, Seed: 1}
	training, err := timegan.NewTraining(recordings, telemetry.All, c, timegan.DefaultKnots)
	if err != nil {
		panic(err)
	}
	e := timegan.NewCPU(compute.Go, 1)
	defer e.Close()
	ctx := context.Background()
	m, err := timegan.Fit(ctx, c, e, training, timegan.FitOptions{})
	if err != nil {
		panic(err)
	}
	s, err := timegan.NewSimulator(1, []*timegan.Model{m}, []timegan.Engine{e})
	if err != nil {
		panic(err)
	}
	sampled, err := timegan.Sample(ctx, s, []uint64{7}, 0, 32, 20)
	if err != nil {
		panic(err)
	}
	depth, ok := sampled[0].At(19, 0)
	fmt.Println("generated:", len(sampled), "recording; the last depth is within what was recorded:", ok && 0 <= depth && depth <= 64)
	// Output: generated: 1 recording; the last depth is within what was recorded: true
}
