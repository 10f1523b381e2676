package closedloop

import (
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// showsOf is what a queue shows whose share of the limit is low or high by a
// state, in blocks of a limit, a state being given by second and limit.
func showsOf(seed uint64, seconds, block int, high func(t, limit int) bool) observed {
	o := observed{n: seconds, class: make([]int32, seconds), limit: make([]int32, seconds)}
	u := func(t, i int) float64 {
		return rng.Key{Seed: seed, A: uint32(t), Purpose: rng.Start}.Float64(uint32(i))
	}
	limit := 0
	for t := range seconds {
		if t%block == 0 {
			limit = int(2 * u(t, 0))
		}
		o.limit[t] = int32(limit)
		if o.class[t] = int32(3 * u(t, 1)); high(t, limit) {
			o.class[t] += 3
		}
	}
	return o
}

// A load that stays a while is found in twenty minutes of it, though its few
// stays fall under limits as they fall: shares by limit alone would say that it
// goes with them. What does follow the limit is no load.
func TestRegimesOfShortRecordings(t *testing.T) {
	unequal := 0
	for seed := range uint64(12) {
		o := []observed{showsOf(seed, 1200, 120, func(t, _ int) bool { return (t+int(seed)*61)/400%2 == 0 })}
		c := fitChain(o, 2, 1, 2)
		if byLimit(o, [][]uint8{c.path(&o[0])}, 2, 1, 2) > skewed {
			unequal++
		}
		if k, _ := choose(o, 1, 2); k != 2 {
			t.Errorf("seed %d: a load of two regimes, 400 s each, in 1200 s: %d regimes", seed, k)
		}
	}
	if unequal == 0 {
		t.Error("no stays fell unequally: the test shows nothing")
	}
	for seed := range uint64(6) {
		// under one limit always low; under the other high in three blocks of four
		var path []uint8
		follows := showsOf(seed, 3600, 40, func(t, limit int) bool {
			high := limit == 1 && t/40%4 != 0
			path = append(path, map[bool]uint8{true: 1}[high])
			return high
		})
		if !goWithLimit([]observed{follows}, [][]uint8{path}, 2, 1, 2) {
			t.Errorf("seed %d: regimes that follow the limit pass for a load's", seed)
		}
	}
}

// A fit says what its recordings are short of, and nothing of ones that are long
// enough.
func TestWarnings(t *testing.T) {
	constant := func(limit int, seconds int) telemetry.Recording {
		r := toy(uint64(limit), seconds, 40, false)
		for i := range r.Limits {
			r.Limits[i] = limit
		}
		return r
	}
	rare := toy(5, 1500, 40, false)
	for i := 700; i < 720; i++ {
		rare.Limits[i] = 64
	}
	for name, c := range map[string]struct {
		data    []telemetry.Recording
		regimes int
		want    []string
	}{
		"enough":         {toys(6, 1500, 40, false), 2, nil},
		"one limit each": {[]telemetry.Recording{constant(32, 1500), constant(128, 1500)}, 1, []string{"no recording changes its limit"}},
		"a rare limit":   {append(toys(5, 1500, 40, false), rare), 1, []string{"limit 64 was in force for 20 s"}},
		"a short one":    {toys(1, 250, 40, false), 2, []string{"limit 32 was", "limit 128 was", "the load changed"}},
	} {
		m, err := Fit(t.Context(), Config{Hidden: 4, Updates: 1, Window: 16, Batch: 2, Regimes: c.regimes}, backend(t), c.data, FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range c.want {
			if i >= len(m.Warnings) || !strings.HasPrefix(m.Warnings[i], w) {
				t.Errorf("%s: warnings %q, want %q", name, m.Warnings, c.want)
			}
		}
		if len(m.Warnings) != len(c.want) {
			t.Errorf("%s: warnings %q, want %q", name, m.Warnings, c.want)
		}
	}
	// regimes that follow the limit
	o := showsOf(1, 3600, 40, func(int, int) bool { return false })
	path := make([]uint8, o.n)
	for t, l := range o.limit {
		path[t] = uint8(l)
	}
	r := telemetry.Recording{Data: must(telemetry.NewDataset([]telemetry.Field{{Name: "x"}}, 0, time.Unix(0, 0), make([]float32, o.n), make([]bool, o.n)))}
	for _, l := range o.limit {
		r.Limits = append(r.Limits, []int{32, 128}[l])
	}
	k := &codec{Switches: 1, Limits: [][]int32{{32, 128}}, Load: &load{K: 2}}
	if w := k.warnings([]telemetry.Recording{r}, [][]uint8{path}, []observed{o}, 1); len(w) != 1 || !strings.Contains(w[0], "follow the limit") {
		t.Errorf("regimes that are the limits: %q", w)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
