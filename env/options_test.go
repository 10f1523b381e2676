package env_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
)

// Both sides of what a reset may be asked for.
func TestOptionsBothSides(t *testing.T) {
	load := func(x float64) *float64 { return &x }
	whole := env.OptionSpec{Initial: []p4.Limit{32, 64}, TrafficSeed: true, Load: true, Phases: []string{"busy", "quiet"}}
	for _, c := range []struct {
		s    env.OptionSpec
		o    env.Options
		want string
	}{
		{whole, env.Options{}, ""}, {env.OptionSpec{}, env.Options{}, ""},
		{whole, env.Options{Initial: []p4.Limit{32}}, ""}, {whole, env.Options{Initial: []p4.Limit{64, 32}}, ""}, {whole, env.Options{Initial: []p4.Limit{}}, "0 limits, want one or 2"},
		{whole, env.Options{Initial: []p4.Limit{32, 32, 32}}, "3 limits, want one or 2"}, {whole, env.Options{Initial: []p4.Limit{32, 33}}, "33 is not one of [32 64]"}, {env.OptionSpec{}, env.Options{Initial: []p4.Limit{32}}, "32 is not one of []"},
		{whole, env.Options{TrafficSeed: []uint64{1}}, ""}, {whole, env.Options{TrafficSeed: []uint64{1, 2, 3}}, ""}, {whole, env.Options{TrafficSeed: []uint64{1, 2}}, "2 seeds, want one or 3"},
		{whole, env.Options{TrafficSeed: []uint64{}}, "0 seeds, want one or 3"}, {whole, env.Options{TrafficSeed: []uint64{1, 2, 3, 4}}, "4 seeds"}, {env.OptionSpec{}, env.Options{TrafficSeed: []uint64{1}}, "traffic_seed: the traffic here has none"},
		{whole, env.Options{Load: load(0)}, ""}, {whole, env.Options{Load: load(1)}, ""}, {whole, env.Options{Load: load(-1e-9)}, "outside 0…1"}, {whole, env.Options{Load: load(1 + 1e-9)}, "outside 0…1"},
		{whole, env.Options{Load: load(math.NaN())}, "load: NaN"}, {env.OptionSpec{}, env.Options{Load: load(1)}, "load: the traffic here has none to share"},
		{whole, env.Options{Phase: "quiet"}, ""}, {whole, env.Options{Phase: "Quiet"}, `phase: "Quiet" is not one of ["busy" "quiet"]`},
	} {
		err := c.s.Check(c.o, 3, 2)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, env.ErrInvalidOption)) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
		if empty := c.o.Initial == nil && c.o.TrafficSeed == nil && c.o.Load == nil && c.o.Phase == ""; c.o.Empty() != empty {
			t.Errorf("%+v is empty: %v", c.o, !empty)
		}
	}
	// A vector without options takes a reset without.
	ctx := context.Background()
	var out env.Batch
	for _, v := range []env.Vector{mute{newClocks(1)}, env.WithAutoreset(mute{newClocks(1)}, env.SameStep)} {
		if err := env.ResetWith(ctx, v, nil, []uint64{4}, env.Options{}, &out); err != nil || out.Obs[1] != 4 {
			t.Errorf("%v %+v", err, out)
		}
		if err := env.ResetWith(ctx, v, nil, nil, env.Options{Phase: "x"}, &out); !errors.Is(err, env.ErrInvalidOption) {
			t.Errorf("got %v", err)
		}
		if s := env.OptionsOf(v); s.Load || s.TrafficSeed || s.Initial != nil || s.Phases != nil {
			t.Errorf("%+v", s)
		}
	}
}
