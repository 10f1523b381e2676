package planegym_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/p4"
)

// TestResetOptions: each option changes the episode that the reset begins as it
// says, and no later one.
func TestResetOptions(t *testing.T) {
	ctx := context.Background()
	v, err := planegym.Make(ctx, "contended", planegym.Options{NumEnvs: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	spec := env.OptionsOf(v)
	if !slices.Equal(spec.Initial, []p4.Limit{32, 64, 128}) || !spec.TrafficSeed || !spec.Load || !slices.Equal(spec.Phases, []string{"bursts", "bulk"}) {
		t.Errorf("%+v", spec)
	}
	var b env.Batch
	begin := func(seeds []uint64, o env.Options) []float32 {
		t.Helper()
		if err := env.ResetWith(ctx, v, nil, seeds, o, &b); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(b.Obs)
	}
	info := func(field string, row int) float32 {
		i := v.(env.Informer)
		for j, f := range i.InfoFields() {
			if f.Name == field {
				return i.Info(row, nil)[j]
			}
		}
		t.Fatalf("no field %s", field)
		return 0
	}
	seven := []uint64{7, 8}
	own, next := begin(seven, env.Options{}), begin(nil, env.Options{})
	one, none := 1., 0.
	if again := begin(seven, env.Options{Load: &one}); !slices.Equal(again, own) {
		t.Errorf("all of the load is not the scenario's own: %v, %v", again, own)
	}
	if after := begin(nil, env.Options{}); !slices.Equal(after, next) {
		t.Error("an option changed the next episode")
	}
	half := len(own) / 2
	same := begin(seven, env.Options{TrafficSeed: []uint64{7}})
	if !slices.Equal(same[:half], same[half:]) || !slices.Equal(same[:half], own[:half]) {
		t.Error("rows of one traffic seed differ, or are not those of the seed")
	}
	if again := begin(nil, env.Options{TrafficSeed: []uint64{7}}); !slices.Equal(again, same) {
		t.Error("a later episode of the same traffic seed differs")
	}
	if begin(seven, env.Options{Initial: []p4.Limit{32}}); info("limit1", 0) != 32 || info("limit1", 1) != 32 {
		t.Errorf("limits in force: %v, %v", info("limit1", 0), info("limit1", 1))
	}
	if begin(seven, env.Options{}); info("limit1", 0) != 64 {
		t.Errorf("limit in force after an episode of another: %v", info("limit1", 0))
	}
	depth := func(o env.Options) (sum float32) {
		begin([]uint64{1, 2}, o)
		for range 10 {
			if err := v.Step(ctx, nil, []int32{1, 1}, &b); err != nil {
				t.Fatal(err)
			}
			sum += info("enq_qdepth1", 0) + info("enq_qdepth1", 1)
		}
		return sum
	}
	empty, bulk, bursts := depth(env.Options{Load: &none, Phase: "bulk"}), depth(env.Options{Phase: "bulk"}), depth(env.Options{Phase: "bursts"})
	if !(empty < bulk/2) || bulk == bursts {
		t.Errorf("mean depths sum to %v without load, %v in phase bulk, %v in phase bursts", empty, bulk, bursts)
	}
	two := 2.
	for _, o := range []env.Options{{Load: &two}, {Phase: "night"}, {Initial: []p4.Limit{33}}, {Initial: []p4.Limit{}}, {TrafficSeed: []uint64{1, 2, 3}}} {
		was := begin(seven, env.Options{})
		if err := env.ResetWith(ctx, v, nil, seven, o, &b); !errors.Is(err, env.ErrInvalidOption) {
			t.Errorf("%+v: %v", o, err)
		}
		if err := v.Step(ctx, nil, []int32{1, 1}, &b); err != nil || len(was) == 0 {
			t.Errorf("after a refused option: %v", err)
		}
	}
	cart, err := cartpole.New(1, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.ResetWith(ctx, cart, nil, nil, env.Options{Load: &one}, &b); !errors.Is(err, env.ErrInvalidOption) {
		t.Errorf("of an environment that has none: %v", err)
	}
}

// TestResetOptionsInSnapshots: a thinned load goes on after a snapshot.
func TestResetOptionsInSnapshots(t *testing.T) {
	ctx := context.Background()
	share := .4
	var runs [2][]float32
	for k := range runs {
		v, err := planegym.Make(ctx, "contended", planegym.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b env.Batch
		if err := env.ResetWith(ctx, v, nil, []uint64{3}, env.Options{Load: &share, Phase: "bulk"}, &b); err != nil {
			t.Fatal(err)
		}
		for step := range 12 {
			if k == 1 && step == 4 {
				state, err := v.(env.Snapshotter).Snapshot(0, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.Reset(ctx, nil, []uint64{9}, &b); err != nil {
					t.Fatal(err)
				}
				if err := v.(env.Snapshotter).Restore(0, state); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.Step(ctx, nil, []int32{1}, &b); err != nil {
				t.Fatal(err)
			}
			runs[k] = append(runs[k], b.Obs...)
		}
		v.Close()
	}
	if !slices.Equal(runs[0], runs[1]) {
		t.Error("an episode of less load went on otherwise after a snapshot")
	}
}
