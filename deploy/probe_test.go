package deploy

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry/intreport"
)

// Probes leave at their rate, also where one now and then takes its time or the
// switch is out of hand; another error ends it.
func TestProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{.5, 10, 1600} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			calls, sent := 0, 0
			err := Prober(ctx, rate, func(context.Context) error {
				if calls++; calls%100 == 0 {
					time.Sleep(20 * time.Millisecond)
				}
				if calls%10 == 0 {
					return fmt.Errorf("s1: %w", p4.ErrNotPrimary)
				}
				return nil
			}, func() { sent++ })
			cancel()
			if want := 20 * rate; err != nil || float64(calls) < .97*want || float64(calls) > want+2 || sent > calls-calls/10 || sent < calls-calls/10-1 {
				t.Errorf("rate %v: %d calls, %d sent, %v; want %v", rate, calls, sent, err, want)
			}
		}
		broken := errors.New("no such interface")
		if err := Prober(t.Context(), 10, func(context.Context) error { return broken }, nil); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	frame, err := ProbeFrame("")
	if err != nil {
		t.Fatal(err)
	}
	d, err := intreport.NewDecoder(intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := d.Frame(frame, func(r *intreport.Report) { n = 1 + len(r.Hops) }); err != nil || n != 1 {
		t.Errorf("the frame is no empty probe: %d, %v", n, err)
	}
	if _, err := ProbeFrame("lab"); err == nil {
		t.Error(`destination "lab" was accepted`)
	}
}
