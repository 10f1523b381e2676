package env_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// A row that a failed call has reset shows its first observation next, in
// another vector too, to which its state was carried; a state that is cut or
// holds what no observation is is refused.
func TestSnapshotOfAResetThatWaits(t *testing.T) {
	ctx := context.Background()
	inner := &failing{Vector: newClocks(2)}
	v := env.WithAutoreset(inner, env.NextStep)
	var out env.Batch
	if err := v.Reset(ctx, nil, []uint64{6, 4}, &out); err != nil { // row 0 ends after 2 steps
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Step(ctx, nil, make([]int32, 4), &out); err != nil {
			t.Fatal(err)
		}
	}
	inner.failStep = true
	if err := v.Step(ctx, nil, make([]int32, 4), &out); !errors.Is(err, errFailing) {
		t.Fatal(err)
	}
	state, err := v.(env.Snapshotter).Snapshot(0, nil)
	if err != nil || len(state) != 1+3*4+3 {
		t.Fatalf("%x, %v", state, err)
	}
	w := env.WithAutoreset(newClocks(2), env.NextStep)
	if err := w.Reset(ctx, nil, []uint64{4, 4}, &out); err != nil {
		t.Fatal(err)
	}
	s := w.(env.Snapshotter)
	bad := map[string][]byte{"nothing": nil, "cut within the observation": state[:1+3*4-1], "without the inner state": state[:1+3*4], "an unknown wait": append([]byte{3}, state[1:]...)}
	for i := range 3 {
		for name, x := range map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)} {
			b := bytes.Clone(state)
			binary.LittleEndian.PutUint32(b[1+4*i:], math.Float32bits(float32(x)))
			bad[name+string(rune('0'+i))] = b
		}
	}
	for name, b := range bad {
		if err := s.Restore(0, b); !errors.Is(err, env.ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Restore(0, state); err != nil {
		t.Fatal(err)
	}
	if err := w.Step(ctx, nil, make([]int32, 4), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.Obs[:3]; !slices.Equal(got, []float32{0, 7, 0}) || out.Reward[0] != 0 || out.Obs[5] != 1 {
		t.Errorf("shows %v, reward %v; want the first observation of episode 7", got, out.Reward[0])
	}
	if err := w.Step(ctx, nil, make([]int32, 4), &out); err != nil || !slices.Equal(out.Obs[:3], []float32{0, 7, 1}) {
		t.Errorf("then %v, %v", out.Obs[:3], err)
	}
}

// A reset with options begins rows anew as a reset does: what waited is forgotten.
func TestResetWithOptionsForgetsTheEnd(t *testing.T) {
	ctx := context.Background()
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep} {
		v := env.WithAutoreset(newClocks(2), mode)
		var out env.Batch
		if err := v.Reset(ctx, nil, []uint64{6, 4}, &out); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := v.Step(ctx, nil, make([]int32, 4), &out); err != nil {
				t.Fatal(err)
			}
		}
		if err := env.ResetWith(ctx, v, []int{0}, []uint64{9}, env.Options{}, &out); err != nil {
			t.Fatal(err)
		}
		if f, ok := v.(env.FinalInformer); ok {
			if info, _ := f.FinalInfo(0, nil); !slices.Equal(info, []float32{900, 1800}) {
				t.Errorf("%v: final info %v, want that of the new episode", mode, info)
			}
		}
		if err := v.Step(ctx, []int{0}, make([]int32, 2), &out); err != nil || !slices.Equal(out.Obs[:3], []float32{0, 9, 1}) {
			t.Errorf("%v: %v, %v; want the first step of episode 9", mode, out.Obs[:3], err)
		}
	}
}

// With same_step a final observation is there in the step that ends an episode
// alone, and a row that was reset within its step waits for nothing.
func TestSameStepLeavesNothing(t *testing.T) {
	ctx := context.Background()
	v := env.WithAutoreset(newClocks(1), env.SameStep)
	var out env.Batch
	if err := v.Reset(ctx, nil, []uint64{6}, &out); err != nil {
		t.Fatal(err)
	}
	for k, want := range [][]float32{{0, 0, 0}, {0, 6, 2}, {0, 0, 0}} {
		if err := v.Step(ctx, nil, make([]int32, 2), &out); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.FinalObs, want) {
			t.Errorf("step %d: final observation %v, want %v", k+1, out.FinalObs, want)
		}
		if state, err := v.(env.Snapshotter).Snapshot(0, nil); err != nil || len(state) != 1+3 || state[0] != 0 {
			t.Errorf("step %d: state %x, %v", k+1, state, err)
		}
	}
}

// The whole of an observation that waits is carried to another vector.
func TestWaitingObservationIsWhole(t *testing.T) {
	ctx := context.Background()
	carts := func() (*failing, env.Vector) {
		cart, err := cartpole.New(2, env.Disabled)
		if err != nil {
			t.Fatal(err)
		}
		f := &failing{Vector: cart}
		v := env.WithAutoreset(f, env.NextStep)
		if err := v.Reset(ctx, nil, []uint64{3, 4}, new(env.Batch)); err != nil {
			t.Fatal(err)
		}
		return f, v
	}
	inner, v := carts()
	var out, other env.Batch
	push := func(v env.Vector, rows []int, out *env.Batch) error {
		return v.Step(ctx, rows, make([]int32, len(rows)), out)
	}
	for out.Terminated = []bool{false}; !out.Terminated[0]; {
		if err := push(v, []int{0}, &out); err != nil {
			t.Fatal(err)
		}
	}
	inner.failStep = true // row 1 steps where row 0 is reset
	if err := push(v, []int{0, 1}, &out); !errors.Is(err, errFailing) {
		t.Fatal(err)
	}
	state, err := v.(env.Snapshotter).Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, w := carts()
	if err := w.(env.Snapshotter).Restore(1, state); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(push(v, []int{0}, &out), push(w, []int{1}, &other)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Obs, other.Obs) || slices.Contains(out.Obs, 0) {
		t.Errorf("shows %v, carried %v", out.Obs, other.Obs)
	}
	for _, row := range []int{-1, 2} {
		if _, err := v.(env.Snapshotter).Snapshot(row, nil); !errors.Is(err, env.ErrInvalidRows) {
			t.Errorf("snapshot of row %d: %v", row, err)
		}
		if err := w.(env.Snapshotter).Restore(row, state); !errors.Is(err, env.ErrBadSnapshot) {
			t.Errorf("restore of row %d: %v", row, err)
		}
	}
}

// With same_step a reset that fails is made up for before the row's next step, once the
// actions are found to be good.
func TestSameStepMakesUpForAReset(t *testing.T) {
	ctx := context.Background()
	inner := &failing{Vector: newClocks(2)}
	v := env.WithAutoreset(inner, env.SameStep)
	var out env.Batch
	if err := v.Reset(ctx, nil, []uint64{6, 4}, &out); err != nil { // row 0 ends after 2 steps
		t.Fatal(err)
	}
	if err := v.Step(ctx, nil, make([]int32, 4), &out); err != nil {
		t.Fatal(err)
	}
	inner.failReset = true
	if err := v.Step(ctx, nil, make([]int32, 4), &out); !errors.Is(err, errFailing) {
		t.Fatal(err)
	}
	inner.failReset = true
	if err := v.Step(ctx, nil, []int32{0, 0, 0, -1}, &out); !errors.Is(err, env.ErrInvalidAction) || !inner.failReset {
		t.Errorf("a bad action: %v, resets at once: %v", err, !inner.failReset)
	}
	if err := v.Step(ctx, nil, make([]int32, 4), &out); !errors.Is(err, errFailing) {
		t.Errorf("the reset fails again: %v", err)
	}
	if err := v.Step(ctx, nil, make([]int32, 4), &out); err != nil || !slices.Equal(out.Obs[:3], []float32{0, 7, 1}) {
		t.Errorf("%v, %v; want the first step of episode 7", out.Obs, err)
	}
}
