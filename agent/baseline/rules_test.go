package baseline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// ruleSpec observes a depth of one switch, the player and the action in force.
func ruleSpec() env.Spec {
	s := env.Spec{Action: env.MultiDiscrete{3}, Limits: []p4.Limit{128, 32, 64}, Initial: []p4.Limit{64}}
	s.Observation.Elements = []telemetry.Field{{Name: "enq_qdepth1_mean", Unit: "packets"}, {Name: "lbo_s", Unit: "s"}, {Name: "level"}, {Name: "action1"}}
	s.Observation.Low, s.Observation.High = make([]float32, 4), []float32{128, 100, 2, 2}
	return s
}

// act is what a policy does for observations of one row, one after another,
// given as depth, buffer, level and the action in force.
func act(t *testing.T, name string, observed ...[4]float32) (actions []int32) {
	t.Helper()
	p, err := New(name, ruleSpec())
	if err != nil {
		t.Fatal(err)
	}
	p.Begin([]int{0}, []uint64{3})
	for _, o := range observed {
		a := []int32{-1}
		p.Act([]int{0}, o[:], a)
		actions = append(actions, a[0])
	}
	return actions
}

// Rules on either side of their thresholds; actions 0, 1, 2 are the limits
// 128, 32, 64.
func TestRules(t *testing.T) {
	full, empty := [4]float32{64, 50, 2, 2}, [4]float32{0, 50, 2, 2}
	for _, c := range []struct {
		name     string
		observed [][4]float32
		want     []int32
	}{
		{"buffer", [][4]float32{{0, 19.9, 2, 0}, {0, 20, 2, 0}}, []int32{1, 0}},
		{"buffer:30", [][4]float32{{0, 29, 2, 0}, {0, 31, 2, 0}}, []int32{1, 0}},
		{"level", [][4]float32{{0, 0, 1, 0}, {0, 0, 2, 0}}, []int32{1, 0}},
		{"inverse:buffer:30", [][4]float32{{0, 29, 2, 0}, {0, 31, 2, 0}}, []int32{0, 1}},
		{"inverse:fixed:64", [][4]float32{full}, []int32{2}},
		{"delayed:2:buffer", [][4]float32{{0, 1, 0, 0}, {0, 30, 0, 0}, {0, 30, 0, 0}, {0, 30, 0, 0}}, []int32{2, 2, 1, 0}},
		{"noisy:0:fixed:32", [][4]float32{full, full}, []int32{1, 1}},
		// averages of the share of 64: .5, .75, .875, then .44, .22
		{"hysteresis:0.3:0.6", [][4]float32{full, full, full, empty, empty}, []int32{0, 1, 1, 1, 0}},
		{"occupancy:0.6", [][4]float32{full, full, full, empty, empty}, []int32{0, 1, 1, 0, 0}},
	} {
		if got := act(t, c.name, c.observed...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A threshold that an observation cannot reach, as seconds where the buffer is
// scaled to [0, 1], would be a constant by another name: it is refused. The top
// level is the top on any scale.
func TestRulesOnAScale(t *testing.T) {
	scaled := ruleSpec()
	scaled.Observation.Elements = append(scaled.Observation.Elements, telemetry.Field{Name: "deq_timedelta1_mean"})
	scaled.Observation.Low, scaled.Observation.High = make([]float32, 5), []float32{1, 1, 1, 1, 1}
	for _, name := range []string{"buffer", "buffer:30", "inverse:buffer:1.5", "level:2", "threshold:3000", "codel:6000"} {
		if _, err := New(name, scaled); err == nil || !strings.Contains(err.Error(), "never reached") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string][]int32{"level": {1, 0}, "level:0.5": {0, 0}, "buffer:0.3": {1, 0}, "threshold:0.5": {0, 1}} {
		p, err := New(name, scaled)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p.Begin([]int{0}, []uint64{1})
		for i, obs := range [][]float32{{0, .2, .5, 0, .1}, {0, .4, 1, 0, .9}} {
			a := []int32{-1}
			if p.Act([]int{0}, obs, a); a[0] != want[i] {
				t.Errorf("%s: observation %v gives action %d, want %d", name, obs, a[0], want[i])
			}
		}
	}
}

// sticky holds what it draws; noisy leaves about its share alone, and the
// limits it draws are of all kinds.
func TestRulesByChance(t *testing.T) {
	a := act(t, "sticky:5", make([][4]float32, 60)...)
	kinds := map[int32]bool{}
	for i, v := range a {
		kinds[v] = true
		if i%5 > 0 && v != a[i-1] {
			t.Fatalf("sticky:5 changes within a stretch: %v", a)
		}
	}
	if len(kinds) != 3 {
		t.Errorf("sticky:5 drew %v", kinds)
	}
	others := map[int32]int{}
	for _, v := range act(t, "noisy:0.3:fixed:32", make([][4]float32, 2000)...) {
		others[v]++
	}
	if n := others[0] + others[2]; n < 320 || n > 480 || others[0] == 0 || others[2] == 0 {
		t.Errorf("noisy:0.3:fixed:32 left 32 in %v of 2000 steps, expected about 400", others)
	}
}

func TestRulesAreRefused(t *testing.T) {
	blind := ruleSpec()
	blind.Observation.Elements = blind.Observation.Elements[:1]
	for name, spec := range map[string]env.Spec{
		"buffer": blind, "level": blind, "buffer:x": ruleSpec(), "sticky": ruleSpec(), "sticky:0": ruleSpec(), "hysteresis:0.6:0.3": ruleSpec(),
		"hysteresis:0.6": ruleSpec(), "delayed:0:random": ruleSpec(), "delayed:random": ruleSpec(), "noisy:2:random": ruleSpec(), "inverse:": ruleSpec(),
		"noisy:0.5:inverse:nothing": ruleSpec(),
	} {
		if _, err := New(name, spec); err == nil || !strings.Contains(err.Error(), "policy") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ExampleNew() {
	p, _ := New("delayed:3:hysteresis:0.3:0.6", ruleSpec())
	a := []int32{-1}
	p.Begin([]int{0}, []uint64{1})
	p.Act([]int{0}, []float32{64, 50, 2, 2}, a)
	fmt.Println(ruleSpec().Limits[a[0]])
	// Output: 64
}
