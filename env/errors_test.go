package env_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// A batch has as many numbers as its rows and the spec say.
func TestCheckBatch(t *testing.T) {
	for _, c := range []struct {
		numbers, rows, elements int
		ok                      bool
	}{{0, 0, 3, true}, {6, 2, 3, true}, {5, 2, 3, false}, {7, 2, 3, false}, {0, 2, 3, false}, {6, 3, 3, false}} {
		err := env.CheckBatch(&env.Batch{Obs: make([]float32, c.numbers)}, c.rows, c.elements)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// NaN and both infinities are refused wherever they stand, by row and name.
func TestCheckFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	spec := env.Spec{Observation: env.Box{Elements: []telemetry.Field{{Name: "lbo_s"}, {Name: "level"}}}}
	for _, c := range []struct {
		obs    []float32
		reward float32
		want   string
	}{
		{[]float32{1, 2, 3}, 4, ""},
		{[]float32{math.MaxFloat32, -math.MaxFloat32, 0}, -math.MaxFloat32, ""},
		{[]float32{nan, 2, 3}, 4, "element 0 (lbo_s) is NaN"},
		{[]float32{1, inf, 3}, 4, "element 1 (level) is +Inf"},
		{[]float32{1, 2, -inf}, 4, "element 2 is -Inf"}, // an element without a name
		{[]float32{1, 2, 3}, nan, "reward is NaN"},
		{[]float32{1, 2, 3}, inf, "reward is +Inf"},
		{[]float32{1, 2, 3}, -inf, "reward is -Inf"},
	} {
		err := env.CheckFinite(c.obs, c.reward, 5, spec)
		if c.want == "" {
			if err != nil {
				t.Errorf("%v, %v: %v", c.obs, c.reward, err)
			}
			continue
		}
		var row *env.RowError
		if !errors.As(err, &row) || row.Row != 5 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %v: %v, want row 5 and %q", c.obs, c.reward, err, c.want)
		}
	}
}

// Switches are counted from 1 on, up to the first whose queue depth is missing.
func TestCountSwitches(t *testing.T) {
	for columns, want := range map[string]int{
		"": 0, "lbo_s": 0, "enq_qdepth1": 1, "deq_qdepth1": 0, "enq_qdepth2": 0, "enq_qdepth2 enq_qdepth1": 2,
		"enq_qdepth1 enq_qdepth3": 1, "lbo_s enq_qdepth1 enq_qdepth2 enq_qdepth3 enq_qdepth4": 4,
	} {
		var fields []telemetry.Field
		for _, name := range strings.Fields(columns) {
			fields = append(fields, telemetry.Field{Name: name})
		}
		if got := env.CountSwitches(fields); got != want {
			t.Errorf("%q: %d switches, want %d", columns, got, want)
		}
	}
}
