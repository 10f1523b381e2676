package record

import (
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// In schedule reactive every other stretch is one of schedule mixed; in the others, for
// each longest block, one action is in force where one measurement is below a threshold
// and another above, but for some two in fifteen of the steps (a fifth of three actions,
// of which one is the rule's).
func TestReactive(t *testing.T) {
	const longest, actions = 60, 3
	spec := env.Spec{Action: env.MultiDiscrete{actions}, Observation: env.Box{
		Low: make([]float32, 4), High: []float32{60, 2, 128, 1},
		Elements: []telemetry.Field{{Name: "lbo_s"}, {Name: "level"}, {Name: "enq_qdepth1_mean"}, {Name: "last_action"}},
	}}
	p, blocks := newReactive(spec, longest), &switchback{longest: longest, spec: spec}
	p.Begin(nil, []uint64{5})
	blocks.Begin(nil, []uint64{5})
	watched := map[int]int{}
	strays, steps := 0, 0
	a, b := make([]int32, 1), make([]int32, 1)
	for stretch := range 80 {
		for half := range 2 {
			var obs [longest][]float32
			var took [longest]int32
			for s := range longest {
				n := (stretch*2+half)*longest + s
				// measurements that go up and down at paces of their own
				obs[s] = []float32{float32(n % 61), float32(n / 7 % 3), float32(n * 29 % 128), 9}
				p.Act(nil, obs[s], a)
				blocks.Act(nil, obs[s], b)
				if took[s] = a[0]; stretch%2 == 0 && a[0] != b[0] {
					t.Fatalf("stretch %d, step %d: action %d, schedule mixed has %d", stretch, s, a[0], b[0])
				}
			}
			if stretch%2 == 0 {
				continue
			}
			best, at := longest+1, 0
			for j := range 3 { // the threshold and the two actions that explain most
				var x []float32
				for s := range longest {
					x = append(x, obs[s][j])
				}
				slices.Sort(x)
				for _, threshold := range append(x, 1000) {
					var n [2][actions]int
					for s := range longest {
						side := 0
						if obs[s][j] >= threshold {
							side = 1
						}
						n[side][took[s]]++
					}
					if wrong := longest - slices.Max(n[0][:]) - slices.Max(n[1][:]); wrong < best {
						best, at = wrong, j
					}
				}
			}
			watched[at]++
			strays, steps = strays+best, steps+longest
		}
	}
	if share := float64(strays) / float64(steps); share < .09 || share > .16 {
		t.Errorf("%.3f of the steps are not a rule's: some 2/15 were expected", share)
	}
	for j := range 3 {
		if watched[j] < 15 {
			t.Errorf("rules watched %v: a third each was expected", watched)
		}
	}
}

// Per-switch actions differ below and above at every switch.
func TestReactivePerSwitch(t *testing.T) {
	spec := env.Spec{Action: env.MultiDiscrete{3, 3}, Observation: env.Box{Low: make([]float32, 1), High: []float32{60}, Elements: []telemetry.Field{{Name: "lbo_s"}}}}
	p := newReactive(spec, 10)
	p.Begin(nil, []uint64{1})
	a := make([]int32, 2)
	for n := range 2000 {
		p.Act(nil, []float32{float32(n % 61)}, a)
		if r := p.rules[0]; len(r.above) > 0 && (r.above[0] == r.below[0] || r.above[1] == r.below[1]) {
			t.Fatalf("step %d: %v below %v, %v above", n, r.below, r.threshold, r.above)
		}
	}
}
