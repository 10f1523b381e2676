package envtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// faulty is a correct vector with one fault: hooks replace what it names.
type faulty struct {
	env.Vector
	spec  func(env.Spec) env.Spec
	reset func(v env.Vector, rows []int, seeds []uint64, out *env.Batch) error
	step  func(v env.Vector, rows []int, actions []int32, out *env.Batch) error
	close func(v env.Vector) error
}

func (f *faulty) Spec() env.Spec {
	if f.spec != nil {
		return f.spec(f.Vector.Spec())
	}
	return f.Vector.Spec()
}

func (f *faulty) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.reset != nil {
		return f.reset(f.Vector, rows, seeds, out)
	}
	return f.Vector.Reset(ctx, rows, seeds, out)
}

func (f *faulty) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if f.step != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f.step(f.Vector, rows, actions, out)
	}
	return f.Vector.Step(ctx, rows, actions, out)
}

func (f *faulty) Close() error {
	if f.close != nil {
		return f.close(f.Vector)
	}
	return f.Vector.Close()
}

func cartPoles(mode env.Autoreset) env.Vector {
	v, err := cartpole.New(4, mode)
	if err != nil {
		panic(err)
	}
	return v
}

// The seeded faults. Each gives a fresh vector with one thing wrong.
var faults = []struct {
	name string
	open func() env.Vector
}{
	{"the generator is not seeded", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), reset: func(v env.Vector, rows []int, _ []uint64, out *env.Batch) error {
			n := v.Num()
			if rows != nil {
				n = len(rows)
			}
			seeds := make([]uint64, n)
			for i := range seeds {
				seeds[i] = rand.Uint64()
			}
			return v.Reset(background, rows, seeds, out)
		}}
	}},
	{"seeds are ignored", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), reset: func(v env.Vector, rows []int, _ []uint64, out *env.Batch) error {
			return v.Reset(background, rows, nil, out)
		}}
	}},
	{"an unseeded reset starts the generator again", func() env.Vector {
		last := []uint64{0, 1, 2, 3}
		return &faulty{Vector: cartPoles(env.NextStep), reset: func(v env.Vector, rows []int, seeds []uint64, out *env.Batch) error {
			if rows == nil && seeds == nil {
				seeds = last
			} else if rows == nil && len(seeds) == len(last) {
				copy(last, seeds)
			}
			return v.Reset(background, rows, seeds, out)
		}}
	}},
	{"the row index is in the random key", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), reset: func(v env.Vector, rows []int, seeds []uint64, out *env.Batch) error {
			seeds = slices.Clone(seeds)
			for i := range seeds {
				seeds[i] = seeds[i]*1000 + uint64(i)
			}
			return v.Reset(background, rows, seeds, out)
		}}
	}},
	{"actions are not range-checked", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), step: func(v env.Vector, rows []int, actions []int32, out *env.Batch) error {
			actions = slices.Clone(actions)
			for i := range actions {
				actions[i] &= 1
			}
			return v.Step(background, rows, actions, out)
		}}
	}},
	{"the wrong row is blamed", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), step: func(v env.Vector, rows []int, actions []int32, out *env.Batch) error {
			err := v.Step(background, rows, actions, out)
			var row *env.RowError
			if errors.As(err, &row) {
				return &env.RowError{Row: 0, Err: row.Err}
			}
			return err
		}}
	}},
	{"a reset pays a reward", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), reset: func(v env.Vector, rows []int, seeds []uint64, out *env.Batch) error {
			err := v.Reset(background, rows, seeds, out)
			for i := range out.Reward {
				out.Reward[i] = 1
			}
			return err
		}}
	}},
	{"an ended episode can be stepped", func() env.Vector {
		v := cartPoles(env.NextStep)
		return &faulty{Vector: v, spec: func(s env.Spec) env.Spec { s.Autoreset = env.Disabled; return s }}
	}},
	{"a step before reset is accepted", func() env.Vector {
		v := cartPoles(env.NextStep)
		if err := v.Reset(background, nil, nil, new(env.Batch)); err != nil {
			panic(err)
		}
		return &faulty{Vector: v}
	}},
	{"next_step shows a stale observation", func() env.Vector {
		last, ended := make([]float32, 16), make([]bool, 4)
		return &faulty{Vector: cartPoles(env.NextStep), step: func(v env.Vector, rows []int, actions []int32, out *env.Batch) error {
			err := v.Step(background, rows, actions, out)
			if err != nil {
				return err
			}
			for i := range out.Reward {
				r := env.RowAt(rows, i)
				if ended[r] {
					copy(out.Obs[4*i:4*i+4], last[4*r:])
				}
				copy(last[4*r:4*r+4], out.Obs[4*i:])
				ended[r] = out.Terminated[i] || out.Truncated[i]
			}
			return nil
		}}
	}},
	{"same_step does not reset", func() env.Vector {
		return &faulty{Vector: cartPoles(env.SameStep), step: func(v env.Vector, rows []int, actions []int32, out *env.Batch) error {
			err := v.Step(background, rows, actions, out)
			for i := range out.Reward {
				if out.Terminated[i] || out.Truncated[i] {
					copy(out.Obs[4*i:4*i+4], out.FinalObs[4*i:])
				}
			}
			return err
		}}
	}},
	{"a refused batch steps the rows before the bad one", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), step: func(v env.Vector, rows []int, actions []int32, out *env.Batch) error {
			err := v.Step(background, rows, actions, out)
			if errors.Is(err, env.ErrInvalidAction) && len(actions) == 4 {
				_ = v.Step(background, []int{0}, actions[:1], new(env.Batch))
			}
			return err
		}}
	}},
	{"a subset's results are in the order of the vector", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), step: func(v env.Vector, rows []int, actions []int32, out *env.Batch) error {
			err := v.Step(background, rows, actions, out)
			if err == nil && len(rows) == 2 && rows[0] > rows[1] {
				a := slices.Clone(out.Obs[:4])
				copy(out.Obs, out.Obs[4:8])
				copy(out.Obs[4:], a)
			}
			return err
		}}
	}},
	{"the time limit never comes", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), spec: func(s env.Spec) env.Spec { s.MaxSteps = 2; return s }}
	}},
	{"an observation leaves its space", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), spec: func(s env.Spec) env.Spec {
			s.Observation.High = []float32{.01, .01, .01, .01}
			return s
		}}
	}},
	{"a cancelled context is ignored", func() env.Vector { return ignoring{cartPoles(env.NextStep)} }},
	{"a closed vector steps on", func() env.Vector {
		return &faulty{Vector: cartPoles(env.NextStep), close: func(env.Vector) error { return nil }}
	}},
	{"closing twice fails", func() env.Vector {
		closed := false
		return &faulty{Vector: cartPoles(env.NextStep), close: func(v env.Vector) error {
			if closed {
				return errors.New("already closed")
			}
			closed = true
			return v.Close()
		}}
	}},
}

type ignoring struct{ env.Vector }

func (i ignoring) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	return i.Vector.Step(background, rows, actions, out)
}

// Every seeded fault is caught, and the vectors they were seeded into pass.
func TestFaultsAreCaught(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if failures := run(f.open); len(failures) == 0 {
				t.Error("not caught")
			} else {
				t.Log(failures[0])
			}
		})
	}
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep, env.Disabled} {
		if failures := run(func() env.Vector { return cartPoles(mode) }); len(failures) > 0 {
			t.Errorf("%v: a correct vector fails: %q", mode, failures)
		}
	}
}

// run is Check without a *testing.T: what failed.
func run(open func() env.Vector) []string {
	var r recorder
	for _, c := range contract {
		r.clause = c.name
		v := open()
		func() {
			defer v.Close()
			defer func() {
				if p := recover(); p != nil && p != errStop {
					panic(p)
				}
			}()
			c.check(&r, v, open)
		}()
	}
	return r.failures
}

type recorder struct {
	clause   string
	failures []string
}

var errStop = errors.New("stop")

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, r.clause+": "+fmt.Sprintf(format, args...))
}
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); panic(errStop) }

func TestCartPole(t *testing.T) {
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep, env.Disabled} {
		t.Run(mode.String(), func(t *testing.T) {
			Check(t, func(*testing.T) env.Vector { return cartPoles(mode) })
		})
	}
}
