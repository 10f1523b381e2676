// Package envtest tests the contract of env.Vector, on any implementation.
//
//	envtest.Check(t, func(t *testing.T) env.Vector { … })
//
// envtest's own tests seed a fault at a time into a correct vector and see
// each one caught; faults_test.go lists them.
package envtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
)

// TB is what Check needs of a *testing.T, so that a test can watch it fail.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Check holds what open makes to the contract. open is called several times
// and must give equal vectors of at least 3 rows; Check closes them.
func Check(t *testing.T, open func(t *testing.T) env.Vector) {
	t.Helper()
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			v := open(t)
			defer v.Close()
			if c.seeded && v.Spec().RealTime {
				t.Skipf("%s: a real-time environment cannot be seeded", c.name)
			}
			c.check(t, v, func() env.Vector { return open(t) })
		})
	}
}

type clause struct {
	name   string
	seeded bool // needs a plant that can be seeded: skipped where RealTime
	check  func(t TB, v env.Vector, open func() env.Vector)
}

var contract = []clause{
	{"spec", false, checkSpec},
	{"spaces", false, checkSpaces},
	{"order", false, checkOrder},
	{"actions", false, checkActions},
	{"rows", false, checkRows},
	{"cancel", false, checkCancel},
	{"close", false, checkClose},
	{"autoreset", false, checkAutoreset},
	{"seeds", true, checkSeeds},
	{"subset", true, checkSubset},
	{"index", true, checkIndex},
	{"atomic", true, checkAtomic},
	{"snapshot", true, checkSnapshot},
}

const rollout = 64 // steps of the runs that are compared

var background = context.Background()

func checkSpec(t TB, v env.Vector, _ func() env.Vector) {
	s := v.Spec()
	d := s.Observation.Dim()
	switch {
	case d == 0 || len(s.Observation.High) != d || len(s.Observation.Elements) != d:
		t.Fatalf("observation: %d lows, %d highs, %d elements", d, len(s.Observation.High), len(s.Observation.Elements))
	case len(s.Action) == 0:
		t.Fatalf("action space is empty")
	case !(s.StepSeconds > 0):
		t.Errorf("step_seconds is %v", s.StepSeconds)
	case s.MaxSteps < 0:
		t.Errorf("max_steps is %d", s.MaxSteps)
	case v.Num() < 1:
		t.Fatalf("num_envs is %d", v.Num())
	}
	for i := range d {
		if !(s.Observation.Low[i] <= s.Observation.High[i]) {
			t.Errorf("observation %d: bounds %v…%v", i, s.Observation.Low[i], s.Observation.High[i])
		}
		if s.Observation.Elements[i].Name == "" {
			t.Errorf("observation %d has no name", i)
		}
	}
	for i, n := range s.Action {
		if n < 1 {
			t.Errorf("action %d has %d values", i, n)
		}
		if s.Limits != nil && n != len(s.Limits) {
			t.Errorf("action %d has %d values for %d limits", i, n, len(s.Limits))
		}
	}
	if s.Limits != nil && len(s.Initial) != len(s.Action) {
		t.Errorf("%d initial limits for %d actions", len(s.Initial), len(s.Action))
	}
}

// checkBatch holds b, of n rows, to the spaces of v.
func checkBatch(t TB, v env.Vector, n int, b *env.Batch) {
	s := v.Spec()
	d := s.Observation.Dim()
	if len(b.Obs) != n*d || len(b.Reward) != n || len(b.Terminated) != n || len(b.Truncated) != n {
		t.Fatalf("%d rows of %d elements: obs %d, reward %d, terminated %d, truncated %d",
			n, d, len(b.Obs), len(b.Reward), len(b.Terminated), len(b.Truncated))
	}
	if want := n * d; s.Autoreset == env.SameStep && len(b.FinalObs) != want {
		t.Fatalf("same_step: final_obs has %d elements, want %d", len(b.FinalObs), want)
	} else if s.Autoreset != env.SameStep && len(b.FinalObs) != 0 {
		t.Errorf("%v: final_obs has %d elements", s.Autoreset, len(b.FinalObs))
	}
	inSpace := func(what string, obs []float32) {
		for j, x := range obs {
			if !(x >= s.Observation.Low[j] && x <= s.Observation.High[j]) {
				t.Errorf("%s: %s is %v, outside %v…%v", what, s.Observation.Elements[j].Name, x, s.Observation.Low[j], s.Observation.High[j])
			}
		}
	}
	for i := range n {
		over := b.Terminated[i] || b.Truncated[i]
		// Past its end an episode may leave the space, as Gymnasium's do.
		if !over || s.Autoreset == env.SameStep {
			inSpace(fmt.Sprintf("row %d", i), b.Obs[i*d:(i+1)*d])
		}
		if r := float64(b.Reward[i]); !(r >= s.Reward[0] && r <= s.Reward[1]) && r != 0 || math.IsNaN(r) {
			t.Errorf("row %d: reward %v is outside %v", i, r, s.Reward)
		}
		for j := range d {
			if x := float64(b.Obs[i*d+j]); math.IsNaN(x) || math.IsInf(x, 0) {
				t.Errorf("row %d: element %d is %v", i, j, x)
			}
		}
	}
}

// choose fills actions for rows of a vector from the stream of (seed, step).
func choose(space env.MultiDiscrete, n int, seed uint64, step int, actions []int32) []int32 {
	actions = actions[:0]
	for i := range n {
		for j, k := range space {
			key := rng.Key{Seed: seed + uint64(i), B: uint32(step), Purpose: rng.Action}
			actions = append(actions, int32(key.Intn(uint32(j), k)))
		}
	}
	return actions
}

func must(t TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func seedsFrom(first uint64, n int) []uint64 {
	s := make([]uint64, n)
	for i := range s {
		s[i] = first + uint64(i)
	}
	return s
}

func checkSpaces(t TB, v env.Vector, _ func() env.Vector) {
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, nil, &b))
	checkBatch(t, v, v.Num(), &b)
	for i := range v.Num() {
		if b.Reward[i] != 0 || b.Terminated[i] || b.Truncated[i] {
			t.Errorf("reset: row %d has reward %v, terminated %v, truncated %v", i, b.Reward[i], b.Terminated[i], b.Truncated[i])
		}
	}
	step := stepper(t, v, &b)
	for k := range steps(v) {
		step(choose(v.Spec().Action, v.Num(), 1, k, nil))
		checkBatch(t, v, v.Num(), &b)
	}
}

// steps is how long a rollout of v may take: a real-time one waits.
func steps(v env.Vector) int {
	if v.Spec().RealTime {
		return 2
	}
	return rollout
}

// stepper steps all of v, resetting ended rows itself where v does not.
func stepper(t TB, v env.Vector, b *env.Batch) func(actions []int32) {
	var again []int
	var part env.Batch
	return func(actions []int32) {
		if len(again) > 0 {
			must(t, "reset of ended rows", v.Reset(background, again, nil, &part))
			checkBatch(t, v, len(again), &part)
			again = again[:0]
		}
		must(t, "step", v.Step(background, nil, actions, b))
		if v.Spec().Autoreset == env.Disabled {
			for i := range v.Num() {
				if b.Terminated[i] || b.Truncated[i] {
					again = append(again, i)
				}
			}
		}
	}
}

func checkOrder(t TB, v env.Vector, _ func() env.Vector) {
	var b env.Batch
	actions := make([]int32, v.Num()*len(v.Spec().Action))
	if err := v.Step(background, nil, actions, &b); !errors.Is(err, env.ErrNeedReset) {
		t.Errorf("step before reset: %v, want %v", err, env.ErrNeedReset)
	}
	must(t, "reset", v.Reset(background, nil, nil, &b))
	must(t, "step", v.Step(background, nil, actions, &b))
}

func checkActions(t TB, v env.Vector, _ func() env.Vector) {
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, nil, &b))
	space := v.Spec().Action
	good := make([]int32, v.Num()*len(space))
	for _, bad := range []int32{-1, int32(space[len(space)-1]), math.MaxInt32, math.MinInt32} {
		actions := slices.Clone(good)
		actions[len(actions)-1] = bad
		err := v.Step(background, nil, actions, &b)
		var row *env.RowError
		if !errors.Is(err, env.ErrInvalidAction) {
			t.Errorf("action %d: %v, want %v", bad, err, env.ErrInvalidAction)
		} else if !errors.As(err, &row) || row.Row != v.Num()-1 {
			t.Errorf("action %d: %v does not name row %d", bad, err, v.Num()-1)
		}
	}
	for _, n := range []int{0, len(good) - 1, len(good) + 1} {
		if err := v.Step(background, nil, make([]int32, n), &b); !errors.Is(err, env.ErrInvalidAction) {
			t.Errorf("%d actions for %d: %v, want %v", n, len(good), err, env.ErrInvalidAction)
		}
	}
	must(t, "step after refused ones", v.Step(background, nil, good, &b))
}

func checkRows(t TB, v env.Vector, _ func() env.Vector) {
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, nil, &b))
	s := len(v.Spec().Action)
	for _, rows := range [][]int{{-1}, {v.Num()}, {0, 0}} {
		if err := v.Reset(background, rows, nil, &b); !errors.Is(err, env.ErrInvalidRows) {
			t.Errorf("reset of rows %v: %v, want %v", rows, err, env.ErrInvalidRows)
		}
		if err := v.Step(background, rows, make([]int32, len(rows)*s), &b); !errors.Is(err, env.ErrInvalidRows) {
			t.Errorf("step of rows %v: %v, want %v", rows, err, env.ErrInvalidRows)
		}
	}
	if err := v.Reset(background, []int{0}, make([]uint64, 2), &b); !errors.Is(err, env.ErrInvalidRows) {
		t.Errorf("two seeds for one row: %v, want %v", err, env.ErrInvalidRows)
	}
	must(t, "step after refused ones", v.Step(background, nil, make([]int32, v.Num()*s), &b))
}

func checkCancel(t TB, v env.Vector, _ func() env.Vector) {
	var b env.Batch
	ctx, cancel := context.WithCancel(background)
	cancel()
	actions := make([]int32, v.Num()*len(v.Spec().Action))
	if err := v.Reset(ctx, nil, nil, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("reset with a cancelled context: %v", err)
	}
	must(t, "reset", v.Reset(background, nil, nil, &b))
	if err := v.Step(ctx, nil, actions, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("step with a cancelled context: %v", err)
	}
	must(t, "step after a cancelled one", v.Step(background, nil, actions, &b))
}

func checkClose(t TB, v env.Vector, _ func() env.Vector) {
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, nil, &b))
	must(t, "close", v.Close())
	must(t, "close again", v.Close())
	if err := v.Reset(background, nil, nil, &b); !errors.Is(err, env.ErrClosed) {
		t.Errorf("reset after close: %v, want %v", err, env.ErrClosed)
	}
	if err := v.Step(background, nil, make([]int32, v.Num()*len(v.Spec().Action)), &b); !errors.Is(err, env.ErrClosed) {
		t.Errorf("step after close: %v, want %v", err, env.ErrClosed)
	}
}

// checkAutoreset runs until an episode ends, or MaxSteps says it must have.
func checkAutoreset(t TB, v env.Vector, _ func() env.Vector) {
	s := v.Spec()
	if s.RealTime || s.MaxSteps == 0 || s.MaxSteps > 5000 {
		return
	}
	d, n := s.Observation.Dim(), v.Num()
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, nil, &b))
	row := -1
	var actions []int32
	for k := 0; row < 0; k++ {
		if k >= s.MaxSteps {
			t.Fatalf("no episode ended within max_steps = %d", s.MaxSteps)
		}
		actions = choose(s.Action, n, 3, k, actions)
		must(t, "step", v.Step(background, nil, actions, &b))
		for i := range n {
			if b.Terminated[i] || b.Truncated[i] {
				row = i
			}
		}
		if k == s.MaxSteps-1 && row < 0 {
			t.Fatalf("step %d is max_steps, and nothing is truncated", s.MaxSteps)
		}
	}
	switch s.Autoreset {
	case env.Disabled:
		err := v.Step(background, []int{row}, actions[:len(s.Action)], &b)
		var named *env.RowError
		if !errors.Is(err, env.ErrEpisodeOver) || !errors.As(err, &named) || named.Row != row {
			t.Errorf("step of row %d after its end: %v, want %v", row, err, env.ErrEpisodeOver)
		}
		must(t, "reset", v.Reset(background, []int{row}, nil, &b))
		must(t, "step after reset", v.Step(background, []int{row}, actions[:len(s.Action)], &b))
	case env.NextStep:
		last := slices.Clone(b.Obs[row*d : (row+1)*d])
		must(t, "step", v.Step(background, []int{row}, actions[:len(s.Action)], &b))
		if b.Reward[0] != 0 || b.Terminated[0] || b.Truncated[0] {
			t.Errorf("next_step: row %d is being reset: reward %v, terminated %v, truncated %v", row, b.Reward[0], b.Terminated[0], b.Truncated[0])
		}
		if slices.Equal(last, b.Obs) {
			t.Errorf("next_step: row %d shows the last observation of the episode that ended", row)
		}
		must(t, "step after reset", v.Step(background, []int{row}, actions[:len(s.Action)], &b))
	case env.SameStep:
		if slices.Equal(b.FinalObs[row*d:(row+1)*d], b.Obs[row*d:(row+1)*d]) {
			t.Errorf("same_step: row %d's observation is its final one: no reset happened", row)
		}
		must(t, "step after the end", v.Step(background, []int{row}, actions[:len(s.Action)], &b))
	}
}

// record is a rollout of all of v, from seeds on, as bytes to compare.
func record(t TB, v env.Vector, seeds []uint64, actionSeed uint64) []float32 {
	t.Helper()
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, seeds, &b))
	out := slices.Clone(b.Obs)
	step := stepper(t, v, &b)
	for k := range rollout {
		step(choose(v.Spec().Action, v.Num(), actionSeed, k, nil))
		out = append(out, b.Obs...)
		out = append(out, b.Reward...)
		for i := range v.Num() {
			out = append(out, flag(b.Terminated[i]), flag(b.Truncated[i]))
		}
		out = append(out, b.FinalObs...)
	}
	return out
}

func flag(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

func checkSeeds(t TB, v env.Vector, open func() env.Vector) {
	n := v.Num()
	first := record(t, v, seedsFrom(7, n), 1)
	if !slices.Equal(first, record(t, v, seedsFrom(7, n), 1)) {
		t.Errorf("one vector, equal seeds and actions, two runs: different")
	}
	w := open()
	defer w.Close()
	if !slices.Equal(first, record(t, w, seedsFrom(7, n), 1)) {
		t.Errorf("two vectors, equal seeds and actions: different")
	}
	if slices.Equal(first, record(t, w, seedsFrom(1007, n), 1)) {
		t.Errorf("seeds 7… and 1007… give the same run")
	}
	// Unseeded resets go on with the generator, and equally on both.
	a, b := record(t, v, nil, 1), record(t, v, nil, 1)
	if slices.Equal(a, b) {
		t.Errorf("two unseeded resets in a row give the same run")
	}
	must(t, "reset", v.Reset(background, nil, seedsFrom(7, n), new(env.Batch)))
	must(t, "reset", w.Reset(background, nil, seedsFrom(7, n), new(env.Batch)))
	if !slices.Equal(record(t, v, nil, 1), record(t, w, nil, 1)) {
		t.Errorf("the unseeded reset after equal seeds differs")
	}
	// Never seeded: row i behaves as seeded with i.
	x, y := open(), open()
	defer x.Close()
	defer y.Close()
	if !slices.Equal(record(t, x, nil, 1), record(t, y, seedsFrom(0, n), 1)) {
		t.Errorf("a vector never seeded is not one with row i seeded with i")
	}
}

// checkSubset steps rows in subsets and in another order, and compares with
// stepping all at once.
func checkSubset(t TB, v env.Vector, open func() env.Vector) {
	w := open()
	defer w.Close()
	n, d, s := v.Num(), v.Spec().Observation.Dim(), len(v.Spec().Action)
	var all, part env.Batch
	must(t, "reset", v.Reset(background, nil, seedsFrom(5, n), &all))
	must(t, "reset", w.Reset(background, nil, seedsFrom(5, n), &part))
	order := make([]int, n)
	for i := range order {
		order[i] = n - 1 - i
	}
	for k := range rollout {
		actions := choose(v.Spec().Action, n, 9, k, nil)
		must(t, "step", v.Step(background, nil, actions, &all))
		for _, rows := range [][]int{order[:n/2], order[n/2:]} {
			var sub []int32
			for _, r := range rows {
				sub = append(sub, actions[r*s:(r+1)*s]...)
			}
			must(t, "step of a subset", w.Step(background, rows, sub, &part))
			checkBatch(t, w, len(rows), &part)
			for i, r := range rows {
				if !slices.Equal(part.Obs[i*d:(i+1)*d], all.Obs[r*d:(r+1)*d]) || part.Reward[i] != all.Reward[r] ||
					part.Terminated[i] != all.Terminated[r] || part.Truncated[i] != all.Truncated[r] {
					t.Fatalf("step %d: row %d stepped in a subset differs from row %d stepped with all", k, r, r)
				}
			}
		}
		if v.Spec().Autoreset == env.Disabled {
			for r := range n {
				if all.Terminated[r] || all.Truncated[r] {
					return
				}
			}
		}
	}
}

// checkIndex runs one seed in every row: the row's index is in no key.
func checkIndex(t TB, v env.Vector, _ func() env.Vector) {
	n, d, s := v.Num(), v.Spec().Observation.Dim(), len(v.Spec().Action)
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = 11
	}
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, seeds, &b))
	step := stepper(t, v, &b)
	for k := range rollout {
		for i := 1; i < n; i++ {
			if !slices.Equal(b.Obs[:d], b.Obs[i*d:(i+1)*d]) {
				t.Fatalf("step %d: rows 0 and %d, equal seeds and actions, differ", k, i)
			}
		}
		one := choose(v.Spec().Action, 1, 2, k, nil)
		var actions []int32
		for range n {
			actions = append(actions, one[:s]...)
		}
		step(actions)
	}
}

// checkAtomic sees that a refused call changed no row.
func checkAtomic(t TB, v env.Vector, open func() env.Vector) {
	w := open()
	defer w.Close()
	n, s := v.Num(), len(v.Spec().Action)
	var a, b env.Batch
	must(t, "reset", v.Reset(background, nil, seedsFrom(3, n), &a))
	must(t, "reset", w.Reset(background, nil, seedsFrom(3, n), &b))
	bad := make([]int32, n*s)
	bad[n*s-1] = -1
	for range 3 {
		if v.Step(background, nil, bad, &env.Batch{}) == nil {
			t.Errorf("action -1 was accepted")
		}
		_ = v.Reset(background, []int{0, n}, nil, &env.Batch{})
		_ = v.Step(background, []int{0, 0}, make([]int32, 2*s), &env.Batch{})
	}
	good := make([]int32, n*s)
	must(t, "step", v.Step(background, nil, good, &a))
	must(t, "step", w.Step(background, nil, good, &b))
	if !slices.Equal(a.Obs, b.Obs) || !slices.Equal(a.Reward, b.Reward) {
		t.Errorf("refused calls changed what the next step returned")
	}
}

func checkSnapshot(t TB, v env.Vector, open func() env.Vector) {
	s, ok := v.(env.Snapshotter)
	if !ok {
		return
	}
	n, d := v.Num(), v.Spec().Observation.Dim()
	var b env.Batch
	must(t, "reset", v.Reset(background, nil, seedsFrom(21, n), &b))
	actions := choose(v.Spec().Action, n, 4, 0, nil)
	must(t, "step", v.Step(background, nil, actions, &b))
	state, err := s.Snapshot(1, nil)
	if errors.Is(err, env.ErrBadSnapshot) {
		return // a wrapper of a vector that takes none
	}
	must(t, "snapshot", err)
	w := open()
	defer w.Close()
	var c env.Batch
	must(t, "reset", w.Reset(background, nil, nil, &c))
	if err := w.(env.Snapshotter).Restore(2, state[:len(state)-1]); !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("restore of a cut snapshot: %v, want %v", err, env.ErrBadSnapshot)
	}
	must(t, "restore", w.(env.Snapshotter).Restore(2, state))
	one := len(v.Spec().Action)
	for k := range rollout {
		act := choose(v.Spec().Action, 1, 6, k, nil)
		must(t, "step", v.Step(background, []int{1}, act[:one], &b))
		must(t, "step", w.Step(background, []int{2}, act[:one], &c))
		if !slices.Equal(b.Obs[:d], c.Obs[:d]) || b.Reward[0] != c.Reward[0] || b.Terminated[0] != c.Terminated[0] || b.Truncated[0] != c.Truncated[0] {
			t.Fatalf("step %d after restore differs from step %d after snapshot", k, k)
		}
		if v.Spec().Autoreset == env.Disabled && (b.Terminated[0] || b.Truncated[0]) {
			return
		}
	}
}
