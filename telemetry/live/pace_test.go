package live_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

// TestPace: the unit of a clock is found from its pace beside ours, also where
// its stamps wrap every few seconds.
func TestPace(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name string
		tick time.Duration // as configured
		perS float64       // ticks of the switch in a second of ours
		wrap uint64        // ticks
		want string
	}{
		{"as ours", 0, 1e9, 0, ""},
		{"as ours, 32 bits", 0, 1e9, 1 << 32, ""},
		{"drifts by 2 %", 0, 1.02e9, 0, ""},
		{"microseconds", 0, 1e6, 0, "1000 times too slowly: set tick_ns = 1000 (--tick 1µs)"},
		{"microseconds, not quite", 0, 1.003e6, 0, "1000 times too slowly: set tick_ns = 1000 "},
		{"milliseconds", 0, 1e3, 0, "set tick_ns = 1000000 (--tick 1ms)"},
		{"nanoseconds for microseconds", time.Microsecond, 1e9, 1 << 32, "1000 times too fast: set tick_ns = 1 (--tick 1ns)"},
		{"8 ns", 0, 1.25e8, 0, "8 times too slowly: set tick_ns = 8 (--tick 8ns)"},
		{"stands still", 0, 0, 0, "stand still: set no_times = true"},
	} {
		col := collector(t, live.Config{Switches: []uint32{1, 2}, Decode: intreport.Config{Tick: c.tick}})
		tick := uint64(max(c.tick, 1))
		for i := range 30 {
			at := start.Add(time.Duration(i) * 100 * time.Millisecond)
			stamp := uint64(77e9 + float64(i)*c.perS/10)
			if c.perS == 0 {
				stamp = 0
			}
			if c.wrap > 0 {
				stamp %= c.wrap
			}
			col.Report(at, &intreport.Report{Hops: []intreport.Hop{{
				Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasEgressTime, Switch: 1, EgressTime: stamp * tick, Wrap: c.wrap * tick,
			}}})
			if i == 3 && col.ClockFault(0) != "" {
				t.Errorf("%s: after .3 s: %s", c.name, col.ClockFault(0))
			}
		}
		if got := col.ClockFault(0); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		p := col.Stats().Paces
		if len(p) != 2 || !math.IsNaN(float64(p[1])) || col.ClockFault(1) != "" {
			t.Errorf("%s: %v: a clock that was never heard of has a pace", c.name, p)
		}
		if text, err := json.Marshal(p); err != nil || !strings.HasSuffix(string(text), ",null]") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// TestRefusedReports: a delay that cannot be one is not measured, and counted.
func TestRefusedReports(t *testing.T) {
	c := collector(t, live.Config{Switches: []uint32{1}})
	start := time.Now().Add(-10 * time.Second)
	for i, wait := range []uint64{5000, math.MaxUint64 - 5, 90e9} {
		c.Report(start.Add(time.Duration(i)*time.Second), &intreport.Report{Hops: []intreport.Hop{{
			Has: intreport.HasSwitch | intreport.HasWait | intreport.HasQueue, Switch: 1, Wait: wait, Depth: uint32(i), DeqDepth: 1 << 20,
		}}})
	}
	values, valid, _ := window(t, c, start, 3)
	f := len(c.Columns())
	for s := range 3 {
		if !valid[s*f] || values[s*f] != float32(s) || valid[s*f+1] != (s == 0) || valid[s*f+2] {
			t.Errorf("second %d: %v %v", s, values[s*f:s*f+3], valid[s*f:s*f+3])
		}
	}
	r := c.Stats().Refused
	if len(r) != 2 || r[0].Column != "deq_timedelta1" || r[0].Count != 2 || r[0].Of != 3 || r[1].Column != "deq_qdepth1" || r[1].Count != 3 {
		t.Errorf("%+v", r)
	}
}
