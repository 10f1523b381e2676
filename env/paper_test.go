package env_test

import (
	"context"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// Gymnasium's documentation, "Vectorized Environments", AutoresetMode.NEXT_STEP:
// the call after the one that ends an episode ignores its action and returns the
// next episode's first observation, reward 0 and no flag. SAME_STEP: the call that
// ends an episode already returns that observation, and the last one apart. Either
// way the transitions of the episodes are the same.
func TestPaperAutoresetModes(t *testing.T) {
	ctx := context.Background()
	play := func(mode env.Autoreset, ignored int32) (steps [][]float32, resets int) {
		v, err := cartpole.New(1, mode)
		if err != nil {
			t.Fatal(err)
		}
		var b env.Batch
		if err := v.Reset(ctx, nil, []uint64{3}, &b); err != nil {
			t.Fatal(err)
		}
		over := false
		for k := int32(0); len(steps) < 200; {
			action := k % 3 % 2
			if over && mode == env.NextStep {
				action = ignored
			}
			if err := v.Step(ctx, nil, []int32{action}, &b); err != nil {
				t.Fatal(err)
			}
			if over && mode == env.NextStep {
				if b.Reward[0] != 0 || b.Terminated[0] || b.Truncated[0] {
					t.Fatalf("a step that resets: reward %v, terminated %v, truncated %v", b.Reward[0], b.Terminated[0], b.Truncated[0])
				}
				steps[len(steps)-1] = append(steps[len(steps)-1], b.Obs...) // the next first observation
				over, resets = false, resets+1
				continue
			}
			k++
			over = b.Terminated[0] || b.Truncated[0]
			last := b.Obs
			if over && mode == env.SameStep {
				last = append(slices.Clone(b.FinalObs), b.Obs...)
				resets++
			}
			steps = append(steps, append([]float32{float32(action), b.Reward[0]}, last...))
		}
		return steps, resets
	}
	next, n := play(env.NextStep, 0)
	other, _ := play(env.NextStep, 1)
	same, m := play(env.SameStep, 0)
	if n < 3 || m < 3 {
		t.Fatalf("%d and %d episodes end: the test shows nothing", n, m)
	}
	for i := range 199 { // an episode that ends with the last step has no reset yet
		if !slices.Equal(next[i], other[i]) {
			t.Fatalf("step %d: %v with action 0 in the steps that reset, %v with action 1", i, next[i], other[i])
		}
		if !slices.Equal(next[i], same[i]) {
			t.Fatalf("step %d: %v by next_step, %v by same_step", i, next[i], same[i])
		}
	}
}

// Gymnasium's documentation, "Handling Time Limits": an episode cut by its time
// limit is truncated, not terminated. CartPole-v1 truncates at 500 steps, pays 1
// a step, the last one included, and terminates where the pole falls.
func TestPaperTimeLimitTruncates(t *testing.T) {
	v, err := cartpole.New(1, env.Disabled)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var b env.Batch
	ends := map[string]bool{}
	for seed := uint64(0); seed < 20; seed++ {
		if err := v.Reset(ctx, nil, []uint64{seed}, &b); err != nil {
			t.Fatal(err)
		}
		for k := 1; ; k++ {
			var action int32 // the sign of a linear rule, which balances the pole
			if b.Obs[0]*.05+b.Obs[1]*.2+b.Obs[2]+b.Obs[3]*.5 > 0 || seed%2 == 1 {
				action = 1
			}
			if err := v.Step(ctx, nil, []int32{action}, &b); err != nil {
				t.Fatal(err)
			}
			if b.Reward[0] != 1 {
				t.Fatalf("step %d pays %v", k, b.Reward[0])
			}
			fell := b.Obs[0] < -2.4 || b.Obs[0] > 2.4 || b.Obs[2] < -.20943951 || b.Obs[2] > .20943951
			if b.Terminated[0] != fell || b.Truncated[0] != (k == 500) {
				t.Fatalf("seed %d, step %d at %v: terminated %v, truncated %v", seed, k, b.Obs, b.Terminated[0], b.Truncated[0])
			}
			if fell {
				ends["terminated"] = true
				break
			}
			if k == 500 {
				ends["truncated"] = true
				break
			}
		}
	}
	if len(ends) != 2 {
		t.Errorf("episodes ended %v only", ends)
	}
}
