package baseline

import (
	"math"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// The defaults of the policies that watch delay: CoDel's 5 ms where delay is in
// microseconds without bound, else a tenth of the bound.
func TestPolicyDefaults(t *testing.T) {
	spec := env.Spec{Action: env.MultiDiscrete{2}, Limits: []p4.Limit{32, 64}, Observation: env.Box{
		Low: []float32{0}, High: []float32{float32(math.Inf(1))}, Elements: []telemetry.Field{{Name: "deq_timedelta1_mean", Unit: "us"}}}}
	for _, c := range []struct {
		name   string
		bound  float32
		obs    float32
		action int32
	}{
		{"threshold", float32(math.Inf(1)), 5000, 1}, {"threshold", float32(math.Inf(1)), 5000.5, 0}, {"threshold", 1, .1, 1}, {"threshold", 1, .1001, 0}, {"threshold:0", 1, 0, 1}, {"threshold:0", 1, 1e-6, 0},
	} {
		spec.Observation.High[0] = c.bound
		p, err := New(c.name, spec)
		if err != nil {
			t.Fatal(err)
		}
		p.Begin([]int{0}, []uint64{1})
		a := []int32{-1}
		if p.Act([]int{0}, []float32{c.obs}, a); a[0] != c.action {
			t.Errorf("%s, bound %v: %v gives action %d, want %d", c.name, c.bound, c.obs, a[0], c.action)
		}
	}
	for _, b := range Names {
		if b.About == "" {
			t.Errorf("%s says nothing of itself", b.Name)
		}
	}
}
