package live_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/telemetry/live"
)

// TestSecondAndTap: where a second takes 10 ms everything is counted in those,
// and a tap is told of all of it, joined or not.
func TestSecondAndTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		tell := func(what string) func(time.Time, []float64, []bool) {
			begin := time.Now()
			return func(at time.Time, values []float64, valid []bool) {
				told = append(told, fmt.Sprintf("%s %v %v %v", what, at.Sub(begin), values[0], slices.Index(valid, false)))
			}
		}
		c := collector(t, live.Config{
			Switches: []uint32{1}, Second: 10 * time.Millisecond, Settle: time.Millisecond, Stalls: true,
			Tap: &live.Tap{Report: tell("report"), Sample: tell("sample")},
		})
		begin := time.Now()
		for n := range 4 {
			time.AfterFunc(time.Duration(10*n+3)*time.Millisecond, func() {
				c.Report(time.Now(), probeOf([3]uint32{uint32(n), 100, 0}))
				post(t, c, "", fmt.Sprintf(`{"timestamp": %d, "Buffer": %d, "CalcBitrate": %d}`, time.Now().UnixMilli(), 20+n, 7*n))
			})
		}
		values, valid, age := window(t, c, begin, 4)
		if took := time.Since(begin); took != 41*time.Millisecond {
			t.Errorf("four seconds took %v", took)
		}
		want := " 0 100 0 20 - - - - - -\n 1 100 0 21 - - 7 - - -\n 2 100 0 22 - - 7 - - -\n 3 100 0 23 - - 7 - - -\n"
		if got := show(c, values, valid); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if age.Player != 7*time.Millisecond || age.Switches[0] != 7*time.Millisecond {
			t.Errorf("%+v", age)
		}
		if len(told) != 8 || told[0] != "report 3ms 0 -1" || told[3] != "sample 13ms 21 1" {
			t.Errorf("told %q", told)
		}
		if f := live.PlayerFields(); len(f) != 7 || f[0].Name != "lbo_s" || f[6].Name != "stall_s" {
			t.Errorf("%v", f)
		}
	})
}
