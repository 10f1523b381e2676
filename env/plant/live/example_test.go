package live_test

import (
	"context"
	"fmt"
	"time"

	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// memorySwitch remembers the limit of each port. Packages p4rt and bmv2 have
// real switches.
type memorySwitch map[p4.Port]p4.Limit

func (m memorySwitch) Close() error { return nil }
func (m memorySwitch) SetLimit(_ context.Context, port p4.Port, l p4.Limit) error {
	m[port] = l
	return nil
}
func (m memorySwitch) Limit(_ context.Context, port p4.Port) (p4.Limit, error) { return m[port], nil }

// constant is telemetry that reports 1 everywhere. Package telemetry/live
// has the real one.
type constant struct{}

func (constant) Close() error { return nil }
func (constant) Columns() (out []telemetry.Field) {
	for _, name := range []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "lbo_s", "fps", "rep_kbps", "calc_rate", "width", "height", "stall_s"} {
		f, _ := telemetry.Canonical(name)
		out = append(out, f)
	}
	return out
}

func (constant) Window(_ context.Context, _ time.Time, values []float32, valid []bool) (live.Ages, error) {
	for i := range values {
		values[i], valid[i] = 1, true
	}
	return live.Ages{Switches: []time.Duration{0}}, nil
}

// One window of 4 s on a switch: the plant puts the limit in force, waits for
// the telemetry, and puts the safe limit back when it is closed.
func Example() {
	s := memorySwitch{}
	plant, err := live.New(live.Config{Safe: 32, TimeScale: 1000}, p4.Group{s}, []p4.Queue{{Switch: 0, Port: 1}}, constant{}, nil)
	if err != nil {
		panic(err)
	}
	var w telemetry.Window
	w.Size(1, 4, len(plant.Columns()))
	if err := plant.Reset(context.Background(), []int{0}, nil, []p4.Limit{64}, &w); err != nil {
		panic(err)
	}
	fmt.Println("in force:", s[1])
	if err := plant.Close(); err != nil {
		panic(err)
	}
	fmt.Println("after Close:", s[1])
	// Output:
	// in force: 64
	// after Close: 32
}
