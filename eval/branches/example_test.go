package branches_test

import (
	"fmt"
	"time"

	"github.com/planegym/planegym/eval/branches"
	"github.com/planegym/planegym/telemetry"
)

// Two branches of one moment: under 128 packets the buffer gains a second of video
// every two seconds that it does not gain under 32. A simulator says half of that.
func Example() {
	branch := func(limit int, gain float32) telemetry.Recording {
		var values []float32
		var valid []bool
		var limits []int
		for t := range 12 {
			l, buffer := 64, float32(20)
			if t >= 2 {
				l, buffer = limit, 20+gain*float32(t-1)
			}
			limits, values, valid = append(limits, l), append(values, buffer), append(valid, true)
		}
		d, err := telemetry.NewDataset([]telemetry.Field{{Name: "lbo_s", Unit: "s"}}, 0, time.Unix(0, 0), values, valid)
		if err != nil {
			panic(err)
		}
		return telemetry.Recording{Data: d, Limits: limits}
	}
	all := []telemetry.Recording{branch(32, 0), branch(128, .5)}
	points, err := branches.Points(all)
	if err != nil {
		panic(err)
	}
	drawn := [][]float32{make([]float32, 10), make([]float32, 10)} // 10 s from second 2 on, one rollout
	for t := range 10 {
		drawn[0][t], drawn[1][t] = 20, 20+.25*float32(t+1)
	}
	effects, err := branches.Compare(all, points, drawn, 1)
	if err != nil {
		panic(err)
	}
	for _, e := range effects {
		fmt.Printf("%d less %d packets, after %d s: %+.1f s on the testbed, %+.1f in the model\n", e.Higher, e.Lower, e.After, e.All.Testbed, e.All.Model)
	}
	// Output:
	// 128 less 32 packets, after 4 s: +2.0 s on the testbed, +1.0 in the model
	// 128 less 32 packets, after 10 s: +5.0 s on the testbed, +2.5 in the model
}
