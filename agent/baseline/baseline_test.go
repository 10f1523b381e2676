package baseline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// spec is an environment of some switches with raw delays beside another
// element each.
func spec(actions int, limits ...p4.Limit) env.Spec {
	s := env.Spec{Limits: limits}
	for i := range 2 {
		n := string(rune('1' + i))
		s.Observation.Elements = append(s.Observation.Elements, telemetry.Field{Name: "enq_qdepth" + n + "_mean", Unit: "packets"}, telemetry.Field{Name: "deq_timedelta" + n + "_mean", Unit: "us"})
		s.Observation.Low = append(s.Observation.Low, 0, 0)
		s.Observation.High = append(s.Observation.High, 64, 100_000)
	}
	for range actions {
		s.Action = append(s.Action, len(limits))
	}
	return s
}

func TestBaselines(t *testing.T) {
	low, high := []float32{9, 100, 9, 200}, []float32{9, 100, 9, 30_000}
	for _, c := range []struct {
		policy string
		spec   env.Spec
		obs    [][]float32
		want   []int32 // S a step
	}{
		{"fixed:64", spec(1, 32, 64), [][]float32{low, high}, []int32{1, 1}},
		{"fixed:64", spec(2, 64, 32), [][]float32{low}, []int32{0, 0}},
		{"fixed:1", env.Spec{Action: env.MultiDiscrete{2}}, [][]float32{low}, []int32{1}},
		{"alternate", spec(1, 8, 16, 32), [][]float32{low, low, low, low}, []int32{0, 1, 2, 0}},
		{"alternate:2", spec(1, 8, 16), [][]float32{low, low, low, low, low}, []int32{0, 0, 1, 1, 0}},
		{"threshold", spec(1, 64, 32, 16), [][]float32{low, high, low}, []int32{0, 2, 0}},    // a tenth of 100 ms
		{"threshold:30000", spec(1, 64, 32), [][]float32{low, high}, []int32{0, 0}},          // at X is not above X
		{"threshold", spec(2, 32, 64), [][]float32{low, high}, []int32{1, 1, 1, 0}},          // each switch its own
		{"codel:5000", spec(1, 16, 32, 64), [][]float32{high, high, high}, []int32{2, 2, 2}}, // an interval is 4
		{"codel:5000", spec(1, 16, 32, 64), [][]float32{high, high, high, low, high}, []int32{2, 2, 2, 2, 2}},
		{"codel:5000", spec(1, 16, 32, 64), [][]float32{high, high, high, high, high, high, high, high, low}, // 4 + 4/√2 = 6.8
			[]int32{2, 2, 2, 1, 1, 1, 0, 0, 2}},
	} {
		p, err := baseline.New(c.policy, c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		// Twice, in another row: what was before an episode is forgotten.
		for _, row := range []int{3, 3, 0} {
			p.Begin([]int{row}, []uint64{5})
			var got []int32
			for _, o := range c.obs {
				a := make([]int32, len(c.spec.Action))
				p.Act([]int{row}, o, a)
				got = append(got, a...)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s in row %d: got %v, want %v", c.policy, row, got, c.want)
			}
		}
	}
}

// A random policy's actions are the episode's, whatever row it is in.
func TestRandom(t *testing.T) {
	p, err := baseline.New("random", spec(2, 8, 16, 32))
	if err != nil {
		t.Fatal(err)
	}
	draw := func(rows []int, seeds []uint64, row int) (all []int32) {
		p.Begin(rows, seeds)
		a := make([]int32, 2*len(rows))
		for range 50 {
			p.Act(rows, nil, a)
			all = append(all, a[2*row:2*row+2]...)
		}
		return all
	}
	alone := draw([]int{0}, []uint64{9}, 0)
	if beside := draw([]int{4, 1}, []uint64{8, 9}, 1); !slices.Equal(alone, beside) {
		t.Errorf("alone %v, beside another %v", alone, beside)
	}
	for a := range int32(3) {
		if !slices.Contains(alone, a) {
			t.Errorf("action %d was never drawn", a)
		}
	}
}

func TestBaselineErrors(t *testing.T) {
	for _, c := range []struct {
		policy string
		spec   env.Spec
		want   string
	}{
		{"greedy", spec(1, 32), "one of fixed:N, random"},
		{"fixed", spec(1, 32), "expected fixed:N"},
		{"fixed:48", spec(1, 32, 64), "48 is not one of the limits [32 64]"},
		{"fixed:2", env.Spec{Action: env.MultiDiscrete{2}}, "action 2 is not in [0, 2)"},
		{"random:1", spec(1, 32), "takes no argument"},
		{"alternate:0", spec(1, 32), "is not a number of steps"},
		{"occupancy:0", spec(1, 32), "is not a share"},
		{"occupancy", spec(1, 32), "has no action1"},
		{"occupancy", env.Spec{Action: env.MultiDiscrete{2}}, "has no enq_qdepth1"},
		{"threshold:x", spec(1, 32), `"x" is not a delay`},
		{"codel:-1", spec(1, 32), "is not a delay"},
		{"codel", env.Spec{Action: env.MultiDiscrete{2}}, "has no deq_timedelta1"},
		{"codel", spec(3, 32, 64), "deq_timedelta of 2 switches, an action sets 3"},
	} {
		if _, err := baseline.New(c.policy, c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", c.policy, err, c.want)
		}
	}
}

// The share is of the limit in force, averaged over steps; a scaled depth is
// refused.
func TestOccupancy(t *testing.T) {
	s := spec(1, 32, 64)
	s.Observation.Elements = append(s.Observation.Elements, telemetry.Field{Name: "action1"})
	s.Observation.Low, s.Observation.High = append(s.Observation.Low, 0), append(s.Observation.High, 1)
	p, err := baseline.New("occupancy:0.4", s)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was before an episode is forgotten
		p.Begin([]int{1}, []uint64{1})
		a := make([]int32, 1)
		for i, c := range []struct {
			depth, action float32
			want          int32
		}{
			{40, 1, 1}, // 40/64 = .625: .3125
			{40, 1, 0}, // .469
			{16, 0, 0}, // 16/32 = .5: .484
			{10, 0, 1}, // .3125: .398
		} {
			p.Act([]int{1}, []float32{0, 0, c.depth, 0, c.action}, a)
			if a[0] != c.want {
				t.Errorf("step %d: action %d, want %d", i, a[0], c.want)
			}
		}
	}
	s.Observation.Elements[0].Unit = ""
	if _, err := baseline.New("occupancy", s); err == nil || !strings.Contains(err.Error(), "goes by packets") {
		t.Errorf("a scaled observation: %v", err)
	}
}
