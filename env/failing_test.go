package env_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

var errFailing = errors.New("fails once")

// failing is a vector whose calls fail where failReset or failStep say so, before
// they change anything.
type failing struct {
	env.Vector
	failReset, failStep bool
}

func (f *failing) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	if f.failReset {
		f.failReset = false
		return errFailing
	}
	return f.Vector.Reset(ctx, rows, seeds, out)
}

func (f *failing) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if f.failStep {
		f.failStep = false
		return errFailing
	}
	return f.Vector.Step(ctx, rows, actions, out)
}

func (f *failing) Snapshot(row int, dst []byte) ([]byte, error) {
	return f.Vector.(env.Snapshotter).Snapshot(row, dst)
}

func (f *failing) Restore(row int, src []byte) error {
	return f.Vector.(env.Snapshotter).Restore(row, src)
}

// TestAutoresetSurvivesFailures: a call that steps some rows and resets others is
// made again after it failed, and everything goes on as if it had not: no row is
// left behind an episode that is over. A row that such a call had already reset
// keeps its first observation through a snapshot.
func TestAutoresetSurvivesFailures(t *testing.T) {
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep} {
		for _, fault := range []string{"reset", "step", "none"} {
			t.Run(fmt.Sprintf("%v/%s", mode, fault), func(t *testing.T) {
				want := rolloutWith(t, mode, "none", false)
				got := rolloutWith(t, mode, fault, false)
				if mode == env.NextStep && !slices.Equal(got, want) {
					t.Errorf("after failures of %s the run is another", fault)
				}
				if mode == env.NextStep && !slices.Equal(rolloutWith(t, mode, fault, true), want) {
					t.Errorf("after failures of %s and snapshots the run is another", fault)
				}
			})
		}
	}
}

// rolloutWith steps four cart poles 400 times. Every seventh call fails once, and
// is made again.
func rolloutWith(t *testing.T, mode env.Autoreset, fault string, snapshots bool) []float32 {
	t.Helper()
	cart, err := cartpole.New(4, env.Disabled)
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Vector: cart}
	v := env.WithAutoreset(f, mode)
	var b env.Batch
	ctx := context.Background()
	if err := v.Reset(ctx, nil, []uint64{1, 2, 3, 4}, &b); err != nil {
		t.Fatal(err)
	}
	var all []float32
	for k := range 400 {
		actions := []int32{int32(k % 2), int32(k / 3 % 2), 1, int32(k / 2 % 2)}
		f.failReset, f.failStep = fault == "reset" && k%7 < 3, fault == "step" && k%7 < 3
		for {
			err := v.Step(ctx, nil, actions, &b)
			if err == nil {
				break
			}
			if !errors.Is(err, errFailing) {
				t.Fatalf("step %d after a failure: %v", k, err)
			}
			if snapshots {
				for row := range 4 {
					state, err := v.(env.Snapshotter).Snapshot(row, nil)
					if err == nil {
						err = v.(env.Snapshotter).Restore(row, state)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		f.failReset, f.failStep = false, false
		all = append(append(all, b.Obs...), b.Reward...)
		for i := range 4 {
			if b.Terminated[i] {
				all = append(all, float32(k))
			}
		}
	}
	return all
}
