package telemetry_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
)

// Shuffling keeps how long each limit was in force to a stretch, moves the
// limits, and leaves what was measured.
func TestShuffleLimits(t *testing.T) {
	all, err := sessions.Decode(scenarios.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	null, err := telemetry.ShuffleLimits(all, 1)
	if err != nil {
		t.Fatal(err)
	}
	moved, seconds := 0, 0
	for i, r := range all {
		if null[i].Data != r.Data {
			t.Fatalf("recording %d is another", i)
		}
		for s := range r.Data.Len() {
			seconds++
			if r.LimitAt(s) != null[i].LimitAt(s) {
				moved++
			}
			if s > 0 && r.LimitAt(s) == r.LimitAt(s-1) && null[i].LimitAt(s) != null[i].LimitAt(s-1) {
				t.Fatalf("recording %d, second %d: a stretch was cut", i, s)
			}
		}
	}
	if share := float64(moved) / float64(seconds); share < .5 || share > .8 {
		t.Errorf("%.2f of seconds are under another limit: two thirds expected", share)
	}
	if fmt.Sprint(telemetry.LimitsOf(null)) != fmt.Sprint(telemetry.LimitsOf(all)) {
		t.Errorf("limits %v, were %v", telemetry.LimitsOf(null), telemetry.LimitsOf(all))
	}
}

// Limits of switches that have their own cannot be dealt out, and are not.
func TestShuffleLimitsPerSwitch(t *testing.T) {
	all, err := sessions.Decode(scenarios.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	r := all[0]
	r.PerSwitch = make([]int32, 3*r.Data.Len())
	for i := range r.PerSwitch {
		r.PerSwitch[i] = int32(32 + i%3)
	}
	if _, err := telemetry.ShuffleLimits([]telemetry.Recording{r}, 1); err == nil {
		t.Error("three limits a second were dealt out as one")
	}
	if got := telemetry.LimitsOf([]telemetry.Recording{r}); !slices.Equal(got, []int{32}) {
		t.Errorf("limits of the first switch: %v, want 32", got)
	}
	if !r.Session() || (telemetry.Recording{Limit: 32, Data: r.Data}).Session() {
		t.Error("a session is a recording in which limits may change")
	}
}
